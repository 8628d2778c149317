package edge

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"lacre"
)

// holdings is what the edge holds of the store: sites by domain, certificates by
// binding. Its mutex orders writers (watch and compare); handshakes and requests read
// the index and the atomic pointers and never come here.
type holdings struct {
	edge    *Edge
	bundles bundles

	comparing sync.Mutex // one compare at a time
	upstreams upstreams

	mu           sync.Mutex
	sites        map[string]*site // by domain id
	certificates map[certificateKey]*served
	damaged      map[string]damage // by "domain/<id>", "certificate/<id>" or "crl/<id>"
	removed      map[string]int64  // domains removed while a compare runs, with the revision; else nil
	round        uint32            // of the compare that runs, or ran last
	names        map[string]string // ids of projects and instances, held once
}

func newHoldings(e *Edge) *holdings {
	return &holdings{
		edge: e, sites: make(map[string]*site),
		certificates: make(map[certificateKey]*served), damaged: make(map[string]damage), names: make(map[string]string),
	}
}

// counts is for Status: how many certificates are held, how many records are damaged.
func (h *holdings) counts() (certificates, damaged int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.certificates), len(h.damaged)
}

// apply makes one change visible to handshakes. An error means that the change was
// not applied as a whole and must be applied again; doing so twice is harmless.
func (h *holdings) apply(ctx context.Context, change lacre.Change) error {
	for _, bad := range change.Unreadable {
		h.markUnreadable(bad, change.Revision)
	}
	for _, record := range change.Put {
		var err error
		switch r := record.(type) {
		case *lacre.Version:
			err = h.rotate(ctx, r)
		case *lacre.Revocations:
			h.revoke(certificateKey{r.ProjectID, r.CertificateID}, r, r.Revision)
		case *lacre.Domain:
			err = h.putDomain(ctx, r, false)
		}
		if err != nil {
			return err
		}
	}
	for _, record := range change.Deleted { // last: a host that moves is never without a site
		switch r := record.(type) {
		case *lacre.Domain:
			h.removeDomain(r.ID, change.Revision)
		case *lacre.Revocations:
			h.revoke(certificateKey{r.ProjectID, r.CertificateID}, nil, change.Revision)
		}
	}
	return nil
}

// putDomain serves d from now on, unless something newer is known of it. reread says that
// its certificates are read although they are held: no watch has kept them up to date.
func (h *holdings) putDomain(ctx context.Context, d *lacre.Domain, reread bool) error {
	h.mu.Lock()
	if h.elsewhere(d) {
		h.mu.Unlock()
		return nil
	}
	// The certificates are acquired before they are read: a version that arrives
	// meanwhile finds its certificate held and is not lost.
	next := h.newSite(d)
	h.mu.Unlock()
	for _, c := range next.slots {
		if err := h.complete(ctx, c, next.verifyClient, reread); err != nil {
			h.mu.Lock()
			h.release(next)
			h.mu.Unlock()
			return err
		}
	}
	h.install(next, false)
	return nil
}

// elsewhere tells whether d is none of this edge's business. It needs mu.
func (h *holdings) elsewhere(d *lacre.Domain) bool {
	if h.edge.cfg.Instance == "" || d.InstanceID == h.edge.cfg.Instance {
		return false
	}
	h.readable(d.ID) // its instance is known only now
	return true
}

// complete reads of a certificate what is not known yet and a site is to be served with.
func (h *holdings) complete(ctx context.Context, c *served, verifies, reread bool) error {
	if reread || c.current.Load() == nil {
		if err := h.fetch(ctx, c, newer); err != nil {
			return err
		}
	}
	if x := c.revoked.Load(); verifies && (reread || x == nil || x.unread) {
		return h.fetchRevocations(ctx, c, false)
	}
	return nil
}

// install publishes next and lets go of what it replaces. A site that is known to be
// out of date, or was removed while it was being read, is let go of itself.
func (h *holdings) install(next *site, last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.sites[next.id]
	known := old != nil && old.revision >= next.revision
	if old != nil { // whichever of the two stays, this compare may have seen the other one
		next.seen = max(next.seen, old.seen)
		old.seen = next.seen
	}
	if _, gone := h.removed[next.id]; gone || (known && !last) {
		h.release(next)
		return
	}
	h.sites[next.id] = next
	if last || h.damaged["domain/"+next.id].at <= next.revision {
		h.readable(next.id)
	}
	for _, c := range next.slots {
		c.named(next)
	}
	h.claim(next)
	if was := h.edge.index.serving(next.host); was != nil && was.id != next.id {
		defer h.edge.changed(subject{domain: was.id}) // a name of its own, or an older claim
	}
	defer h.edge.changed(subject{domain: next.id})
	if serving, claims := h.edge.index.put(next); claims > 1 {
		h.edge.log.Warn("host is claimed more than once; the oldest domain is served",
			"host", next.host, "served", serving.id, "claims", claims)
	}
	if old == nil {
		return
	}
	if old.host != next.host {
		h.edge.index.remove(old)
		h.claimHost(old.host)
	}
	h.release(old)
}

// removeDomain stops serving a domain, which is gone as of a revision; whoever else claims its
// host takes over.
func (h *holdings) removeDomain(id string, revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.removed != nil {
		h.removed[id] = revision
	}
	h.readable(id)
	if old := h.sites[id]; old != nil {
		delete(h.sites, id)
		h.edge.index.remove(old)
		h.release(old)
		h.claimHost(old.host)
		h.edge.changed(subject{domain: id})
	}
}

// clear forgets everything. Nobody else may be adding to it meanwhile.
func (h *holdings) clear() {
	h.mu.Lock()
	ids := slices.Collect(maps.Keys(h.sites))
	h.mu.Unlock()
	for _, id := range ids { // one by one: handshakes need none of this, and changes do not run
		h.removeDomain(id, 0)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.certificates {
		h.drop(c)
	}
	for what := range h.damaged {
		if id, ok := strings.CutPrefix(what, "domain/"); ok {
			h.readable(id)
		}
	}
	clear(h.damaged)
}

// rivals returns the other sites that claim the host of s.
func (h *holdings) rivals(s *site) []*site {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.edge.index.others(s)
}
