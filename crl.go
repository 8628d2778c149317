package lacre

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"lacre/keypair"
)

// ShownList is a RevocationList as it can be shown.
type ShownList struct {
	RevocationList
	Digest string // SHA-256 of the DER, hexadecimal
	// InForce tells whether its issuer is a trust root of the current version, or has
	// issued one; if not, it has no effect until it is.
	InForce bool
}

// PutCRL takes revocation lists of a certificate's trust roots (API, an extension: PUT
// …/certificates/{certificate_id}/crl). text is what keypair.ParseCRLs reads. Each list
// takes the place of the one kept of the same issuer, which must not be newer. Lists of
// former trust roots are kept while there is room, see fit. When it returns, they are durable, and
// new handshakes on this node's edge are held to them.
func (s *Service) PutCRL(ctx context.Context, by Caller, projectID, id, text string) (lists []ShownList, warnings []string, err error) {
	if err := s.allow(ctx, by, projectID, CanModifyCertificate); err != nil {
		return nil, nil, err
	}
	revision, err := s.settle(ctx, id, func() (int64, error) {
		p, err := s.certified(ctx, projectID, id)
		if err != nil {
			return 0, err
		}
		old, err := s.revocations(ctx, p.Certificate)
		if err != nil {
			return 0, err
		}
		next, dropped, err := s.newRevocations(p, old, text)
		if err != nil {
			return 0, err
		}
		lists, warnings = p.shown(next), dropped
		if next.same(old) {
			return 0, nil
		}
		// The certificate is guarded: its trust roots are still those that issued the lists.
		return s.commit(ctx, by, projectID, CanModifyCertificate, "certificate/"+id, next.detail(),
			Tx{Put: []Record{next}, Check: []Record{p.Certificate}})
	})
	if err != nil {
		return nil, nil, err
	}
	return lists, append(warnings, s.served(ctx, revision)...), nil
}

// certified is a certificate with its trust roots.
type certified struct {
	*Certificate
	roots []*x509.Certificate
}

func (s *Service) certified(ctx context.Context, projectID, id string) (*certified, error) {
	cert, err := s.certificate(ctx, projectID, id)
	if err != nil {
		return nil, err
	}
	v, err := s.Store.Version(ctx, projectID, id, cert.Version)
	if errors.Is(err, ErrNotStored) {
		return nil, &ConflictError{Record: cert} // newer versions have pushed it out meanwhile
	}
	if err != nil {
		return nil, storeError(err)
	}
	return &certified{cert, rootsOf(v)}, nil
}

// rootsOf are the trust roots of v.
func rootsOf(v *Version) (roots []*x509.Certificate) {
	for _, der := range v.TrustRoots {
		if root, err := keypair.ParseCertificate(der); err == nil { // else it verifies nobody either
			roots = append(roots, root)
		}
	}
	return roots
}

// revocations returns what is kept of a certificate, without lists when nothing is.
func (s *Service) revocations(ctx context.Context, cert *Certificate) (*Revocations, error) {
	r, err := s.Store.Revocations(ctx, cert.ProjectID, cert.ID)
	if errors.Is(err, ErrNotStored) {
		return cert.revocations(), nil
	}
	err = storeError(err)
	if CodeOf(err) == CodeUnreadable {
		return nil, &Error{Code: CodeUnreadable, Field: "crl", Message: "The stored revocation lists are damaged: delete them first", Err: err}
	}
	return r, err
}

// newRevocations is what an upload makes of what is kept: its lists take the place of
// those of the same issuers, and the others stay, as far as fit leaves them there.
func (s *Service) newRevocations(p *certified, old *Revocations, text string) (next *Revocations, warnings []string, err error) {
	lists, err := s.readCRLs(p, text)
	if err != nil {
		return nil, nil, err
	}
	r := *old
	r.Lists, r.Updated = lists, s.Now().UTC()
	for _, l := range old.Lists {
		if i := slices.IndexFunc(lists, l.ofSameIssuer); i < 0 {
			r.Lists = append(r.Lists, l)
		} else if err := lists[i].follows(l); err != nil {
			return nil, nil, err
		}
	}
	dropped, err := p.fit(&r)
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(r.Lists, func(a, b RevocationList) int { return bytes.Compare(a.IssuerID, b.IssuerID) })
	return &r, droppedWarning(dropped), nil
}

// readCRLs reads an upload.
func (s *Service) readCRLs(p *certified, text string) ([]RevocationList, error) {
	if len(p.roots) == 0 {
		return nil, FieldErrorf(CodeInvalidField, "crl", "the certificate has no trusted_root_ca that could have issued a revocation list")
	}
	parsed, err := keypair.ParseCRLs(text, p.roots, s.Now())
	if bad, ok := errors.AsType[*keypair.Error](err); ok {
		return nil, FieldErrorf(CodeInvalidField, bad.Field, "%s", bad.Detail)
	}
	var lists []RevocationList
	for _, l := range parsed {
		lists = append(lists, RevocationList{
			Issuer: l.Issuer, IssuerID: l.IssuerID[:], Number: l.Number,
			ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, Revoked: l.Revoked, DER: l.Raw,
		})
	}
	return lists, err
}

func (l RevocationList) ofSameIssuer(other RevocationList) bool {
	return bytes.Equal(l.IssuerID, other.IssuerID)
}

// same tells whether both have the same lists, which are sorted.
func (r *Revocations) same(other *Revocations) bool {
	return slices.EqualFunc(r.Lists, other.Lists, func(a, b RevocationList) bool { return bytes.Equal(a.DER, b.DER) })
}

// follows refuses a list that is older than the one kept of the same issuer, by its date
// or its number: whoever was revoked meanwhile would be let in again.
func (l RevocationList) follows(old RevocationList) error {
	back := l.Number != "" && old.Number != "" && numberOf(l.Number).Cmp(numberOf(old.Number)) < 0
	if !back && !l.ThisUpdate.Before(old.ThisUpdate) {
		return nil
	}
	return FieldErrorf(CodeInvalidField, "crl", "the list of %s is older than the one in force (number %s of %s); if this is meant, delete that one first",
		l.Issuer, old.Number, old.ThisUpdate.Format(time.RFC3339))
}

func numberOf(decimal string) *big.Int {
	n, _ := new(big.Int).SetString(decimal, 10)
	if n == nil {
		return new(big.Int)
	}
	return n
}

// detail describes the lists for the audit row.
func (r *Revocations) detail() string {
	text := "revocation lists:"
	for _, l := range r.Lists {
		text += fmt.Sprintf(" %s number %s with %d entries, sha256 %x;", l.Issuer, l.Number, l.Revoked, sha256.Sum256(l.DER))
	}
	return text[:len(text)-1]
}

// revocations identifies the record of c's revocation lists.
func (c *Certificate) revocations() *Revocations {
	return &Revocations{ProjectID: c.ProjectID, CertificateID: c.ID}
}

func (p *certified) shown(r *Revocations) []ShownList {
	shown := make([]ShownList, len(r.Lists))
	for i, l := range r.Lists {
		shown[i] = ShownList{l, fmt.Sprintf("%x", sha256.Sum256(l.DER)), p.inForce(l)}
	}
	return shown
}

// inForce tells whether l is of a trust root, or of the CA above one, whose key the edge
// does not know and takes by its name.
func (p *certified) inForce(l RevocationList) bool {
	return slices.ContainsFunc(p.roots, func(root *x509.Certificate) bool {
		above := !bytes.Equal(root.RawIssuer, root.RawSubject) && root.Issuer.String() == l.Issuer
		return above || l.issuedBy(root)
	})
}

func (l RevocationList) issuedBy(ca *x509.Certificate) bool {
	id := keypair.IssuerID(ca)
	return bytes.Equal(id[:], l.IssuerID)
}

// ShowCRL returns the revocation lists kept with a certificate, none when there are none
// (API, an extension: GET …/certificates/{certificate_id}/crl).
func (s *Service) ShowCRL(ctx context.Context, by Caller, projectID, id string) ([]ShownList, error) {
	if err := s.allow(ctx, by, projectID, CanGetCertificate); err != nil {
		return nil, err
	}
	p, err := s.certified(ctx, projectID, id)
	if _, overtaken := errors.AsType[*ConflictError](err); overtaken {
		return nil, contended(err)
	}
	if err != nil {
		return nil, err
	}
	r, err := s.revocations(ctx, p.Certificate)
	if err != nil {
		return nil, err
	}
	return p.shown(r), nil
}

// DeleteCRL forgets the revocation lists of a certificate, damaged ones too: nobody is
// revoked any more (API, an extension: DELETE …/certificates/{certificate_id}/crl). It
// succeeds when there are none.
func (s *Service) DeleteCRL(ctx context.Context, by Caller, projectID, id string) (warnings []string, err error) {
	if err := s.allow(ctx, by, projectID, CanModifyCertificate); err != nil {
		return nil, err
	}
	revision, err := s.settle(ctx, id, func() (int64, error) {
		cert, err := s.certificate(ctx, projectID, id)
		if err != nil {
			return 0, err
		}
		_, err = s.Store.Revocations(ctx, projectID, id)
		if errors.Is(err, ErrNotStored) {
			return 0, nil
		}
		if err = storeError(err); err != nil && CodeOf(err) != CodeUnreadable {
			return 0, err
		}
		return s.commit(ctx, by, projectID, CanModifyCertificate, "certificate/"+id, "revocation lists deleted",
			Tx{Forget: []Record{cert.revocations()}, Check: []Record{cert}})
	})
	if err != nil {
		return nil, err
	}
	return s.served(ctx, revision), nil
}
