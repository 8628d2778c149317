package lacre

import (
	"context"
	"slices"
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
	var list []target
	revision, err := s.settle(ctx, certificateID, func() (int64, error) {
		c, err := s.certificate(ctx, projectID, certificateID)
		if err != nil {
			return 0, err
		}
		if list, err = targets(c); err != nil {
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
	return append(s.claimWarnings(ctx, projectID, false, domainsOf(list)...), s.served(ctx, revision)...), nil
}

func domainsOf(list []target) []*Domain {
	domains := make([]*Domain, len(list))
	for i, t := range list {
		domains[i] = t.Domain
	}
	return domains
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
