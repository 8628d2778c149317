package edge

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"lacre"
)

// While everything is read, batchSize domains are read with their certificates in a few
// requests, and loaders batches side by side: one request for each would take longer than
// all that is done with the answers.
const (
	batchSize = 256
	loaders   = 4
)

// compareRest is how many times what a compare took the next one waits at least, but not for
// longer than longestRest: with very many certificates a compare takes minutes, and must not
// be all that a core does.
const (
	compareRest = 20
	longestRest = time.Hour
)

// sweep compares everything with the Feed from time to time, which repairs whatever a
// watch lost. While that rests, what is damaged is tried again.
func (e *Edge) sweep(ctx context.Context) {
	ticks := time.NewTicker(e.cfg.Timeouts.Compare)
	defer ticks.Stop()
	for rest := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		begin := time.Now()
		var err error
		if begin.Before(rest) {
			err = e.holdings.repair(ctx)
		} else {
			_, err = e.holdings.reconcile(ctx, false)
			rest = time.Now().Add(min(compareRest*time.Since(begin), longestRest))
		}
		if err != nil && ctx.Err() == nil {
			e.log.Warn("comparing with the store failed", "err", err)
		}
	}
}

// reconcile makes the edge hold what the Feed has and returns the revision it is
// complete up to. It is the first load, the way back after a compaction and, running
// beside the watch, the periodic repair. It is the last word when what the Feed has holds
// even if it is older than what is known: after a compaction, when no watch runs.
func (h *holdings) reconcile(ctx context.Context, last bool) (int64, error) {
	h.comparing.Lock()
	defer h.comparing.Unlock()
	h.remember()
	defer h.forget()
	if last {
		h.forgetNumbers()
	}

	// Certificates first: in the order of their keys they are read several times as fast
	// as one domain's after the other. What changes until the domains are read is new to
	// the watch, too, which begins at the earlier of the two revisions.
	var read atomic.Int64
	begin, err := h.edge.cfg.Feed.AllVersions(ctx, h.wanted, func(project, id string, l lacre.Latest) error {
		if read.Add(1)%batchSize == 0 {
			h.edge.finder.giveWay(ctx)
		}
		return h.received(ctx, h.reading(project, id), l, ruleOf(last))
	})
	if err != nil {
		return 0, fmt.Errorf("reading the certificates: %w", err)
	}
	revision, err := h.compareAll(ctx, last)
	if err != nil {
		return 0, err
	}
	h.sweep()
	return min(begin, revision), nil
}

// forgetNumbers lets any version end damage: a store that was restored may have gone back.
func (h *holdings) forgetNumbers() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for what, d := range h.damaged {
		d.number = 0
		h.damaged[what] = d
	}
}

// compareAll is the part of reconcile about the domains. It returns their revision.
func (h *holdings) compareAll(ctx context.Context, last bool) (int64, error) {
	group, loading := errgroup.WithContext(ctx)
	group.SetLimit(loaders)
	var batch []*lacre.Domain
	compare := func() {
		some := batch
		batch = nil
		group.Go(func() error { return h.compareDomains(loading, some, last) })
	}
	revision, unreadable, err := h.edge.cfg.Feed.AllDomains(loading, func(d *lacre.Domain) error {
		if batch = append(batch, d); len(batch) == batchSize {
			compare()
		}
		return nil
	})
	compare()
	if failed := group.Wait(); failed != nil {
		return 0, failed
	}
	if err != nil {
		return 0, fmt.Errorf("reading the domains: %w", err)
	}
	h.edge.finder.close() // what it reads later would not be compared any more
	for _, bad := range unreadable {
		if d, ok := bad.Record.(*lacre.Domain); ok {
			h.markDomain(d, bad, revision, last)
			h.see(d.ID) // the last good value stays
		}
	}
	h.edge.findProject(ctx)
	h.mended(revision, last)
	for _, id := range h.absent(revision, last) {
		h.removeDomain(id, revision)
	}
	return revision, nil
}

// compareDomains serves the domains and the newest versions of their certificates.
func (h *holdings) compareDomains(ctx context.Context, some []*lacre.Domain, last bool) error {
	h.edge.finder.giveWay(ctx)
	fresh, unchecked, strict := h.compared(some, last)
	err := h.fetchAll(ctx, unchecked, ruleOf(last))
	for _, c := range strict {
		if err == nil {
			err = h.fetchRevocations(ctx, c, last)
		}
	}
	if err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, s := range fresh {
			h.release(s)
		}
		return err
	}
	for _, s := range fresh {
		h.install(s, last)
	}
	return nil
}

func ruleOf(last bool) takes {
	if last {
		return different
	}
	return newer
}

// wanted tells whether the edge may have a site for a certificate.
func (h *holdings) wanted(c *lacre.Certificate) bool {
	only := h.edge.cfg.Instance
	return c.Bound > 0 && (only == "" || c.InstanceID == "" || c.InstanceID == only)
}

// reading returns the certificate that is being read by a compare. It is held although no
// site may name it yet, until sweep.
func (h *holdings) reading(project, id string) *served {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.certificate(certificateKey{h.name(project), id})
	c.checked = h.round
	return c
}

// sweep forgets the certificates that no site has come to name.
func (h *holdings) sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.certificates {
		if c.refs == 0 {
			h.drop(c)
		}
	}
}

// compared returns sites for those of the domains that are news, and the certificates of
// all of them that this compare has not read yet. These are acquired before they are read:
// a version that arrives meanwhile finds its certificate held and is not lost. strict are
// those whose revocation lists count.
func (h *holdings) compared(some []*lacre.Domain, last bool) (fresh []*site, unchecked, strict []*served) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range some {
		if h.elsewhere(d) {
			continue
		}
		s := h.sites[d.ID]
		if s == nil || last || s.revision < d.Revision {
			s = h.newSite(d)
			fresh = append(fresh, s)
		}
		s.seen = h.round
		if s.verifyClient {
			strict = append(strict, s.slots...)
		}
		for _, c := range s.slots {
			if c.checked != h.round {
				c.checked = h.round
				unchecked = append(unchecked, c)
			}
		}
	}
	return fresh, unchecked, strict
}

// see takes note that a domain is there. It needs no site.
func (h *holdings) see(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.sites[id]; s != nil {
		s.seen = h.round
	}
}

// absent returns the domains that are held although this compare has not seen them at the
// revision. Those that came later are not meant, unless it is the last word.
func (h *holdings) absent(revision int64, last bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id, s := range h.sites {
		if s.seen != h.round && (last || s.revision <= revision) {
			ids = append(ids, id)
		}
	}
	return ids
}

// remember keeps the ids of domains removed from now on, so that what a compare read
// before the removal does not bring them back.
func (h *holdings) remember() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removed = make(map[string]int64)
	h.round++
}

func (h *holdings) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removed = nil
}
