package store

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"lacre"
)

// MayRestore tells whether a user may restore into a directory.
var MayRestore = mayRestore

// LockDirectory locks a data directory.
var LockDirectory = lockDirectory

// KV is the client underneath, for tests that damage or inspect what is stored.
func (s *Store) KV() clientv3.KV { return s.kv }

// Wrap puts something between the store and its client.
func (s *Store) Wrap(wrap func(clientv3.KV) clientv3.KV) { s.kv = wrap(s.kv) }

// SetReserve changes the free space that an embedded store insists on.
func (s *Store) SetReserve(bytes uint64) { s.engine.(*embedded).reserve = bytes }

// SetNow stops the store's clock.
func (s *Store) SetNow(now time.Time) { s.now = func() time.Time { return now } }

// SetSilence changes after how long without news a watch asks the store itself.
func (s *Store) SetSilence(d time.Duration) { s.silence = d }

// CompactTo forgets history before a revision.
func (s *Store) CompactTo(revision int64) error {
	_, err := s.kv.Compact(s.life, revision)
	return err
}

// PutAudits writes rows without changes, many at once.
func (s *Store) PutAudits(ctx context.Context, rows ...lacre.Audit) error {
	for some := range slices.Chunk(rows, embeddedMaxOps) {
		var ops []clientv3.Op
		for _, a := range some {
			op, err := s.auditOp(a)
			if err != nil {
				return err
			}
			ops = append(ops, op)
		}
		if _, err := s.kv.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

// KeyOf and Identify are the two directions of the key layout.
func KeyOf(r lacre.Record) (string, error) { return keyOf(r) }
func Identify(key string) lacre.Record     { return identify(key) }

// ConcernsEdge is the filter of Watch.
func ConcernsEdge(key string) bool { return concernsEdge(key) }

// GiveUp does what a fatal entry in etcd's log does.
func (s *Store) GiveUp(err error) {
	logger := newZap(s.log, zap.WarnLevel, s.died)
	done := make(chan struct{})
	go func() {
		defer close(done)
		logger.Fatal("failed to save", zap.Error(err))
	}()
	<-done
}

// One reads any record by its identifying fields.
func One(ctx context.Context, s *Store, r lacre.Record) (lacre.Record, error) { return one(ctx, s, r) }

// Decode reads a value as if it were stored under key.
func Decode(key string, value []byte) (lacre.Record, error) {
	r, err := decode(&mvccpb.KeyValue{Key: []byte(key), Value: value, ModRevision: 1})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Frame puts header and checksum before a payload.
func Frame(key string, payload []byte) string { return frame(key, payload) }

// AuditsIn reads the rows of a value as if it were stored under key in the audit of p1. What
// is not older than the row at after may be left out.
func AuditsIn(key string, value []byte, after string) (all []lacre.Audit, err error) {
	prefix, _ := auditPrefix("p1")
	rows, err := rowsOf(prefix, strings.TrimPrefix(after, prefix), &mvccpb.KeyValue{Key: []byte(key), Value: value})
	for i := 0; err == nil && i < len(rows); i++ {
		var a lacre.Audit
		a, err = rows[i].audit("p1")
		all = append(all, a)
	}
	return all, err
}

// Unframe is what a program knows that knows no packs.
func Unframe(key string, value []byte) ([]byte, error) { return unframe(key, value) }

// Reframe makes the value of another key, and with another payload if one is given.
func Reframe(key string, value, payload []byte) string {
	if payload == nil {
		payload = value[headerSize:]
	}
	return frameAs(value[0], key, payload)
}

// Encode returns where and how a record is stored.
func Encode(r lacre.Record) (key, value string, err error) { return encode(r) }

// NewZap is the logger that etcd is given.
func NewZap(log *slog.Logger, level zapcore.LevelEnabler, died func(error)) *zap.Logger {
	return newZap(log, level, died)
}

// Remark makes the mark in a directory fit etcd's files as they are.
func Remark(dir string) error {
	d := &directory{path: dir}
	text, err := os.ReadFile(d.file(markFile))
	if err != nil {
		return err
	}
	payload, err := unframe(markFile, text)
	if err != nil {
		return err
	}
	var m mark
	if err := json.Unmarshal(payload, &m); err != nil {
		return err
	}
	return d.putMark(m.Copy)
}

// Believed opens a copy beside its mark as Open does, but whatever became of etcd's files:
// all of it was compared with its checksums then. Without a copy to be believed ok is false.
func Believed(dir string) (s *Store, ok bool) {
	text, err := os.ReadFile(filepath.Join(dir, markFile))
	if err != nil {
		return nil, false
	}
	payload, err := unframe(markFile, text)
	var m mark
	if err != nil || json.Unmarshal(payload, &m) != nil {
		return nil, false
	}
	f, err := believe(&directory{path: dir}, m)
	if err != nil {
		return nil, false
	}
	if f.verify(pairBucket, func() error { return nil }) != nil {
		f.close()
		return nil, false
	}
	s = newCopyStore(f, slog.New(slog.DiscardHandler), func(error) {})
	s.close = f.close
	return s, true
}

// PagesOf reads sorted keys with a prefix as each does. It returns what it read, how many
// requests that took, and how many keys an etcd would have counted for them.
func PagesOf(keys []string, prefix string) (read []string, requests, counted int) {
	for p := pagesOf(prefix); ; {
		from, _ := slices.BinarySearch(keys, p.from)
		to, _ := slices.BinarySearch(keys, p.end())
		requests, counted = requests+1, counted+to-from
		var page []*mvccpb.KeyValue
		for _, key := range keys[from:min(to, from+pageSize)] {
			page = append(page, &mvccpb.KeyValue{Key: []byte(key)})
			read = append(read, key)
		}
		if !p.next(page, to-from > pageSize) {
			return read, requests, counted
		}
	}
}
