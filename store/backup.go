package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Backup writes a snapshot of everything in the store to w, as of one moment and while changes
// go on, and returns its size in bytes: a database of etcd with its SHA-256 behind it, as
// `etcdctl snapshot save` writes one. Restore and `etcdutl snapshot restore` take it. Keys are
// in it as they are in the store, sealed. The database keeps what is deleted meanwhile: w
// should not hang. All that was acknowledged before is in it, also of a cluster. Over an etcd with authentication the user needs the role root.
func (s *Store) Backup(ctx context.Context, w io.Writer) (int64, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.calls.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(context.Cause(s.life)) })()
	snapshot, err := s.engine.snapshot(ctx)
	if err != nil {
		return 0, fmt.Errorf("taking a snapshot of the store: %w", explain(ctx, err))
	}
	n, err := io.Copy(w, moving{snapshot})
	closed := snapshot.Close()
	if err = cmp.Or(context.Cause(ctx), err, closed); err != nil { // the cause alone says all
		return n, fmt.Errorf("taking a snapshot of the store: %w", err)
	}
	return n, nil
}

// moving ends a snapshot of which nothing more comes: etcd sends empty pieces for ever when it
// cannot read its database, and none at all otherwise.
type moving struct{ io.Reader }

func (m moving) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	if n == 0 && err == nil && len(b) > 0 {
		return 0, errors.New("etcd cannot read its database")
	}
	return n, err
}

// snapshot is that of the first member that has all that was acknowledged. A member sends what it
// has itself, which may be less, but answers a linearizable read only when it has caught up.
func (e external) snapshot(ctx context.Context) (_ io.ReadCloser, all error) {
	for _, endpoint := range e.client.Endpoints() {
		snapshot, err := e.snapshotOf(ctx, endpoint)
		if err == nil {
			return snapshot, nil
		}
		if err = fmt.Errorf("%s: %w", endpoint, err); all != nil {
			err = fmt.Errorf("%w; %w", all, err)
		}
		all = err
	}
	return nil, all
}

// catchingUp is how long one member may take to have all that was acknowledged.
const catchingUp = 5 * time.Second

func (e external) snapshotOf(ctx context.Context, endpoint string) (io.ReadCloser, error) {
	config := e.config
	config.Endpoints = []string{endpoint}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, err
	}
	asked, cancel := context.WithTimeout(ctx, catchingUp)
	defer cancel()
	_, err = client.Get(asked, root, clientv3.WithCountOnly())
	if err == nil {
		var snapshot io.ReadCloser
		if snapshot, err = client.Snapshot(ctx); err == nil {
			return ownSnapshot{snapshot, client}, nil
		}
	}
	client.Close()
	return nil, err
}

// ownSnapshot has a client of its own.
type ownSnapshot struct {
	io.ReadCloser
	client *clientv3.Client
}

func (s ownSnapshot) Close() error {
	err := s.ReadCloser.Close()
	s.client.Close() // nothing is asked of it any more
	return err
}
