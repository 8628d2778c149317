package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestLastOfPageIsLookedUp: a branch that leads past the last keys of its pages hides them,
// though all are there and the first of each page is found.
func TestLastOfPageIsLookedUp(t *testing.T) {
	path, name := filepath.Join(t.TempDir(), "copy.db"), []byte("b")
	key := func(i int) []byte { return binary.BigEndian.AppendUint64([]byte("key-"), uint64(i)) }
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(name)
		for i := 0; i < 500 && err == nil; i++ {
			err = b.Put(key(10*i), make([]byte, 100))
		}
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	walked := func() error {
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		return db.View(func(tx *bolt.Tx) error {
			_, err := (&walk{}).part(tx.Bucket(name))
			return err
		})
	}
	if err := walked(); err != nil {
		t.Fatal(err)
	}
	misleadBranches(t, path)
	if err := walked(); !errors.Is(err, errSums) {
		t.Errorf("got %v, want that keys are not found", err)
	}
}

// misleadBranches sets the second key of each branch page below the last key of the page
// before the one it leads to.
func misleadBranches(t *testing.T, path string) {
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const header, element, branch = 16, 16, 1
	for at := 0; at < len(file); at += 4096 {
		page := file[at : at+4096]
		if binary.LittleEndian.Uint16(page[8:]) != branch {
			continue
		}
		second := page[header+element:]
		if k := second[binary.LittleEndian.Uint32(second):][:12]; bytes.HasPrefix(k, []byte("key-")) {
			binary.BigEndian.PutUint64(k[4:], binary.BigEndian.Uint64(k[4:])-15)
		}
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}
