package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// What is in a data directory. Other packages may keep files beside these.
const (
	lockFile   = "lock"   // held while a process uses the directory; holds its pid
	formatFile = "format" // written after the first start: from then on there is data
	etcdDir    = "etcd"
	copyName   = "copy.db"    // the exact copy, see decision 11; may be deleted while nothing runs
	markFile   = "copy.exact" // there while nothing runs and the copy is exact
)

// layoutFormat is the format of the directory as a whole.
const layoutFormat = "1"

// directory is a data directory that this process has locked.
type directory struct {
	path string
	lock *os.File
}

// openDirectory makes the directory if need be, locks it and looks whether what should
// be there is there.
func openDirectory(path string) (*directory, error) {
	if path == "" {
		return nil, errors.New("no path is given")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("%w (the data directory must be a directory that can be written to)", err)
	}
	lock, err := lockDirectory(path)
	if err != nil {
		return nil, err
	}
	d := &directory{path: path, lock: lock}
	if err := d.check(); err != nil {
		d.unlock()
		return nil, err
	}
	return d, nil
}

// lockDirectory does not wait: etcd, asked to open files in use, would for ever.
func lockDirectory(path string) (*os.File, error) {
	name := filepath.Join(path, lockFile)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w (the data directory must be writable)", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			pid, _ := os.ReadFile(name) // only for the message
			return nil, fmt.Errorf("%w %s (pid %s)", ErrInUse, path, strings.TrimSpace(string(pid)))
		}
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	if deleted(f) { // since it was opened here, by who had it: there is another one now, or none
		f.Close()
		return lockDirectory(path)
	}
	if err := writePid(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	return f, nil
}

// deleted tells whether an open file has no name any more.
func deleted(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Nlink == 0
}

// ErrInUse means that another process has the data directory.
var ErrInUse = errors.New("another lacre is using")

// ErrDamaged means that files of the data directory are missing: it held data once, so
// an empty store is not started in their place.
var ErrDamaged = errors.New("the data directory is damaged: restore it from a backup")

// writePid says who holds the lock. It is there for people; the lock itself is flock's,
// which the kernel drops with the process, so a pid left behind locks nothing.
func writePid(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// file is the path of a file of the directory.
func (d *directory) file(name string) string { return filepath.Join(d.path, name) }

func (d *directory) unlock() error { return d.lock.Close() }

// check compares the directory with its format file.
func (d *directory) check() error {
	if err := d.wholeRestore(); err != nil {
		return err
	}
	started, err := d.format()
	if err != nil || !started {
		return err
	}
	for _, needed := range []string{"wal/*.wal", "snap/db"} {
		pattern := filepath.Join(d.path, etcdDir, "member", needed)
		if names, _ := filepath.Glob(pattern); len(names) == 0 {
			return fmt.Errorf("%w: %s is missing", ErrDamaged, pattern)
		}
	}
	return nil
}

// wholeRestore refuses a directory in which a restore did not come to its end: who began one
// does not want an empty store.
func (d *directory) wholeRestore() error {
	aside := d.file(restoringDir)
	_, begun := os.Stat(aside)
	if _, err := os.Stat(d.file(etcdDir)); begun == nil && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a restore did not come to its end: restore again, or delete %s to begin without", aside)
	}
	return nil
}

// format tells whether a store was ever started in the directory, and to the end: otherwise
// nothing in it was acknowledged.
func (d *directory) format() (started bool, err error) {
	found, err := os.ReadFile(d.file(formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if f := strings.TrimSpace(string(found)); f != layoutFormat {
		return false, fmt.Errorf("%s has format %q, this program knows %s: use a newer lacre", d.path, f, layoutFormat)
	}
	return true, nil
}

// markUsed writes the format file, durably: from now on the directory holds data.
func (d *directory) markUsed() error {
	name := filepath.Join(d.path, formatFile)
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	return d.replace(formatFile, layoutFormat+"\n")
}

// replace writes a file of the directory anew, durably: it is whole, or as it was.
func (d *directory) replace(file, text string) error {
	name := filepath.Join(d.path, file)
	f, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	return d.sync()
}

// sync makes the rename durable: it is in the directory, not in the file.
func (d *directory) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// room refuses when less than reserve bytes are free to this user (the blocks that a file
// system keeps for root do not count). It asks each time: statfs costs a microsecond.
func (d *directory) room(reserve uint64) error {
	var fsys syscall.Statfs_t
	if err := syscall.Statfs(d.path, &fsys); err != nil {
		return fmt.Errorf("looking for free space in %s: %w", d.path, err)
	}
	free := fsys.Bavail * uint64(fsys.Bsize)
	if free < reserve {
		return fmt.Errorf("the store is full: %s has %d bytes free, writing needs %d", d.path, free, reserve)
	}
	return nil
}
