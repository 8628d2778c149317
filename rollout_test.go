package lacre_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lacre"
)

// roster is a Roster that a test writes.
type roster struct {
	mu    sync.Mutex
	nodes []lacre.Node
	err   error
}

func (r *roster) Nodes(ctx context.Context) ([]lacre.Node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.nodes), cmp.Or(r.err, ctx.Err())
}

func (r *roster) set(nodes ...lacre.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes = nodes
}

func (r *roster) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// at is a node that is alive and has come to a revision.
func at(name string, revision int64, edits ...func(*lacre.Node)) lacre.Node {
	n := lacre.Node{ID: name, Name: name, Alive: true, Proof: lacre.Proof{Revision: revision, Since: 1}}
	for _, edit := range edits {
		edit(&n)
	}
	return n
}

func silent(n *lacre.Node) { n.Alive = false }

func failingOn(project string, ids ...string) func(*lacre.Node) {
	return func(n *lacre.Node) {
		for _, id := range ids {
			n.Failing = append(n.Failing, lacre.Failing{ProjectID: project, CertificateID: id, Reason: "because"})
		}
	}
}

func (w *world) rollout(c *lacre.Certificate) *lacre.Rollout {
	w.t.Helper()
	r, err := w.Rollout(w.t.Context(), w.admin, w.project, c.ID)
	w.ok(err)
	return r
}

// TestRollout: each node is judged by what it said last, and nothing is taken for granted.
func TestRollout(t *testing.T) {
	nodes := &roster{}
	w := newWorld(t, func(c *lacre.Config) { c.Roster = nodes })
	d := w.home("www.a.test")
	c := w.create(w.upload("web_cert", "www.a.test"))
	w.attach(c, d, nil)
	c = w.show(c.ID)
	now, before, other := c.Revision, c.Revision-1, w.instance()
	in := func(instance string) func(*lacre.Node) {
		return func(n *lacre.Node) { n.Instance, n.Project = instance, w.project }
	}
	for _, test := range []struct {
		name     string
		node     lacre.Node
		state    lacre.PlacementState
		complete bool // with that node and one that serves
	}{
		{"applied", at("n", now), lacre.StateServing, true},
		{"behind", at("n", before), lacre.StatePending, false},
		{"not loaded yet", at("n", 0), lacre.StatePending, false},
		{"silent, but not before it served it", at("n", now, silent), lacre.StateServing, true},
		{"silent before", at("n", before, silent), lacre.StateSilent, false},
		{"failing", at("n", now, failingOn(w.project, "other", c.ID)), lacre.StateFailing, false},
		{"failing and behind", at("n", before, failingOn(w.project, c.ID)), lacre.StatePending, false},
		{"another one fails", at("n", now, failingOn(w.project, "other")), lacre.StateServing, true},
		{"another project's fails", at("n", now, failingOn("p", c.ID)), lacre.StateServing, true},
		{"too many of the project fail", at("n", now, func(n *lacre.Node) { n.More = []string{"p", w.project} }), lacre.StateFailing, false},
		{"too many of another fail", at("n", now, func(n *lacre.Node) { n.More = []string{"p"} }), lacre.StateServing, true},
		{"too many projects fail", at("n", now, failingOn("0", "c"), func(n *lacre.Node) { n.Unlisted = 1 }), lacre.StateFailing, false},
		{"too many projects fail, and none is named", at("n", now, func(n *lacre.Node) { n.Unlisted = 1 }), lacre.StateFailing, false},
		{"too many projects fail after it", at("n", now, failingOn("z", "c"), func(n *lacre.Node) { n.Unlisted = 1 }), lacre.StateServing, true},
		{"of its instance", at("n", now, in(d.InstanceID)), lacre.StateServing, true},
		{"of its instance, behind", at("n", before, in(d.InstanceID)), lacre.StatePending, false},
		{"of another instance", at("n", now, in(other.ID)), lacre.StateElsewhere, true},
		{"of another instance, behind: it may have been bound there", at("n", before, in(other.ID)), lacre.StatePending, false},
		{"of an instance that is gone", at("n", before, in("gone"), silent), lacre.StateSilent, false},
		{"of another instance, silent", at("n", before, in(other.ID), silent), lacre.StateSilent, false},
	} {
		nodes.set(test.node, at("a", now))
		r := w.rollout(c)
		if len(r.Nodes) != 2 || r.Nodes[0].Name != "a" || r.Nodes[1].State != test.state || r.Complete != test.complete {
			t.Errorf("%s: got %+v, want a, and n %s; complete %t", test.name, r, test.state, test.complete)
		}
		if got := (r.Nodes[1].Reason != ""); got != (test.state == lacre.StateFailing) {
			t.Errorf("%s: got reason %q", test.name, r.Nodes[1].Reason)
		}
	}
	nodes.set(at("n", now), at("o", now, func(n *lacre.Node) { n.Since = now }))
	v, err := w.Store.Version(t.Context(), w.project, c.ID, c.Version)
	w.ok(err)
	want := fmt.Sprintf("%x", sha256.Sum256(v.Chain[0]))
	if r := w.rollout(c); !r.Nodes[0].Presented || r.Nodes[1].Presented || r.Fingerprint != want {
		t.Errorf("got %+v, want that the first node shook hands since, the other loaded it, fingerprint %s", r, want)
	}
	w.detach(c, d)
	w.attach(c, d, nil)
	if c = w.show(c.ID); c.Revision <= now {
		t.Fatal("binding does not change the certificate")
	}
	nodes.set(at("o", c.Revision, func(n *lacre.Node) { n.Since = now }))
	if r := w.rollout(c); r.Nodes[0].State != lacre.StateServing || r.Nodes[0].Presented {
		t.Errorf("after a change that made no version: got %+v, want that it is served, as loaded", r.Nodes[0])
	}
	now, before = c.Revision, c.Revision-1
	nodes.set()
	if r := w.rollout(c); r.Complete {
		t.Error("without any node: got complete")
	}
	nodes.set(at("n", now, in(other.ID)))
	if r := w.rollout(c); r.Complete {
		t.Error("with no node that should serve it: got complete")
	}
	theirs := func(n *lacre.Node) { n.Instance, n.Project = "theirs", "another" }
	nodes.set(at("n", before, theirs))
	if r := w.rollout(c); len(r.Nodes) > 0 {
		t.Errorf("got %v, want nothing of a node that serves another project", r.Nodes)
	}
	nodes.set(at("n", 0, func(n *lacre.Node) { n.Instance = "not loaded" }), at("a", now))
	if r := w.rollout(c); r.Complete || strings.Contains(fmt.Sprint(r.Nodes), "not loaded") || r.Nodes[0].ID+r.Nodes[1].ID != "a" {
		t.Errorf("got %+v, want a node of nobody knows whom to count, and nothing else of it", r)
	}
	nodes.set(at("n", now+10))
	free := w.create(w.upload("free_cert", "www.a.test"))
	if r := w.rollout(free); r.Complete || r.Nodes[0].State != lacre.StateUnbound {
		t.Errorf("of a certificate without domains: got %+v, want unbound", r)
	}
	nodes.fail(fmt.Errorf("%w: gone", lacre.ErrUnavailable))
	_, err = w.Rollout(t.Context(), w.admin, w.project, c.ID)
	wantCode(t, err, lacre.CodeUnavailable)
	nodes.fail(nil)
	nodes.set(at("n", now, failingOn(w.project, c.ID)))
	w.tap.onRead(func(r lacre.Record) error {
		if v, ok := r.(*lacre.Version); ok {
			return &lacre.UnreadableError{Key: "k", Record: v, Err: errors.New("torn")}
		}
		return nil
	})
	if r := w.rollout(c); r.Fingerprint != c.Facts.Fingerprint || r.Nodes[0].State != lacre.StateFailing {
		t.Errorf("of a damaged version: got %+v, want failing, and what should be served", r)
	}
}

// TestAwaitRollout waits for every node that is alive, as long as it was told to, and says who
// was late.
func TestAwaitRollout(t *testing.T) {
	nodes := &roster{}
	w := newWorld(t, func(c *lacre.Config) { c.Roster = nodes })
	d := w.home("www.a.test")
	c := w.create(w.upload("web_cert", "www.a.test"))
	await := func(c *lacre.Certificate, patience time.Duration) []string {
		t.Helper()
		enough, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		warnings, err := w.AwaitRollout(t.Context(), w.admin, c, enough.Done())
		w.ok(err)
		return warnings
	}
	const far = 1 << 40
	nodes.set(at("a", far))
	if got := await(c, time.Minute); len(got) != 1 || !strings.Contains(got[0], "no domain") {
		t.Errorf("of a certificate without domains: got warnings %q", got)
	}
	w.attach(c, d, nil)
	c = w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	for _, test := range []struct {
		name     string
		patience time.Duration
		nodes    []lacre.Node
		want     string // in the one warning; empty for none
	}{
		{"all serve it", time.Minute, []lacre.Node{at("a", far), at("b", c.Revision)}, ""},
		{"one is late", 20 * time.Millisecond, []lacre.Node{at("a", far), at("b", c.Revision-1)}, "b is pending"},
		{"one fails", 20 * time.Millisecond, []lacre.Node{at("a", far, failingOn(w.project, c.ID))}, "a is failing"},
		{"one fails, and is silent", time.Minute, []lacre.Node{at("a", far, failingOn(w.project, c.ID), silent)}, "a is failing"},
		{"nobody waits for a silent one", time.Minute, []lacre.Node{at("a", far), at("b", 1, silent)}, "b is silent"},
		{"there is none", time.Minute, nil, "no node that could"},
		{"nobody waits at all", 0, []lacre.Node{at("a", far), at("b", 1)}, "b is pending"},
	} {
		nodes.set(test.nodes...)
		got := await(c, test.patience)
		if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
			t.Errorf("%s: got warnings %q, want %q", test.name, got, test.want)
		}
	}

	nodes.set(at("a", far), at("b", 1))
	answers := make(chan []string)
	go func() { answers <- await(c, time.Minute) }()
	select {
	case got := <-answers:
		t.Fatalf("got an answer (%q) before b serves it", got)
	case <-time.After(30 * time.Millisecond):
	}
	nodes.set(at("a", far), at("b", far))
	if got := <-answers; len(got) > 0 {
		t.Errorf("got warnings %q, want none", got)
	}
	nodes.fail(errors.New("gone"))
	if got := await(c, 20*time.Millisecond); len(got) != 1 || !strings.Contains(got[0], "could not be read") {
		t.Errorf("got warnings %q, want one", got)
	}
}

// looks is a Roster that is another one at each look.
type looks []func(context.Context) ([]lacre.Node, error)

func (l *looks) Nodes(ctx context.Context) ([]lacre.Node, error) {
	look := (*l)[0]
	*l = (*l)[1:]
	return look(ctx)
}

// TestLastLook: who may wait no longer is told how it is then, and a store that does not answer
// holds nobody up.
func TestLastLook(t *testing.T) {
	t.Parallel()
	l := &looks{}
	w := newWorld(t, func(c *lacre.Config) { c.Roster = l })
	d := w.home("www.a.test")
	c := w.create(w.upload("web_cert", "www.a.test"))
	w.attach(c, d, nil)
	c = w.show(c.ID)
	var enough chan struct{}
	late := func(context.Context) ([]lacre.Node, error) { close(enough); return []lacre.Node{at("b", 1)}, nil }
	served := func(context.Context) ([]lacre.Node, error) { return []lacre.Node{at("b", c.Revision)}, nil }
	gone := func(context.Context) ([]lacre.Node, error) { return nil, errors.New("gone") }
	hangs := func(ctx context.Context) ([]lacre.Node, error) { <-ctx.Done(); return nil, ctx.Err() }
	for _, test := range []struct {
		name string
		looks
		want string // in the one warning; empty for none
	}{
		{"served in the end", looks{late, served}, ""},
		{"read once", looks{late, gone}, "b is pending"},
		{"read once, and then not answered", looks{late, hangs}, "b is pending"},
		{"not answered at first", looks{hangs, served}, ""},
	} {
		enough = make(chan struct{})
		*l = test.looks
		got, err := w.AwaitRollout(t.Context(), w.admin, c, enough)
		if err != nil || len(*l) > 0 || (test.want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "; "), test.want) {
			t.Errorf("%s: got warnings %q, %v, %d looks too few, want %q", test.name, got, err, len(*l), test.want)
		}
	}
}

// TestRolloutOfWhatChanges: between its two reads the version may be pushed out, or go with its
// certificate.
func TestRolloutOfWhatChanges(t *testing.T) {
	w := newWorld(t, func(c *lacre.Config) { c.History, c.Roster = 1, &roster{} })
	c := w.create(w.upload("web_cert", "www.a.test"))
	next := w.upload("web_cert", "www.a.test")
	meanwhile := func(change func()) {
		w.tap.onRead(func(r lacre.Record) error {
			if _, ok := r.(*lacre.Version); ok {
				w.tap.onRead(nil)
				change()
			}
			return nil
		})
	}
	meanwhile(func() { w.modify(c.ID, next) })
	if r := w.rollout(c); r.Certificate.Version != 2 {
		t.Errorf("modified meanwhile: got version %d, want 2", r.Certificate.Version)
	}
	w.tap.onRead(func(r lacre.Record) error {
		if v, ok := r.(*lacre.Version); ok {
			return fmt.Errorf("version %d: %w", v.Number, lacre.ErrNotStored)
		}
		return nil
	})
	if r := w.rollout(c); r.Certificate.Version != 2 { // as one that is damaged
		t.Errorf("a version that is lost: got version %d, want 2", r.Certificate.Version)
	}
	meanwhile(func() { w.ok(w.DeleteCertificate(t.Context(), w.admin, w.project, c.ID, lacre.WriteOptions{})) })
	_, err := w.Rollout(t.Context(), w.admin, w.project, c.ID)
	wantCode(t, err, lacre.CodeCertificateNotFound)
}
