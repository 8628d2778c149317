package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// mark says that the copy is exactly the store. It is written last of all at the end of a
// process, and taken away before anything else at the start of the next one: while a
// process runs, and after one that did not end in order, there is none.
type mark struct {
	Format int        `json:"format"`
	Copy   copyState  `json:"copy"`
	Size   int64      `json:"size"` // of the copy's file
	Engine []fileMark `json:"engine"`
}

// fileMark is a file of etcd's as it was left. Whoever writes to the store changes one,
// also a program that knows nothing of copies, and a backup that is put in its place.
type fileMark struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	Changed int64  `json:"changed"` // nanoseconds since 1970
}

// copyFormat is the format of copy and mark: of other ones nothing is believed.
const copyFormat = 1

var errNoMark = errors.New("the last process did not end in order, or kept no copy")

// takeMark reads the mark and removes it, durably, which nothing may go on without: the
// error is *undurableError then. Any other one says why the copy is not to be believed.
func (d *directory) takeMark() (m mark, err error) {
	name := filepath.Join(d.path, markFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return m, errNoMark
	}
	if removed := os.Remove(name); removed != nil {
		return m, &undurableError{removed}
	}
	if synced := d.sync(); synced != nil {
		return m, &undurableError{synced}
	}
	if err != nil {
		return m, fmt.Errorf("reading %s: %w", name, err)
	}
	payload, err := unframe(markFile, text)
	if err == nil {
		err = json.Unmarshal(payload, &m)
	}
	if err != nil {
		return m, fmt.Errorf("reading %s: %w", name, err)
	}
	return m, d.checkMark(m)
}

// undurableError means that a mark may still be there when it is no longer true. Nothing may
// be written to the store then.
type undurableError struct{ err error }

func (e *undurableError) Error() string { return "removing the mark of the copy: " + e.err.Error() }
func (e *undurableError) Unwrap() error { return e.err }

// checkMark compares what the mark says with the files that are there.
func (d *directory) checkMark(m mark) error {
	if m.Format != copyFormat {
		return fmt.Errorf("the copy has format %d, this program reads %d", m.Format, copyFormat)
	}
	found, err := d.engineFiles()
	if err != nil {
		return err
	}
	if !slices.Equal(found, m.Engine) {
		return errors.New("the store was changed or replaced since the copy was made")
	}
	info, err := os.Stat(filepath.Join(d.path, copyName))
	if err != nil {
		return err
	}
	if info.Size() != m.Size {
		return fmt.Errorf("the copy has %d bytes, expected %d", info.Size(), m.Size)
	}
	return nil
}

// putMark writes the mark, durably. Nothing may change the store or the copy afterwards.
func (d *directory) putMark(state copyState) error {
	info, err := os.Stat(filepath.Join(d.path, copyName))
	if err != nil {
		return err
	}
	engine, err := d.engineFiles()
	if err != nil {
		return err
	}
	text, err := json.Marshal(mark{Format: copyFormat, Copy: state, Size: info.Size(), Engine: engine})
	if err != nil {
		return err
	}
	return d.replace(markFile, frame(markFile, text))
}

// engineFiles are etcd's files, by name.
func (d *directory) engineFiles() ([]fileMark, error) {
	var all []fileMark
	for _, part := range []string{"wal", "snap"} {
		entries, err := os.ReadDir(filepath.Join(d.path, etcdDir, "member", part))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				return nil, err
			}
			all = append(all, fileMark{part + "/" + e.Name(), info.Size(), info.ModTime().UnixNano()})
		}
	}
	return all, nil
}

// dropCopy deletes the copy. That it is not there is no fault.
func (d *directory) dropCopy() error {
	return ignoreMissing(os.Remove(d.file(copyName)))
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
