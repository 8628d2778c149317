package edge

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"sync"
	"time"

	"lacre"
)

// Feed is where an edge learns what to serve; *store.Store is one. It is safe for
// concurrent use and every call ends with its context.
type Feed interface {
	// AllDomains visits every domain as of one revision and returns that revision.
	// Domains that cannot be read are left out and returned in unreadable.
	AllDomains(ctx context.Context, visit func(*lacre.Domain) error) (
		revision int64, unreadable []*lacre.UnreadableError, err error)
	// AllVersions visits what LatestVersions says of every certificate that is wanted, as
	// of one revision, which it returns. visit is called by several goroutines. Of the
	// certificates that wanted is asked about, only some fields are filled in, see store.
	AllVersions(ctx context.Context, wanted func(*lacre.Certificate) bool,
		visit func(projectID, certificateID string, l lacre.Latest) error) (revision int64, err error)
	// LatestVersions returns, for each of the certificates of one project, the newest
	// readable version and which newer ones are damaged, or lacre.ErrNotStored. The error
	// is one of the Feed as a whole.
	LatestVersions(ctx context.Context, projectID string, certificateIDs []string) ([]lacre.Latest, error)
	// AllInstances returns every instance; only its ids are used.
	AllInstances(ctx context.Context) ([]*lacre.Instance, error)
	// HostDomains returns the readable domains that claim one of the canonical hosts in one
	// of the instances.
	HostDomains(ctx context.Context, instances []*lacre.Instance, hosts ...string) ([]*lacre.Domain, error)
	// LatestRevocations returns the revocation lists of a certificate, nil when it has
	// none, and the revision as of which that is so.
	LatestRevocations(ctx context.Context, projectID, certificateID string) (
		r *lacre.Revocations, revision int64, err error)
	// Watch yields every change after a revision, in order, without gaps, until ctx
	// ends or an error, lacre.ErrCompacted when changes after that revision are gone. A
	// Change without records and news says that the Feed was heard.
	Watch(ctx context.Context, after int64) iter.Seq2[lacre.Change, error]
}

// Follow loads everything the Feed has and applies its changes until ctx ends; it
// returns ctx's error. While the Feed fails, the edge goes on serving what it knows
// and tries again.
func (e *Edge) Follow(ctx context.Context) error {
	if err := e.begin(ctx); err != nil {
		return err
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beside.Go(func() { e.sweep(ctx) })
	beside.Go(func() { e.prover.run(ctx) })
	for pause := e.pause(); ; {
		before := e.progress.revision()
		err := e.watch(ctx)
		e.progress.disconnected()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.metrics.watchRestarts.Inc()
		e.log.Warn("watch ended; serving what is known", "err", err, "revision", e.progress.revision())
		if errors.Is(err, lacre.ErrCompacted) {
			e.prover.stop()
			if err := e.load(ctx, true); err != nil {
				return err
			}
			e.prover.begin(e.progress.revision(), e.holdings.damagedCertificates())
		}
		if e.progress.revision() > before {
			pause = e.pause()
		}
		if err := pause.wait(ctx); err != nil {
			return err
		}
	}
}

// begin loads everything for the first time and has it confirmed. What turns out to be
// mistaken is dropped at once, also while more of it is being loaded.
func (e *Edge) begin(ctx context.Context) error {
	trying, giveUp := context.WithCancel(ctx)
	defer giveUp()
	verdict := make(chan error, 1)
	go func() {
		err := e.confirm(ctx)
		if err != nil {
			giveUp()
		}
		verdict <- err
	}()
	loaded := e.load(trying, false)
	err := <-verdict
	if errors.Is(err, lacre.ErrMistaken) {
		e.log.Error("what was loaded is not what the store holds; it is dropped and loaded again")
		e.drop()
		loaded, err = e.load(ctx, false), nil
	}
	if err = errors.Join(loaded, err); err == nil {
		e.prover.begin(e.progress.revision(), e.holdings.damagedCertificates())
		e.progress.confirmed(e.cfg.Now())
	}
	return err
}

// confirm asks Confirm until it says yes or ErrMistaken, or ctx ends.
func (e *Edge) confirm(ctx context.Context) error {
	if e.cfg.Confirm == nil {
		return nil
	}
	for pause := e.pause(); ; {
		err := e.cfg.Confirm(ctx)
		if err == nil || errors.Is(err, lacre.ErrMistaken) {
			return err
		}
		e.log.Warn("what is served could not be confirmed; will try again", "err", err)
		if err := pause.wait(ctx); err != nil {
			return err
		}
	}
}

// drop forgets all that was loaded and looked up: names are looked up again from now on.
func (e *Edge) drop() {
	e.progress.dropped()
	e.finder.reset()
	e.holdings.clear()
}

// load reconciles until it succeeds and then declares its revision applied. It is the last
// word unless it is the first one: then all that can be known already was looked up since,
// and must not go back.
func (e *Edge) load(ctx context.Context, last bool) error {
	for pause := e.pause(); ; {
		revision, err := e.loadOnce(ctx, last)
		if err == nil {
			e.progress.loaded(revision, e.cfg.Now())
			e.log.Info("loaded", "revision", revision, "sites", e.index.len())
			return nil
		}
		e.log.Warn("loading failed; will try again", "err", err)
		if err := pause.wait(ctx); err != nil {
			return err
		}
	}
}

func (e *Edge) loadOnce(ctx context.Context, last bool) (revision int64, err error) {
	if !last {
		if err := e.finder.open(ctx); err != nil {
			return 0, fmt.Errorf("reading the instances: %w", err)
		}
		e.progress.serving()
	}
	return e.holdings.reconcile(ctx, last)
}

// watch applies changes until the watch ends or one cannot be applied. The revision
// never moves past a change that was not applied, so the next watch repeats it.
func (e *Edge) watch(ctx context.Context) error {
	e.progress.connected()
	for change, err := range e.cfg.Feed.Watch(ctx, e.progress.revision()) {
		if err != nil {
			return err
		}
		if err := e.holdings.apply(ctx, change); err != nil {
			return fmt.Errorf("applying revision %d: %w", change.Revision, err)
		}
		e.progress.advance(change, e.cfg.Now())
	}
	return errors.New("the watch ended without an error")
}

func (e *Edge) pause() *pause {
	return &pause{next: min(50*time.Millisecond, e.cfg.Timeouts.Retry), most: e.cfg.Timeouts.Retry}
}

// pause doubles from one wait to the next.
type pause struct{ next, most time.Duration }

func (p *pause) wait(ctx context.Context) error {
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	p.next = min(2*p.next, p.most)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// progress is how far the edge has come, and who waits for it.
type progress struct {
	ready chan struct{}

	mu    sync.Mutex
	state Status        // only what progress knows of it
	moved chan struct{} // closed and replaced when Revision moves; nil when nobody waits
}

func newProgress() progress { return progress{ready: make(chan struct{})} }

func (p *progress) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

func (p *progress) revision() int64 { return p.status().Revision }

// serving takes note that any name can be served, if need be after looking it up.
func (p *progress) serving() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Serving = true
}

func (p *progress) connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Connected = true
}

func (p *progress) disconnected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Connected = false
}

// loaded is advance after everything was loaded: the revision is what was loaded, even
// if it is lower than before.
func (p *progress) loaded(revision int64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Revision, p.state.Changed = 0, revision // a restored store may have gone back
	p.move(revision, now)
}

// confirmed takes note that what was loaded first is what the store holds.
func (p *progress) confirmed(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Ready = true
	close(p.ready)
	p.move(p.state.Revision, now)
}

// dropped takes note that nothing is known any more.
func (p *progress) dropped() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Serving, p.state.Revision, p.state.Changed = false, 0, 0
}

func (p *progress) advance(change lacre.Change, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(change.Put)+len(change.Deleted)+len(change.Unreadable) > 0 {
		p.state.Changed = max(p.state.Changed, change.Revision)
	}
	p.move(change.Revision, now)
}

// move sets the revision, which never goes back here, and wakes who waits. It needs mu.
func (p *progress) move(revision int64, now time.Time) {
	p.state.Contact = now
	p.state.Revision = max(p.state.Revision, revision)
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// reached tells whether revision is applied; if not, the channel is closed at the
// next move.
func (p *progress) reached(revision int64) (bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Ready && p.state.Revision >= revision {
		return true, nil
	}
	if p.moved == nil {
		p.moved = make(chan struct{})
	}
	return false, p.moved
}

// wait returns once the revision is applied. Every move wakes every waiter; there are
// as many as modifications under way.
func (p *progress) wait(ctx, stopped context.Context, revision int64) error {
	for {
		done, moved := p.reached(revision)
		if done {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("waiting for revision %d: %w", revision, ctx.Err())
		case <-stopped.Done():
			return fmt.Errorf("waiting for revision %d: %w", revision, net.ErrClosed)
		}
	}
}
