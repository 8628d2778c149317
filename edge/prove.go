package edge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"lacre"
	"lacre/keypair"
	"lacre/tlcp"
)

// prover has the edge shake hands with itself for every certificate and domain that has
// changed, so that what it reports to serve is what it was seen to present. Handshakes of
// clients, and answers of this node's API, never wait for it.
type prover struct {
	edge *Edge
	wake chan struct{}

	mu      sync.Mutex
	since   int64 // revision from which on changes are proven; 0 before the first load
	queue   []unproven
	queued  map[claim]struct{}
	failing map[*served]map[*site]string // why, for each claim

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
	keptOpen         = 64 // private keys, see leave
	longestProofRest = 100 * time.Millisecond
)

func newProver(e *Edge) *prover {
	return &prover{edge: e, wake: make(chan struct{}, 1), queued: make(map[claim]struct{}), failing: make(map[*served]map[*site]string)}
}

// begin has what changes from now on proven: what was loaded until then is too much.
func (p *prover) begin(revision int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = revision
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
		p.enqueueFailing(c.certificate, after)
	}
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
	p.queue = append(p.queue, unproven{c, after})
}

// enqueueFailing is enqueue of what failed for a certificate. It needs mu.
func (p *prover) enqueueFailing(c *served, after int64) {
	for s := range p.failing[c] {
		p.enqueue(claim{c, s}, after)
	}
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

// one proves the oldest claim and rests, and tells whether there was one.
func (p *prover) one(ctx context.Context) bool {
	p.mu.Lock()
	if len(p.queue) == 0 || ctx.Err() != nil {
		p.mu.Unlock()
		return false
	}
	c := p.queue[0].claim
	delete(p.queued, c) // what changes from here on is a claim of its own
	p.mu.Unlock()
	start := time.Now()
	why := p.edge.disprove(c)
	took := time.Since(start)
	p.note(c, why)
	rest := pause{next: min(restFactor*took, longestProofRest)}
	return rest.wait(ctx) == nil
}

func (p *prover) note(c claim, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue[0] = unproven{} // lets go of the site
	p.queue = p.queue[1:]
	of := p.failing[c.certificate]
	switch {
	case why == "":
		delete(of, c.site)
		if len(of) == 0 {
			delete(p.failing, c.certificate)
		}
		return
	case of == nil:
		of = make(map[*site]string)
		p.failing[c.certificate] = of
	}
	if of[c.site] != why {
		p.edge.log.Error("a certificate is not presented", "project", c.certificate.key.project, "certificate", c.certificate.key.id, "reason", why)
	}
	of[c.site] = why
}

// retry has proven again what failed.
func (p *prover) retry() {
	after := p.edge.progress.revision()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.failing {
		p.enqueueFailing(c, after)
	}
}

// proof is Edge.Proof for what was applied, which was asked for before: a change is applied
// only after its claims were added.
func (p *prover) proof(applied int64) lacre.Proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	proof := lacre.Proof{Revision: applied, Since: p.since}
	if len(p.queue) > 0 {
		proof.Revision = min(applied, p.queue[0].after)
	}
	for c, sites := range p.failing {
		if len(proof.Failing) == lacre.MaxFailing {
			break
		}
		for _, why := range sites {
			proof.Failing = append(proof.Failing, lacre.Failing{CertificateID: c.key.id, Reason: why})
			break // one reason is enough
		}
	}
	proof.Unlisted = len(p.failing) - len(proof.Failing)
	return proof
}

// Proof implements lacre.Edge.
func (e *Edge) Proof() lacre.Proof {
	s := e.progress.status()
	if !s.Ready {
		return lacre.Proof{}
	}
	proof := e.prover.proof(s.Revision)
	e.holdings.addFailing(&proof)
	slices.SortFunc(proof.Failing, func(a, b lacre.Failing) int { return strings.Compare(a.CertificateID, b.CertificateID) })
	return proof
}

// disprove shakes hands with the edge as a client that takes the claim's certificate and no
// other, and returns what speaks against the claim, "" if nothing does. A certificate that
// nobody can ask for, or of which no version is known (see damage), disproves nothing.
func (e *Edge) disprove(c claim) string {
	s, v := e.holdings.presenting(c), c.certificate.current.Load()
	if s == nil || v == nil {
		return ""
	}
	if v.opened.Load() == nil {
		defer e.prover.leave(v)
	}
	x := &explanation{edge: e, project: s.project, tlcp: v.isSM2()}
	outcome, leaf, err := x.rehearsal(helloFor(v, s, max(e.cfg.MinTLS, s.minTLS)))
	now := c.certificate.current.Load()
	switch got := x.decision.version; {
	case now != v || e.holdings.presenting(c) != s:
		return "" // it has changed meanwhile, and is proven anew
	case err != nil:
		return "no client hello can be made: " + err.Error()
	case outcome.Result != "ok":
		return fmt.Sprintf("a handshake ends with %s: %s", outcome.Result, cmp.Or(x.why, outcome.Reason))
	case got != v:
		return "another certificate is presented"
	case leaf == nil: // encrypted: what crypto/tls was given to present stands for it
		leaf = x.decision.key.certificate.Certificate[0]
	}
	if !bytes.Equal(leaf, v.shownFirst()) {
		return "another leaf is presented"
	}
	return ""
}

// leave closes the keys that the edge has opened for itself, after a while and unless a client
// has used them since: they would fill the cache, and memory with it.
func (p *prover) leave(v *version) {
	if o := v.opened.Load(); o != nil {
		o.used.Store(false)
		p.opened = append(p.opened, v)
	}
	if len(p.opened) <= keptOpen {
		return
	}
	oldest := p.opened[0]
	p.opened = append(p.opened[:0], p.opened[1:]...)
	if o := oldest.opened.Load(); o != nil && !o.used.Load() {
		p.edge.keys.close(oldest)
	}
}

// shownFirst is the leaf that is the first certificate on the wire: of SM2's two the signing
// one (GB/T 38636-2020, 6.4.5.4).
func (v *version) shownFirst() []byte {
	if v.isSM2() {
		return v.signing.leaf
	}
	return v.leaf
}

// helloFor is the hello of a client that takes certificates of v's kind only. It speaks the
// lowest version that the site does: up to TLS 1.2 the certificate is there to be read.
func helloFor(v *version, s *site, lowest uint16) lacre.ClientHello {
	host := s.host
	if rest, wildcard := strings.CutPrefix(host, "*"); wildcard {
		host = "lacre-looks-at-itself" + rest
	}
	h := lacre.ClientHello{ServerName: host, Versions: []uint16{lowest}}
	switch v.algorithm {
	case keypair.SM2:
		h.Versions, h.CipherSuites = []uint16{lacre.VersionTLCP}, []uint16{tlcp.ECC_SM4_GCM_SM3}
	case keypair.RSA:
		h.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		h.SignatureAlgorithms = []uint16{uint16(tls.PSSWithSHA256), uint16(tls.PSSWithSHA384), uint16(tls.PSSWithSHA512), uint16(tls.PKCS1WithSHA256)}
	default:
		h.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		h.SignatureAlgorithms = []uint16{uint16(tls.ECDSAWithP256AndSHA256), uint16(tls.ECDSAWithP384AndSHA384), uint16(tls.ECDSAWithP521AndSHA512)}
	}
	if lowest == tls.VersionTLS13 && v.algorithm != keypair.SM2 {
		h.CipherSuites = []uint16{tls.TLS_AES_128_GCM_SHA256}
	}
	return h
}
