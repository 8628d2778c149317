package edge

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"lacre"
)

// loaders is how many domains are loaded at once while everything is read.
const loaders = 8

// reconcile makes the edge hold what the Feed has and returns the revision it is
// complete up to. It is the first load, the way back after a compaction and, running
// beside the watch, the periodic repair. It is the last word when no watch runs: then
// what the Feed has holds even if it is older than what is known.
func (h *holdings) reconcile(ctx context.Context, last bool) (int64, error) {
	h.comparing.Lock()
	defer h.comparing.Unlock()
	h.remember()
	defer h.forget()

	present := make(map[string]struct{})
	group, loading := errgroup.WithContext(ctx)
	group.SetLimit(loaders)
	revision, unreadable, err := h.edge.cfg.Feed.AllDomains(loading, func(d *lacre.Domain) error {
		present[d.ID] = struct{}{}
		group.Go(func() error { return h.compareDomain(loading, d, last) })
		return nil
	})
	if failed := group.Wait(); failed != nil {
		return 0, failed
	}
	if err != nil {
		return 0, fmt.Errorf("reading the domains: %w", err)
	}
	for _, bad := range unreadable {
		h.markUnreadable(bad)
		if d, ok := bad.Record.(*lacre.Domain); ok {
			present[d.ID] = struct{}{} // the last good value stays
		}
	}
	for _, id := range h.absent(present, revision, last) {
		h.removeDomain(id)
	}
	return revision, nil
}

// compareDomain serves d and the newest versions of its certificates.
func (h *holdings) compareDomain(ctx context.Context, d *lacre.Domain, last bool) error {
	known := h.site(d.ID)
	if known == nil {
		return h.putDomain(ctx, d, last) // and its certificates are read for it
	}
	if last || known.revision < d.Revision {
		if err := h.putDomain(ctx, d, last); err != nil {
			return err
		}
	}
	rule := newer
	if last {
		rule = different
	}
	held := h.site(d.ID)
	if held == nil {
		return nil // removed meanwhile
	}
	for _, c := range held.slots {
		if err := h.fetch(ctx, c, rule); err != nil {
			return err
		}
	}
	return nil
}

func (h *holdings) site(id string) *site {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sites[id]
}

// absent returns the domains that are held although they were not present at the
// revision. Those that came later are not meant, unless it is the last word.
func (h *holdings) absent(present map[string]struct{}, revision int64, last bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id, s := range h.sites {
		if _, ok := present[id]; !ok && (last || s.revision <= revision) {
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
	h.removed = make(map[string]struct{})
}

func (h *holdings) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removed = nil
}
