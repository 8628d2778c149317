package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

var _ lacre.Store = (*Store)(nil)

// patience bounds a call whose context has no deadline: nobody waits for ever.
const patience = 10 * time.Second

// closingPatience bounds how long Close waits for an engine that may hang.
const closingPatience = 5 * time.Second

var errClosed = errors.New("the store is closed")

// Store is an open store. Make one with Embedded or External.
type Store struct {
	kv      clientv3.KV
	watcher clientv3.Watcher
	lease   clientv3.Lease
	engine  engine
	maxOps  int // most operations in one transaction
	// alone is an etcd of one member in this process. It answers a write after applying
	// it, so what it has applied is all that was ever acknowledged: a local read is as
	// linearizable as one that goes through raft, and does not queue behind an fsync.
	alone   bool
	silence time.Duration // see Watch
	log     *slog.Logger
	now     func() time.Time
	random  io.Reader

	close func() error // runs once

	// life ends when the store is closed or its engine has died; its cause says which.
	life context.Context
	end  context.CancelCauseFunc

	// calls are those under way in the engine: it must not be closed under them. gate
	// keeps new ones out while Close ends life.
	gate  sync.RWMutex
	calls sync.WaitGroup
}

// engine is what differs between an embedded and an external etcd.
type engine interface {
	// room says why nothing should be written now, nil when writing is fine.
	room() error
	status(ctx context.Context) (*clientv3.StatusResponse, error)
	// snapshot is one of all that was acknowledged before, see Backup.
	snapshot(ctx context.Context) (io.ReadCloser, error)
	close() error
}

// Close stops the store; calls under way end with lacre.ErrUnavailable. An embedded
// engine is stopped and its directory unlocked. Closing twice is closing once.
func (s *Store) Close() error {
	s.gate.Lock()
	s.end(errClosed)
	s.gate.Unlock()
	return s.close()
}

// stop closes the engine once the calls under way have left it.
func (s *Store) stop() error {
	left := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(left)
	}()
	select {
	case <-left:
		return s.engine.close()
	case <-time.After(closingPatience):
		return errors.New("closing the store: a call hangs; files stay open until the process ends")
	}
}

// enter counts a call in, unless the store has ended.
func (s *Store) enter() error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if cause := context.Cause(s.life); cause != nil {
		return fmt.Errorf("%w: %w", lacre.ErrUnavailable, cause)
	}
	s.calls.Add(1)
	return nil
}

// Done is closed when the store has stopped: after Close, or because an embedded engine
// had to give up (a full disk, an I/O error). It does not start again by itself: say Err
// and exit, or go on serving what is known.
func (s *Store) Done() <-chan struct{} { return s.life.Done() }

// Err says why an embedded engine gave up. It is nil while the store works and after Close.
func (s *Store) Err() error {
	if cause := context.Cause(s.life); !errors.Is(cause, errClosed) {
		return cause
	}
	return nil
}

// ask makes one call to the engine and gives it up when ctx or the store ends, even if
// the engine hangs (an embedded engine answers on the calling goroutine, and a disk that
// stalls stalls it).
func ask[T any](ctx context.Context, s *Store, call func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil { // else what is quick might still be done
		return none, fmt.Errorf("%w: %w", lacre.ErrUnavailable, err)
	}
	if err := s.enter(); err != nil {
		return none, err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		defer s.calls.Done()
		value, err := call(ctx)
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, explain(ctx, a.err)
	case <-ctx.Done():
		return none, fmt.Errorf("%w: %w", lacre.ErrUnavailable, ctx.Err())
	case <-s.life.Done():
		return none, fmt.Errorf("%w: %w", lacre.ErrUnavailable, context.Cause(s.life))
	}
}

// bound gives a context without a deadline the store's own.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}

// explain puts an error of etcd into the words of lacre.Store.
func explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("%w: %w", lacre.ErrCompacted, err)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: the store is full: %w", lacre.ErrUnavailable, err)
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", lacre.ErrUnavailable, ctx.Err())
	}
	return fmt.Errorf("%w: %w", lacre.ErrUnavailable, err)
}

// write is ask for calls that need disk space.
func write[T any](ctx context.Context, s *Store, call func(context.Context) (T, error)) (T, error) {
	if err := s.engine.room(); err != nil {
		var none T
		return none, fmt.Errorf("%w: %w", lacre.ErrUnavailable, err)
	}
	return ask(ctx, s, call)
}

// get is one linearizable read.
func (s *Store) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if s.alone {
		options = append(options, clientv3.WithSerializable())
	}
	return ask(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.kv.Get(ctx, key, options...)
	})
}
