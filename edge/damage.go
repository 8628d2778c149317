package edge

import (
	"context"
	"fmt"
	"strings"

	"lacre"
)

// damage is why something is not served as it is stored.
type damage struct {
	err         error
	certificate *served // whose newest version could not be read or opened; else nil
	revision    int64   // that brought it, 0 when that is not known
	number      int     // of that version, 0 when that is not known
	at          int64   // of a domain or lists: the revision of the store as of which they are damaged, 0 when that is not known
}

// markUnreadable marks what is damaged and of any concern here. The revision is that of the
// change that brought it, 0 when it was found otherwise.
func (h *holdings) markUnreadable(bad *lacre.UnreadableError, revision int64) {
	var of certificateKey
	switch r := bad.Record.(type) {
	case *lacre.Domain:
		h.markDomain(r, bad, revision, false)
		return
	case *lacre.Version:
		of = certificateKey{r.ProjectID, r.CertificateID}
	case *lacre.Certificate:
		of = certificateKey{r.ProjectID, r.ID}
	case *lacre.Revocations:
		h.markRevocations(certificateKey{r.ProjectID, r.CertificateID}, bad, revision)
		return
	}
	h.mu.Lock()
	c := h.certificates[of]
	h.mu.Unlock()
	if c != nil {
		h.markCertificate(c, revision, numberOf(bad), bad)
	}
}

// markDomain notes that a domain cannot be read as of a revision, unless more is known by now: a
// compare has read it before. The last word counts even so.
func (h *holdings) markDomain(d *lacre.Domain, err error, at int64, last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what := "domain/" + d.ID
	s := h.sites[d.ID]
	if !last && (s != nil && s.revision > at || h.removed[d.ID] > at || h.damaged[what].at > at) {
		return
	}
	h.damaged[what] = damage{err: err, at: at}
	h.edge.log.Error("damaged; the last good value stays", "what", what, "err", err)
	h.edge.prover.domain(d.ID, d.ProjectID, true)
}

// mended forgets the damage of domains that a compare has not found as of a revision. What came
// later is not meant, unless it is the last word.
func (h *holdings) mended(revision int64, last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for what, d := range h.damaged {
		id, is := strings.CutPrefix(what, "domain/")
		if is && (d.at < revision || last && d.at > revision) {
			h.readable(id)
		}
	}
}

// numberOf is the number of a version that cannot be read, 0 of anything else.
func numberOf(bad *lacre.UnreadableError) int {
	if v, ok := bad.Record.(*lacre.Version); ok {
		return v.Number
	}
	return 0
}

// markCertificate notes that the newest version of c cannot be read or opened. What was dropped
// while it was read is of no concern any more.
func (h *holdings) markCertificate(c *served, revision int64, number int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.certificates[c.key] != c {
		return
	}
	h.markAs("certificate/"+c.key.id, damage{err: err, certificate: c, revision: revision, number: number})
}

// markRevocations marks damaged lists that are of concern here, unless newer ones are in force.
func (h *holdings) markRevocations(of certificateKey, err error, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.certificates[of]
	if c == nil {
		return
	}
	if known := c.revoked.Load(); known != nil && (at == 0 || known.unread || known.revision <= at) {
		h.markAs("crl/"+of.id, damage{err: err, at: at})
	}
}

// listsReadable forgets damage of lists that is no newer than a revision. It needs mu.
func (h *holdings) listsReadable(of certificateKey, revision int64, last bool) {
	if what := "crl/" + of.id; last || h.damaged[what].at <= revision {
		delete(h.damaged, what)
	}
}

// markAs notes damage for Status and the log. The error says where, never what was in it. It
// needs mu.
func (h *holdings) markAs(what string, d damage) {
	h.edge.log.Error("damaged; the last good value stays", "what", what, "err", d.err)
	was := h.damaged[what]
	if was.number > d.number { // of a newer version
		d = was
	}
	if was.number == d.number && d.revision == 0 {
		d.revision = was.revision // a compare does not know it
	}
	h.damaged[what] = d
	if d.certificate != nil {
		h.edge.prover.add(claim{certificate: d.certificate})
	}
}

// readable forgets damage of a domain. It needs mu.
func (h *holdings) readable(id string) {
	delete(h.damaged, "domain/"+id)
	h.edge.prover.domain(id, "", false)
}

// undamaged forgets damage of the versions up to a number, which is served. That of a newer
// one stays: a compare knows only what was there when it began.
func (h *holdings) undamaged(c *served, number int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d, was := h.damaged["certificate/"+c.key.id]; was && d.number <= number {
		delete(h.damaged, "certificate/"+c.key.id)
		h.edge.prover.add(claim{certificate: c})
	}
}

// damagedCertificates are those of which an older version is served than the newest, or none.
func (h *holdings) damagedCertificates() (all []*served) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.damaged {
		if d.certificate != nil {
			all = append(all, d.certificate)
		}
	}
	return all
}

// unserved returns why a version of that revision is not served, nil if it is or there is
// none. It looks at nothing but damage, of which there is none as a rule.
func (h *holdings) unserved(revision int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for what, d := range h.damaged {
		if d.revision == revision {
			return fmt.Errorf("%s: %w", what, d.err)
		}
	}
	return nil
}

// repair reads those certificates again whose newest version could not be read or opened.
func (h *holdings) repair(ctx context.Context) error {
	return h.fetchAll(ctx, h.damagedCertificates(), newer)
}
