package lacre_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"lacre"
)

// call is one method of the Service as somebody asks for it, about real things.
type call func(by lacre.Caller, project string) error

// calls are all methods of the Service, each with the least role that may call it. The
// things are real in the world's own project and unknown anywhere else.
func (w *world) calls() map[string]struct {
	least lacre.Role
	call  call
} {
	ctx, s := w.t.Context(), w.Service
	i := w.instance()
	g := w.group(i)
	d, spare := w.domain(g, "www.a.test"), w.domain(g, "api.a.test")
	c, bound, loose := w.create(w.upload("web_cert", "*.a.test")), w.create(w.uploadRSA("bound_cert", "*.a.test")), w.create(w.upload("loose_cert", "*.a.test"))
	w.attach(bound, d, nil)
	dry := lacre.WriteOptions{DryRun: true}
	free := w.upload("free_name", "www.a.test")
	none := lacre.NewID()
	return map[string]struct {
		least lacre.Role
		call  call
	}{
		"CreateCertificate": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			_, err := s.CreateCertificate(ctx, by, p, free, dry)
			return err
		}},
		"ShowCertificate": {lacre.RoleViewer, func(by lacre.Caller, p string) error { _, err := s.ShowCertificate(ctx, by, p, c.ID); return err }},
		"ListCertificates": {lacre.RoleViewer, func(by lacre.Caller, p string) error {
			_, _, err := s.ListCertificates(ctx, by, p, lacre.CertificateFilter{InstanceID: i.ID})
			return err
		}},
		"ModifyCertificate": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			_, err := s.ModifyCertificate(ctx, by, p, c.ID, free, dry)
			return err
		}},
		"ListVersions": {lacre.RoleViewer, func(by lacre.Caller, p string) error {
			_, _, err := s.ListVersions(ctx, by, p, c.ID, lacre.Page{})
			return err
		}},
		"RollbackCertificate": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			_, err := s.RollbackCertificate(ctx, by, p, c.ID, 1, dry)
			return err
		}},
		"PutCRL": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			_, _, err := s.PutCRL(ctx, by, p, c.ID, "")
			return passing(err, lacre.CodeInvalidField)
		}},
		"Rollout": {lacre.RoleViewer, func(by lacre.Caller, p string) error { _, err := s.Rollout(ctx, by, p, c.ID); return err }},
		"AwaitRollout": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			_, err := s.AwaitRollout(ctx, by, &lacre.Certificate{ProjectID: p, ID: c.ID}, ctx.Done())
			return err
		}},
		"ShowCRL":           {lacre.RoleViewer, func(by lacre.Caller, p string) error { _, err := s.ShowCRL(ctx, by, p, c.ID); return err }},
		"DeleteCRL":         {lacre.RoleOperator, func(by lacre.Caller, p string) error { _, err := s.DeleteCRL(ctx, by, p, c.ID); return err }},
		"DeleteCertificate": {lacre.RoleAdmin, func(by lacre.Caller, p string) error { return s.DeleteCertificate(ctx, by, p, loose.ID, dry) }},
		"AttachDomains": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			_, err := s.AttachDomains(ctx, by, p, c.ID, []lacre.DomainRef{ref("www.a.test")})
			return err
		}},
		"AttachCertificate": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			_, err := s.AttachCertificate(ctx, by, p, i.ID, g.ID, d.ID, c.ID, nil)
			return err
		}},
		"AttachedDomains": {lacre.RoleViewer, func(by lacre.Caller, p string) error {
			_, _, err := s.AttachedDomains(ctx, by, p, c.ID, "", lacre.Page{})
			return err
		}},
		"DetachDomains": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			return passing(s.DetachDomains(ctx, by, p, c.ID, []lacre.DomainRef{ref("nowhere.a.test")}), lacre.CodeNothingBound)
		}},
		"DetachCertificate": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			return passing(s.DetachCertificate(ctx, by, p, i.ID, g.ID, spare.ID, c.ID), lacre.CodeBindingNotFound)
		}},
		"CreateDomainCertificate": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			_, _, err := s.CreateDomainCertificate(ctx, by, p, i.ID, g.ID, d.ID, lacre.CertificateInput{Name: "web_cert"})
			return passing(err, lacre.CodeInvalidPair)
		}},
		"ShowDomainCertificate": {lacre.RoleViewer, func(by lacre.Caller, p string) error {
			_, err := s.ShowDomainCertificate(ctx, by, p, i.ID, g.ID, d.ID, bound.ID)
			return err
		}},
		"RemoveDomainCertificate": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			return passing(s.RemoveDomainCertificate(ctx, by, p, i.ID, g.ID, spare.ID, c.ID), lacre.CodeBindingNotFound)
		}},
		"Explain": {lacre.RoleViewer, func(by lacre.Caller, p string) error {
			_, err := s.Explain(ctx, by, p, lacre.Question{ServerName: "www.a.test"})
			return passing(err, lacre.CodeUnsupportedKind) // there is no edge
		}},
		"ListAudits": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			_, err := s.ListAudits(ctx, by, p, lacre.AuditQuery{Resource: "certificate/" + c.ID})
			return err
		}},
		"CreateInstance": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			_, err := s.CreateInstance(ctx, by, p, i.Name)
			return passing(err, lacre.CodeInstanceNameTaken)
		}},
		"ShowInstance": {lacre.RoleViewer, func(by lacre.Caller, p string) error { _, err := s.ShowInstance(ctx, by, p, i.ID); return err }},
		"ListInstances": {lacre.RoleViewer, func(by lacre.Caller, p string) error {
			_, _, err := s.ListInstances(ctx, by, p, lacre.InstanceFilter{})
			return err
		}},
		"DeleteInstance": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			return passing(s.DeleteInstance(ctx, by, p, i.ID), lacre.CodeInUse)
		}},
		"CreateGroup": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			_, err := s.CreateGroup(ctx, by, p, i.ID, lacre.GroupInput{Name: g.Name})
			return passing(err, lacre.CodeGroupNameTaken)
		}},
		"ShowGroup": {lacre.RoleViewer, func(by lacre.Caller, p string) error { _, err := s.ShowGroup(ctx, by, p, i.ID, g.ID); return err }},
		"ListGroups": {lacre.RoleViewer, func(by lacre.Caller, p string) error {
			_, _, err := s.ListGroups(ctx, by, p, lacre.GroupFilter{InstanceID: i.ID})
			return err
		}},
		"ModifyGroup": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			_, err := s.ModifyGroup(ctx, by, p, i.ID, g.ID, lacre.GroupInput{Name: "!"})
			return passing(err, lacre.CodeInvalidField)
		}},
		"SetSubdomainAccess": {lacre.RoleAdmin, func(by lacre.Caller, p string) error { return s.SetSubdomainAccess(ctx, by, p, i.ID, g.ID, true) }},
		"DeleteGroup": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			return passing(s.DeleteGroup(ctx, by, p, i.ID, none), lacre.CodeGroupNotFound)
		}},
		"CreateDomain": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			_, _, err := s.CreateDomain(ctx, by, p, i.ID, g.ID, lacre.DomainInput{Name: "www.a.test"})
			return passing(err, lacre.CodeDomainTaken)
		}},
		"ModifyDomain": {lacre.RoleOperator, func(by lacre.Caller, p string) error {
			_, _, err := s.ModifyDomain(ctx, by, p, i.ID, g.ID, d.ID, lacre.DomainChange{})
			return err
		}},
		"DeleteDomain": {lacre.RoleAdmin, func(by lacre.Caller, p string) error {
			return passing(s.DeleteDomain(ctx, by, p, i.ID, g.ID, none), lacre.CodeDomainNotFound)
		}},
	}
}

// passing is err, unless it has the code of a caller who got past the permissions.
func passing(err error, code lacre.Code) error {
	if lacre.CodeOf(err) == code {
		return nil
	}
	return err
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	calls := w.calls()
	for m := range reflect.TypeFor[*lacre.Service]().Methods() {
		if _, ok := calls[m.Name]; !ok {
			t.Errorf("Service.%s is not in the table: say who may call it", m.Name)
		}
	}
	ranks := []lacre.Role{"", "root", lacre.RoleViewer, lacre.RoleOperator, lacre.RoleAdmin}
	for name, method := range calls {
		for rank, role := range ranks {
			err := method.call(w.caller(role), w.project)
			if rank < slices.Index(ranks, method.least) {
				wantRefused(t, name+" as "+string(role), err, lacre.CodeForbidden)
			} else if err != nil {
				t.Errorf("%s as %s: got error %v, want none", name, role, err)
			}
		}
		nowhere := w.admin
		nowhere.ProjectID = ""
		wantRefused(t, name+" without a project", method.call(nowhere, w.project), lacre.CodeNoProject)
		wantRefused(t, name+" without any project", method.call(nowhere, ""), lacre.CodeNoProject)
	}
}

func wantRefused(t *testing.T, what string, err error, want lacre.Code) {
	t.Helper()
	if lacre.CodeOf(err) != want || err == nil {
		t.Errorf("%s: got error %v, want code %q", what, err, want)
	}
}

// The administrator of one project learns nothing about another: a project that exists
// and one that does not give the same answer, and so do, in the own project, ids that
// are somebody else's and ids that are nobody's.
func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	theirs := newWorld(t)
	calls := theirs.calls()
	stranger := newWorld(t).admin
	unknown := newWorld(t)
	unknownCalls := unknown.calls()
	for name, method := range calls {
		theirs.wantUnchanged(func() {
			wantRefused(t, name+" of their project", method.call(stranger, theirs.project), lacre.CodeForbidden)
		})
		known, nobody := method.call(stranger, theirs.project), method.call(stranger, lacre.NewID())
		if known.Error() != nobody.Error() {
			t.Errorf("%s: got %q of their project, %q of none, want the same", name, known, nobody)
		}
		// Their ids in the stranger's own project, and ids of a third one.
		mine, other := method.call(stranger, stranger.ProjectID), unknownCalls[name].call(stranger, stranger.ProjectID)
		if lacre.CodeOf(mine) != lacre.CodeOf(other) || fieldOf(mine) != fieldOf(other) || (mine == nil) != (other == nil) {
			t.Errorf("%s: got %v for their ids, %v for others, want the same", name, mine, other)
		}
		if e, ok := errors.AsType[*lacre.Error](mine); mine != nil && (!ok || e.Code == lacre.CodeForbidden) {
			t.Errorf("%s: got %v for their ids, want what unknown ids get", name, mine)
		}
	}
}
