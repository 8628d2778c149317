package edge

import (
	"context"
	"crypto/tls"
	"time"
)

// decision is what the edge makes of a client hello: whose site, and which key pair. A
// hello that came in over another transport than TCP gets the same one.
type decision struct {
	site    *site    // nil when refused
	version *version // of key
	key     *opened
	refused outcome // succeeded when there is a key pair to present
}

// handshaken is what a handshake settled about its connection, for the requests that
// follow.
type handshaken struct {
	site *site
	who  *verified // the client, once it was verified; nil if that was not asked for
}

// handshaken is what a handshake of TLS or TLCP will have settled if the client proves who
// it is.
func (d decision) handshaken(tlcp bool, now time.Time) handshaken {
	h := handshaken{site: d.site}
	if d.refused == succeeded && d.site.verifyClient {
		t := d.site.trust(d.version)
		h.who = &verified{tlcp: tlcp, roots: t.roots, lists: digestsOf(t.lists), until: now}
	}
	return h
}

// decide is the one way from a client hello to a key pair. It reads the offers of the
// hello, never its connection.
func (e *Edge) decide(hello *tls.ClientHelloInfo) decision {
	return e.decideFor(e.find(context.Background(), hello.ServerName), hello, nil)
}

// decideFor is decide once the site of the name is known, nil for none. What it weighs
// is shown to weighed, if that is there.
func (e *Edge) decideFor(s *site, hello *tls.ClientHelloInfo, weighed func(candidate)) decision {
	if s == nil || s.noHTTPS {
		return decision{refused: unrecognizedName}
	}
	best := e.choose(s, hello, weighed)
	switch {
	case best.key == nil && s.forTLS == 0 && len(s.slots) > 0:
		return decision{refused: handshakeFailure} // SM2 only
	case best.key == nil:
		return decision{refused: noCertificate}
	}
	return decision{site: s, version: best.version, key: best.key}
}

// candidate is one certificate of a site and what speaks for it with one client.
type candidate struct {
	served   *served
	version  *version // nil when no readable one is known
	key      *opened  // nil when it cannot be opened
	unfit    error    // why the client cannot use it
	outdated bool     // expired, or not valid yet
	bare     bool     // it demands an OCSP staple, and the one it has is past its end
}

// choose returns the site's best candidate for this client: one whose key and algorithm
// the client supports, then one that is valid now and can be stapled if it has to be, then
// ECC before RSA. Within a
// certificate there is no choice, its newest version is the one. One whose key cannot
// be opened is passed over.
func (e *Edge) choose(s *site, hello *tls.ClientHelloInfo, weighed func(candidate)) (best candidate) {
	// A binding is what says that a certificate serves the site; without a name
	// SupportsCertificate does not compare it with the leaf once more.
	hello.ServerName = ""
	for _, slot := range s.slots[:s.forTLS] {
		c := e.candidate(slot)
		if c.version != nil && c.version.isSM2() {
			continue // it became so just now; the domain's record follows
		}
		if c.key != nil && (s.forTLS > 1 || weighed != nil) {
			c.unfit = hello.SupportsCertificate(&c.key.certificate)
			now := e.cfg.Now()
			c.outdated = !c.version.validAt(now)
			c.bare = c.key.mustStaple && !c.version.staple.freshAt(now)
		}
		if weighed != nil {
			weighed(c)
		}
		if c.key != nil && (best.key == nil || c.rank() > best.rank()) {
			best = c
		}
	}
	return best
}

// candidate opens the key of a certificate's current version.
func (e *Edge) candidate(slot *served) candidate {
	c := candidate{served: slot, version: slot.current.Load()}
	if c.version == nil {
		return c
	}
	var err error
	if c.key, err = e.keys.open(c.version); err != nil {
		e.sampled.error(e.log, "a private key cannot be opened", "err", err)
	}
	return c
}

// rank compares two candidates for one client. Support counts for more than validity:
// an expired certificate leaves the decision to the client, an alert does not.
func (c *candidate) rank() (rank int) {
	if c.unfit == nil {
		rank += 2
	}
	if !c.outdated && !c.bare {
		rank++
	}
	return rank
}
