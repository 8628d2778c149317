package lacre

import (
	"context"
	"errors"
	"slices"
)

// CreateDomain binds a host name to a group (API: POST …/domains).
func (s *Service) CreateDomain(ctx context.Context, by Caller, projectID, instanceID, groupID string, in DomainInput) (*DomainView, []string, error) {
	if err := s.allow(ctx, by, projectID, CanCreateDomain); err != nil {
		return nil, nil, err
	}
	d, err := s.newDomain(projectID, instanceID, groupID, in)
	if err != nil {
		return nil, nil, err
	}
	var view *DomainView
	revision, err := s.settle(ctx, groupID, func() (int64, error) {
		old, err := s.group(ctx, projectID, instanceID, groupID)
		if err != nil {
			return 0, err
		}
		g, err := s.withDomain(old, d)
		if err != nil {
			return 0, err
		}
		view = &DomainView{Domain: d, GroupName: g.Name}
		return s.commitDomain(ctx, by, d, g)
	})
	if err != nil {
		return nil, nil, err
	}
	d.Revision = revision
	warnings := append(minTLSWarning(d.MinTLS), s.claimWarnings(ctx, projectID, true, d)...)
	return view, append(warnings, s.served(ctx, revision)...), nil
}

// withDomain is the group with d in it. The group's record changes, so that two
// additions cannot both take the last place.
func (s *Service) withDomain(old *Group, d *Domain) (*Group, error) {
	if len(old.DomainIDs) >= s.DomainsPerGroup {
		return nil, Errorf(CodeDomainQuota, "an API group has at most %d domain names", s.DomainsPerGroup)
	}
	g := *old
	g.DomainIDs = append(slices.Clone(old.DomainIDs), d.ID)
	g.Updated = s.Now().UTC()
	return &g, nil
}

func (s *Service) commitDomain(ctx context.Context, by Caller, d *Domain, g *Group) (int64, error) {
	claim := &Host{ProjectID: d.ProjectID, InstanceID: d.InstanceID, Host: d.Host, DomainID: d.ID}
	revision, err := s.commit(ctx, by, d.ProjectID, CanCreateDomain, "domain/"+d.ID, "host "+d.Host, Tx{Put: []Record{d, claim, g}})
	if conflictOn[*Host](err) {
		return 0, FieldErrorf(CodeDomainTaken, "url_domain", "%s is bound to an API group of this instance already", d.Name)
	}
	return revision, err
}

func (s *Service) newDomain(projectID, instanceID, groupID string, in DomainInput) (*Domain, error) {
	host, err := canonicalDomain(in.Name)
	if err != nil {
		return nil, err
	}
	now := s.Now().UTC()
	d := &Domain{
		ID: NewID(), ProjectID: projectID, InstanceID: instanceID, GroupID: groupID, Name: in.Name, Host: host,
		MinTLS: in.MinTLS, RedirectHTTPS: in.RedirectHTTPS, HSTS: in.HSTS, HTTPPort: valueOr(in.HTTPPort, 80),
		HTTPSPort: valueOr(in.HTTPSPort, 443), Upstream: in.Upstream, Created: now, Updated: now,
	}
	if d.MinTLS == "" {
		d.MinTLS = "TLSv1.2"
	}
	if (in.HTTPPort == nil) != (in.HTTPSPort == nil) {
		return nil, FieldErrorf(CodeInvalidField, "ingress_https_port", "give both ingress ports or none")
	}
	return d, d.check()
}

// check refuses policies the edge cannot enforce.
func (d *Domain) check() error {
	return errors.Join(checkMinTLS(d.MinTLS), checkPorts(d.HTTPPort, d.HTTPSPort), CheckUpstream(d.Upstream))
}

// domainView shows d in its surroundings. Certificates that cannot be read are left out.
func (s *Service) domainView(ctx context.Context, d *Domain, g *Group) (*DomainView, error) {
	view := &DomainView{Domain: d, GroupName: g.Name}
	for _, b := range d.Bindings {
		c, err := s.Store.Certificate(ctx, d.ProjectID, b.CertificateID)
		if _, damaged := errors.AsType[*UnreadableError](err); damaged || errors.Is(err, ErrNotStored) {
			continue
		}
		if err != nil {
			return nil, storeError(err)
		}
		view.Certificates = append(view.Certificates, c)
	}
	return view, nil
}

// ModifyDomain changes a domain's policy (API: PUT …/domains/{domain_id}).
func (s *Service) ModifyDomain(ctx context.Context, by Caller, projectID, instanceID, groupID, domainID string, c DomainChange) (*DomainView, []string, error) {
	if err := s.allow(ctx, by, projectID, CanUpdateDomain); err != nil {
		return nil, nil, err
	}
	var next *Domain
	revision, err := s.settle(ctx, domainID, func() (int64, error) {
		old, err := s.domain(ctx, projectID, instanceID, groupID, domainID)
		if err != nil {
			return 0, err
		}
		tx := Tx{}
		if next, err = s.changed(ctx, old, c, &tx); err != nil {
			return 0, err
		}
		tx.Put = []Record{next}
		return s.commit(ctx, by, projectID, CanUpdateDomain, "domain/"+domainID, "host "+next.Host, tx)
	})
	if err != nil {
		return nil, nil, err
	}
	warnings := append(minTLSWarning(next.MinTLS), s.served(ctx, revision)...)
	g, err := s.group(ctx, projectID, instanceID, groupID)
	if err != nil {
		return nil, nil, err
	}
	view, err := s.domainView(ctx, next, g)
	return view, warnings, err
}

// changed is old with the change applied. Switching client authentication on also
// guards the bound certificates, whose trust roots it relies on.
func (s *Service) changed(ctx context.Context, old *Domain, c DomainChange, tx *Tx) (*Domain, error) {
	d := *old
	d.MinTLS = valueOr(c.MinTLS, d.MinTLS)
	d.RedirectHTTPS = valueOr(c.RedirectHTTPS, d.RedirectHTTPS)
	d.VerifyClient = valueOr(c.VerifyClient, d.VerifyClient)
	d.HSTS = valueOr(c.HSTS, d.HSTS)
	d.HTTPPort, d.HTTPSPort = valueOr(c.HTTPPort, d.HTTPPort), valueOr(c.HTTPSPort, d.HTTPSPort)
	d.Upstream = valueOr(c.Upstream, d.Upstream)
	d.Updated = s.Now().UTC()
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.VerifyClient && !old.VerifyClient {
		return &d, s.checkRoots(ctx, &d, tx)
	}
	return &d, nil
}

// checkRoots refuses client authentication unless every bound certificate brings trust
// roots to verify against.
func (s *Service) checkRoots(ctx context.Context, d *Domain, tx *Tx) error {
	const field = "verified_client_certificate_enabled"
	if len(d.Bindings) == 0 {
		return FieldErrorf(CodeInvalidField, field, "%s has no certificate with a trusted_root_ca", d.Host)
	}
	for _, b := range d.Bindings {
		c, err := s.certificate(ctx, d.ProjectID, b.CertificateID)
		if err != nil {
			return err
		}
		if !c.HasTrustRoot {
			return FieldErrorf(CodeInvalidField, field, "certificate %s of %s has no trusted_root_ca", c.Name, d.Host)
		}
		tx.Check = append(tx.Check, c)
	}
	return nil
}

// DeleteDomain takes a host name from its group; its certificates stay (API: DELETE
// …/domains/{domain_id}).
func (s *Service) DeleteDomain(ctx context.Context, by Caller, projectID, instanceID, groupID, domainID string) error {
	if err := s.allow(ctx, by, projectID, CanDeleteDomain); err != nil {
		return err
	}
	revision, err := s.settle(ctx, groupID, func() (int64, error) {
		d, err := s.domain(ctx, projectID, instanceID, groupID, domainID)
		if err != nil {
			return 0, err
		}
		old, err := s.group(ctx, projectID, instanceID, groupID)
		if err != nil {
			return 0, err
		}
		g := *old
		g.DomainIDs = slices.DeleteFunc(slices.Clone(old.DomainIDs), func(id string) bool { return id == domainID })
		g.Updated = s.Now().UTC()
		tx := Tx{Put: []Record{&g}}
		if err := s.dropDomains(ctx, &tx, []*Domain{d}); err != nil {
			return 0, err
		}
		return s.commit(ctx, by, projectID, CanDeleteDomain, "domain/"+domainID, "host "+d.Host, tx)
	})
	if err == nil {
		s.served(ctx, revision)
	}
	return err
}

// dropDomains adds the end of some domains to tx: records, host claims and bindings,
// with one update of each certificate however many of the domains use it.
func (s *Service) dropDomains(ctx context.Context, tx *Tx, domains []*Domain) error {
	uses := map[string]int{}
	for _, d := range domains {
		tx.Delete = append(tx.Delete, d)
		tx.Forget = append(tx.Forget, &Host{ProjectID: d.ProjectID, InstanceID: d.InstanceID, Host: d.Host})
		for _, b := range d.Bindings {
			uses[b.CertificateID]++
			tx.Forget = append(tx.Forget, d.boundTo(b.CertificateID))
		}
	}
	for id, n := range uses {
		c, err := s.certificate(ctx, domains[0].ProjectID, id)
		if err != nil {
			return err
		}
		next := *c
		next.Bound -= n
		tx.Put = append(tx.Put, &next)
	}
	return nil
}

func (d *Domain) boundTo(certificateID string) *Bound {
	return &Bound{ProjectID: d.ProjectID, CertificateID: certificateID, DomainID: d.ID, Host: d.Host}
}
