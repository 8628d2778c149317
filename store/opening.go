package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"

	"lacre"
)

// Opening is an embedded store that may still be on its way up. Where an exact copy of it
// is there (decision 11), what an edge and a keyring ask is answered from that until the
// store is open, and from the store from then on; without one, all of it waits for the
// store. It is safe for concurrent use and every call ends with its context.
type Opening struct {
	log  *slog.Logger
	dir  *directory
	stop context.CancelFunc

	copy  *copyFile     // nil when no copy is believed at the start
	early *Store        // reads the copy; nil without
	check chan struct{} // closed when all of the copy has been compared with its checksums

	opened chan struct{} // closed when store or err is set
	store  *Store
	err    error

	once     sync.Once
	mistaken chan struct{} // closed when the copy is not believed any more

	mirror  *mirror // keeps a copy from now on; nil without
	watched func()  // tells it that the edge has loaded all; runs once
}

// Open locks the directory and begins to open the store in it, see Embedded. An error is
// one of the directory; those of the store come from Wait. Opening ends early when ctx does.
func Open(ctx context.Context, c EmbeddedConfig) (*Opening, error) {
	dir, err := openDirectory(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the data directory %s: %w", c.Dir, err)
	}
	o := &Opening{log: c.Log, dir: dir, check: make(chan struct{}), opened: make(chan struct{}), mistaken: make(chan struct{}), watched: func() {}}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	ctx, o.stop = context.WithCancel(ctx)
	if err := o.openCopy(ctx, c.Copy); err != nil {
		o.stop()
		return nil, errors.Join(fmt.Errorf("opening the data directory %s: %w", c.Dir, err), dir.unlock())
	}
	go func() {
		defer close(o.opened)
		if o.store, o.err = embeddedIn(ctx, c, dir); o.err == nil {
			o.compare(ctx)
			if c.Copy {
				o.keepCopy()
			}
		}
	}()
	return o, nil
}

// openCopy makes the copy answer if it is exact. Whatever else there is of one is deleted;
// so is one that is not wanted, since nobody would keep it exact.
func (o *Opening) openCopy(ctx context.Context, wanted bool) error {
	m, err := o.dir.takeMark()
	if undurable, ok := errors.AsType[*undurableError](err); ok {
		return undurable
	}
	if err == nil && wanted {
		go readAhead(ctx, o.dir.file(copyName))
		o.copy, err = believe(o.dir, m)
	}
	if o.copy == nil {
		close(o.check)
		if _, none := os.Stat(o.dir.file(etcdDir)); wanted && none == nil {
			o.log.Info("starting without the copy of the store", "reason", err)
		}
		if err := o.dir.dropCopy(); err != nil {
			o.log.Warn("the copy of the store cannot be deleted", "err", err)
		}
		return nil
	}
	o.early = newCopyStore(o.copy, o.log, func(err error) { o.Mistake(err) })
	go o.checkPairs(ctx)
	o.log.Info("starting from the copy of the store", "revision", o.copy.state.Revision)
	return nil
}

// believe opens the copy that a mark speaks of, if it is the one. What decides about names
// and trust is compared with its checksum first.
func believe(dir *directory, m mark) (*copyFile, error) {
	f, err := openCopyFile(dir.file(copyName), false)
	if err != nil {
		return nil, err
	}
	if err = f.is(m.Copy); err == nil {
		err = f.verify(policyBucket, func() error { return nil })
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// checkPairs compares the rest of the copy with its checksum, beside what is going on.
func (o *Opening) checkPairs(ctx context.Context) {
	defer close(o.check)
	err := o.copy.verify(pairBucket, func() error { return ctx.Err() })
	if err != nil && ctx.Err() == nil {
		o.Mistake(err)
	}
}

// Mistake says that the copy is not to be believed: what was served from it has to be
// dropped, see Confirm. It is false when there was none.
func (o *Opening) Mistake(reason error) bool {
	if o.early == nil {
		return false
	}
	o.once.Do(func() {
		o.log.Error("the copy of the store is not believed; it is asked itself", "err", reason)
		close(o.mistaken)
	})
	return true
}

// fromCopy tells whether answers come from the copy.
func (o *Opening) fromCopy() bool { return o.early != nil && !closed(o.mistaken) && !closed(o.opened) }

// FromCopy tells whether the store answered from its copy before it was open.
func (o *Opening) FromCopy() bool { return o.early != nil }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// compare looks whether the open store is the one that the copy is of, and no older.
func (o *Opening) compare(ctx context.Context) {
	if o.early == nil {
		return
	}
	if err := o.same(ctx); err != nil && ctx.Err() == nil {
		o.Mistake(err)
	}
}

// same compares the revision and the system's secrets: they are random, and only a change of
// the master key, which the copy has followed, wraps them again.
func (o *Opening) same(ctx context.Context) error {
	now, err := o.store.revision(ctx)
	if err != nil {
		return err
	}
	if at := o.copy.state.Revision; now < at {
		return fmt.Errorf("the store is at revision %d, its copy at %d", now, at)
	}
	theirs, err := o.store.secrets(ctx)
	if err != nil {
		return err
	}
	ours, err := o.early.secrets(ctx)
	if err != nil {
		return err
	}
	for name, value := range ours {
		if theirs[name] != value {
			return fmt.Errorf("the copy is of another store: %s differs", name)
		}
	}
	return nil
}

// Wait returns the store once it is open, or why it could not be opened.
func (o *Opening) Wait(ctx context.Context) (*Store, error) {
	select {
	case <-o.opened:
		return o.store, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", lacre.ErrUnavailable, ctx.Err())
	}
}

// Confirm returns nil once the store is open and is what was answered before, and
// lacre.ErrMistaken as soon as it is known that it is not: then everything has to be dropped
// and asked again. Any other error is that of Wait.
func (o *Opening) Confirm(ctx context.Context) error {
	for _, done := range []<-chan struct{}{o.opened, o.check} {
		select {
		case <-o.mistaken:
			return lacre.ErrMistaken
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if closed(o.mistaken) {
		return lacre.ErrMistaken
	}
	return o.err
}

// Close stops the opening, or closes the store.
func (o *Opening) Close() error {
	o.stop()
	<-o.opened
	<-o.check
	if o.err == nil {
		return o.store.Close()
	}
	if o.copy != nil {
		return o.copy.close()
	}
	return nil
}

// keepCopy has a copy kept from now on: the one there is, unless that is mistaken, or a new
// one. It begins when the edge has loaded everything.
func (o *Opening) keepCopy() {
	m := newMirror(o.store, o.dir, o.log)
	begin := make(chan struct{})
	o.mirror, o.watched = m, sync.OnceFunc(func() { close(begin) })
	o.store.engine.(*embedded).mirror = m
	go m.run(func(ctx context.Context) *copyFile {
		for _, done := range []<-chan struct{}{begin, o.check} {
			select {
			case <-done:
			case <-ctx.Done():
			}
		}
		if o.copy != nil && closed(o.mistaken) {
			o.copy.close()
			return nil
		}
		return o.copy
	})
}

// from is what answers now.
func (o *Opening) from(ctx context.Context) (*Store, error) {
	if o.fromCopy() {
		return o.early, nil
	}
	return o.Wait(ctx)
}

// answer asks whichever of the two answers now.
func answer[T any](ctx context.Context, o *Opening, ask func(*Store) (T, error)) (T, error) {
	s, err := o.from(ctx)
	if err != nil {
		var none T
		return none, err
	}
	return ask(s)
}

// AllDomains is Store.AllDomains.
func (o *Opening) AllDomains(ctx context.Context, visit func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error) {
	s, err := o.from(ctx)
	if err != nil {
		return 0, nil, err
	}
	return s.AllDomains(ctx, visit)
}

// AllVersions is Store.AllVersions.
func (o *Opening) AllVersions(ctx context.Context, wanted func(*lacre.Certificate) bool,
	visit func(projectID, certificateID string, l lacre.Latest) error) (int64, error) {
	return answer(ctx, o, func(s *Store) (int64, error) { return s.AllVersions(ctx, wanted, visit) })
}

// LatestVersions is Store.LatestVersions.
func (o *Opening) LatestVersions(ctx context.Context, projectID string, certificateIDs []string) ([]lacre.Latest, error) {
	return answer(ctx, o, func(s *Store) ([]lacre.Latest, error) { return s.LatestVersions(ctx, projectID, certificateIDs) })
}

// AllInstances is Store.AllInstances.
func (o *Opening) AllInstances(ctx context.Context) ([]*lacre.Instance, error) {
	return answer(ctx, o, func(s *Store) ([]*lacre.Instance, error) { return s.AllInstances(ctx) })
}

// HostDomains is Store.HostDomains.
func (o *Opening) HostDomains(ctx context.Context, instances []*lacre.Instance, hosts ...string) ([]*lacre.Domain, error) {
	return answer(ctx, o, func(s *Store) ([]*lacre.Domain, error) { return s.HostDomains(ctx, instances, hosts...) })
}

// LatestRevocations is Store.LatestRevocations.
func (o *Opening) LatestRevocations(ctx context.Context, projectID, certificateID string) (*lacre.Revocations, int64, error) {
	s, err := o.from(ctx)
	if err != nil {
		return nil, 0, err
	}
	return s.LatestRevocations(ctx, projectID, certificateID)
}

// Watch is Store.Watch once the store is open.
func (o *Opening) Watch(ctx context.Context, after int64) iter.Seq2[lacre.Change, error] {
	return func(yield func(lacre.Change, error) bool) {
		s, err := o.Wait(ctx)
		if err != nil {
			if ctx.Err() == nil {
				yield(lacre.Change{}, err)
			}
			return
		}
		o.watched()
		s.Watch(ctx, after)(yield)
	}
}

// Secret is Store.Secret. What the copy does not have is asked of the store.
func (o *Opening) Secret(ctx context.Context, name string) ([]byte, error) {
	if o.fromCopy() {
		if sealed, err := o.early.Secret(ctx, name); err == nil && sealed != nil {
			return sealed, nil
		}
	}
	s, err := o.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return s.Secret(ctx, name)
}

// DataKey is Store.DataKey. Before the store is open nothing is sealed, only opened: a key
// that the copy does not have belongs to a store that the copy is not of.
func (o *Opening) DataKey(ctx context.Context, projectID string) ([]byte, error) {
	if o.fromCopy() {
		wrapped, err := o.early.DataKey(ctx, projectID)
		if wrapped != nil || ctx.Err() != nil {
			return wrapped, err
		}
		o.Mistake(fmt.Errorf("the data key of project %s: %w", projectID, orDefault(err, lacre.ErrNotStored)))
	}
	s, err := o.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return s.DataKey(ctx, projectID)
}

// CreateSecret is Store.CreateSecret, once the store is open.
func (o *Opening) CreateSecret(ctx context.Context, name string, value []byte) ([]byte, error) {
	s, err := o.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return s.CreateSecret(ctx, name, value)
}

// CreateDataKey is Store.CreateDataKey, once the store is open.
func (o *Opening) CreateDataKey(ctx context.Context, projectID string, value []byte) ([]byte, error) {
	s, err := o.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return s.CreateDataKey(ctx, projectID, value)
}
