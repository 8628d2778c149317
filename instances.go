package lacre

import (
	"cmp"
	"context"
	"slices"
)

// CreateInstance adds a gateway to the project.
func (s *Service) CreateInstance(ctx context.Context, by Caller, projectID, name string) (*Instance, error) {
	if err := s.allow(ctx, by, projectID, CanCreateInstance); err != nil {
		return nil, err
	}
	if err := checkInstanceName(name); err != nil {
		return nil, err
	}
	in, claim := NewInstance(projectID, name, s.Now())
	revision, err := s.settle(ctx, projectID, func() (int64, error) {
		guard, err := s.roomForInstance(ctx, projectID)
		if err != nil {
			return 0, err
		}
		revision, err := s.commit(ctx, by, projectID, CanCreateInstance, "instance/"+in.ID, "name "+name, Tx{Put: append(guard, in, claim)})
		if conflictOn[*InstanceName](err) {
			return 0, FieldErrorf(CodeInstanceNameTaken, "instance_name", "another instance is called %s", name)
		}
		return revision, err
	})
	if err != nil {
		return nil, err
	}
	in.Revision = revision
	return in, nil
}

// ShowInstance returns one gateway.
func (s *Service) ShowInstance(ctx context.Context, by Caller, projectID, id string) (*Instance, error) {
	if err := s.allow(ctx, by, projectID, CanGetInstance); err != nil {
		return nil, err
	}
	return s.instance(ctx, projectID, id)
}

// ListInstances returns one page of the matching gateways, oldest first, and how many match
// in all.
func (s *Service) ListInstances(ctx context.Context, by Caller, projectID string, f InstanceFilter) ([]*Instance, int, error) {
	if err := s.allow(ctx, by, projectID, CanListInstances); err != nil {
		return nil, 0, err
	}
	all, err := s.Store.Instances(ctx, projectID)
	if err != nil {
		return nil, 0, storeError(err)
	}
	hits := slices.DeleteFunc(all, func(in *Instance) bool { return !f.matches(in) })
	slices.SortFunc(hits, func(a, b *Instance) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return window(hits, f.Page), len(hits), nil
}

func (f *InstanceFilter) matches(in *Instance) bool {
	return anyOr(f.ID, in.ID) && anyOr(f.Name, in.Name) && anyOr(f.Status, in.Status())
}

// DeleteInstance removes a gateway that holds neither groups nor certificates.
//
// It first marks an empty instance as closing, which fails every addition that is under
// way (each guards the instance's revision), then looks whether it is empty still. An
// instance left closing by a crash is finished by calling this again.
func (s *Service) DeleteInstance(ctx context.Context, by Caller, projectID, id string) error {
	if err := s.allow(ctx, by, projectID, CanDeleteInstance); err != nil {
		return err
	}
	_, err := s.settle(ctx, id, func() (int64, error) {
		closing, err := s.closeInstance(ctx, by, projectID, id)
		if err != nil {
			return 0, err
		}
		if err := s.instanceEmpty(ctx, projectID, id); err != nil {
			return 0, s.reopen(ctx, by, closing, err)
		}
		claim := &InstanceName{ProjectID: projectID, Name: closing.Name, InstanceID: id}
		tx := Tx{Delete: []Record{closing}, Forget: []Record{claim}}
		return s.commit(ctx, by, projectID, CanDeleteInstance, "instance/"+id, "name "+closing.Name, tx)
	})
	return err
}

func (s *Service) closeInstance(ctx context.Context, by Caller, projectID, id string) (*Instance, error) {
	in, err := s.instance(ctx, projectID, id)
	if err != nil || in.Closing {
		return in, err
	}
	if err := s.instanceEmpty(ctx, projectID, id); err != nil {
		return nil, err
	}
	return s.mark(ctx, by, in, true)
}

func (s *Service) mark(ctx context.Context, by Caller, in *Instance, closing bool) (*Instance, error) {
	next := *in
	next.Closing = closing
	detail := "opened again"
	if closing {
		detail = "closing"
	}
	revision, err := s.commit(ctx, by, in.ProjectID, CanDeleteInstance, "instance/"+in.ID, detail, Tx{Put: []Record{&next}})
	next.Revision = revision
	return &next, err
}

func (s *Service) reopen(ctx context.Context, by Caller, in *Instance, reason error) error {
	if _, err := s.mark(ctx, by, in, false); err != nil {
		return err
	}
	return reason
}

func (s *Service) instanceEmpty(ctx context.Context, projectID, id string) error {
	groups, err := s.Store.Groups(ctx, projectID, id)
	if err != nil {
		return storeError(err)
	}
	if len(groups) > 0 {
		return Errorf(CodeInUse, "The instance has %d API groups", len(groups))
	}
	certs, err := s.Store.Certificates(ctx, projectID)
	if err != nil {
		return storeError(err)
	}
	if slices.ContainsFunc(certs, func(c *Certificate) bool { return c.InstanceID == id }) {
		return Errorf(CodeInUse, "The instance has SSL certificates of its own")
	}
	return nil
}
