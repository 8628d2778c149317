package lacre

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// CreateGroup adds an API group to an instance (API: POST …/api-groups).
func (s *Service) CreateGroup(ctx context.Context, by Caller, projectID, instanceID string, in GroupInput) (*GroupView, error) {
	if err := s.allow(ctx, by, projectID, CanCreateGroup); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	now := s.Now().UTC()
	g := &Group{ID: NewID(), ProjectID: projectID, InstanceID: instanceID, Name: in.Name,
		Remark: valueOr(in.Remark, ""), SubdomainAccess: true, Created: now, Updated: now}
	revision, err := s.settle(ctx, instanceID, func() (int64, error) {
		instance, err := s.openInstance(ctx, projectID, instanceID)
		if err != nil {
			return 0, err
		}
		tx := Tx{Put: []Record{g, g.nameClaim()}}
		if err := s.roomForGroup(ctx, instance, &tx); err != nil {
			return 0, err
		}
		revision, err := s.commit(ctx, by, projectID, CanCreateGroup, "group/"+g.ID, "name "+g.Name, tx)
		return revision, g.claimError(err)
	})
	if err != nil {
		return nil, err
	}
	g.Revision = revision
	return &GroupView{Group: g}, nil
}

func (g *Group) nameClaim() *GroupName {
	return &GroupName{ProjectID: g.ProjectID, InstanceID: g.InstanceID, Name: g.Name, GroupID: g.ID}
}

// claimError says that g's name is taken, when that is why it could not be stored.
func (g *Group) claimError(err error) error {
	if conflictOn[*GroupName](err) {
		return FieldErrorf(CodeGroupNameTaken, "name", "another API group of this instance is called %s", g.Name)
	}
	return err
}

// ShowGroup returns a group with its domains (API: GET …/api-groups/{group_id}).
func (s *Service) ShowGroup(ctx context.Context, by Caller, projectID, instanceID, id string) (*GroupView, error) {
	if err := s.allow(ctx, by, projectID, CanGetGroup); err != nil {
		return nil, err
	}
	g, err := s.group(ctx, projectID, instanceID, id)
	if err != nil {
		return nil, err
	}
	return s.groupView(ctx, g)
}

func (s *Service) groupView(ctx context.Context, g *Group) (*GroupView, error) {
	domains, err := s.Store.Domains(ctx, g.ProjectID, g.DomainIDs)
	if err != nil {
		return nil, storeError(err)
	}
	view := &GroupView{Group: g}
	for _, d := range domains {
		dv, err := s.domainView(ctx, d, g)
		if err != nil {
			return nil, err
		}
		view.Domains = append(view.Domains, dv)
	}
	return view, nil
}

// ListGroups returns one page of the matching groups, newest first (API: GET
// …/api-groups).
func (s *Service) ListGroups(ctx context.Context, by Caller, projectID string, f GroupFilter) ([]*GroupView, int, error) {
	if err := s.allow(ctx, by, projectID, CanListGroups); err != nil {
		return nil, 0, err
	}
	if _, err := s.instance(ctx, projectID, f.InstanceID); err != nil {
		return nil, 0, err
	}
	all, err := s.Store.Groups(ctx, projectID, f.InstanceID)
	if err != nil {
		return nil, 0, storeError(err)
	}
	hits := slices.DeleteFunc(all, func(g *Group) bool { return !f.matches(g) })
	if hits, err = s.withDomainNamed(ctx, hits, f); err != nil {
		return nil, 0, err
	}
	slices.SortFunc(hits, func(a, b *Group) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	var views []*GroupView
	for _, g := range window(hits, f.Page) {
		view, err := s.groupView(ctx, g)
		if err != nil {
			return nil, 0, err
		}
		views = append(views, view)
	}
	return views, len(hits), nil
}

func (f *GroupFilter) matches(g *Group) bool {
	if f.ID != "" && f.ID != g.ID {
		return false
	}
	if f.Precise {
		return f.Name == "" || f.Name == g.Name
	}
	return strings.Contains(g.Name, f.Name)
}

// withDomainNamed leaves the groups that have a domain of the name asked for.
func (s *Service) withDomainNamed(ctx context.Context, groups []*Group, f GroupFilter) ([]*Group, error) {
	if f.Domain == "" || len(groups) == 0 {
		return groups, nil
	}
	var ids []string
	for _, g := range groups {
		ids = append(ids, g.DomainIDs...)
	}
	domains, err := s.Store.Domains(ctx, groups[0].ProjectID, ids)
	if err != nil {
		return nil, storeError(err)
	}
	has := map[string]bool{}
	for _, d := range domains {
		if d.Name == f.Domain || !f.PreciseDomain && strings.Contains(d.Name, f.Domain) {
			has[d.GroupID] = true
		}
	}
	return slices.DeleteFunc(groups, func(g *Group) bool { return !has[g.ID] }), nil
}

// ModifyGroup renames a group or changes its remark (API: PUT …/api-groups/{group_id}).
func (s *Service) ModifyGroup(ctx context.Context, by Caller, projectID, instanceID, id string, in GroupInput) (*GroupView, error) {
	if err := s.allow(ctx, by, projectID, CanUpdateGroup); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	return s.changeGroup(ctx, by, projectID, instanceID, id, func(g *Group) {
		g.Name, g.Remark = in.Name, valueOr(in.Remark, g.Remark)
	})
}

// SetSubdomainAccess switches the group's automatic sub-domain on or off (API: PUT
// …/sl-domain-access-settings).
func (s *Service) SetSubdomainAccess(ctx context.Context, by Caller, projectID, instanceID, id string, enabled bool) error {
	if err := s.allow(ctx, by, projectID, CanUpdateGroup); err != nil {
		return err
	}
	_, err := s.changeGroup(ctx, by, projectID, instanceID, id, func(g *Group) { g.SubdomainAccess = enabled })
	return err
}

func valueOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

func (s *Service) changeGroup(ctx context.Context, by Caller, projectID, instanceID, id string, change func(*Group)) (*GroupView, error) {
	var next *Group
	_, err := s.settle(ctx, id, func() (int64, error) {
		old, err := s.group(ctx, projectID, instanceID, id)
		if err != nil {
			return 0, err
		}
		changed := *old
		change(&changed)
		changed.Updated = s.Now().UTC()
		next = &changed
		return s.commitGroup(ctx, by, old, next)
	})
	if err != nil {
		return nil, err
	}
	return s.groupView(ctx, next)
}

func (s *Service) commitGroup(ctx context.Context, by Caller, old, next *Group) (int64, error) {
	tx := Tx{Put: []Record{next}}
	if old.Name != next.Name {
		tx.Put = append(tx.Put, next.nameClaim())
		tx.Forget = append(tx.Forget, old.nameClaim())
	}
	revision, err := s.commit(ctx, by, old.ProjectID, CanUpdateGroup, "group/"+old.ID, "name "+next.Name, tx)
	return revision, next.claimError(err)
}

// DeleteGroup removes a group and its domains; the certificates stay (API: DELETE
// …/api-groups/{group_id}).
func (s *Service) DeleteGroup(ctx context.Context, by Caller, projectID, instanceID, id string) error {
	if err := s.allow(ctx, by, projectID, CanDeleteGroup); err != nil {
		return err
	}
	revision, err := s.settle(ctx, id, func() (int64, error) {
		g, err := s.group(ctx, projectID, instanceID, id)
		if err != nil {
			return 0, err
		}
		domains, err := s.allDomains(ctx, projectID, g.DomainIDs)
		if err != nil {
			return 0, err
		}
		tx := Tx{Delete: []Record{g}, Forget: []Record{g.nameClaim()}}
		if err := s.dropDomains(ctx, &tx, domains); err != nil {
			return 0, err
		}
		return s.commit(ctx, by, projectID, CanDeleteGroup, "group/"+id, "name "+g.Name, tx)
	})
	if err == nil {
		s.served(ctx, revision)
	}
	return err
}
