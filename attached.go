package lacre

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"lacre/keypair"
)

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
	domains, err := s.Store.Domains(ctx, c.ProjectID, domainIDs(bound))
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
