package lacre

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"lacre/keypair"
)

// trustAgain gives up the trust roots of v, which take the place of those of current; that
// is nil when it cannot be read. Roots that current does not have are checked like any that
// are sent. CAs never come or go without a warning and a word in the audit row.
func (s *Service) trustAgain(ctx context.Context, old *Certificate, current, v *Version, up *upload) error {
	before := new(Version)
	if current != nil {
		before = current
	} else if old.HasTrustRoot {
		up.warnings = append(up.warnings, "Which CAs were accepted until now is not known: the current version is damaged.")
		up.origin += "; which CAs were accepted before is not known"
	}
	others := certText(without(v.TrustRoots, before.TrustRoots))
	if err := up.readRoots(&others, s.Now()); err != nil {
		return err
	}
	// An empty list is not nil, which would keep those of old.
	up.roots = append([][]byte{}, v.TrustRoots...)
	if len(without(before.TrustRoots, v.TrustRoots)) == 0 && others == "" {
		up.roots = append([][]byte{}, before.TrustRoots...) // the same in another order are no change
	}
	return s.tellTrust(ctx, old, rootsOf(before), rootsOf(v), up)
}

// without are those of the certificates that are not among the others.
func without(certs, others [][]byte) (rest [][]byte) {
	for _, der := range certs {
		if !slices.ContainsFunc(others, func(o []byte) bool { return bytes.Equal(o, der) }) {
			rest = append(rest, der)
		}
	}
	return rest
}

// tellTrust says which CAs come and go.
func (s *Service) tellTrust(ctx context.Context, old *Certificate, before, after []*x509.Certificate, up *upload) error {
	if come := newCAs(after, before); len(come) > 0 {
		held, err := s.heldTo(ctx, old, come)
		if err != nil {
			return err
		}
		up.warnings = append(up.warnings, "Client certificates of these CAs are accepted again: "+namesOf(come)+".")
		up.warnings = append(up.warnings, held...)
		up.origin += "; accepted again: " + namesOf(come)
	}
	if gone := newCAs(before, after); len(gone) > 0 {
		up.warnings = append(up.warnings, "Client certificates of these CAs are not accepted any more: "+namesOf(gone)+".")
		up.origin += "; not accepted any more: " + namesOf(gone)
	}
	return nil
}

// newCAs are those of the CAs that are not among the others. One whose certificate was
// renewed is the same: its clients are those it had.
func newCAs(cas, others []*x509.Certificate) (fresh []*x509.Certificate) {
	for _, ca := range cas {
		id := keypair.IssuerID(ca)
		if !slices.ContainsFunc(others, func(o *x509.Certificate) bool { return keypair.IssuerID(o) == id }) {
			fresh = append(fresh, ca)
		}
	}
	return fresh
}

// heldTo warns of the CAs that come back without a revocation list, or with one that has
// ended.
func (s *Service) heldTo(ctx context.Context, old *Certificate, come []*x509.Certificate) (warnings []string, err error) {
	kept, err := s.revocations(ctx, old)
	if CodeOf(err) == CodeUnreadable {
		return []string{"The stored revocation lists are damaged: whom these CAs have revoked is not known."}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, ca := range come {
		i := slices.IndexFunc(kept.Lists, func(l RevocationList) bool { return l.issuedBy(ca) })
		if i < 0 {
			warnings = append(warnings, "No revocation list of "+nameOf(ca)+" is kept: clients that it has revoked are accepted.")
		} else if due := kept.Lists[i].NextUpdate; s.Now().After(due) {
			warnings = append(warnings, "The revocation list of "+nameOf(ca)+" ended at "+due.UTC().Format(time.RFC3339)+": its clients are refused until it is renewed.")
		}
	}
	return warnings, nil
}

// namesOf is all of the few that there may be.
func namesOf(cas []*x509.Certificate) string {
	names := make([]string, len(cas))
	for i, ca := range cas {
		names[i] = nameOf(ca)
	}
	return strings.Join(names, ", ")
}

// nameOf tells a CA from another one of the same name.
func nameOf(ca *x509.Certificate) string {
	sum := sha256.Sum256(ca.Raw)
	return fmt.Sprintf("%.100s (sha256 %x)", ca.Subject, sum[:6])
}
