package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

const (
	flushing     = time.Second      // how often what has changed is written to the copy
	flushed      = 4096             // changed keys that do not wait that long
	copyStride   = 500              // keys read at once when a copy is made anew
	copyRest     = 3                // times what that took is rested afterwards
	finishing    = 3 * time.Second  // of a stop, for the copy to catch up
	sealing      = 10 * time.Second // of a stop, for its fsync: most is on disk long before
	copyReserves = 2                // times the store's own reserve that the copy leaves free
)

// mirror keeps a copy of a store that is open: it makes one unless there is an exact one,
// and follows the store. It is in nobody's way: the first fault of it ends it.
type mirror struct {
	store *Store
	dir   *directory
	log   *slog.Logger

	file    *copyFile
	pending map[string]copyChange // seen and not written
	seen    atomic.Int64          // the revision up to which all is seen; 0 while a copy is made
	target  chan int64            // the revision to finish at

	life    context.Context
	stop    context.CancelFunc
	ended   chan struct{} // closed when run has ended
	reached bool          // target was reached and written; read after ended
}

func newMirror(s *Store, dir *directory, log *slog.Logger) *mirror {
	m := &mirror{store: s, dir: dir, log: log, pending: make(map[string]copyChange), target: make(chan int64, 1), ended: make(chan struct{})}
	m.life, m.stop = context.WithCancel(context.Background())
	return m
}

// errReached ends the following at the target.
var errReached = errors.New("the copy has caught up")

// run keeps the copy until finish or stop. inherit waits for its turn and returns the copy
// that is exact already, if any.
func (m *mirror) run(inherit func(context.Context) *copyFile) {
	defer close(m.ended)
	m.file = inherit(m.life)
	var err error
	if m.file != nil {
		m.seen.Store(m.file.state.Revision)
	}
	for err == nil && m.life.Err() == nil {
		if m.file == nil {
			err = m.make(m.life)
		}
		if err == nil {
			err = m.follow(m.life)
		}
		if m.passes(err) {
			m.log.Info("the copy of the store is made anew", "reason", err)
			m.drop()
			sleep(m.life, flushing)
			err = nil
		}
	}
	m.reached = errors.Is(err, errReached)
	if !m.reached {
		m.drop()
		if m.life.Err() == nil {
			m.log.Warn("no copy of the store is kept any more; the next start waits for the store", "err", err)
		}
	}
}

// passes tells an error of a store that is too busy, or of a copy that was too slow, from a
// fault: then it is worth another attempt.
func (m *mirror) passes(err error) bool {
	busy := errors.Is(err, lacre.ErrUnavailable) && m.store.Err() == nil
	return busy || errors.Is(err, lacre.ErrCompacted)
}

// drop gives the copy up, and its space back.
func (m *mirror) drop() {
	m.seen.Store(0)
	clear(m.pending)
	if m.file != nil {
		m.file.close()
		m.file = nil
	}
	if err := m.dir.dropCopy(); err != nil {
		m.log.Warn("the copy of the store cannot be deleted", "err", err)
	}
}

// make copies everything as of one revision.
func (m *mirror) make(ctx context.Context) (err error) {
	if err := m.dir.dropCopy(); err != nil {
		return err
	}
	if m.file, err = openCopyFile(m.dir.file(copyName), true); err != nil {
		return fmt.Errorf("making the copy: %w", err)
	}
	revision, ids, err := m.store.projectIDs(ctx)
	if err != nil {
		return err
	}
	prefixes := []string{projects, secrets}
	for _, id := range ids {
		for _, kind := range []string{"cert", "crl", "datakey", "domain", "host", "instance", "version"} {
			prefix, err := join("p", id, kind)
			if err != nil {
				return err
			}
			prefixes = append(prefixes, prefix)
		}
	}
	begun := time.Now()
	for _, prefix := range prefixes {
		_, err := m.store.each(ctx, prefix, revision, func(kv *mvccpb.KeyValue) error {
			m.note(kv)
			if len(m.pending) < copyStride {
				return ctx.Err()
			}
			err := m.write(0)
			sleep(ctx, copyRest*time.Since(begun))
			begun = time.Now()
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := m.write(revision); err != nil {
		return err
	}
	m.seen.Store(revision)
	return nil
}

// note takes note of a key that was put, if it concerns the copy.
func (m *mirror) note(kv *mvccpb.KeyValue) {
	if key := string(kv.Key); bucketFor(key) != "" {
		value := kv.Value
		if value == nil {
			value = []byte{}
		}
		m.pending[key] = copyChange{kv.ModRevision, value}
	}
}

// write writes what is pending. The copy is complete up to revision then.
func (m *mirror) write(revision int64) error {
	if err := m.dir.room(copyReserves * m.store.engine.(*embedded).reserve); err != nil {
		return err
	}
	if err := m.file.write(m.pending, revision); err != nil {
		return err
	}
	clear(m.pending)
	return nil
}

// follow writes what changes. It returns errReached when target is reached.
func (m *mirror) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(flushing)
	defer tick.Stop()
	target := int64(-1)
	changes := m.watch(ctx)
	for target < 0 || m.seen.Load() < target {
		select {
		case r, ok := <-changes:
			if !ok { // etcd closed it: go on from there
				sleep(ctx, rewatch)
				changes = m.watch(ctx)
				break
			}
			if err := m.take(ctx, r); err != nil {
				return err
			}
		case <-tick.C:
			if len(m.pending) > 0 {
				if err := m.write(m.seen.Load()); err != nil {
					return err
				}
			}
		case target = <-m.target:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := m.write(m.seen.Load()); err != nil {
		return err
	}
	return errReached
}

// watch begins after what is seen. Every key is watched: the revision of the copy is that
// of the store, whoever changed what.
func (m *mirror) watch(ctx context.Context) clientv3.WatchChan {
	return m.store.watcher.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(m.seen.Load()+1))
}

// take takes note of what etcd sent at once: whole revisions, in order.
func (m *mirror) take(ctx context.Context, r clientv3.WatchResponse) error {
	if err := r.Err(); err != nil {
		return explain(ctx, err)
	}
	for _, e := range r.Events {
		switch key := string(e.Kv.Key); {
		case bucketFor(key) == "":
		case e.Type == clientv3.EventTypeDelete:
			m.pending[key] = copyChange{revision: e.Kv.ModRevision}
		default:
			m.note(e.Kv)
		}
		m.seen.Store(e.Kv.ModRevision)
	}
	if len(m.pending) >= flushed {
		return m.write(m.seen.Load())
	}
	return nil
}

// finish lets the copy catch up to the last revision there will be, and tells whether it
// did. A mirror that is nil did not.
func (m *mirror) finish(revision int64) bool {
	if m == nil {
		return false
	}
	if m.seen.Load() == 0 { // it is being made, or was given up: nobody waits for that
		m.stop()
	}
	m.target <- revision
	return m.wait(finishing) && m.reached
}

// wait waits for the end of run, and calls it off when that takes too long. A disk that
// hangs may hang run: then nothing of it may be touched.
func (m *mirror) wait(patience time.Duration) bool {
	for range 2 {
		select {
		case <-m.ended:
			return true
		case <-time.After(patience):
			m.stop()
		}
	}
	return false
}

// end lets go of the copy when the store is closed. If it is exact it is put on disk, and
// then marked as such: from here on nothing may change.
func (m *mirror) end(exact bool) {
	if m == nil {
		return
	}
	m.stop()
	if !m.wait(finishing) || m.file == nil {
		return
	}
	if !exact {
		m.drop()
		return
	}
	state := m.file.state
	if err := m.seal(); err != nil {
		m.log.Warn("the next start waits for the store: its copy could not be finished", "err", err)
		return
	}
	m.log.Info("the copy of the store is exact", "revision", state.Revision)
}

// seal puts the copy on disk and marks it as exact.
func (m *mirror) seal() error {
	state, file := m.file.state, m.file
	synced := make(chan error, 1)
	go func() { synced <- errors.Join(file.sync(), file.close()) }()
	select {
	case err := <-synced:
		if err != nil {
			return err
		}
	case <-time.After(sealing):
		return errors.New("the disk is too slow")
	}
	return m.dir.putMark(state)
}

// CopyStatus is how far the copy of an embedded store is.
type CopyStatus struct {
	Revision int64 // of the store, as of which all of it was seen; 0 while there is none
	Opened   bool  // the store answered from its copy before it was open
}

// CopyStatus says how far the copy is.
func (o *Opening) CopyStatus() CopyStatus {
	s := CopyStatus{Opened: o.early != nil}
	if closed(o.opened) && o.mirror != nil {
		s.Revision = o.mirror.seen.Load()
	}
	return s
}
