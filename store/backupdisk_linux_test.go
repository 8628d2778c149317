package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"lacre/store"
)

// TestBackupOfADiskThatCannotBeRead ends with an error: etcd says nothing of it, and sends
// nothing for ever.
func TestBackupOfADiskThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := store.Embedded(soon(t), store.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	secrets(t, s, "p")
	writeOnly(t, filepath.Join(dir, "etcd/member/snap/db"))
	var text bytes.Buffer
	n, err := s.Backup(soon(t), &text)
	if err == nil || err.Error() != "taking a snapshot of the store: etcd cannot read its database" {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

// writeOnly makes every read of a file fail that this process has open, and no write.
func writeOnly(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, entry := range open {
		fd, _ := strconv.Atoi(entry.Name())
		if to, _ := os.Readlink("/proc/self/fd/" + entry.Name()); to != path || fd == int(file.Fd()) {
			continue
		}
		if err := syscall.Dup3(int(file.Fd()), fd, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		found++
	}
	if found == 0 {
		t.Fatal("the database is not open")
	}
}
