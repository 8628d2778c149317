package edge

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// LogFile appends to a file that somebody else may move away or delete to begin another:
// the next write makes the file anew. It is safe for concurrent use.
type LogFile struct {
	path string
	mu   sync.Mutex
	file *os.File
	as   os.FileInfo // what file was when it was opened
}

// OpenLog opens path for appending. Others than its owner and group cannot read a file
// that is made, because it says who asked for what.
func OpenLog(path string) (*LogFile, error) {
	l := &LogFile{path: path}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *LogFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	as, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("opening the log: %w", err), f.Close())
	}
	if l.file != nil {
		_ = l.file.Close() // what it holds was written
	}
	l.file, l.as = f, as
	return nil
}

// Write is io.Writer's. A file that cannot be made anew is no reason to lose p, as long
// as the old one takes it.
func (l *LogFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var reopened error
	if now, err := os.Stat(l.path); err != nil || !os.SameFile(now, l.as) {
		reopened = l.open()
	}
	n, err := l.file.Write(p)
	return n, errors.Join(err, reopened)
}

// Close is io.Closer's.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
