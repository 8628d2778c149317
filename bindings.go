package lacre

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"lacre/keypair"
)

// maxRefs bounds a batch, so that it fits one transaction of an etcd with its usual
// limit of 128 operations: two records of each domain, and a second certificate of each
// to guard.
const maxRefs = 40

// AttachDomains binds a certificate to domains by name, all of them or none (API: POST
// …/certificates/{certificate_id}/domains/attach). A domain that has the certificate
// already gets its client authentication flag set.
func (s *Service) AttachDomains(ctx context.Context, by Caller, projectID, certificateID string, refs []DomainRef) ([]string, error) {
	if err := s.allow(ctx, by, projectID, CanBind); err != nil {
		return nil, err
	}
	return s.bind(ctx, by, CanBind, projectID, certificateID, func(c *Certificate) ([]target, error) {
		if err := checkRefs(refs); err != nil {
			return nil, err
		}
		if err := s.instancesExist(ctx, projectID, refs); err != nil {
			return nil, err
		}
		targets, missing, err := s.resolve(ctx, c, refs)
		if err == nil && len(missing) > 0 {
			err = FieldErrorf(CodeDomainNotFound, "domains", "%s is not bound to an API group", some(missing))
		}
		return targets, err
	})
}

// AttachCertificate binds one certificate to one domain (API: POST
// …/domains/{domain_id}/certificates/attach); calling it again changes the flag.
func (s *Service) AttachCertificate(ctx context.Context, by Caller, projectID, instanceID, groupID, domainID, certificateID string, verify *bool) ([]string, error) {
	if err := s.allow(ctx, by, projectID, CanBindDomain); err != nil {
		return nil, err
	}
	return s.bind(ctx, by, CanBindDomain, projectID, certificateID, func(*Certificate) ([]target, error) {
		d, err := s.domain(ctx, projectID, instanceID, groupID, domainID)
		return []target{{d, verify}}, err
	})
}

// target is a domain to bind or unbind, with the flag that was asked for.
type target struct {
	*Domain
	verify *bool
}

func (s *Service) bind(ctx context.Context, by Caller, p Permission, projectID, certificateID string, targets func(*Certificate) ([]target, error)) ([]string, error) {
	revision, err := s.settle(ctx, certificateID, func() (int64, error) {
		c, err := s.certificate(ctx, projectID, certificateID)
		if err != nil {
			return 0, err
		}
		list, err := targets(c)
		if err != nil {
			return 0, err
		}
		tx, err := s.binding(ctx, c, list)
		if err != nil {
			return 0, err
		}
		return s.commit(ctx, by, projectID, p, "certificate/"+certificateID, "bound to "+hostsOf(list), tx)
	})
	if err != nil {
		return nil, err
	}
	return s.served(ctx, revision), nil
}

func hostsOf(list []target) string {
	hosts := make([]string, len(list))
	for i, t := range list {
		hosts[i] = t.Host
	}
	return some(hosts)
}

// binding is the transaction that binds c to every target. The certificate's record
// changes or is guarded, so that it cannot be modified into one that does not fit.
func (s *Service) binding(ctx context.Context, c *Certificate, list []target) (Tx, error) {
	tx := Tx{}
	next := *c
	for _, t := range list {
		d, added, err := s.bound(ctx, c, t, &tx)
		if err != nil {
			return Tx{}, err
		}
		tx.Put = append(tx.Put, d)
		if added {
			next.Bound++
			tx.Put = append(tx.Put, d.boundTo(c.ID))
		}
	}
	if next.Bound > c.Bound {
		tx.Put = append(tx.Put, &next)
	} else {
		tx.Check = append(tx.Check, c)
	}
	return tx, nil
}

// bound is the target's domain with c attached, and whether that is new.
func (s *Service) bound(ctx context.Context, c *Certificate, t target, tx *Tx) (*Domain, bool, error) {
	if err := c.fits(t.Domain); err != nil {
		return nil, false, err
	}
	verify, err := s.verification(ctx, c, t, tx)
	if err != nil {
		return nil, false, err
	}
	d := *t.Domain
	d.VerifyClient, d.Updated = verify, s.Now().UTC()
	if d.has(c.ID) {
		return &d, false, nil
	}
	d.Bindings = append(slices.Clone(d.Bindings), Binding{CertificateID: c.ID, Algorithm: c.Facts.Algorithm})
	return &d, true, nil
}

func (d *Domain) has(certificateID string) bool {
	return slices.ContainsFunc(d.Bindings, func(b Binding) bool { return b.CertificateID == certificateID })
}

// fits tells why c cannot be bound to d.
func (c *Certificate) fits(d *Domain) error {
	if c.Scope == ScopeInstance && c.InstanceID != d.InstanceID {
		return FieldErrorf(CodeInvalidField, "instance_ids", "the certificate belongs to instance %s, the domain to %s", c.InstanceID, d.InstanceID)
	}
	if !c.Facts.Covers(d.Host) {
		return Errorf(CodeNotCovered, "the certificate is valid for %s and does not cover %s", some(c.Facts.SANs), d.Host)
	}
	for _, b := range d.Bindings {
		if b.CertificateID != c.ID && b.Algorithm == c.Facts.Algorithm {
			return Errorf(CodeSameAlgorithm, "%s already has another %s certificate; unbind it first", d.Host, b.Algorithm)
		}
	}
	return nil
}

// verification decides the domain's client authentication flag. Left out, it is on
// exactly when the certificate brings trust roots, but never switches off what other
// certificates of the domain rely on; on is refused without trust roots to verify with.
func (s *Service) verification(ctx context.Context, c *Certificate, t target, tx *Tx) (bool, error) {
	const field = "verified_client_certificate_enabled"
	others := *t.Domain
	others.Bindings = slices.DeleteFunc(slices.Clone(t.Bindings), func(b Binding) bool { return b.CertificateID == c.ID })
	want := c.HasTrustRoot
	if t.verify != nil {
		want = *t.verify
	} else if t.VerifyClient && len(others.Bindings) > 0 {
		want = true
	}
	if !want {
		return false, nil
	}
	if !c.HasTrustRoot {
		return false, FieldErrorf(CodeInvalidField, field, "certificate %s has no trusted_root_ca to verify clients of %s with", c.Name, t.Host)
	}
	if len(others.Bindings) == 0 {
		return true, nil
	}
	err := s.checkRoots(ctx, &others, tx)
	if err != nil && t.verify == nil && CodeOf(err) == CodeInvalidField {
		return false, nil
	}
	return true, err
}

// DetachDomains unbinds a certificate from the named domains that have it (API: POST
// …/certificates/{certificate_id}/domains/detach). It fails only when none has.
func (s *Service) DetachDomains(ctx context.Context, by Caller, projectID, certificateID string, refs []DomainRef) error {
	if err := s.allow(ctx, by, projectID, CanUnbind); err != nil {
		return err
	}
	return s.unbind(ctx, by, CanUnbind, projectID, certificateID, func(c *Certificate) ([]target, error) {
		targets, _, err := s.resolve(ctx, c, refs)
		targets = slices.DeleteFunc(targets, func(t target) bool { return !t.has(c.ID) })
		if err == nil && len(targets) == 0 {
			err = Errorf(CodeNothingBound, "none of the named domains has this certificate")
		}
		return targets, err
	})
}

// DetachCertificate unbinds one certificate from one domain (API: POST
// …/domains/{domain_id}/certificates/detach).
func (s *Service) DetachCertificate(ctx context.Context, by Caller, projectID, instanceID, groupID, domainID, certificateID string) error {
	if err := s.allow(ctx, by, projectID, CanUnbindDomain); err != nil {
		return err
	}
	return s.unbind(ctx, by, CanUnbindDomain, projectID, certificateID, func(c *Certificate) ([]target, error) {
		d, err := s.domain(ctx, projectID, instanceID, groupID, domainID)
		if err == nil && !d.has(c.ID) {
			err = notBound(c.ID, d)
		}
		return []target{{Domain: d}}, err
	})
}

func notBound(certificateID string, d *Domain) error {
	return Errorf(CodeBindingNotFound, "certificate %s is not bound to %s", certificateID, d.Host)
}

func (s *Service) unbind(ctx context.Context, by Caller, p Permission, projectID, certificateID string, targets func(*Certificate) ([]target, error)) error {
	revision, err := s.settle(ctx, certificateID, func() (int64, error) {
		c, err := s.certificate(ctx, projectID, certificateID)
		if err != nil {
			return 0, err
		}
		list, err := targets(c)
		if err != nil {
			return 0, err
		}
		return s.commit(ctx, by, projectID, p, "certificate/"+certificateID, "unbound from "+hostsOf(list), s.unbinding(c, list))
	})
	if err == nil {
		s.served(ctx, revision)
	}
	return err
}

// unbinding is the transaction that takes c from every target. A domain left without
// certificates has no client authentication either.
func (s *Service) unbinding(c *Certificate, list []target) Tx {
	next := *c
	next.Bound -= len(list)
	tx := Tx{Put: []Record{&next}}
	for _, t := range list {
		d := *t.Domain
		d.Bindings = slices.DeleteFunc(slices.Clone(d.Bindings), func(b Binding) bool { return b.CertificateID == c.ID })
		d.VerifyClient = d.VerifyClient && len(d.Bindings) > 0
		d.Updated = s.Now().UTC()
		tx.Put = append(tx.Put, &d)
		tx.Forget = append(tx.Forget, d.boundTo(c.ID))
	}
	return tx
}

// resolve finds the domains that refs name, each once, and the names without any.
func (s *Service) resolve(ctx context.Context, c *Certificate, refs []DomainRef) (targets []target, missing []string, err error) {
	if err := checkRefs(refs); err != nil {
		return nil, nil, err
	}
	for _, ref := range refs {
		domains, err := s.named(ctx, c, ref)
		if err != nil {
			return nil, nil, err
		}
		if len(domains) == 0 {
			missing = append(missing, ref.Name)
		}
		for _, d := range domains {
			targets = addTarget(targets, target{d, ref.VerifyClient})
		}
	}
	if len(targets) > maxRefs {
		return nil, nil, FieldErrorf(CodeInvalidField, "domains", "expected at most %d domains, these names stand for %d", maxRefs, len(targets))
	}
	return targets, missing, nil
}

// checkRefs bounds what a batch asks of the store, which is a read or two for each
// instance of each name.
func checkRefs(refs []DomainRef) error {
	switch {
	case len(refs) == 0:
		return FieldErrorf(CodeNothingBound, "domains", "expected at least one domain")
	case len(refs) > maxRefs:
		return FieldErrorf(CodeInvalidField, "domains", "expected at most %d domains", maxRefs)
	}
	for _, ref := range refs {
		if len(ref.InstanceIDs) > maxRefs {
			return FieldErrorf(CodeInvalidField, "instance_ids", "expected at most %d instances for one domain", maxRefs)
		}
	}
	return nil
}

// addTarget adds t unless its domain is there; the later flag wins.
func addTarget(list []target, t target) []target {
	for i := range list {
		if list[i].ID == t.ID {
			list[i].verify = t.verify
			return list
		}
	}
	return append(list, t)
}

// named finds the domains of one name: in the given instances, else in the
// certificate's own, else in all of the project.
func (s *Service) named(ctx context.Context, c *Certificate, ref DomainRef) ([]*Domain, error) {
	host, err := keypair.CanonicalHost(ref.Name)
	if err != nil {
		return nil, nil // a name that cannot be a domain names none
	}
	instances, err := s.instancesOf(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	var out []*Domain
	for _, id := range instances {
		claim, err := s.Store.Host(ctx, c.ProjectID, id, host)
		if errors.Is(err, ErrNotStored) {
			continue
		}
		if err != nil {
			return nil, storeError(err)
		}
		d, err := s.Store.Domain(ctx, c.ProjectID, claim.DomainID)
		if errors.Is(err, ErrNotStored) {
			continue // deleted between the two reads
		}
		if err != nil {
			return nil, storeError(err)
		}
		out = append(out, d)
	}
	return out, nil
}

func (s *Service) instancesOf(ctx context.Context, c *Certificate, ref DomainRef) ([]string, error) {
	if len(ref.InstanceIDs) > 0 {
		return ref.InstanceIDs, nil
	}
	if c.Scope == ScopeInstance {
		return []string{c.InstanceID}, nil
	}
	all, err := s.Store.Instances(ctx, c.ProjectID)
	if err != nil {
		return nil, storeError(err)
	}
	ids := make([]string, len(all))
	for i, in := range all {
		ids[i] = in.ID
	}
	return ids, nil
}

func (s *Service) instancesExist(ctx context.Context, projectID string, refs []DomainRef) error {
	for _, ref := range refs {
		for _, id := range ref.InstanceIDs {
			if _, err := s.instance(ctx, projectID, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// AttachedDomains returns one page of the domains a certificate is bound to, by host
// name (API: GET …/certificates/{certificate_id}/attached-domains). A name selects one.
func (s *Service) AttachedDomains(ctx context.Context, by Caller, projectID, certificateID, name string, page Page) ([]*DomainView, int, error) {
	if err := s.allow(ctx, by, projectID, CanListBound); err != nil {
		return nil, 0, err
	}
	c, err := s.certificate(ctx, projectID, certificateID)
	if err != nil {
		return nil, 0, err
	}
	bound, err := s.Store.Bound(ctx, projectID, certificateID)
	if err != nil {
		return nil, 0, storeError(err)
	}
	bound = slices.DeleteFunc(bound, func(b *Bound) bool { return name != "" && !sameHost(name, b.Host) })
	slices.SortFunc(bound, func(a, b *Bound) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.DomainID, b.DomainID))
	})
	views, err := s.boundViews(ctx, c, window(bound, page))
	return views, len(bound), err
}

func sameHost(name, host string) bool {
	canonical, err := keypair.CanonicalHost(name)
	return err == nil && canonical == host
}

func (s *Service) boundViews(ctx context.Context, c *Certificate, bound []*Bound) ([]*DomainView, error) {
	ids := make([]string, len(bound))
	for i, b := range bound {
		ids[i] = b.DomainID
	}
	domains, err := s.Store.Domains(ctx, c.ProjectID, ids)
	if err != nil {
		return nil, storeError(err)
	}
	var views []*DomainView
	for _, d := range domains {
		view := &DomainView{Domain: d, Certificates: []*Certificate{c}}
		g, err := s.Store.Group(ctx, d.ProjectID, d.GroupID)
		if errors.Is(err, ErrNotStored) {
			continue // deleted with its domains between the two reads
		}
		if err = storeError(err); err != nil && CodeOf(err) != CodeUnreadable {
			return nil, err
		}
		if err == nil {
			view.GroupName = g.Name // a damaged group leaves it empty
		}
		views = append(views, view)
	}
	return views, nil
}
