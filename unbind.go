package lacre

import (
	"context"
	"slices"
)

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
