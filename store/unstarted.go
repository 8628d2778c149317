package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
)

// dropUnstarted removes an etcd that a first start was killed in the middle of: its log is
// there and says nothing. etcd takes such a log for that of a member which was started
// before, finds no members in it and waits for ever. Nothing can have been acknowledged: who
// the members are is the first entry of every log.
func (d *directory) dropUnstarted() error {
	if _, err := os.Stat(d.file(formatFile)); !errors.Is(err, fs.ErrNotExist) {
		return err // it was started to the end once, or that is not known
	}
	logs := filepath.Join(d.path, etcdDir, "member", "wal")
	if !wal.Exist(logs) || !emptyLog(logs) {
		return nil
	}
	return os.RemoveAll(filepath.Join(d.path, etcdDir))
}

// emptyLog tells whether a log is whole, begins at the beginning and has no entry. About any
// other log etcd has the word.
func emptyLog(logs string) bool {
	w, err := wal.OpenForRead(zap.NewNop(), logs, &walpb.Snapshot{})
	if err != nil {
		return false
	}
	defer w.Close()
	_, _, entries, err := w.ReadAll()
	return err == nil && len(entries) == 0
}
