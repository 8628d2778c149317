package edge_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	if failing := w.proves(v.Revision); len(failing) != 1 || !strings.Contains(failing[good.ID], "newest version") {
		t.Errorf("got failing %v, want the certificate whose newest version does not open", failing)
	}
	if failing := w.proves(w.rotate(good, w.leaf([]string{"a.test"}))); len(failing) > 0 {
		t.Errorf("after a good version: got failing %v, want nothing", failing)
	}
}

// TestProofOfNothing: what nobody can ask for is not missing.
func TestProofOfNothing(t *testing.T) {
	w := newWorld(t)
	w.site("a.test")
	w.site("a.test") // younger: not served
	_, off := w.site("off.test", func(d *lacre.Domain) { d.HTTPSPort = -1 })
	w.rotate(off, w.leaf([]string{"off.test"}))
	gone, c := w.site("gone.test")
	w.commit(lacre.Tx{Delete: []lacre.Record{gone}})
	if failing := w.proves(w.rotate(c, w.leaf([]string{"gone.test"}))); len(failing) > 0 {
		t.Errorf("got failing %v, want nothing", failing)
	}
	missing := w.domain("missing.test", []*lacre.Certificate{{ID: lacre.NewID()}})
	if failing := w.proves(missing.Revision); failing[missing.Bindings[0].CertificateID] == "" {
		t.Errorf("got failing %v, want the certificate that is bound and not stored", failing)
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
	held sync.RWMutex
}

func (b *slowBox) Open(ctx context.Context, project string, sealed, binding []byte) ([]byte, error) {
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
	slow.held.Lock()
	b, _ := w.site("b.test") // its key is opened by the first handshake: the edge's own
	if p := w.edge.Proof(); p.Revision >= b.Revision || p.Revision < a.Revision || p.Since >= a.Revision {
		t.Errorf("got %+v before any handshake, want a revision from %d, below %d", p, a.Revision, b.Revision)
	}
	slow.held.Unlock()
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
