package lacre

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// CreateCertificate stores a new certificate (API: POST …/certificates).
func (s *Service) CreateCertificate(ctx context.Context, by Caller, projectID string, in CertificateInput, opt WriteOptions) (*Written, error) {
	if err := s.allow(ctx, by, projectID, CanCreateCertificate); err != nil {
		return nil, err
	}
	cert, checks, err := s.newCertificate(ctx, projectID, in)
	if err != nil {
		return nil, err
	}
	up, err := s.read(in)
	if err != nil {
		return nil, err
	}
	version, err := s.version(ctx, up, projectID, cert.ID, 1)
	if err != nil {
		return nil, err
	}
	cert.hold(version)
	name := cert.nameClaim()
	if opt.DryRun {
		return &Written{cert, up.warnings}, s.nameFree(ctx, name)
	}
	revision, err := s.commit(ctx, by, projectID, CanCreateCertificate, "certificate/"+cert.ID, cert.detail(),
		Tx{Put: []Record{cert, version, name}, Check: checks})
	if err != nil {
		return nil, createError(err, cert)
	}
	cert.Revision = revision
	return &Written{cert, up.warnings}, nil
}

// newCertificate is the certificate an input asks for, still without content, and what
// must stay true until it is stored.
func (s *Service) newCertificate(ctx context.Context, projectID string, in CertificateInput) (*Certificate, []Record, error) {
	if err := checkCertificateName(in.Name); err != nil {
		return nil, nil, err
	}
	now := s.Now().UTC()
	cert := &Certificate{ID: NewID(), ProjectID: projectID, Name: in.Name, Scope: in.Scope, Generation: 1, Oldest: 1, Created: now, Updated: now}
	switch in.Scope {
	case "", ScopeGlobal:
		cert.Scope = ScopeGlobal
		return cert, nil, nil
	case ScopeInstance:
		instance, err := s.instanceFor(ctx, projectID, in.InstanceID)
		if err != nil {
			return nil, nil, err
		}
		cert.InstanceID = instance.ID
		return cert, []Record{instance}, nil
	}
	return nil, nil, FieldErrorf(CodeInvalidField, "type", "expected instance or global")
}

func (s *Service) instanceFor(ctx context.Context, projectID, id string) (*Instance, error) {
	if id == "" {
		return nil, FieldErrorf(CodeMissing, "instance_id", "mandatory when type is instance")
	}
	return s.openInstance(ctx, projectID, id)
}

// createError explains the guards that can fail when a certificate is created.
func createError(err error, cert *Certificate) error {
	switch {
	case conflictOn[*CertificateName](err):
		return nameTaken(cert.Name)
	case conflictOn[*Instance](err):
		return Errorf(CodeInstanceNotFound, "instance %s does not exist", cert.InstanceID)
	}
	return err
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
	is := func(want, got string) bool { return want == "" || want == got }
	return (c.Scope == ScopeGlobal || is(f.InstanceID, c.InstanceID)) &&
		is(f.Name, c.Name) && is(f.CommonName, c.Facts.CommonName) &&
		is(f.SignatureAlgorithm, c.Facts.SignatureAlgorithm) &&
		is(string(f.Scope), string(c.Scope)) && is(string(f.Algorithm), string(c.Facts.Algorithm))
}

// window cuts the clamped page out of a list.
func window[T any](list []T, p Page) []T {
	limit := p.Limit
	if limit <= 0 {
		limit = 20
	}
	from := min(max(p.Offset, 0), len(list))
	return list[from:min(from+min(limit, 500), len(list))]
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
		if err != nil {
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
	name, err := s.Store.CertificateName(ctx, cert.ProjectID, cert.InstanceID, cert.Name)
	if err != nil {
		return Tx{}, storeError(err)
	}
	return Tx{Delete: []Record{cert, name}, Forget: cert.versions(cert.Oldest, cert.Version)}, nil
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
