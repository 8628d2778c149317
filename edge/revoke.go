package edge

import (
	"context"
	"fmt"

	"lacre"
)

// fetchRevocations reads the revocation lists of a certificate that a site which verifies
// clients names. Lists that cannot be read are marked damaged and concern nobody else:
// the last good ones stay in force, and without any no client is let in. When it is the
// last word, what was read holds even if it is older than what is known.
func (h *holdings) fetchRevocations(ctx context.Context, c *served, last bool) error {
	// From now on the watch keeps them up to date, so that no change gets lost meanwhile.
	c.revoked.CompareAndSwap(nil, &revocations{unread: true})
	r, revision, err := h.edge.cfg.Feed.LatestRevocations(ctx, c.key.project, c.key.id)
	switch {
	case isDamage(err):
		h.markRevocations(c.key, err, 0)
		return nil
	case err != nil:
		return fmt.Errorf("reading the revocation lists of certificate %s: %w", c.key.id, err)
	}
	if r != nil {
		revision = r.Revision
	}
	h.setRevocations(c.key, r, revision, last)
	return nil
}

// revoke puts lists in force that a change brought; r is nil when they were deleted.
func (h *holdings) revoke(of certificateKey, r *lacre.Revocations, revision int64) {
	h.setRevocations(of, r, revision, false)
}

// setRevocations puts lists in force as of a revision. A certificate of which nobody has
// asked for lists needs none: they are read when a site verifies clients.
func (h *holdings) setRevocations(of certificateKey, r *lacre.Revocations, revision int64, last bool) {
	h.mu.Lock()
	c := h.certificates[of]
	h.mu.Unlock()
	if c == nil || c.revoked.Load() == nil {
		return
	}
	next, err := newRevocations(r, revision) // outside the lock: a list may be long
	if err != nil {
		h.markRevocations(of, err, revision)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listsReadable(of, revision, last)
	known := c.revoked.Load()
	if !last && !known.unread && known.revision >= revision {
		return
	}
	c.revoked.Store(next)
	if next.digest != known.digest || known.unread {
		h.edge.changed(subject{certificate: c})
	}
}
