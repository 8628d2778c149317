package lacre

import "context"

// CreateDomainCertificate creates a certificate and binds it to a domain, both or
// neither (API: the older POST …/domains/{domain_id}/certificate).
func (s *Service) CreateDomainCertificate(ctx context.Context, by Caller, projectID, instanceID, groupID, domainID string, in CertificateInput) (*DomainView, []string, error) {
	for _, p := range []Permission{CanBindDomain, CanCreateCertificate} {
		if err := s.allow(ctx, by, projectID, p); err != nil {
			return nil, nil, err
		}
	}
	if _, err := s.domain(ctx, projectID, instanceID, groupID, domainID); err != nil {
		return nil, nil, err
	}
	n, err := s.newcomer(ctx, projectID, in)
	if err != nil {
		return nil, nil, err
	}
	// A taken name is said before what the domain has against the certificate.
	if err := s.nameFree(ctx, n.nameClaim()); err != nil {
		return nil, nil, err
	}
	if err := s.seal(ctx, n.version, n.pair); err != nil {
		return nil, nil, err
	}
	var d *Domain
	revision, err := s.settle(ctx, domainID, func() (_ int64, err error) {
		if d, err = s.domain(ctx, projectID, instanceID, groupID, domainID); err != nil {
			return 0, err
		}
		tx, err := s.binding(ctx, n.Certificate, []target{{Domain: d}})
		if err != nil {
			return 0, err
		}
		return s.commitNew(ctx, by, CanBindDomain, n, tx)
	})
	if err != nil {
		return nil, nil, err
	}
	warnings := append(n.warnings, s.claimWarnings(ctx, projectID, false, d)...)
	warnings = append(warnings, s.served(ctx, revision)...)
	view, err := s.showDomain(ctx, projectID, instanceID, groupID, domainID)
	return view, warnings, err
}

func (s *Service) showDomain(ctx context.Context, projectID, instanceID, groupID, domainID string) (*DomainView, error) {
	d, err := s.domain(ctx, projectID, instanceID, groupID, domainID)
	if err != nil {
		return nil, err
	}
	g, err := s.group(ctx, projectID, instanceID, groupID)
	if err != nil {
		return nil, err
	}
	return s.domainView(ctx, d, g)
}

// ShowDomainCertificate returns a certificate as bound to a domain (API: GET
// …/domains/{domain_id}/certificate/{certificate_id}).
func (s *Service) ShowDomainCertificate(ctx context.Context, by Caller, projectID, instanceID, groupID, domainID, certificateID string) (*Certificate, error) {
	if err := s.allow(ctx, by, projectID, CanGetCertificate); err != nil {
		return nil, err
	}
	d, err := s.domain(ctx, projectID, instanceID, groupID, domainID)
	if err != nil {
		return nil, err
	}
	c, err := s.certificate(ctx, projectID, certificateID)
	if err == nil && !d.has(certificateID) {
		return nil, notBound(certificateID, d)
	}
	return c, err
}

// RemoveDomainCertificate unbinds a certificate from a domain and deletes it when no
// other domain uses it (API: the older DELETE …/certificate/{certificate_id}).
func (s *Service) RemoveDomainCertificate(ctx context.Context, by Caller, projectID, instanceID, groupID, domainID, certificateID string) error {
	if err := s.DetachCertificate(ctx, by, projectID, instanceID, groupID, domainID, certificateID); err != nil {
		return err
	}
	if !by.Allows(CanDeleteCertificate) {
		return nil // unbound is what an operator may do; the certificate stays
	}
	err := s.DeleteCertificate(ctx, by, projectID, certificateID, WriteOptions{})
	if code := CodeOf(err); code == CodeInUse || code == CodeCertificateNotFound {
		return nil // another domain uses it, or somebody was faster
	}
	return err
}
