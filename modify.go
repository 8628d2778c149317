package lacre

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"lacre/keypair"
)

// ModifyCertificate replaces the content, and the name if it differs, of a certificate
// (API: PUT …/certificates/{certificate_id}). When it returns, the change is durable and
// every new handshake on this node's edge is served the new version.
//
// Content that is already current makes no new version, so repeated uploads of one
// certificate do not push the history out.
func (s *Service) ModifyCertificate(ctx context.Context, by Caller, projectID, id string, in CertificateInput, opt WriteOptions) (*Written, error) {
	read := sync.OnceValues(func() (*upload, error) { return s.read(in) })
	return s.modify(ctx, by, projectID, id, opt, func(old *Certificate) (*upload, error) {
		if err := in.acceptable(old); err != nil {
			return nil, err
		}
		return read()
	})
}

// modify replaces what a certificate holds. ask returns the upload that takes the place of
// old, the certificate as it is; it is called as often as the change is attempted.
func (s *Service) modify(ctx context.Context, by Caller, projectID, id string, opt WriteOptions, ask func(old *Certificate) (*upload, error)) (*Written, error) {
	if err := s.allow(ctx, by, projectID, CanModifyCertificate); err != nil {
		return nil, err
	}
	m := &modification{Service: s, by: by, opt: opt, ask: ask}
	revision, err := s.settle(ctx, id, func() (int64, error) { return m.attempt(ctx, projectID, id) })
	if err != nil {
		return nil, err
	}
	m.written.Warnings = append(m.written.Warnings, s.served(ctx, revision)...)
	return &m.written, nil
}

// modification is one call of modify.
type modification struct {
	*Service
	by      Caller
	opt     WriteOptions
	ask     func(old *Certificate) (*upload, error)
	written Written
}

func (m *modification) attempt(ctx context.Context, projectID, id string) (int64, error) {
	old, err := m.certificate(ctx, projectID, id)
	if err != nil {
		return 0, err
	}
	if err := m.opt.check(old); err != nil {
		return 0, err
	}
	up, err := m.ask(old)
	if err != nil {
		return 0, err
	}
	tx, next, err := m.plan(ctx, old, up)
	if err != nil {
		return 0, err
	}
	m.written = Written{Certificate: next, Warnings: append(slices.Clip(up.warnings), m.stapleWarning(next)...)}
	if m.opt.DryRun {
		return 0, nil
	}
	detail := next.detail()
	if next.Version != old.Version {
		detail += up.origin
	}
	next.Revision, err = m.commit(ctx, m.by, projectID, CanModifyCertificate, "certificate/"+id, detail, tx)
	if conflictOn[*CertificateName](err) {
		return 0, nameTaken(next.Name)
	}
	return next.Revision, err
}

// acceptable checks what can be checked of a modification of old without reading its content.
func (in CertificateInput) acceptable(old *Certificate) error {
	if err := checkCertificateName(in.Name); err != nil {
		return err
	}
	if in.Scope != "" && in.Scope != old.Scope {
		return FieldErrorf(CodeImmutable, "type", "the certificate scope cannot be changed from %s", old.Scope)
	}
	// Clients send back what they were shown, "common" for global ones, so only an
	// instance's certificate can name a wrong instance.
	if old.Scope == ScopeInstance && in.InstanceID != "" && in.InstanceID != old.InstanceID {
		return FieldErrorf(CodeImmutable, "instance_id", "the certificate belongs to instance %s", old.InstanceID)
	}
	return nil
}

// plan is the transaction that takes old to what the upload asks for.
func (m *modification) plan(ctx context.Context, old *Certificate, up *upload) (Tx, *Certificate, error) {
	next := *old
	next.Generation++
	next.Name, next.Updated = up.name, m.Now().UTC()
	tx := Tx{Put: []Record{&next}}
	up, err := m.withContent(ctx, old, &next, up, &tx)
	if err != nil {
		return Tx{}, nil, err
	}
	if err := m.checkBound(ctx, old, up, &tx); err != nil {
		return Tx{}, nil, err
	}
	return tx, &next, m.rename(ctx, old, &next, &tx)
}

// withContent adds the new version to tx, unless the content is the current one. It
// returns the upload with the trust roots it will really have.
func (m *modification) withContent(ctx context.Context, old, next *Certificate, up *upload, tx *Tx) (*upload, error) {
	epoch, keep := 0, up.roots == nil && old.HasTrustRoot
	if keep || up.pair.Facts.Fingerprint == old.Facts.Fingerprint {
		current, err := m.current(ctx, old, keep)
		if err != nil {
			return nil, err
		}
		kept := *up
		if keep {
			if (up.sign == nil) != (current.SignChain == nil) {
				return nil, FieldErrorf(CodeWrongAlgorithm, "trusted_root_ca",
					"the CAs kept until now are for %s clients: send those for %s, or an empty text", old.Facts.Algorithm, up.pair.Facts.Algorithm)
			}
			kept.roots = current.TrustRoots
		}
		if up.staple == nil && current != nil && bytes.Equal(up.chain[0], current.Chain[0]) {
			kept.staple, kept.ends = current.OCSPStaple, current.OCSPNextUpdate
		}
		if current != nil && kept.same(current) && m.opens(ctx, current) {
			return &kept, nil
		}
		up, epoch = &kept, kept.epoch(current)
	}
	if err := up.checkStapled(); err != nil {
		return nil, err
	}
	version := m.version(up, old.ProjectID, old.ID, old.Version+1)
	version.Epoch = epoch
	next.hold(version)
	m.forget(next, tx)
	tx.Put = append(tx.Put, version)
	if m.opt.DryRun {
		return up, nil
	}
	return up, m.seal(ctx, version, up.pair)
}

// current is the current version of old; nil when it is damaged or gone and nothing of it
// has to be kept, so that an upload repairs it.
func (s *Service) current(ctx context.Context, old *Certificate, keep bool) (*Version, error) {
	v, err := s.Store.Version(ctx, old.ProjectID, old.ID, old.Version)
	gone := errors.Is(err, ErrNotStored)
	err = storeError(err)
	damaged := CodeOf(err) == CodeUnreadable
	switch {
	case !gone && !damaged:
		return v, err
	case !keep:
		return nil, nil
	case gone:
		return nil, &ConflictError{Record: old} // newer versions have pushed it out meanwhile
	}
	return nil, &Error{Code: CodeUnreadable, Field: "trusted_root_ca", Err: err,
		Message: "The stored trust roots are damaged and cannot be kept: send trusted_root_ca as well"}
}

// opens tells whether v can be served at all. If not, even the same content makes a new
// version, which repairs it.
func (m *modification) opens(ctx context.Context, v *Version) bool {
	return checkKeys(ctx, m.Sealer, v) == nil
}

// forget drops the versions that fall out of the history.
func (m *modification) forget(next *Certificate, tx *Tx) {
	oldest := max(next.Oldest, next.Version-m.History+1)
	tx.Forget = next.versions(next.Oldest, oldest-1)
	next.Oldest = oldest
}

// rename moves the name claim when the name differs.
func (m *modification) rename(ctx context.Context, old, next *Certificate, tx *Tx) error {
	if old.Name == next.Name {
		return nil
	}
	// The old claim is ours as long as the record is what it was.
	tx.Forget = append(tx.Forget, old.nameClaim())
	tx.Put = append(tx.Put, next.nameClaim())
	if m.opt.DryRun {
		return m.nameFree(ctx, next.nameClaim())
	}
	return nil
}

// checkBound refuses an upload that the bound domains cannot live with. It reads the
// domains themselves only when their records are concerned: another algorithm type, or
// trust roots that go away.
func (m *modification) checkBound(ctx context.Context, old *Certificate, up *upload, tx *Tx) error {
	if old.Bound == 0 {
		return nil
	}
	hosts, err := m.boundHosts(ctx, old)
	if err != nil {
		return err
	}
	if err := up.covers(hosts); err != nil {
		return err
	}
	algorithm := up.pair.Facts.Algorithm
	moved, bare := algorithm != old.Facts.Algorithm, old.HasTrustRoot && len(up.roots) == 0
	if !moved && !bare {
		return nil
	}
	domains, err := m.boundDomains(ctx, old)
	if err != nil {
		return err
	}
	if len(domains) > maxRefs {
		return FieldErrorf(CodeInvalidField, "cert_content", "bound to %d domains: the algorithm type can change, and trust roots can go, with at most %d", len(domains), maxRefs)
	}
	for _, d := range domains {
		if err := m.checkDomain(d, old.ID, algorithm, moved, bare, tx); err != nil {
			return err
		}
	}
	return nil
}

// checkDomain guards or changes one bound domain, see checkBound.
func (m *modification) checkDomain(d *Domain, id string, algorithm keypair.Algorithm, moved, bare bool, tx *Tx) error {
	if bare && d.VerifyClient {
		return FieldErrorf(CodeInvalidField, "trusted_root_ca", "%s verifies client certificates against it; switch that off first", d.Host)
	}
	if !moved {
		tx.Check = append(tx.Check, d)
		return nil
	}
	changed, err := d.withAlgorithm(id, algorithm)
	if err != nil {
		return err
	}
	tx.Put = append(tx.Put, changed)
	return nil
}

// withAlgorithm is d after its certificate became one of another algorithm type.
func (d *Domain) withAlgorithm(certificateID string, algorithm keypair.Algorithm) (*Domain, error) {
	next := *d
	next.Bindings = make([]Binding, len(d.Bindings))
	for i, b := range d.Bindings {
		if b.CertificateID == certificateID {
			b.Algorithm = algorithm
		} else if b.Algorithm == algorithm {
			return nil, FieldErrorf(CodeSameAlgorithm, "cert_content", "%s already has another %s certificate", d.Host, algorithm)
		}
		next.Bindings[i] = b
	}
	return &next, nil
}

func (s *Service) boundDomains(ctx context.Context, cert *Certificate) ([]*Domain, error) {
	bound, err := s.Store.Bound(ctx, cert.ProjectID, cert.ID)
	if err != nil {
		return nil, storeError(err)
	}
	return s.allDomains(ctx, cert.ProjectID, domainIDs(bound))
}

func domainIDs(bound []*Bound) []string {
	ids := make([]string, len(bound))
	for i, b := range bound {
		ids[i] = b.DomainID
	}
	return ids
}

// allDomains returns every one of the domains. One that has gone since its id was read
// is a conflict; one that is damaged would otherwise be forgotten by whoever changes all.
func (s *Service) allDomains(ctx context.Context, projectID string, ids []string) ([]*Domain, error) {
	domains, err := s.Store.Domains(ctx, projectID, ids)
	if err != nil || len(domains) == len(ids) {
		return domains, storeError(err)
	}
	for _, id := range ids {
		_, err := s.Store.Domain(ctx, projectID, id)
		if err != nil && !errors.Is(err, ErrNotStored) {
			return nil, storeError(err)
		}
	}
	return nil, &ConflictError{Record: &Domain{ProjectID: projectID}}
}
