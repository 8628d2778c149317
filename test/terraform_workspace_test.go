package test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// workspace is Terraform's state of a lacre, and the commands on it.
type workspace struct {
	*terraform
	ca      *authority
	managed []*managed
}

type managed struct {
	resource
	state fields
}

// forBothLogins runs a test by access key and by password.
func forBothLogins(t *testing.T, run func(w *workspace)) {
	for _, login := range []string{"access key", "password"} {
		t.Run(login, func(t *testing.T) {
			t.Parallel()
			tf := &terraform{T: t, lacre: start(t)}
			if login == "password" {
				tf.signIn()
			}
			run(&workspace{terraform: tf, ca: newAuthority(t)})
		})
	}
}

// apply creates a resource, or updates it in place when it is managed already. It has to
// read at once as it will be refreshed later, and then two plans have to be empty.
func (w *workspace) apply(r resource) {
	w.Helper()
	w.configure()
	m := w.find(r)
	if m == nil {
		m = &managed{resource: r}
		w.managed = append(w.managed, m)
		r.create(w.terraform)
	} else {
		r.update(w.terraform, m.state)
	}
	applied := r.read(w.terraform)
	w.planTwice()
	if diff := cmp.Diff(applied, m.state); diff != "" {
		w.Errorf("%T: refreshed state differs from the applied one (-applied +refreshed):\n%s", r, diff)
	}
}

func (w *workspace) find(r resource) *managed {
	if i := slices.IndexFunc(w.managed, func(m *managed) bool { return m.resource == r }); i >= 0 {
		return w.managed[i]
	}
	return nil
}

// planTwice refreshes everything twice: nothing may need a change, and nothing may have
// changed outside of Terraform in between.
func (w *workspace) planTwice() {
	w.Helper()
	w.plan()
	first := make([]fields, len(w.managed))
	for i, m := range w.managed {
		first[i] = m.state
	}
	w.plan()
	for i, m := range w.managed {
		if diff := cmp.Diff(first[i], m.state); diff != "" {
			w.Errorf("%T: the second plan sees a change (-first +second):\n%s", m.resource, diff)
		}
	}
}

func (w *workspace) plan() {
	w.Helper()
	w.configure()
	for _, m := range w.managed {
		m.state = m.read(w.terraform)
		if m.state == nil {
			w.Fatalf("%T: got nothing, a plan would create it again", m.resource)
		}
		for name, want := range m.configured() {
			if diff := cmp.Diff(want, m.state[name]); diff != "" {
				w.Errorf("%T: a plan would change %s (-configured +stored):\n%s", m.resource, name, diff)
			}
		}
	}
}

// remove destroys resources in the order given.
func (w *workspace) remove(list ...resource) {
	w.Helper()
	w.configure()
	for _, r := range list {
		r.destroy(w.terraform)
		if state := r.read(w.terraform); state != nil {
			w.Errorf("%T: got %v after its destruction, want nothing", r, state)
		}
		w.managed = slices.DeleteFunc(w.managed, func(m *managed) bool { return m.resource == r })
	}
	w.planTwice()
}

func (w *workspace) certificate(name string, names ...string) *certificate {
	w.Helper()
	p := w.ca.issue(w.T, names...)
	return &certificate{certificateBody: certificateBody{Name: name, Content: p.content, PrivateKey: p.key}}
}
