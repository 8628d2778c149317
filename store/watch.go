package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

const (
	rewatch = 200 * time.Millisecond // before a broken watch is taken up again
	// silence is how long a watch may bring nothing before the store is asked itself: a
	// watch that etcd's client has taken up again by itself is told of no progress until
	// something changes, and a cluster may tell of it every ten minutes only.
	silence = 3 * progress
)

// Watch yields every revision after the given one that changed something of a project,
// in order and exactly once, all records of one revision in one Change. It carries what
// an edge needs: domains, certificates and versions; other changes come as a Change
// without records, which only says how far the watch has come. While nothing changes, one
// with the revision that was reached comes again from time to time: the store was heard.
//
// A lost connection is taken up again from the last revision yielded. The sequence ends
// without an error when ctx ends; with lacre.ErrCompacted when history no longer reaches
// back to after, or the store is older than after (it was restored): load again; with
// lacre.ErrUnavailable when the store was closed or has given up.
func (s *Store) Watch(ctx context.Context, after int64) iter.Seq2[lacre.Change, error] {
	return func(yield func(lacre.Change, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		for {
			next, err := s.follow(ctx, after, yield)
			if errors.Is(err, errStopped) {
				return
			}
			if cause := context.Cause(s.life); cause != nil {
				yield(lacre.Change{}, fmt.Errorf("%w: %w", lacre.ErrUnavailable, cause))
				return
			}
			if ctx.Err() != nil {
				return
			}
			if errors.Is(err, lacre.ErrCompacted) {
				yield(lacre.Change{}, err)
				return
			}
			after = next
			if errors.Is(err, errSilent) {
				continue
			}
			s.log.WarnContext(ctx, "the watch broke off and is taken up again", "after", next, "err", err)
			sleep(ctx, rewatch)
		}
	}
}

var (
	errStopped = errors.New("nobody is watching any more")
	errSilent  = errors.New("the watch is silent although something has changed")
)

// follow yields changes until the watch breaks and returns the last revision yielded.
func (s *Store) follow(ctx context.Context, after int64, yield func(lacre.Change, error) bool) (int64, error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	now, err := s.revision(ctx)
	if err != nil {
		return after, err
	}
	if now < after { // etcd would wait in silence until it gets there
		return after, fmt.Errorf("%w: the store is at revision %d, before %d", lacre.ErrCompacted, now, after)
	}
	from := min(after+1, now) // etcd tells nothing of a watch that begins in the future
	responses := s.watcher.Watch(ctx, tenants, clientv3.WithPrefix(),
		clientv3.WithRev(from), clientv3.WithProgressNotify())
	quiet := time.NewTimer(s.silence)
	defer quiet.Stop()
	for asked := false; ; {
		select {
		case r, ok := <-responses:
			if !ok {
				return after, errors.New("the watch was closed")
			}
			if after, err = s.pass(ctx, r, after, yield); err != nil {
				return after, err
			}
			asked = false
		case <-quiet.C:
			if asked, err = s.hear(ctx, after, asked, yield); err != nil {
				return after, err
			}
		}
		quiet.Reset(s.silence)
	}
}

// pass yields what etcd sent of the revisions after the given one, and progress in any
// case. It returns the last revision yielded.
func (s *Store) pass(ctx context.Context, r clientv3.WatchResponse, after int64, yield func(lacre.Change, error) bool) (int64, error) {
	if err := r.Err(); err != nil {
		return after, explain(ctx, err)
	}
	for _, c := range s.changes(ctx, r) {
		if c.Revision < after || c.Revision == after && !r.IsProgressNotify() {
			continue
		}
		if !yield(c, nil) {
			return after, errStopped
		}
		after = c.Revision
	}
	return after, nil
}

// hear asks a store whose watch is silent how far it is, and yields that nothing has
// changed. What has may not concern this watch, as what nodes say of themselves: then the
// watch is asked how far it has come, and tells whether it was. One that does not answer is
// errSilent.
func (s *Store) hear(ctx context.Context, after int64, asked bool, yield func(lacre.Change, error) bool) (bool, error) {
	switch now, err := s.revision(ctx); {
	case err != nil:
		return asked, err
	case now == after && !yield(lacre.Change{Revision: now}, nil):
		return false, errStopped
	case now == after:
		return false, nil
	case asked:
		return true, errSilent
	}
	return true, s.watcher.RequestProgress(ctx)
}

// changes parts what etcd sent at once by revision. etcd never parts one revision over
// two responses (fragments, which would, are not asked for).
func (s *Store) changes(ctx context.Context, r clientv3.WatchResponse) []lacre.Change {
	if r.IsProgressNotify() {
		return []lacre.Change{{Revision: r.Header.Revision}}
	}
	var all []lacre.Change
	for _, e := range r.Events {
		if n := len(all); n == 0 || all[n-1].Revision != e.Kv.ModRevision {
			all = append(all, lacre.Change{Revision: e.Kv.ModRevision})
		}
		if key := string(e.Kv.Key); concernsEdge(key) {
			s.event(ctx, &all[len(all)-1], e)
		}
	}
	return slices.Clip(all)
}

// event adds one event to the change of its revision. A value that cannot be read is
// reported, never skipped: an edge must know that what it holds is out of date.
func (s *Store) event(ctx context.Context, c *lacre.Change, e *clientv3.Event) {
	if e.Type == clientv3.EventTypeDelete {
		if record := identify(string(e.Kv.Key)); record != nil {
			c.Deleted = append(c.Deleted, record)
		}
		return
	}
	record, unreadable := decode(e.Kv)
	switch {
	case unreadable == nil:
		c.Put = append(c.Put, record)
	case unreadable.Record == nil:
		s.log.WarnContext(ctx, "a foreign key is in the store", "key", unreadable.Key)
	default:
		c.Unreadable = append(c.Unreadable, unreadable)
	}
}

// revision returns the revision the store is at.
func (s *Store) revision(ctx context.Context) (int64, error) {
	found, err := s.get(ctx, root, clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("asking for the revision: %w", err)
	}
	return found.Header.Revision, nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
