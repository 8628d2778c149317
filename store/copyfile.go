package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// copyFile is the file of the exact copy (decision 11): what an edge reads of the store,
// key by key as it is stored there, with each key's revision in front of its value. It is a
// bbolt database that is never fsynced but at the end.
type copyFile struct {
	path  string
	db    *bolt.DB
	state copyState
}

// copyState says what a copy holds. It is written in the transactions that change it.
type copyState struct {
	Revision int64               `json:"revision"` // of the store, as of which it is
	Sums     map[string]*copySum `json:"sums"`     // by bucket
}

// copySum is the checksum of a bucket: how many keys it has and the sum of their checksums,
// which does not depend on their order. A key that is lost is noticed by it. Like the
// checksums of values it is against accidents.
type copySum struct {
	Keys uint64 `json:"keys"`
	Sum  uint64 `json:"sum"`
}

// The buckets. What decides about names and trust is small and checked as a whole before
// any of it is believed; pairs are ten times as much and checked meanwhile.
const (
	policyBucket = "policy"
	pairBucket   = "pairs"
	stateBucket  = "state"
	stateKey     = "state"
	revisionSize = 8 // bytes in front of each value, big-endian
)

// bucketFor returns the bucket that a key of the store belongs in, "" for none: an edge
// does not read it.
func bucketFor(key string) string {
	if rest, ok := strings.CutPrefix(key, tenants); ok {
		_, rest, _ = strings.Cut(rest, "/")
		kind, _, _ := strings.Cut(rest, "/")
		switch kind {
		case "cert", "version":
			return pairBucket
		case "domain", "host", "crl", "instance", "datakey":
			return policyBucket
		}
		return ""
	}
	if strings.HasPrefix(key, projects) || strings.HasPrefix(key, secrets) {
		return policyBucket
	}
	return ""
}

// copyPatience bounds the wait for the lock on the file: the directory is locked already.
const copyPatience = time.Second

// openCopyFile opens the file, and makes it if create says so.
func openCopyFile(path string, create bool) (f *copyFile, err error) {
	defer contain(&err)
	if !create {
		if _, err := os.Stat(path); err != nil { // bbolt would make it
			return nil, err
		}
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout: copyPatience, NoSync: true, NoGrowSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true,
	})
	if err != nil {
		return nil, err
	}
	f = &copyFile{path: path, db: db}
	if create {
		err = db.Update(f.prepare)
	} else {
		err = db.View(f.readState)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return f, nil
}

func (f *copyFile) prepare(tx *bolt.Tx) error {
	f.state = copyState{Sums: map[string]*copySum{policyBucket: {}, pairBucket: {}}}
	for _, name := range []string{policyBucket, pairBucket, stateBucket} {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return f.writeState(tx)
}

func (f *copyFile) writeState(tx *bolt.Tx) error {
	text, err := json.Marshal(f.state)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(stateBucket)).Put([]byte(stateKey), text)
}

func (f *copyFile) readState(tx *bolt.Tx) error {
	for _, name := range []string{policyBucket, pairBucket, stateBucket} {
		if tx.Bucket([]byte(name)) == nil {
			return fmt.Errorf("the bucket %s is missing", name)
		}
	}
	if err := json.Unmarshal(tx.Bucket([]byte(stateBucket)).Get([]byte(stateKey)), &f.state); err != nil {
		return fmt.Errorf("reading the state: %w", err)
	}
	if f.state.Sums[policyBucket] == nil || f.state.Sums[pairBucket] == nil {
		return errors.New("the state has no sums")
	}
	return nil
}

// contain turns a panic into an error: bbolt panics over a damaged file, and a page of it
// that cannot be read is a memory fault.
func contain(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the file is damaged: %v", p)
	}
}

// is tells whether the file holds what a mark says.
func (f *copyFile) is(marked copyState) error {
	same := f.state.Revision == marked.Revision
	for name, s := range f.state.Sums {
		same = same && marked.Sums[name] != nil && *marked.Sums[name] == *s
	}
	if !same {
		return errors.New("the copy is not the one that was marked")
	}
	return nil
}

// view reads.
func (f *copyFile) view(read func(*bolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer contain(&err)
	return f.db.View(read)
}

// copyChange is one change of a key; value is nil when the key was deleted.
type copyChange struct {
	revision int64
	value    []byte
}

// write makes changes, of which the file is complete up to a revision then. It is not on
// disk before sync.
func (f *copyFile) write(changes map[string]copyChange, revision int64) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer contain(&err)
	keys := make([]string, 0, len(changes))
	for key := range changes {
		keys = append(keys, key)
	}
	slices.Sort(keys) // neighbours share pages
	return f.db.Update(func(tx *bolt.Tx) error {
		for _, key := range keys {
			if err := f.apply(tx, key, changes[key]); err != nil {
				return fmt.Errorf("writing %s: %w", key, err)
			}
		}
		f.state.Revision = revision
		return f.writeState(tx)
	})
}

// apply changes one key and keeps its bucket's sum.
func (f *copyFile) apply(tx *bolt.Tx, key string, c copyChange) error {
	name := bucketFor(key)
	bucket, s := tx.Bucket([]byte(name)), f.state.Sums[name]
	bucket.FillPercent = 0.8 // most keys come in order, when the file is made anew
	if old := bucket.Get([]byte(key)); old != nil {
		s.Keys, s.Sum = s.Keys-1, s.Sum-sumOf([]byte(key), old)
	}
	if c.value == nil {
		return bucket.Delete([]byte(key))
	}
	value := binary.BigEndian.AppendUint64(make([]byte, 0, revisionSize+len(c.value)), uint64(c.revision))
	value = append(value, c.value...)
	s.Keys, s.Sum = s.Keys+1, s.Sum+sumOf([]byte(key), value)
	return bucket.Put([]byte(key), value)
}

// sumOf is the checksum of one key and what is stored under it. Two sums of 32 bits over
// different polynomials make one of 64.
func sumOf(key, value []byte) uint64 {
	high := crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value)
	low := crc32.Update(crc32.Update(uint32(len(key)), crc32.IEEETable, value), crc32.IEEETable, key)
	return uint64(high)<<32 | uint64(low)
}

// sync puts on disk all that was written.
func (f *copyFile) sync() (err error) {
	defer contain(&err)
	return f.db.Sync()
}

// close lets go of the file once nobody reads it any more.
func (f *copyFile) close() (err error) {
	defer contain(&err)
	if err := f.db.Close(); err != nil && !errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return err
	}
	return nil
}
