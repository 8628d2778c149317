package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"lacre/store"
)

func wantNothing(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestFailedRestoreLeavesNothing: directories and the lock that it has made go again, those that were
// there stay.
func TestFailedRestoreLeavesNothing(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	noise := filepath.Join(t.TempDir(), "noise")
	if err := os.WriteFile(noise, bytes.Repeat([]byte("x"), 512+32), 0o600); err != nil {
		t.Fatal(err)
	}
	missing, pipe := filepath.Join(home, "missing"), filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{missing: "opening the backup: ", home: "opening the backup: ", pipe: "opening the backup: ", noise: "no whole backup"} {
		if _, err := store.Restore(soon(t), filepath.Join(home, "a", "b"), file, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		wantNothing(t, home)
	}
	for _, name := range []string{"lock", "master.key"} {
		replaceFile(t, home, name, []byte("kept"))
	}
	for _, file := range []string{missing, noise} {
		if _, err := store.Restore(soon(t), home, file, nil); err == nil {
			t.Errorf("%s: got nil, want an error", file)
		}
	}
	if entries, err := os.ReadDir(home); err != nil || len(entries) != 2 {
		t.Errorf("got %v, %v, want the lock and the key that were there", entries, err)
	}
}

// TestLockThatIsDeleted: of those who delete the lock while they hold it, as a failed restore does, and
// those who have just opened it, never do two have the directory.
func TestLockThatIsDeleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var held, ever atomic.Int32
	var parts sync.WaitGroup
	for range 4 {
		parts.Go(func() {
			for range 3000 {
				lock, err := store.LockDirectory(dir)
				if err != nil {
					continue // another has it
				}
				ever.Add(1)
				if held.Add(1) > 1 {
					t.Error("two have the lock")
				}
				runtime.Gosched()
				held.Add(-1)
				os.Remove(lock.Name())
				lock.Close()
			}
		})
	}
	parts.Wait()
	if ever.Load() == 0 {
		t.Error("nobody ever had the lock")
	}
}
