package edge

import (
	"context"
	"errors"
	"fmt"
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

	mu           sync.Mutex
	sites        map[string]*site // by domain id
	certificates map[certificateKey]*served
	damaged      map[string]error    // by "domain/<id>" or "certificate/<id>"
	removed      map[string]struct{} // domains removed while a compare runs; else nil
}

func newHoldings(e *Edge) *holdings {
	return &holdings{
		edge: e, sites: make(map[string]*site),
		certificates: make(map[certificateKey]*served), damaged: make(map[string]error),
	}
}

func (h *holdings) counts() (certificates, damaged int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.certificates), len(h.damaged)
}

// apply makes one change visible to handshakes. An error means that the change was
// not applied as a whole and must be applied again; doing so twice is harmless.
func (h *holdings) apply(ctx context.Context, change lacre.Change) error {
	for _, bad := range change.Unreadable {
		h.markUnreadable(bad)
	}
	for _, record := range change.Put {
		var err error
		switch r := record.(type) {
		case *lacre.Version:
			err = h.rotate(ctx, r)
		case *lacre.Domain:
			err = h.putDomain(ctx, r)
		}
		if err != nil {
			return err
		}
	}
	for _, record := range change.Deleted { // last: a host that moves is never without a site
		if d, ok := record.(*lacre.Domain); ok {
			h.removeDomain(d.ID)
		}
	}
	return nil
}

// putDomain serves d from now on, unless something newer is known of it.
func (h *holdings) putDomain(ctx context.Context, d *lacre.Domain) error {
	if h.edge.cfg.Instance != "" && d.InstanceID != h.edge.cfg.Instance {
		return nil
	}
	// The certificates are acquired before they are read: a version that arrives
	// meanwhile finds its certificate held and is not lost.
	h.mu.Lock()
	next := newSite(d, h.acquire)
	h.mu.Unlock()
	for _, c := range next.slots {
		if c.current.Load() != nil {
			continue
		}
		if err := h.fetch(ctx, c); err != nil {
			h.mu.Lock()
			h.release(next)
			h.mu.Unlock()
			return err
		}
	}
	h.install(next)
	return nil
}

func (h *holdings) install(next *site) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.sites[next.id]
	if _, gone := h.removed[next.id]; gone || (old != nil && old.revision >= next.revision) {
		h.release(next)
		return
	}
	h.sites[next.id] = next
	delete(h.damaged, "domain/"+next.id)
	if serving, claims := h.edge.index.put(next); claims > 1 {
		h.edge.log.Warn("host is claimed more than once; the oldest domain is served",
			"host", next.host, "served", serving.id, "claims", claims)
	}
	if old == nil {
		return
	}
	if old.host != next.host {
		h.edge.index.remove(old)
	}
	h.release(old)
}

func (h *holdings) removeDomain(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.removed != nil {
		h.removed[id] = struct{}{}
	}
	delete(h.damaged, "domain/"+id)
	if old := h.sites[id]; old != nil {
		delete(h.sites, id)
		h.edge.index.remove(old)
		h.release(old)
	}
}

// acquire needs mu.
func (h *holdings) acquire(key certificateKey) *served {
	c := h.certificates[key]
	if c == nil {
		c = &served{key: key}
		h.certificates[key] = c
	}
	c.refs++
	return c
}

// release gives back what acquire gave to s. It needs mu.
func (h *holdings) release(s *site) {
	for _, c := range s.slots {
		if c.refs--; c.refs > 0 {
			continue
		}
		delete(h.certificates, c.key)
		delete(h.damaged, "certificate/"+c.key.id)
		h.edge.keys.drop(c.current.Load())
	}
}

// fetch reads the newest readable version of c. A certificate that cannot be read is
// marked damaged and is no error: it concerns nobody else.
func (h *holdings) fetch(ctx context.Context, c *served) error {
	v, damaged, err := h.edge.cfg.Feed.LatestVersion(ctx, c.key.project, c.key.id)
	for _, bad := range damaged {
		h.mark("certificate/"+c.key.id, bad)
	}
	switch {
	case isDamage(err):
		h.mark("certificate/"+c.key.id, err)
		return nil
	case err != nil:
		return fmt.Errorf("reading certificate %s: %w", c.key.id, err)
	case len(damaged) > 0:
		return h.offer(ctx, c, v, keepDamage)
	}
	return h.offer(ctx, c, v, clearDamage)
}

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
	return h.offer(ctx, c, v, clearDamage)
}

const (
	clearDamage = true  // what is offered is the newest version there is
	keepDamage  = false // a newer one exists and is damaged
)

// offer makes v the current version of c unless c has it or a newer one. When v
// supersedes another, its key is opened first: one that does not open, or does not
// belong to its leaf, never takes the place of one that works.
func (h *holdings) offer(ctx context.Context, c *served, v *lacre.Version, clears bool) error {
	if len(v.Chain) == 0 {
		h.mark("certificate/"+c.key.id, errors.New("the version has no leaf"))
		return nil
	}
	old := c.current.Load()
	if old != nil && old.number >= v.Number {
		h.undamaged(c, clears)
		return nil
	}
	next := newVersion(c, v, &h.bundles)
	if old != nil {
		if _, err := h.edge.keys.openCold(ctx, next); err != nil {
			h.mark("certificate/"+c.key.id, err)
			return ctx.Err()
		}
	}
	h.undamaged(c, clears)
	h.mu.Lock()
	defer h.mu.Unlock()
	old = c.current.Load()
	if c.refs == 0 || (old != nil && old.number >= next.number) {
		h.edge.keys.drop(next)
		return nil
	}
	c.current.Store(next)
	h.edge.keys.drop(old)
	return nil
}

func (h *holdings) undamaged(c *served, really bool) {
	if !really {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.damaged, "certificate/"+c.key.id)
}

func (h *holdings) markUnreadable(bad *lacre.UnreadableError) {
	switch r := bad.Record.(type) {
	case *lacre.Domain:
		h.mark("domain/"+r.ID, bad)
	case *lacre.Version:
		h.mu.Lock()
		held := h.certificates[certificateKey{r.ProjectID, r.CertificateID}] != nil
		h.mu.Unlock()
		if held {
			h.mark("certificate/"+r.CertificateID, bad)
		}
	}
}

func (h *holdings) mark(what string, err error) {
	h.edge.log.Error("damaged; the last good value stays", "what", what, "err", err)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.damaged[what] = err
}
