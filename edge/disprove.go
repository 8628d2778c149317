package edge

import (
	"bytes"
	"cmp"
	"fmt"
)

// superseded says of a claim that it is out of date: what takes its place is a claim of its own.
const superseded = "superseded"

// disprove shakes hands with the edge as a client that takes the claim's certificate and no
// other, and returns what speaks against the claim, "" if nothing does.
func (e *Edge) disprove(c claim) string {
	s, why := e.holdings.presenting(c)
	if s == nil {
		return cmp.Or(why, superseded)
	}
	v := c.certificate.current.Load()
	if v == nil {
		return unreadableReason
	}
	host := e.index.anyHostOf(s)
	if host == "" {
		return "every name that its wildcard could be asked for by has a domain of its own"
	}
	if v.opened.Load() == nil {
		defer e.prover.keepFew(v)
	}
	x := &explanation{edge: e, project: s.project, tlcp: v.isSM2()}
	outcome, leaf, err := x.rehearsal(helloFor(v, host, max(e.cfg.MinTLS, s.minTLS)))
	if now, _ := e.holdings.presenting(c); now != s || c.certificate.current.Load() != v {
		return superseded
	}
	switch {
	case err != nil:
		return "no client hello can be made: " + err.Error()
	case outcome.Result != "ok":
		return fmt.Sprintf("a handshake ends with %s: %s", outcome.Result, cmp.Or(x.why, outcome.Reason))
	case x.decision.version != v:
		return "another version is presented"
	case leaf == nil: // encrypted: what crypto/tls was given to present stands for it
		leaf = x.decision.key.certificate.Certificate[0]
	}
	if !bytes.Equal(leaf, v.shownFirst()) {
		return "another leaf is presented"
	}
	return ""
}

// keptOpen is how many private keys keepFew keeps open.
const keptOpen = 64

// keepFew closes the keys that the edge has opened for itself, after a while and unless a client
// has used them since: they would fill the cache, and memory with it.
func (p *prover) keepFew(v *version) {
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
