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
	"lacre/internal/testcert"
)

// proves waits until a revision is proven and returns which certificates fail then, and why.
func (w *world) proves(revision int64) map[string]string {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		p := w.edge.Proof()
		if p.Revision >= revision {
			failing := map[string]string{}
			for _, f := range p.Failing {
				failing[f.CertificateID] = f.Reason
			}
			return failing
		}
		if time.Now().After(deadline) {
			w.Fatalf("got revision %d proven, want %d", p.Revision, revision)
		}
	}
}

func tls13Only(d *lacre.Domain) { d.MinTLS = "TLSv1.3" }

// TestProof: every kind of certificate is asked for by its own kind of client, and what is
// not presented as it is stored is noticed.
func TestProof(t *testing.T) {
	w := newWorld(t)
	ca, sm := testcert.NewCA(t, "clients"), newSMCA(t)
	other, otherRSA, otherSM2 := w.certificate(w.leaf([]string{"o.test"})),
		w.certificate(w.leaf([]string{"o.test"}, testcert.WithRSA(2048))), w.dual(sm.Dual(t, []string{"o.test"}))
	w.domain("o.test", []*lacre.Certificate{other, otherRSA, otherSM2})
	for _, c := range []struct {
		name, host string
		edits      []func(*lacre.Domain)
	}{
		{"exact", "a.test", nil},
		{"wildcard", "*.b.test", nil},
		{"TLS 1.3 only", "c.test", []func(*lacre.Domain){tls13Only}},
		{"clients are verified", "d.test", []func(*lacre.Domain){verifyClients}},
	} {
		all := []*lacre.Certificate{
			w.certificate(w.leaf([]string{c.host}), ca), w.certificate(w.leaf([]string{c.host}, testcert.WithRSA(2048)), ca),
			w.dual(sm.Dual(t, []string{c.host}), sm),
		}
		d := w.domain(c.host, all, c.edits...)
		if failing := w.proves(d.Revision); len(failing) > 0 {
			t.Errorf("%s: got failing %v, want nothing", c.name, failing)
		}
		for i, wrong := range []*lacre.Certificate{other, otherRSA, otherSM2} {
			w.edge.Mix(w.project, all[i].ID, wrong.ID)
			w.store(d)
			if failing := w.proves(d.Revision); len(failing) != 1 || failing[all[i].ID] != "another leaf is presented" {
				t.Errorf("%s, %s: got failing %v, want the certificate alone", c.name, all[i].Facts.Algorithm, failing)
			}
			w.reload(all[i])
		}
	}
}

// reload stores the certificate's next version, with the leaf and key of the one before.
func (w *world) reload(c *lacre.Certificate) {
	w.Helper()
	v, err := shared.Version(w.Context(), w.project, c.ID, c.Version)
	if err != nil {
		w.Fatal(err)
	}
	c.Version++
	v.Number, v.Revision = c.Version, 0
	if failing := w.proves(w.store(c, v)); len(failing) > 0 {
		w.Errorf("after the next version: got failing %v, want nothing", failing)
	}
}

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

// TestProofOfWhatNobodyCanAskFor: it is not served, unless it is served elsewhere; what has no
// domain at all is nobody's business.
func TestProofOfWhatNobodyCanAskFor(t *testing.T) {
	w := newWorld(t)
	w.site("a.test")
	_, rival := w.site("a.test") // younger: not served
	noHTTPS := func(d *lacre.Domain) { d.HTTPSPort = -1 }
	_, off := w.site("off.test", noHTTPS)
	both := w.certificate(w.leaf([]string{"*.test"}))
	w.domain("on.test", []*lacre.Certificate{both})
	w.domain("off2.test", []*lacre.Certificate{both}, noHTTPS)
	late := w.certificate(w.leaf([]string{"*.test"}))
	w.domain("off3.test", []*lacre.Certificate{late}, noHTTPS)
	w.domain("on3.test", []*lacre.Certificate{late})
	w.rotate(late, w.leaf([]string{"*.test"}))
	gone, c := w.site("gone.test")
	w.commit(lacre.Tx{Delete: []lacre.Record{gone}})
	w.rotate(both, w.leaf([]string{"*.test"}))
	failing := w.proves(w.rotate(c, w.leaf([]string{"gone.test"})))
	for what, c := range map[string]*lacre.Certificate{"the younger rival's": rival, "without HTTPS": off} {
		if !strings.Contains(failing[c.ID], "no client can ask for it") {
			t.Errorf("%s: got failing %v, want it", what, failing)
		}
	}
	if len(failing) != 2 {
		t.Errorf("got failing %v, want two", failing)
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

// TestProofOfWhatIsGone: what goes away while its turn has not come, or during its handshake,
// does not fail.
func TestProofOfWhatIsGone(t *testing.T) {
	slow := &slowBox{}
	w := newWorld(t, func(c *edge.Config) { slow.strongbox = c.Sealer.(*strongbox); c.Sealer = slow })
	release := slow.hold(t)
	during, _ := w.site("a.test")
	before, _ := w.site("b.test")
	eventually(t, "the handshake", func() bool { return slow.asked.Load() > 0 })
	revision := w.commit(lacre.Tx{Delete: []lacre.Record{during, before}})
	w.box.broken.Store(true)
	release()
	if failing := w.proves(revision); len(failing) > 0 {
		t.Errorf("got failing %v, want nothing", failing)
	}
}

// TestProofOfTheNextInLine: who takes over a host is looked at, whatever was seen of it before.
func TestProofOfTheNextInLine(t *testing.T) {
	w := newWorld(t)
	first, _ := w.site("a.test")
	moved, _ := w.site("b.test")
	_, second := w.site("a.test")
	_, third := w.site("b.test")
	w.proves(w.domain("c.test", nil).Revision)
	w.edge.Mix(w.project, second.ID, first.Bindings[0].CertificateID)
	w.edge.Mix(w.project, third.ID, first.Bindings[0].CertificateID)
	revision := w.commit(lacre.Tx{Delete: []lacre.Record{first}})
	if failing := w.proves(revision); failing[second.ID] != "another leaf is presented" {
		t.Errorf("after the older domain is gone: got failing %v", failing)
	}
	moved.Host, moved.Name = "d.test", "d.test"
	if failing := w.proves(w.store(moved)); failing[third.ID] != "another leaf is presented" {
		t.Errorf("after the older domain has another host: got failing %v", failing)
	}
}

// TestProofOfWildcards: whatever names below it belong to others, and however long it is.
func TestProofOfWildcards(t *testing.T) {
	w := newWorld(t)
	long := "*." + strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("a", 59) // 253 bytes
	for host, taken := range map[string]string{"*.a.test": "0123456789abcdefghijklmnopqrstuvwxyz", long: "0"} {
		d, _ := w.site(host)
		mine := w.project
		w.tenant()
		theirs := []*lacre.Certificate{w.certificate(w.leaf([]string{host}))}
		var other *lacre.Domain
		for _, label := range taken {
			other = w.domain(string(label)+host[1:], theirs)
		}
		w.proves(other.Revision)
		w.project = mine
		if failing := w.proves(w.store(d)); len(failing) > 0 {
			t.Errorf("%s: got failing %v, want nothing", host, failing)
		}
	}
}

// TestProofOfADamagedDomain: which certificates it should have nobody knows, so none of its
// project's is taken for served, until it can be read again or is gone.
func TestProofOfADamagedDomain(t *testing.T) {
	w, f := newFaultyWorld(t)
	d, _ := w.site("a.test")
	w.proves(d.Revision)
	var once atomic.Bool
	once.Store(true)
	damage := func(c lacre.Change) (lacre.Change, error) {
		if len(c.Put) > 0 && once.CompareAndSwap(true, false) {
			c.Unreadable = append(c.Unreadable, &lacre.UnreadableError{Key: "k", Record: c.Put[0], Err: errFault})
			c.Put = nil
		}
		return c, nil
	}
	f.set(func() { f.change = damage })
	w.proves(w.store(d))
	if got := w.edge.Proof().More; !slices.Equal(got, []string{w.project}) {
		t.Errorf("got more of %v failing, want the project of the damaged domain", got)
	}
	w.proves(w.store(d))
	if got := w.edge.Proof().More; len(got) > 0 {
		t.Errorf("once it can be read: got more of %v failing, want none", got)
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

// TestProjectOfAnEdge is that of its instance.
func TestProjectOfAnEdge(t *testing.T) {
	w := newWorld(t)
	w.store(&lacre.Instance{ID: w.inst, ProjectID: w.project, Name: "gateway", Created: time.Now()})
	if got := w.node().edge.Project(); got != w.project {
		t.Errorf("got project %q, want %q", got, w.project)
	}
	if got := w.node(func(c *edge.Config) { c.Instance = "" }).edge.Project(); got != "" {
		t.Errorf("of an edge that serves all: got project %q", got)
	}
}

// TestProofIsBoundedByProject: one that fails with very many certificates hides nobody else's,
// and what is said of it does not change by itself.
func TestProofIsBoundedByProject(t *testing.T) {
	w := newWorld(t)
	w.box.broken.Store(true)
	leaf := w.leaf([]string{"*.test"})
	var last *lacre.Domain
	for i := range lacre.MaxFailing + 5 {
		last = w.domain(fmt.Sprintf("a%d.test", i), []*lacre.Certificate{w.certificate(leaf)})
	}
	loud := w.project
	w.tenant()
	quiet := w.domain("b.test", []*lacre.Certificate{w.certificate(leaf)})
	w.proves(max(last.Revision, quiet.Revision))
	p := w.edge.Proof()
	if n := len(p.Failing); n != lacre.MaxFailing+1 || !slices.Equal(p.More, []string{loud}) || p.Unlisted != 0 {
		t.Errorf("got %d failing, more of %v, %d unlisted, want %d, more of one", n, p.More, p.Unlisted, lacre.MaxFailing+1)
	}
	if !slices.IsSortedFunc(p.Failing, lacre.Failing.Compare) || p.Failing[0].Reason == "" {
		t.Errorf("got %v, want them in order", p.Failing)
	}
	for range 20 {
		if again := w.edge.Proof(); !reflect.DeepEqual(p, again) {
			t.Fatalf("got %v, then %v though nothing happened", p, again)
		}
	}
	for range lacre.MaxFailingProjects {
		w.tenant()
		last = w.domain(fmt.Sprintf("%s.test", w.project), []*lacre.Certificate{w.certificate(leaf)})
	}
	w.proves(last.Revision)
	if p := w.edge.Proof(); p.Unlisted != 2 {
		t.Errorf("got %d projects unlisted, want 2", p.Unlisted)
	}
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

// TestProofOfManyDomains: whichever of them is looked at, what is seen counts.
func TestProofOfManyDomains(t *testing.T) {
	w := newWorld(t)
	_, other := w.site("o.test")
	c := w.certificate(w.leaf([]string{"*.test"}))
	w.domain("off.test", []*lacre.Certificate{c}, func(d *lacre.Domain) { d.HTTPSPort = -1 })
	var last *lacre.Domain
	for i := range 8 {
		last = w.domain(fmt.Sprintf("on%d.test", i), []*lacre.Certificate{c})
	}
	w.proves(last.Revision)
	w.edge.Mix(w.project, c.ID, other.ID)
	w.edge.Claim(w.project, c.ID)
	eventually(t, "the wrong leaf is seen", func() bool { return len(w.edge.Proof().Failing) == 1 })
	for range 20 {
		w.edge.Claim(w.project, c.ID)
		if failing := w.proves(last.Revision); len(failing) != 1 {
			t.Fatalf("got failing %v, want it for as long as it fails", failing)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// TestProofAfterHistoryIsGone: while everything is loaded again nothing is proven, and what was
// loaded is not proven one by one afterwards.
func TestProofAfterHistoryIsGone(t *testing.T) {
	w, f := newFaultyWorld(t)
	d, c := w.site("a.test")
	w.proves(d.Revision)
	f.set(func() { f.load = lacre.ErrUnavailable })
	f.endWatch(lacre.ErrCompacted)
	eventually(t, "nothing is proven", func() bool { return w.edge.Proof().Revision == 0 })
	c.Version++
	revision := w.behind(c, w.version(c.ID, c.Version, w.leaf([]string{"a.test"})))
	time.Sleep(50 * time.Millisecond)
	if p := w.edge.Proof(); p.Revision != 0 || p.Since != 0 {
		t.Errorf("got %+v while it is loaded, want nothing", p)
	}
	f.set(func() { f.load = nil })
	if failing := w.proves(revision); len(failing) > 0 || w.edge.Proof().Since < d.Revision {
		t.Errorf("got failing %v, loaded at %d, want nothing, %d or later", failing, w.edge.Proof().Since, d.Revision)
	}
}

// TestProofFollowsTheDomains: a certificate is looked at where it is served.
func TestProofFollowsTheDomains(t *testing.T) {
	w := newWorld(t)
	c := w.certificate(w.leaf([]string{"*.test"}))
	first := w.domain("first.test", []*lacre.Certificate{c})
	second := w.domain("second.test", []*lacre.Certificate{c})
	w.site("third.test")
	third := w.domain("third.test", []*lacre.Certificate{c}) // younger than the one before
	for _, step := range []struct {
		want []string
		drop *lacre.Domain
	}{
		{[]string{"first.test", "second.test"}, third}, {[]string{"first.test", "second.test"}, second},
		{[]string{"first.test"}, first},
	} {
		if got := w.edge.LooksAt(w.project, c.ID); !slices.Contains(step.want, got) {
			t.Errorf("got looked at %q, want one of %q", got, step.want)
		}
		w.commit(lacre.Tx{Delete: []lacre.Record{step.drop}})
	}
}

// slowBox is a strongbox that opens nothing while it is held.
type slowBox struct {
	*strongbox
	held  sync.RWMutex
	asked atomic.Int64
}

// hold holds it until release, or the end of the test.
func (b *slowBox) hold(t *testing.T) (release func()) {
	b.held.Lock()
	release = sync.OnceFunc(b.held.Unlock)
	t.Cleanup(release)
	return release
}

func (b *slowBox) Open(ctx context.Context, project string, sealed, binding []byte) ([]byte, error) {
	b.asked.Add(1)
	b.held.RLock()
	defer b.held.RUnlock()
	return b.strongbox.Open(ctx, project, sealed, binding)
}

// TestProofComesAfterTheHandshake: what is applied is served, and proven a little later.
func TestProofComesAfterTheHandshake(t *testing.T) {
	slow := &slowBox{}
	w := newWorld(t, func(c *edge.Config) { slow.strongbox = c.Sealer.(*strongbox); c.Sealer = slow })
	a, _ := w.site("a.test")
	w.proves(a.Revision)
	release := slow.hold(t)
	b, _ := w.site("b.test") // its key is opened by the first handshake: the edge's own
	if p := w.edge.Proof(); p.Revision >= b.Revision || p.Revision < a.Revision || p.Since >= a.Revision {
		t.Errorf("got %+v before any handshake, want a revision from %d, below %d", p, a.Revision, b.Revision)
	}
	release()
	if failing := w.proves(b.Revision); len(failing) > 0 || slow.opened.Load() != 2 {
		t.Errorf("got failing %v, %d keys opened, want nothing and 2", failing, slow.opened.Load())
	}
}

// TestProofFillsNoCache: a key that no client asks for is not kept open for long, one that a
// client asks for is.
func TestProofFillsNoCache(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf([]string{"*.test"})
	site := func(i int) *lacre.Domain {
		return w.domain(fmt.Sprintf("a%d.test", i), []*lacre.Certificate{w.certificate(leaf)})
	}
	w.proves(site(0).Revision)
	w.serial("a0.test")
	last := 0
	for range 100 {
		last++
		w.proves(site(last).Revision)
	}
	before := w.box.opened.Load()
	w.serial("a0.test")
	if got := w.box.opened.Load(); got != before || before != 101 {
		t.Errorf("got %d, then %d keys opened, want 101, and none anew for a key in use", before, got)
	}
	if got := w.edge.KeysOpen(); got != 65 {
		t.Errorf("got %d keys open, want 64 and the one in use", got)
	}
}
