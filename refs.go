package lacre

import (
	"context"
	"errors"

	"lacre/keypair"
)

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
	return s.holders(ctx, c.ProjectID, instances, host)
}

// holders finds the domains of a canonical host in some instances of a project.
func (s *Service) holders(ctx context.Context, projectID string, instances []string, host string) ([]*Domain, error) {
	var out []*Domain
	for _, id := range instances {
		claim, err := s.Store.Host(ctx, projectID, id, host)
		if errors.Is(err, ErrNotStored) {
			continue
		}
		if err != nil {
			return nil, storeError(err)
		}
		d, err := s.Store.Domain(ctx, projectID, claim.DomainID)
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
