package lacre_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

func TestCreateGroup(t *testing.T) {
	w := newWorld(t)
	i := w.instance()
	t.Run("OK", func(t *testing.T) {
		w := w.in(t)
		view, err := w.CreateGroup(t.Context(), w.admin, w.project, i.ID, lacre.GroupInput{Name: "shop(v1)", Remark: new("what it is")})
		w.ok(err)
		if !view.SubdomainAccess || view.Remark != "what it is" || view.Name != "shop(v1)" || view.InstanceID != i.ID {
			t.Errorf("got %+v, want the input with sub-domain access on", view.Group)
		}
		again, err := w.ShowGroup(t.Context(), w.admin, w.project, i.ID, view.ID)
		w.ok(err)
		if diff := cmp.Diff(view, again); diff != "" {
			t.Errorf("show differs from create (-create +show):\n%s", diff)
		}
	})
	t.Run("ErrNameTaken within the instance", func(t *testing.T) {
		w := w.in(t)
		_, err := w.tryGroup(i, "taken")
		w.ok(err)
		_, err = w.tryGroup(i, "taken")
		wantField(t, err, lacre.CodeGroupNameTaken, "name")
		_, err = w.tryGroup(w.instance(), "taken")
		w.ok(err)
	})
	t.Run("ErrInstanceNotFound", func(t *testing.T) {
		_, err := w.tryGroup(&lacre.Instance{ID: lacre.NewID()}, "group")
		wantCode(t, err, lacre.CodeInstanceNotFound)
	})
	t.Run("names and remarks", func(t *testing.T) {
		for name, good := range map[string]bool{
			"abc": true, "1ab": true, "证书组": true, "ab": false, "-ab": false, "a/b.c:d-(e)": true, "a b c": false, "a\tb": false,
			strings.Repeat("a", 255): true, strings.Repeat("a", 256): false, strings.Repeat("证", 255): true,
		} {
			_, err := w.tryGroup(i, name)
			if good && err != nil {
				t.Errorf("%q: got error %v, want none", name, err)
			}
			if !good {
				wantField(t, err, lacre.CodeInvalidField, "name")
			}
		}
		long := lacre.GroupInput{Name: "long_remark", Remark: new(strings.Repeat("证", 1001))}
		_, err := w.CreateGroup(t.Context(), w.admin, w.project, i.ID, long)
		wantField(t, err, lacre.CodeInvalidField, "remark")
		*long.Remark = strings.Repeat("证", 1000)
		_, err = w.CreateGroup(t.Context(), w.admin, w.project, i.ID, long)
		w.in(t).ok(err)
	})
}

func TestModifyGroup(t *testing.T) {
	w := newWorld(t)
	i := w.instance()
	g, other := w.group(i), w.group(i)
	w.domain(g, "www.a.test")
	elsewhere := &lacre.Group{ID: g.ID, InstanceID: w.instance().ID}
	w.wantUnchanged(func() {
		_, err := w.tryRenameGroup(g, lacre.GroupInput{Name: other.Name})
		wantField(t, err, lacre.CodeGroupNameTaken, "name")
		_, err = w.tryRenameGroup(g, lacre.GroupInput{Name: "x"})
		wantField(t, err, lacre.CodeInvalidField, "name")
		_, err = w.tryRenameGroup(elsewhere, lacre.GroupInput{Name: "elsewhere"})
		wantCode(t, err, lacre.CodeGroupNotFound)
	})
	view, err := w.tryRenameGroup(g, lacre.GroupInput{Name: "renamed", Remark: new("remark")})
	w.ok(err)
	if view.Name != "renamed" || view.Remark != "remark" || len(view.Domains) != 1 || !view.Updated.After(g.Updated) {
		t.Errorf("got %q, %q, %d domains, want the new name and remark with the domain", view.Name, view.Remark, len(view.Domains))
	}
	_, err = w.tryGroup(i, g.Name) // free again
	w.ok(err)
	view, err = w.tryRenameGroup(g, lacre.GroupInput{Name: "renamed"})
	w.ok(err)
	if view.Remark != "remark" {
		t.Errorf("got remark %q, want it left alone", view.Remark)
	}
	w.ok(w.SetSubdomainAccess(t.Context(), w.admin, w.project, i.ID, g.ID, false))
	view, err = w.ShowGroup(t.Context(), w.admin, w.project, i.ID, g.ID)
	w.ok(err)
	if view.SubdomainAccess {
		t.Error("got sub-domain access on, want it off")
	}
}

func TestListGroups(t *testing.T) {
	w := newWorld(t)
	i, far := w.instance(), w.instance()
	ids := map[string]string{}
	for _, name := range []string{"shop", "shop-test", "blog"} {
		view, err := w.tryGroup(i, name)
		w.ok(err)
		ids[name] = view.ID
	}
	w.group(far)
	for name, test := range map[string]struct {
		filter lacre.GroupFilter
		want   []string
		total  int
	}{
		"newest first":    {lacre.GroupFilter{}, []string{"blog", "shop-test", "shop"}, 3},
		"part of a name":  {lacre.GroupFilter{Name: "shop"}, []string{"shop-test", "shop"}, 2},
		"a whole name":    {lacre.GroupFilter{Name: "shop", Precise: true}, []string{"shop"}, 1},
		"precise nothing": {lacre.GroupFilter{Precise: true}, []string{"blog", "shop-test", "shop"}, 3},
		"id":              {lacre.GroupFilter{ID: ids["blog"]}, []string{"blog"}, 1},
		"id and name":     {lacre.GroupFilter{ID: ids["blog"], Name: "shop"}, nil, 0},
		"a page":          {lacre.GroupFilter{Page: lacre.Page{Offset: 1, Limit: 1}}, []string{"shop-test"}, 3},
	} {
		test.filter.InstanceID = i.ID
		views, total, err := w.ListGroups(t.Context(), w.admin, w.project, test.filter)
		w.ok(err)
		var got []string
		for _, v := range views {
			got = append(got, v.Name)
		}
		if !cmp.Equal(got, test.want) || total != test.total {
			t.Errorf("%s: got %q of %d, want %q of %d", name, got, total, test.want, test.total)
		}
	}
	_, _, err := w.ListGroups(t.Context(), w.admin, w.project, lacre.GroupFilter{InstanceID: lacre.NewID()})
	wantCode(t, err, lacre.CodeInstanceNotFound)
}

func TestDeleteGroup(t *testing.T) {
	w := newWorld(t)
	i := w.instance()
	g, other := w.group(i), w.group(i)
	c := w.create(w.upload("web_cert", "*.a.test"))
	for _, host := range []string{"a.a.test", "b.a.test", "c.a.test"} {
		w.attach(c, w.domain(g, host), nil)
	}
	w.attach(c, w.domain(other, "d.a.test"), nil)
	w.ok(w.tryDropGroup(g))
	wantCode(t, w.tryDropGroup(g), lacre.CodeGroupNotFound)
	w.wantHosts(c, "d.a.test")
	w.wantConsistent()
	_, err := w.tryGroup(i, g.Name)
	w.ok(err)
}

// Domains cannot slip into a group that goes.
func TestDeleteGroupRacesWithItsDomains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.instance()
	c := w.create(w.upload("web_cert", "*.a.test"))
	for range 20 {
		g := w.group(i)
		d := w.domain(g, unique("first")+".a.test")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, _, err := w.tryDomain(g, lacre.DomainInput{Name: unique("late") + ".a.test"}); err != nil {
					wantCode(t, err, lacre.CodeGroupNotFound)
				}
			})
		}
		wg.Go(func() { w.tryAttach(c, d, nil) })
		wg.Go(func() { w.tryDropDomain(d) })
		wg.Go(func() {
			if err := w.tryDropGroup(g); err != nil {
				t.Errorf("got error %v, want none", err)
			}
		})
		wg.Wait()
	}
	w.wantConsistent()
	w.wantHosts(c)
}
