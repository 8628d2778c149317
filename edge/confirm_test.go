package edge_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
	"lacre/store"
)

// turning is a Feed that reads one store, then another one; in between it hangs.
type turning struct {
	now   atomic.Pointer[store.Store]
	ready chan struct{} // closed when the second one answers
}

func (f *turning) from(ctx context.Context) *store.Store {
	if s := f.now.Load(); s != nil {
		return s
	}
	select {
	case <-f.ready:
	case <-ctx.Done():
	}
	return shared
}

func (f *turning) AllDomains(ctx context.Context, visit func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error) {
	return f.from(ctx).AllDomains(ctx, visit)
}

func (f *turning) AllVersions(ctx context.Context, wanted func(*lacre.Certificate) bool, visit func(string, string, lacre.Latest) error) (int64, error) {
	return f.from(ctx).AllVersions(ctx, wanted, visit)
}

func (f *turning) LatestVersions(ctx context.Context, project string, ids []string) ([]lacre.Latest, error) {
	return f.from(ctx).LatestVersions(ctx, project, ids)
}

func (f *turning) AllInstances(ctx context.Context) ([]*lacre.Instance, error) {
	return f.from(ctx).AllInstances(ctx)
}

func (f *turning) HostDomains(ctx context.Context, instances []*lacre.Instance, hosts ...string) ([]*lacre.Domain, error) {
	return f.from(ctx).HostDomains(ctx, instances, hosts...)
}

func (f *turning) LatestRevocations(ctx context.Context, project, id string) (*lacre.Revocations, int64, error) {
	return f.from(ctx).LatestRevocations(ctx, project, id)
}

func (f *turning) Watch(ctx context.Context, after int64) iter.Seq2[lacre.Change, error] {
	return f.from(ctx).Watch(ctx, after)
}

// unstarted is a world whose edge is not there yet.
func unstarted(t *testing.T) *world {
	w := &world{TB: t, ca: testcert.NewCA(t, "confirm"), box: &strongbox{keys: map[string][]byte{}},
		project: lacre.NewID(), inst: lacre.NewID(), log: &syncBuffer{}}
	w.settle()
	return w
}

// settle stores what a domain needs around it.
func (w *world) settle() {
	w.store(&lacre.Project{ID: w.project, Name: w.project, Created: time.Now()},
		&lacre.Instance{ID: w.inst, ProjectID: w.project, Name: "here", Created: time.Now()})
}

// says makes a Confirm that waits for the verdict.
func says(verdict <-chan error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case err := <-verdict:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *world) isServed(host string) bool {
	conn, err := w.dial(host)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// TestServesBeforeConfirmed loads everything while it is not yet known whether that holds: it
// is served, and nothing is said to be applied before.
func TestServesBeforeConfirmed(t *testing.T) {
	w := unstarted(t)
	_, c := w.claimed("early.test")
	verdict := make(chan error)
	w.edge = startEdge(t, edge.Config{Feed: shared, Sealer: w.box, Instance: w.inst, Confirm: says(verdict)}, w)
	eventually(t, "the handshake before the verdict", func() bool { return w.isServed("early.test") })
	eventually(t, "loading all", func() bool { return w.edge.Status().Revision > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.edge.Applied(ctx, 1); err == nil || w.edge.Status().Ready {
		t.Errorf("before the verdict: Applied returned %v, status %+v, want neither", err, w.edge.Status())
	}
	verdict <- nil
	<-w.edge.Ready()
	leaf := w.leaf([]string{"early.test"})
	w.rotate(c, leaf)
	if got := w.serial("early.test"); got != leaf.Cert.SerialNumber.String() {
		t.Errorf("after the verdict and a rotation: got serial %s, want %s", got, leaf.Cert.SerialNumber)
	}
}

// TestMistakenIsDropped has an edge load from one store, and says then that it was the wrong
// one: nothing of it is served any more, also while the right one does not answer yet.
func TestMistakenIsDropped(t *testing.T) {
	wrong, err := store.Embedded(t.Context(), store.EmbeddedConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	w := unstarted(t)
	_, c := w.claimed("both.test")
	right := shared
	shared = wrong
	w.settle()
	w.claimed("only-wrong.test")
	w.claimed("both.test")
	shared = right

	feed := &turning{ready: make(chan struct{})}
	feed.now.Store(wrong)
	verdict := make(chan error)
	damaged := &overtaken{Feed: feed, bad: &lacre.Domain{ProjectID: "p", ID: lacre.NewID()}, meanwhile: func() {}}
	e := startEdge(t, edge.Config{Feed: damaged, Sealer: w.box, Instance: w.inst, Confirm: says(verdict)}, w)
	eventually(t, "loading what is wrong", func() bool {
		return e.Status().Revision > 0 && w.isServed("only-wrong.test") && e.Status().Damaged == 1
	})
	feed.now.Store(nil)
	verdict <- lacre.ErrMistaken
	eventually(t, "dropping what is wrong", func() bool { return e.Status().Sites == 0 })
	if s := e.Status(); s.Ready || s.Serving || s.Revision != 0 || s.Certificates != 0 || s.Damaged != 0 {
		t.Errorf("status while the right store does not answer: got %+v", s)
	}
	served := make(chan bool, 1)
	go func() { served <- w.isServed("both.test") }()
	select {
	case is := <-served:
		t.Errorf("a handshake before the right store answers: served is %v, want it to wait", is)
	case <-time.After(100 * time.Millisecond):
	}
	close(feed.ready)
	if !<-served {
		t.Error("the handshake that waited for the right store is not served")
	}
	<-e.Ready()
	w.edge = e
	if more := e.Proof().More; len(more) > 0 {
		t.Errorf("damage of the wrong store counts still: more of %v failing", more)
	}
	if w.isServed("only-wrong.test") {
		t.Error("a host of the wrong store is still served")
	}
	leaf := w.leaf([]string{"both.test"})
	w.rotate(c, leaf)
	if got := w.serial("both.test"); got != leaf.Cert.SerialNumber.String() {
		t.Errorf("after a rotation in the right store: got serial %s, want %s", got, leaf.Cert.SerialNumber)
	}
}
