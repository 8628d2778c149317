package edge_test

import (
	"context"
	"fmt"
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
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	for host, taken := range map[string]string{"*.a.test": letters, long: "0", long[:len(long)-9]: letters} {
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

// TestProjectOfAnEdge is that of its instance.
func TestProjectOfAnEdge(t *testing.T) {
	w := newWorld(t)
	w.store(&lacre.Instance{ID: w.inst, ProjectID: w.project, Name: "gateway", Created: time.Now()})
	if got := w.node().edge.Project(); got != w.project {
		t.Errorf("got project %q, want %q", got, w.project)
	}
	if err := w.edge.Compare(t.Context()); err != nil || w.edge.Project() != w.project {
		t.Errorf("of an edge that began before the instance: got project %q, %v, want %q", w.edge.Project(), err, w.project)
	}
	if got := w.node(func(c *edge.Config) { c.Instance = "" }).edge.Project(); got != "" {
		t.Errorf("of an edge that serves all: got project %q", got)
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
