package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"lacre"
	"lacre/keypair"
)

// certificate returns a certificate, empty if nobody held it before. It needs mu.
func (h *holdings) certificate(key certificateKey) *served {
	c := h.certificates[key]
	if c == nil {
		c = &served{key: certificateKey{key.project, strings.Clone(key.id)}}
		h.certificates[c.key] = c
	}
	return c
}

// acquire returns a certificate for one more site. It needs mu.
func (h *holdings) acquire(key certificateKey) *served {
	c := h.certificate(key)
	c.refs++
	return c
}

// release gives back what acquire gave to s. A certificate that no site names any more
// is forgotten. It needs mu.
func (h *holdings) release(s *site) {
	for _, c := range s.slots {
		c.unnamed(s)
		if c.refs--; c.refs == 0 {
			h.drop(c)
		}
	}
}

// drop forgets a certificate and closes its key. It needs mu.
func (h *holdings) drop(c *served) {
	delete(h.certificates, c.key)
	delete(h.damaged, "certificate/"+c.key.id)
	delete(h.damaged, "crl/"+c.key.id)
	h.edge.keys.drop(c.current.Load())
}

// What tenants are told of why a certificate is not presented. The log says more.
const (
	unreadableReason = "its newest version cannot be read, or the private key of that not be opened"
	unreachedReason  = "no client can ask for it: HTTPS is off for its domains, or their names are other domains'"
)

// presenting returns a site that is to present the certificate of a claim: the claim's own,
// or any other one. Without one it says why, nothing if the claim is out of date.
func (h *holdings) presenting(c claim) (s *site, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := c.certificate
	switch {
	case h.certificates[of.key] != of, c.site != nil && h.sites[c.site.id] != c.site:
		return nil, ""
	case h.damaged["certificate/"+of.key.id].certificate == of:
		return nil, unreadableReason
	case c.site != nil && h.serves(c.site):
		return c.site, ""
	case h.serves(of.site):
		return of.site, ""
	}
	for s := range of.more {
		if h.serves(s) {
			delete(of.more, s) // the same one the next time
			of.more[of.site] = struct{}{}
			of.site = s
			return s, ""
		}
	}
	return nil, unreachedReason
}

// serves tells whether clients can come to a site. It needs mu.
func (h *holdings) serves(s *site) bool {
	return s != nil && !s.noHTTPS && h.sites[s.id] == s && h.edge.index.serving(s.host) == s
}

// claimHost has it proven that whoever serves a host now presents its certificates.
func (h *holdings) claimHost(host string) {
	if s := h.edge.index.serving(host); s != nil {
		h.claim(s)
	}
}

func (h *holdings) claim(s *site) {
	for _, c := range s.slots {
		h.edge.prover.add(claim{c, s})
	}
}

// fetch reads the newest readable version of c and serves it where takes allows.
func (h *holdings) fetch(ctx context.Context, c *served, takes takes) error {
	return h.fetchAll(ctx, []*served{c}, takes)
}

// fetchAll is fetch of many, in one request for each project.
func (h *holdings) fetchAll(ctx context.Context, all []*served, takes takes) error {
	byProject := make(map[string][]*served)
	for _, c := range all {
		byProject[c.key.project] = append(byProject[c.key.project], c)
	}
	for project, some := range byProject {
		ids := make([]string, len(some))
		for i, c := range some {
			ids[i] = c.key.id
		}
		latest, err := h.edge.cfg.Feed.LatestVersions(ctx, project, ids)
		if err != nil {
			return fmt.Errorf("reading certificates: %w", err)
		}
		for i, l := range latest {
			if err := h.received(ctx, some[i], l, takes); err != nil {
				return err
			}
		}
	}
	return nil
}

// received serves what was read of c where takes allows. A certificate that cannot be read
// is marked damaged and is no error: it concerns nobody else.
func (h *holdings) received(ctx context.Context, c *served, l lacre.Latest, takes takes) error {
	for _, bad := range l.Damaged {
		h.markCertificate(c, 0, numberOf(bad), bad)
	}
	switch {
	case isDamage(l.Err):
		h.markCertificate(c, 0, 0, l.Err)
		return nil
	case l.Err != nil:
		return fmt.Errorf("reading certificate %s: %w", c.key.id, l.Err)
	case len(l.Damaged) > 0: // it is the best of what is left: never go back to it
		_, err := h.offer(ctx, c, l.Version, newer)
		return err
	}
	return h.offerNewest(ctx, c, l.Version, takes)
}

// isDamage tells an error about one certificate from one about the whole store. A
// binding whose certificate does not exist is damage of that kind, too.
func isDamage(err error) bool {
	_, unreadable := errors.AsType[*lacre.UnreadableError](err)
	return unreadable || errors.Is(err, lacre.ErrNotStored)
}

// rotate serves v from now on if its certificate is held.
func (h *holdings) rotate(ctx context.Context, v *lacre.Version) error {
	h.mu.Lock()
	c := h.certificates[certificateKey{v.ProjectID, v.CertificateID}]
	h.mu.Unlock()
	if c == nil {
		return nil
	}
	return h.offerNewest(ctx, c, v, newer)
}

// offerNewest is offer of a version that is known to be the newest. Earlier damage is over
// once it is served, and not before.
func (h *holdings) offerNewest(ctx context.Context, c *served, v *lacre.Version, takes takes) error {
	current, err := h.offer(ctx, c, v, takes)
	if current {
		h.undamaged(c, v.Number)
	}
	return err
}

// takes says whether an offered version takes the place of the one that is served.
type takes func(old *version, v *lacre.Version) bool

// newer is the rule while changes are followed: numbers only grow.
func newer(old *version, v *lacre.Version) bool { return v.Number > old.number }

// different is the rule when everything is loaded again: a store that was restored
// from a backup may have gone back, and given a number to another version since.
func different(old *version, v *lacre.Version) bool {
	return v.Number != old.number || !bytes.Equal(v.Chain[0], old.leaf) || !bytes.Equal(v.SealedKey, old.sealedKey) ||
		old.signing.differs(v) || old.staple.differs(v)
}

// offer makes v the current version of c where takes allows. When v supersedes
// another, its key is opened first: one that does not open, or does not belong to its
// leaf, never takes the place of one that works. It tells whether v is served then, or was
// before, or something that takes prefers.
func (h *holdings) offer(ctx context.Context, c *served, v *lacre.Version, takes takes) (current bool, err error) {
	if len(v.Chain) == 0 || v.Facts.Algorithm == keypair.SM2 && len(v.SignChain) == 0 {
		h.markCertificate(c, v.Revision, v.Number, errors.New("the version has no leaf"))
		return false, nil
	}
	old := c.current.Load()
	if old != nil && !takes(old, v) {
		return true, nil
	}
	next := newVersion(c, v, &h.bundles)
	if old != nil {
		if _, err := h.edge.keys.openCold(ctx, next); err != nil {
			h.markCertificate(c, v.Revision, v.Number, err)
			return false, ctx.Err()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	old = c.current.Load()
	if h.certificates[c.key] != c || (old != nil && !takes(old, v)) {
		h.edge.keys.drop(next)
		return true, nil
	}
	c.current.Store(next)
	h.edge.keys.drop(old)
	if old != nil { // else install is about to add one, or undamaged does
		h.edge.prover.add(claim{certificate: c})
	}
	if old != nil && old.roots != next.roots {
		h.edge.changed(subject{certificate: c})
	}
	return true, nil
}
