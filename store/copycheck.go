package store

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// errSums means that keys of the copy are missing, altered or not where they are looked for.
var errSums = errors.New("its checksum does not match")

// stride is how many keys verify reads between two looks at whether to go on.
const stride = 1000

// verify compares a bucket with its sum. rest is called between two parts of it; its error
// ends it.
func (f *copyFile) verify(name string, rest func() error) error {
	w := &walk{}
	for more := true; more; {
		err := f.view(func(tx *bolt.Tx) (err error) {
			more, err = w.part(tx.Bucket([]byte(name)))
			return err
		})
		if err == nil && more {
			err = rest()
		}
		if err != nil {
			return fmt.Errorf("checking the bucket %s: %w", name, err)
		}
	}
	if want := *f.state.Sums[name]; w.sum != want {
		return fmt.Errorf("checking the bucket %s: %w: %d keys, expected %d", name, errSums, w.sum.Keys, want.Keys)
	}
	return nil
}

// walk goes through all keys of a bucket in parts and adds them up. That a key is there is
// not all: it must also be found, which is another way through the pages. A way down is made
// of comparisons, and so is the same for all keys between two for which it is the same: if
// the first and the last key of a page are found in it, and its keys are in order, all are.
type walk struct {
	sum  copySum
	from []byte // the last key of the part before
}

// part is the next part of the walk. There is more unless it came to the end.
func (w *walk) part(bucket *bolt.Bucket) (more bool, err error) {
	c := bucket.Cursor()
	e := newPlaced(c.Seek(w.from))
	if w.from != nil && bytes.Equal(e.key, w.from) {
		e = newPlaced(c.Next())
	}
	last := placed{key: w.from}
	alone := true // last needs no look-up of its own: there is none, or it was found as the first of its page
	for n := 0; e.key != nil && n < stride; n++ {
		turned := n == 0 || e.page() != last.page()
		if !e.follows(last) || turned && !(e.found(bucket) && (alone || last.found(bucket))) {
			return false, errSums
		}
		w.sum.Keys, w.sum.Sum = w.sum.Keys+1, w.sum.Sum+sumOf(e.key, e.value)
		last, alone, e = e, turned, newPlaced(c.Next())
	}
	if !alone && !last.found(bucket) {
		return false, errSums
	}
	w.from = bytes.Clone(last.key)
	return e.key != nil, nil
}

// placed is a key of a bucket and its value, both in the pages of the file.
type placed struct{ key, value []byte }

func newPlaced(key, value []byte) placed { return placed{key, value} }

// follows tells whether the entry has a value and may stand behind another one.
func (e placed) follows(before placed) bool {
	return len(e.value) >= revisionSize && (before.key == nil || bytes.Compare(before.key, e.key) < 0)
}

// found tells whether the key is looked up at the very place that it has.
func (e placed) found(bucket *bolt.Bucket) bool {
	value := bucket.Get(e.key)
	return len(value) == len(e.value) && unsafe.SliceData(value) == unsafe.SliceData(e.value)
}

// page is where in memory the key is, in pages of the size that no page of bbolt's is below:
// two keys of different pages of the file are never on one.
func (e placed) page() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(e.key))) >> 12 }
