package store

import (
	"context"
	"log/slog"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"lacre"
)

// KV is the client underneath, for tests that damage or inspect what is stored.
func (s *Store) KV() clientv3.KV { return s.kv }

// Wrap puts something between the store and its client.
func (s *Store) Wrap(wrap func(clientv3.KV) clientv3.KV) { s.kv = wrap(s.kv) }

// SetReserve changes the free space that an embedded store insists on.
func (s *Store) SetReserve(bytes uint64) { s.engine.(*embedded).reserve = bytes }

// CompactTo forgets history before a revision.
func (s *Store) CompactTo(revision int64) error {
	_, err := s.kv.Compact(s.life, revision)
	return err
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

// Encode returns where and how a record is stored.
func Encode(r lacre.Record) (key, value string, err error) { return encode(r) }

// NewZap is the logger that etcd is given.
func NewZap(log *slog.Logger, level zapcore.LevelEnabler, died func(error)) *zap.Logger {
	return newZap(log, level, died)
}
