package store

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Backup writes a snapshot of everything in the store to w, as of one moment and while changes
// go on, and returns its size in bytes: a database of etcd with its SHA-256 behind it, as
// `etcdctl snapshot save` writes one. Restore and `etcdutl snapshot restore` take it. Keys are
// in it as they are in the store, sealed. The database keeps what is deleted meanwhile: w
// should not hang. Over an etcd with authentication the user needs the role root.
func (s *Store) Backup(ctx context.Context, w io.Writer) (int64, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.calls.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(context.Cause(s.life)) })()
	snapshot, err := s.maintenance.Snapshot(ctx)
	if err != nil {
		return 0, fmt.Errorf("taking a snapshot of the store: %w", explain(ctx, err))
	}
	n, err := io.Copy(w, snapshot)
	if err = errors.Join(err, snapshot.Close(), context.Cause(ctx)); err != nil {
		return n, fmt.Errorf("taking a snapshot of the store: %w", err)
	}
	return n, nil
}
