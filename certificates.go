package lacre

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lacre/keypair"
)

// CreateCertificate stores a new certificate (API: POST …/certificates).
func (s *Service) CreateCertificate(ctx context.Context, by Caller, projectID string, in CertificateInput, opt WriteOptions) (*Written, error) {
	if err := s.allow(ctx, by, projectID, CanCreateCertificate); err != nil {
		return nil, err
	}
	n, err := s.newcomer(ctx, projectID, in)
	if err != nil {
		return nil, err
	}
	if opt.DryRun {
		_, err := s.roomForCertificate(ctx, projectID)
		return &Written{n.Certificate, n.warnings}, cmp.Or(err, s.nameFree(ctx, n.nameClaim()))
	}
	if err := s.seal(ctx, n.version, n.pair); err != nil {
		return nil, err
	}
	n.Revision, err = s.settle(ctx, s.certificateTurn(n.Certificate), func() (int64, error) {
		return s.commitNew(ctx, by, CanCreateCertificate, n, Tx{Put: []Record{n.Certificate}})
	})
	if err != nil {
		return nil, err
	}
	return &Written{n.Certificate, n.warnings}, nil
}

// newcomer is a certificate about to be stored, with its first version.
type newcomer struct {
	*Certificate
	version  *Version
	pair     *keypair.Pair // whose keys are to be sealed into version
	warnings []string
}

// newcomer checks all of an input that needs no transaction.
func (s *Service) newcomer(ctx context.Context, projectID string, in CertificateInput) (*newcomer, error) {
	cert, err := s.newCertificate(projectID, in)
	if err != nil {
		return nil, err
	}
	if _, err := s.home(ctx, cert); err != nil {
		return nil, err
	}
	up, err := s.read(in)
	if err != nil {
		return nil, err
	}
	if err := up.checkStapled(); err != nil {
		return nil, err
	}
	version := s.version(up, projectID, cert.ID, 1)
	cert.hold(version)
	return &newcomer{cert, version, up.pair, up.warnings}, nil
}

// commitNew commits tx, which stores n's certificate, together with its version and name.
func (s *Service) commitNew(ctx context.Context, by Caller, p Permission, n *newcomer, tx Tx) (int64, error) {
	home, err := s.home(ctx, n.Certificate)
	if err != nil {
		return 0, err
	}
	room, err := s.roomForCertificate(ctx, n.ProjectID)
	if err != nil {
		return 0, err
	}
	tx.Put = append(append(tx.Put, n.version, n.nameClaim()), room...)
	tx.Check = append(tx.Check, home...)
	revision, err := s.commit(ctx, by, n.ProjectID, p, "certificate/"+n.ID, n.detail(), tx)
	if conflictOn[*CertificateName](err) {
		return 0, nameTaken(n.Name)
	}
	return revision, err
}

// newCertificate is the certificate an input asks for, still without content.
func (s *Service) newCertificate(projectID string, in CertificateInput) (*Certificate, error) {
	if err := checkCertificateName(in.Name); err != nil {
		return nil, err
	}
	now := s.Now().UTC()
	cert := &Certificate{ID: NewID(), ProjectID: projectID, Name: in.Name, Scope: in.Scope, Generation: 1, Oldest: 1, Created: now, Updated: now}
	switch in.Scope {
	case "", ScopeGlobal:
		cert.Scope = ScopeGlobal
		return cert, nil
	case ScopeInstance:
		if in.InstanceID == "" {
			return nil, FieldErrorf(CodeMissing, "instance_id", "mandatory when type is instance")
		}
		cert.InstanceID = in.InstanceID
		return cert, nil
	}
	return nil, FieldErrorf(CodeInvalidField, "type", "expected instance or global")
}

// home is the instance a certificate is confined to, which must stay open until the
// certificate is stored; nothing for a global one.
func (s *Service) home(ctx context.Context, cert *Certificate) ([]Record, error) {
	if cert.Scope == ScopeGlobal {
		return nil, nil
	}
	instance, err := s.openInstance(ctx, cert.ProjectID, cert.InstanceID)
	return []Record{instance}, err
}

func nameTaken(name string) error {
	return FieldErrorf(CodeCertificateNameTaken, "name", "another certificate of this scope is called %s", name)
}

func (s *Service) nameFree(ctx context.Context, claim *CertificateName) error {
	_, err := s.Store.CertificateName(ctx, claim.ProjectID, claim.InstanceID, claim.Name)
	switch {
	case err == nil:
		return nameTaken(claim.Name)
	case errors.Is(err, ErrNotStored):
		return nil
	}
	return storeError(err)
}

func (c *Certificate) nameClaim() *CertificateName {
	return &CertificateName{ProjectID: c.ProjectID, InstanceID: c.InstanceID, Name: c.Name, CertificateID: c.ID}
}

// hold makes v the current version of c.
func (c *Certificate) hold(v *Version) {
	c.Version, c.Facts, c.HasTrustRoot = v.Number, v.Facts, len(v.TrustRoots) > 0
	c.OCSPNextUpdate = v.OCSPNextUpdate
}

// detail describes c for the audit row.
func (c *Certificate) detail() string {
	return fmt.Sprintf("name %s, version %d, %s serial %s, leaf sha256 %s, not after %s", c.Name, c.Version,
		c.Facts.Algorithm, c.Facts.SerialNumber, c.Facts.Fingerprint, c.Facts.NotAfter.UTC().Format(time.RFC3339))
}

// ShowCertificate returns one certificate (API: GET …/certificates/{certificate_id}).
func (s *Service) ShowCertificate(ctx context.Context, by Caller, projectID, id string) (*Certificate, error) {
	if err := s.allow(ctx, by, projectID, CanGetCertificate); err != nil {
		return nil, err
	}
	return s.certificate(ctx, projectID, id)
}

// ListCertificates returns one page of the matching certificates, newest first, and how
// many match in all (API: GET …/certificates).
func (s *Service) ListCertificates(ctx context.Context, by Caller, projectID string, f CertificateFilter) ([]*Certificate, int, error) {
	if err := s.allow(ctx, by, projectID, CanListCertificates); err != nil {
		return nil, 0, err
	}
	if f.InstanceID != "" {
		if _, err := s.instance(ctx, projectID, f.InstanceID); err != nil {
			return nil, 0, err
		}
	}
	all, err := s.Store.Certificates(ctx, projectID)
	if err != nil {
		return nil, 0, storeError(err)
	}
	hits := slices.DeleteFunc(all, func(c *Certificate) bool { return !f.matches(c) })
	slices.SortFunc(hits, func(a, b *Certificate) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return window(hits, f.Page), len(hits), nil
}

func (f *CertificateFilter) matches(c *Certificate) bool {
	return (c.Scope == ScopeGlobal || anyOr(f.InstanceID, c.InstanceID)) &&
		anyOr(f.Name, c.Name) && anyOr(f.CommonName, c.Facts.CommonName) &&
		anyOr(f.SignatureAlgorithm, c.Facts.SignatureAlgorithm) &&
		anyOr(f.Scope, c.Scope) && anyOr(f.Algorithm, c.Facts.Algorithm)
}

// anyOr matches one filter of a list: exactly, and everything when it is empty.
func anyOr[T ~string](want, got T) bool { return want == "" || want == got }

// window cuts the clamped page out of a list.
func window[T any](list []T, p Page) []T {
	from := min(max(p.Offset, 0), len(list))
	return list[from:min(from+p.size(), len(list))]
}

// size is the clamped limit.
func (p Page) size() int {
	if p.Limit <= 0 {
		return 20
	}
	return min(p.Limit, 500)
}

// DeleteCertificate removes a certificate that no domain uses, with all its versions
// (API: DELETE …/certificates/{certificate_id}).
func (s *Service) DeleteCertificate(ctx context.Context, by Caller, projectID, id string, opt WriteOptions) error {
	if err := s.allow(ctx, by, projectID, CanDeleteCertificate); err != nil {
		return err
	}
	_, err := s.settle(ctx, id, func() (int64, error) {
		cert, err := s.certificate(ctx, projectID, id)
		if err != nil {
			return 0, err
		}
		if err := opt.check(cert); err != nil {
			return 0, err
		}
		tx, err := s.removal(ctx, cert)
		if err != nil || opt.DryRun {
			return 0, err
		}
		return s.commit(ctx, by, projectID, CanDeleteCertificate, "certificate/"+id, cert.detail(), tx)
	})
	return err
}

// removal is the transaction that deletes a certificate nobody uses.
func (s *Service) removal(ctx context.Context, cert *Certificate) (Tx, error) {
	if cert.Bound > 0 {
		hosts, err := s.boundHosts(ctx, cert)
		if err != nil {
			return Tx{}, err
		}
		return Tx{}, Errorf(CodeInUse, "The SSL certificate is bound to: %s", some(hosts))
	}
	// The claim is ours as long as the record is what it was.
	forget := append(cert.versions(cert.Oldest, cert.Version), cert.nameClaim(), cert.revocations())
	return Tx{Delete: []Record{cert}, Forget: forget}, nil
}

// versions names the versions from first to last, both included.
func (c *Certificate) versions(first, last int) []Record {
	var out []Record
	for n := first; n <= last; n++ {
		out = append(out, &Version{ProjectID: c.ProjectID, CertificateID: c.ID, Number: n})
	}
	return out
}

func (o WriteOptions) check(c *Certificate) error {
	if o.IfGeneration == nil || *o.IfGeneration == c.Generation {
		return nil
	}
	return Errorf(CodePrecondition, "the certificate has changed: its ETag is \"%d\"", c.Generation)
}

func (s *Service) boundHosts(ctx context.Context, cert *Certificate) ([]string, error) {
	bound, err := s.Store.Bound(ctx, cert.ProjectID, cert.ID)
	if err != nil {
		return nil, storeError(err)
	}
	hosts := make([]string, len(bound))
	for i, b := range bound {
		hosts[i] = b.Host
	}
	slices.Sort(hosts)
	return hosts, nil
}
