package lacre_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"lacre"
)

func TestInstances(t *testing.T) {
	w := newWorld(t)
	i, err := w.tryInstance("default")
	w.ok(err)
	got, err := w.ShowInstance(t.Context(), w.admin, w.project, i.ID)
	w.ok(err)
	if *got != *i {
		t.Errorf("got %+v, want %+v", got, i)
	}
	_, err = w.ShowInstance(t.Context(), w.admin, w.project, lacre.NewID())
	wantCode(t, err, lacre.CodeInstanceNotFound)
	w.wantUnchanged(func() {
		_, err = w.tryInstance("default")
		wantField(t, err, lacre.CodeInstanceNameTaken, "instance_name")
		for _, name := range []string{"", "ab", "1abc", "-abc", "a bc", strings.Repeat("a", 65)} {
			_, err = w.tryInstance(name)
			wantField(t, err, lacre.CodeInvalidField, "instance_name")
		}
	})
	w.ok(w.tryDropInstance(i))
	wantCode(t, w.tryDropInstance(i), lacre.CodeInstanceNotFound)
	_, err = w.tryInstance("default")
	w.ok(err)
}

func TestDeleteInstanceInUse(t *testing.T) {
	w := newWorld(t)
	i := w.instance()
	g := w.group(i)
	w.wantUnchanged(func() { wantCode(t, w.tryDropInstance(i), lacre.CodeInUse) })
	w.ok(w.tryDropGroup(g))
	c := w.create(confined(w.upload("web_cert", "www.a.test"), i))
	w.create(w.upload("web_cert", "www.a.test")) // a global one is nobody's
	w.wantUnchanged(func() { wantCode(t, w.tryDropInstance(i), lacre.CodeInUse) })
	w.ok(w.tryDelete(c.ID))
	w.ok(w.tryDropInstance(i))
}

// leaveClosing leaves i as a crash in the middle of its deletion does.
func (w *world) leaveClosing(i *lacre.Instance) {
	w.t.Helper()
	now, err := w.tap.Instance(w.t.Context(), w.project, i.ID)
	w.ok(err)
	next := *now
	next.Closing = true
	_, err = w.tap.Commit(w.t.Context(), lacre.Tx{Put: []lacre.Record{&next}, Audit: lacre.Audit{ProjectID: w.project, Action: "test:crash"}})
	w.ok(err)
}

// Filters match exactly and together; the total is of what matches, not of the page.
func TestInstanceFilters(t *testing.T) {
	w := newWorld(t)
	ids := map[string]string{}
	for _, name := range []string{"default", "edge_west", "edge_west2"} {
		i, err := w.tryInstance(name)
		w.ok(err)
		ids[name] = i.ID
		if name == "edge_west2" {
			w.leaveClosing(i)
		}
	}
	first := lacre.Page{Limit: 1}
	for f, want := range map[lacre.InstanceFilter]string{
		{Page: first}:                                            "default of 3",
		{Name: "edge_west", Page: first}:                         "edge_west of 1",
		{Name: "edge_"}:                                          "of 0",
		{Name: "EDGE_WEST"}:                                      "of 0",
		{ID: ids["edge_west"]}:                                   "edge_west of 1",
		{ID: ids["edge_west"][:31]}:                              "of 0",
		{ID: ids["edge_west"], Name: "default"}:                  "of 0",
		{Status: "Running", Page: first}:                         "default of 2",
		{Status: "Running", Page: lacre.Page{Offset: 1}}:         "edge_west of 2",
		{Status: "Deleting"}:                                     "edge_west2 of 1",
		{Status: "Deleting", Name: "edge_west"}:                  "of 0",
		{Status: "running"}:                                      "of 0",
		{Status: "Running", Name: "default", ID: ids["default"]}: "default of 1",
	} {
		got, total, err := w.ListInstances(t.Context(), w.admin, w.project, f)
		w.ok(err)
		var line []string
		for _, i := range got {
			line = append(line, i.Name)
		}
		line = append(line, "of", fmt.Sprint(total))
		if strings.Join(line, " ") != want {
			t.Errorf("%+v: got %v, want %s", f, line, want)
		}
	}
}

// An instance that a crash left closing takes nothing more; deleting it again finishes
// the work, or opens it again when it turns out to be in use.
func TestClosingInstance(t *testing.T) {
	w := newWorld(t)
	empty, used := w.instance(), w.instance()
	g := w.group(used)
	w.leaveClosing(empty)
	w.leaveClosing(used)
	w.wantUnchanged(func() {
		_, err := w.tryGroup(empty, "late_group")
		wantCode(t, err, lacre.CodeInUse)
		_, err = w.tryCreate(confined(w.upload("late_cert", "www.a.test"), empty))
		wantCode(t, err, lacre.CodeInUse)
	})
	w.ok(w.tryDropInstance(empty))
	wantCode(t, w.tryDropInstance(used), lacre.CodeInUse)
	w.domain(g, "www.a.test")
	w.group(used)
	w.wantConsistent()
}

// A group or certificate created while its instance goes either comes too late or keeps
// the instance; it is never left behind. Two nodes.
func TestDeleteInstanceRacesWithCreation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := []*lacre.Service{w.Service, lacre.NewService(lacre.Config{Store: w.tap, Sealer: sharedSealer})}
	in := w.upload("", "www.a.test")
	deleted := 0
	for n := range 40 {
		i := w.instance()
		var groupErr, certErr, dropErr error
		var wg sync.WaitGroup
		wg.Go(func() {
			if n%3 > 0 {
				_, groupErr = nodes[n%2].CreateGroup(t.Context(), w.admin, w.project, i.ID, lacre.GroupInput{Name: "group"})
			}
		})
		wg.Go(func() {
			if n%3 < 2 {
				own := confined(in, i)
				own.Name = "web_cert"
				_, certErr = w.CreateCertificate(t.Context(), w.admin, w.project, own, lacre.WriteOptions{})
			}
		})
		wg.Go(func() { dropErr = w.tryDropInstance(i) })
		wg.Wait()
		for _, err := range []error{groupErr, certErr} {
			if code := lacre.CodeOf(err); err != nil && code != lacre.CodeInstanceNotFound && code != lacre.CodeInUse {
				t.Errorf("round %d: creating: got %v, want that the instance goes or is gone", n, err)
			}
		}
		if dropErr == nil {
			deleted++
		} else {
			wantCode(t, dropErr, lacre.CodeInUse)
		}
	}
	t.Logf("%d of 40 instances were deleted", deleted)
	w.wantConsistent()
}

// A refused deletion that closed the instance for a moment does not make a creation fail.
func TestCreationSurvivesARefusedDeletion(t *testing.T) {
	w := newWorld(t)
	i := w.instance()
	moved := 0
	w.tap.onCommit(func(ctx context.Context, tx lacre.Tx) (int64, error) {
		if len(tx.Check) > 0 && moved < 3 { // the instance moves and is open again
			moved++
			now, err := sharedStore.Instance(ctx, w.project, i.ID)
			w.ok(err)
			_, err = sharedStore.Commit(ctx, lacre.Tx{Put: []lacre.Record{now}, Audit: lacre.Audit{ProjectID: w.project, Action: "test:move"}})
			w.ok(err)
		}
		return sharedStore.Commit(ctx, tx)
	})
	w.group(i)
	moved = 0
	w.create(confined(w.upload("web_cert", "www.a.test"), i))
	if moved != 3 {
		t.Errorf("got %d interruptions, want 3", moved)
	}
}
