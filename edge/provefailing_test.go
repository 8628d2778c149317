package edge_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
)

// TestProofOfAKeyThatDoesNotOpen: it is no proof until it opens.
func TestProofOfAKeyThatDoesNotOpen(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Retry = 20 * time.Millisecond })
	d, good := w.site("a.test")
	w.proves(d.Revision)
	bad := w.certificate(w.leaf([]string{"b.test"}))
	w.box.broken.Store(true)
	failing := w.proves(w.domain("b.test", []*lacre.Certificate{bad}).Revision)
	if why := failing[bad.ID]; len(failing) != 1 || !strings.Contains(why, "unrecognized_name") || strings.Contains(why, "strongbox") {
		t.Errorf("got failing %v, want the certificate whose key does not open, and the alert", failing)
	}
	if !strings.Contains(w.log.String(), "a certificate is not presented") {
		t.Error("the log says nothing")
	}
	w.box.broken.Store(false)
	eventually(t, "it opens", func() bool { return len(w.edge.Proof().Failing) == 0 })

	good.Version++
	v := w.version(good.ID, good.Version, w.leaf([]string{"a.test"}))
	v.SealedKey = []byte("nonsense")
	w.refused(good, v)
	if failing := w.proves(good.Revision); len(failing) != 1 || !strings.Contains(failing[good.ID], "newest version") {
		t.Errorf("got failing %v, want the certificate whose newest version does not open", failing)
	}
	if failing := w.proves(w.rotate(good, w.leaf([]string{"a.test"}))); len(failing) > 0 {
		t.Errorf("after a good version: got failing %v, want nothing", failing)
	}
}

// TestProofOfWhatIsMissing: a certificate that is bound and not stored is not served, from a
// start on, until it is.
func TestProofOfWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	d, id := w.domain("a.test", []*lacre.Certificate{{ID: lacre.NewID()}}), ""
	id = d.Bindings[0].CertificateID
	other := w.node()
	if w.proves(d.Revision)[id] == "" || other.proves(d.Revision)[id] == "" {
		t.Errorf("got failing %v, and after a start %v, want the certificate", w.edge.Proof().Failing, other.edge.Proof().Failing)
	}
	v := w.version(id, 1, w.leaf([]string{"a.test"}))
	revision := w.store(v, &lacre.Certificate{ID: id, ProjectID: w.project, Version: 1, Scope: lacre.ScopeGlobal, Facts: v.Facts})
	if failing := w.proves(revision); len(failing) > 0 {
		t.Errorf("once it is stored: got failing %v, want nothing", failing)
	}
}

// damageNext has the next change arrive damaged.
func (f *faulty) damageNext() {
	var done atomic.Bool
	f.set(func() {
		f.change = func(c lacre.Change) (lacre.Change, error) {
			if len(c.Put) > 0 && done.CompareAndSwap(false, true) {
				c.Unreadable = append(c.Unreadable, &lacre.UnreadableError{Key: "k", Record: c.Put[0], Err: errFault})
				c.Put = nil
			}
			return c, nil
		}
	})
}

// TestProofOfADamagedDomain: which certificates it should have nobody knows, so none of its
// project's is taken for served, until it can be read again or is gone.
func TestProofOfADamagedDomain(t *testing.T) {
	w, f := newFaultyWorld(t)
	d, _ := w.site("a.test")
	w.proves(d.Revision)
	f.damageNext()
	w.proves(w.store(d))
	if got := w.edge.Proof().More; !slices.Equal(got, []string{w.project}) {
		t.Errorf("got more of %v failing, want the project of the damaged domain", got)
	}
	w.proves(w.store(d))
	if got := w.edge.Proof().More; len(got) > 0 {
		t.Errorf("once it can be read: got more of %v failing, want none", got)
	}
}

// overtaken is a feed whose next listing has a damaged domain, which the watch overtakes: meanwhile
// happens between the two.
type overtaken struct {
	edge.Feed
	mu        sync.Mutex
	bad       *lacre.Domain
	meanwhile func()
}

func (o *overtaken) AllDomains(ctx context.Context, visit func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error) {
	revision, unreadable, err := o.Feed.AllDomains(ctx, visit)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bad != nil {
		unreadable = append(unreadable, &lacre.UnreadableError{Record: o.bad, Key: "test", Err: errFault})
		o.bad = nil
		o.meanwhile()
	}
	return revision, unreadable, err
}

func (o *overtaken) set(bad *lacre.Domain, meanwhile func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bad, o.meanwhile = bad, meanwhile
}

// TestProofOfADomainMendedMeanwhile: what a compare has read of it before is not the last word.
func TestProofOfADomainMendedMeanwhile(t *testing.T) {
	var o *overtaken
	w, f := newFaultyWorld(t, func(c *edge.Config) { o = &overtaken{Feed: c.Feed}; c.Feed = o })
	for what, test := range map[string]struct {
		change func(*lacre.Domain) int64
		want   int
	}{
		"mended":  {func(d *lacre.Domain) int64 { return w.store(d) }, 0},
		"removed": {func(d *lacre.Domain) int64 { return w.commit(lacre.Tx{Delete: []lacre.Record{d}}) }, 0},
		"damaged": {func(d *lacre.Domain) int64 { f.damageNext(); return w.store(d) }, 1},
	} {
		d, _ := w.site(what + ".test")
		o.set(&lacre.Domain{ProjectID: w.project, ID: d.ID}, func() { w.proves(test.change(d)) })
		if err := w.edge.Compare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if more, damaged := w.edge.Proof().More, w.edge.Status().Damaged; len(more) != test.want || damaged != test.want {
			t.Errorf("%s: got %d damaged, more of %v failing, want %d", what, damaged, more, test.want)
		}
		if what == "removed" {
			continue
		}
		d.InstanceID = lacre.NewID()
		w.proves(w.store(d))
		if more, damaged := w.edge.Proof().More, w.edge.Status().Damaged; len(more) > 0 || damaged > 0 {
			t.Errorf("%s, and moved to another instance: got %d damaged, more of %v failing, want none", what, damaged, more)
		}
	}
}

// TestProofOfADomainGoneUnseen: it was damaged when the edge began, and was deleted while nobody
// watched.
func TestProofOfADomainGoneUnseen(t *testing.T) {
	o := &overtaken{Feed: shared}
	o.set(&lacre.Domain{ProjectID: "p", ID: lacre.NewID()}, func() {})
	w := newWorld(t, func(c *edge.Config) { c.Feed, c.Timeouts.Compare = o, time.Hour })
	<-w.edge.Ready()
	if got := w.edge.Proof().More; !slices.Equal(got, []string{"p"}) {
		t.Errorf("after the start: got more of %v failing, want p", got)
	}
	w.site("later.test") // the store has come further
	if err := w.edge.Compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if more, damaged := w.edge.Proof().More, w.edge.Status().Damaged; len(more) > 0 || damaged > 0 {
		t.Errorf("after a compare: got %d damaged, more of %v failing, want none", damaged, more)
	}
}

// TestProofOfManyUnreached: that nobody can ask for a certificate is one failure, and over as
// soon as somebody can.
func TestProofOfManyUnreached(t *testing.T) {
	w := newWorld(t)
	c := w.certificate(w.leaf([]string{"*.test"}))
	var last *lacre.Domain
	for i := range 5 {
		last = w.domain(fmt.Sprintf("off%d.test", i), []*lacre.Certificate{c}, func(d *lacre.Domain) { d.HTTPSPort = -1 })
	}
	if failing := w.proves(last.Revision); len(failing) != 1 || w.edge.Claims() != 1 {
		t.Errorf("got failing %v, by %d claims, want one, by one", failing, w.edge.Claims())
	}
	last.HTTPSPort = 443
	if failing := w.proves(w.store(last)); len(failing) > 0 {
		t.Errorf("with HTTPS: got failing %v, want nothing", failing)
	}
}

// TestProofIsBoundedByProject: one that fails with very many certificates hides nobody else's,
// and what is said of it does not change by itself.
func TestProofIsBoundedByProject(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Retry = 20 * time.Millisecond })
	w.box.broken.Store(true)
	leaf := w.leaf([]string{"*.test"})
	var last *lacre.Domain
	var louds []*lacre.Domain
	for i := range edge.MaxFailing + 5 {
		last = w.domain(fmt.Sprintf("a%d.test", i), []*lacre.Certificate{w.certificate(leaf)})
		louds = append(louds, last)
	}
	loud := w.project
	w.tenant()
	quiet := w.domain("b.test", []*lacre.Certificate{w.certificate(leaf)})
	w.proves(max(last.Revision, quiet.Revision))
	p := w.edge.Proof()
	if n := len(p.Failing); n != edge.MaxFailing+1 || !slices.Equal(p.More, []string{loud}) || p.Unlisted != 0 {
		t.Errorf("got %d failing, more of %v, %d unlisted, want %d, more of one", n, p.More, p.Unlisted, edge.MaxFailing+1)
	}
	if !slices.IsSortedFunc(p.Failing, lacre.Failing.Compare) || p.Failing[0].Reason == "" {
		t.Errorf("got %v, want them in order", p.Failing)
	}
	for range 20 {
		if again := w.edge.Proof(); !reflect.DeepEqual(p, again) {
			t.Fatalf("got %v, then %v though nothing happened", p, again)
		}
	}
	some := make([]*lacre.Domain, 0, edge.MaxFailingProjects)
	for range edge.MaxFailingProjects {
		w.tenant()
		last = w.domain(fmt.Sprintf("%s.test", w.project), []*lacre.Certificate{w.certificate(leaf)})
		some = append(some, last)
	}
	w.proves(last.Revision)
	if p := w.edge.Proof(); p.Unlisted != 2 {
		t.Errorf("got %d projects unlisted, want 2", p.Unlisted)
	}
	for _, d := range some {
		w.commit(lacre.Tx{Delete: []lacre.Record{d}})
	}
	eventually(t, "what is gone makes room", func() bool { return w.edge.Proof().Unlisted == 0 })
	w.project = loud
	var gone string // one that is named
	for _, f := range w.edge.Proof().Failing {
		if f.ProjectID == loud {
			gone = f.CertificateID
		}
	}
	i := slices.IndexFunc(louds, func(d *lacre.Domain) bool { return d.Bindings[0].CertificateID == gone })
	w.commit(lacre.Tx{Delete: []lacre.Record{louds[i]}})
	eventually(t, "another one is named in its place", func() bool {
		p := w.edge.Proof()
		return len(p.Failing) == edge.MaxFailing+1 &&
			!slices.ContainsFunc(p.Failing, func(f lacre.Failing) bool { return f.CertificateID == gone })
	})
}

// TestProofWhileAKeyIsSlow: as long as the newest version has not been opened, the one before is
// served, and that is said.
func TestProofWhileAKeyIsSlow(t *testing.T) {
	slow := &slowBox{}
	w := newWorld(t, func(c *edge.Config) { slow.strongbox = c.Sealer.(*strongbox); c.Sealer = slow })
	_, c := w.site("a.test")
	before := w.serial("a.test")
	w.box.broken.Store(true)
	c.Version++
	w.refused(c, w.version(c.ID, c.Version, w.leaf([]string{"a.test"})))
	w.proves(c.Revision)
	release := slow.hold(t)
	repaired := make(chan error)
	go func() { repaired <- w.edge.Repair(context.Background()) }()
	for range 20 {
		if got := w.serial("a.test"); got != before {
			t.Fatalf("got leaf %s, want %s as before", got, before)
		}
		if p := w.edge.Proof(); len(p.Failing) != 1 {
			t.Fatalf("got failing %v while the old leaf is served, want it", p.Failing)
		}
		if err := w.edge.Applied(t.Context(), c.Revision); err == nil {
			t.Fatal("Applied: got no error while the old leaf is served")
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.box.broken.Store(false)
	release()
	if err := <-repaired; err != nil {
		t.Fatal(err)
	}
}

// TestProofAfterAStaleCompare: what was read before the newest version came ends no damage of
// that.
func TestProofAfterAStaleCompare(t *testing.T) {
	w, f := newFaultyWorld(t)
	_, c := w.site("a.test")
	w.serial("a.test")
	before, err := shared.Version(t.Context(), w.project, c.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.box.broken.Store(true)
	c.Version++
	w.refused(c, w.version(c.ID, c.Version, w.leaf([]string{"a.test"})))
	for _, number := range []int{before.Number, before.Number - 1} { // the next one is damaged
		older := *before
		older.Number = number
		f.set(func() { f.older[c.ID] = &older })
		if err := w.edge.Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.set(func() { f.stale[c.ID] = before })
	for range 3 {
		if err := w.edge.Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if failing := w.proves(c.Revision); len(failing) != 1 {
		t.Errorf("got failing %v while version 1 is served, want it", failing)
	}
	if err := w.edge.Applied(t.Context(), c.Revision); err == nil {
		t.Error("Applied: got no error while version 1 is served")
	}
}
