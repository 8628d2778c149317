package lacre

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Claim is what decides between the domains of one host, which several instances can have.
type Claim struct {
	Created  time.Time
	DomainID string
}

// Before tells whether c is the older of two claims: an edge serves the oldest of those that
// it knows.
func (c Claim) Before(other Claim) bool {
	if n := c.Created.Compare(other.Created); n != 0 {
		return n < 0
	}
	return c.DomainID < other.DomainID
}

func (d *Domain) claim() Claim { return Claim{d.Created, d.ID} }

// mostHidden is how many warnings of hidden domains one answer has: header fields have to
// fit through proxies.
const mostHidden = 5

// claimWarnings warns of each of a project's domains whose host an older domain of the same
// project has too, in another instance: edges that serve both serve the older one. Of a
// domain that was made just now it says, too, that it is the older one itself, as happens
// when clocks differ.
//
// It reads who has each host in each instance of the project, of which there are few. The
// change is stored by then, so what cannot be read is logged and no error.
func (s *Service) claimWarnings(ctx context.Context, projectID string, made bool, list ...*Domain) []string {
	warnings, err := s.hidden(ctx, projectID, made, list)
	if err != nil {
		s.Log.Warn("who else has a host could not be read", "err", err)
	}
	if n := len(warnings); n > mostHidden {
		more := fmt.Sprintf("%d more of these domains are hidden by older ones of other instances.", n-mostHidden+1)
		warnings = append(warnings[:mostHidden-1], more)
	}
	return warnings
}

func (s *Service) hidden(ctx context.Context, projectID string, made bool, list []*Domain) (warnings []string, err error) {
	instances, err := s.Store.Instances(ctx, projectID)
	if err != nil || len(instances) < 2 {
		return nil, err
	}
	names, ids := map[string]string{}, []string(nil)
	for _, in := range instances {
		names[in.ID], ids = in.Name, append(ids, in.ID)
	}
	claims := map[string][]*Domain{} // by host: a batch can have one in several instances
	for _, d := range list {
		if _, known := claims[d.Host]; !known {
			if claims[d.Host], err = s.holders(ctx, projectID, ids, d.Host); err != nil {
				return warnings, err
			}
		}
		warnings = append(warnings, d.claimWarning(made, claims[d.Host], names)...)
	}
	return warnings, nil
}

// claimWarning compares d with the oldest other one of the domains that have its host.
func (d *Domain) claimWarning(made bool, claims []*Domain, names map[string]string) []string {
	others := slices.DeleteFunc(slices.Clone(claims), func(o *Domain) bool { return o.ID == d.ID })
	if len(others) == 0 {
		return nil
	}
	o := slices.MinFunc(others, func(a, b *Domain) int {
		if a.claim().Before(b.claim()) {
			return -1
		}
		return 1
	})
	also := fmt.Sprintf("%s is also the host of domain %s of instance %s (%s)", d.Host, o.ID, names[o.InstanceID], o.InstanceID)
	switch {
	case o.claim().Before(d.claim()):
		return []string{fmt.Sprintf("%s, which is older: an edge that serves both instances serves that one, not domain %s.", also, d.ID)}
	case made:
		return []string{fmt.Sprintf("%s, which counts as younger: an edge that serves both instances serves domain %s from now on.", also, d.ID)}
	}
	return nil
}
