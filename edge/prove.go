package edge

import (
	"context"
	"sync"
	"time"

	"lacre"
)

// prover has the edge shake hands with itself for every certificate and domain that has
// changed, so that what it reports to serve is what it was seen to present. Handshakes of
// clients, and answers of this node's API, never wait for it.
type prover struct {
	edge    *Edge
	wake    chan struct{}
	sampled sampler

	mu      sync.Mutex
	since   int64 // revision from which on changes are proven; 0 while everything is loaded
	queue   []*unproven
	queued  map[claim]struct{}
	again   []*unproven // that have failed: they are named as failing, and hold up nothing
	failing failures

	opened []*version // by the edge itself, oldest first; only run knows them
}

// claim is that a certificate is presented at a site, at any of its sites if that is nil.
type claim struct {
	certificate *served
	site        *site
}

// unproven is a claim that has to be proven before what came after a revision is.
type unproven struct {
	claim
	after int64
}

// Proving must not take the processor from those who want to be served: it rests restFactor
// times as long as it works, and not longer than longestProofRest.
const (
	restFactor       = 9
	longestProofRest = time.Second
)

func newProver(e *Edge) *prover {
	return &prover{edge: e, wake: make(chan struct{}, 1), queued: make(map[claim]struct{}), failing: newFailures()}
}

// stop has nothing proven until begin: everything is about to be loaded again, and nothing
// that was known of revisions holds any more.
func (p *prover) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = 0
	p.queue = nil
	clear(p.queued)
}

// begin has what changes from now on proven, since what was loaded until then is too much,
// and what is damaged.
func (p *prover) begin(revision int64, damaged []*served) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = revision
	for _, c := range damaged {
		p.enqueue(claim{certificate: c}, 0)
	}
	p.awake()
}

// add has a claim proven. It is called before the change that it comes from counts as
// applied.
func (p *prover) add(c claim) {
	after := p.edge.progress.revision()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since == 0 {
		return
	}
	p.enqueue(c, after)
	if c.site == nil { // what failed elsewhere may be over, too
		for s := range p.failing.why[c.certificate] {
			p.enqueue(claim{c.certificate, s}, after)
		}
	}
	p.awake()
}

func (p *prover) awake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// enqueue puts a claim at the end of the queue unless it is in it: the version that is current
// when its turn comes is the one that is looked at. It needs mu.
func (p *prover) enqueue(c claim, after int64) {
	if _, known := p.queued[c]; known {
		return
	}
	p.queued[c] = struct{}{}
	p.queue = append(p.queue, &unproven{c, after})
}

// run proves what is added until ctx ends, and from time to time again what failed.
func (p *prover) run(ctx context.Context) {
	again := time.NewTicker(p.edge.cfg.Timeouts.Retry)
	defer again.Stop()
	for {
		for p.one(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-again.C:
			p.retry()
		}
	}
}

// retry has proven again what failed, once all is proven that has changed.
func (p *prover) retry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, sites := range p.failing.why {
		for s := range sites {
			p.again = append(p.again, &unproven{claim: claim{c, s}})
		}
	}
}

// one proves one claim and rests, and tells whether there was one.
func (p *prover) one(ctx context.Context) bool {
	u := p.next()
	if u == nil || ctx.Err() != nil {
		return false
	}
	start := time.Now()
	why := p.edge.disprove(u.claim)
	took := time.Since(start)
	if p.note(u, why) {
		key := u.certificate.key
		p.sampled.warn(p.edge.log, "a certificate is not presented", "project", key.project, "certificate", key.id, "reason", why)
	}
	rest := pause{next: min(restFactor*took, longestProofRest)}
	return rest.wait(ctx) == nil
}

// next is the oldest claim, which stays at the head of the queue until note: until then
// nothing that came later is proven. Without one it is a claim that has failed before; nil
// if there is none either.
func (p *prover) next() (u *unproven) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.queue) > 0:
		u = p.queue[0]
		delete(p.queued, u.claim) // what changes from here on is a claim of its own
	case len(p.again) > 0:
		u, p.again = p.again[0], p.again[1:]
	}
	return u
}

// note takes a claim off the queue if it was there, and remembers why it fails, "" if it does
// not. It tells whether that is news of a failure.
func (p *prover) note(u *unproven, why string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 && p.queue[0] == u {
		p.queue = p.queue[1:]
	}
	anywhere := claim{certificate: u.certificate}
	switch {
	case why == unreachedReason: // that is so of the certificate, however many domains it has
		if u.site != nil {
			p.failing.remove(u.claim)
		}
		return p.failing.add(anywhere, why)
	case why == superseded && len(p.queue) > 0:
		return false // what failed before fails until what took its place is proven
	case why == "" || why == superseded:
		p.failing.remove(u.claim)
		if why == "" && p.failing.why[u.certificate][nil] == unreachedReason {
			p.failing.remove(anywhere)
		}
		return false
	}
	return p.failing.add(u.claim, why)
}

// Proof is what the edge knows to present, and what not. It does not wait.
func (e *Edge) Proof() lacre.Proof {
	s := e.progress.status() // first: a change is applied only after its claims were added
	e.prover.mu.Lock()
	defer e.prover.mu.Unlock()
	p := e.prover
	if p.since == 0 {
		return lacre.Proof{}
	}
	proof := p.failing.proof()
	proof.Revision, proof.Since = s.Changed, p.since
	if len(p.queue) > 0 {
		proof.Revision = min(s.Changed, p.queue[0].after)
	}
	return proof
}

// domain notes whether the record of a domain is damaged.
func (p *prover) domain(id, project string, damaged bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, was := p.failing.domains[id]; was == damaged {
		return
	}
	p.failing.stale = true
	if damaged {
		p.failing.domains[id] = project
	} else {
		delete(p.failing.domains, id)
	}
}

// unprovenClaims is how many claims wait.
func (p *prover) unprovenClaims() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// failingCertificates is how many fail.
func (p *prover) failingCertificates() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.failing.why)
}
