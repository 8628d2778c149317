package edge

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"lacre"
)

var errTorn = errors.New("torn")

// tornDomain is a feed that has one domain, damaged, as of a revision.
type tornDomain struct {
	silent
	revision int64
}

func (f *tornDomain) AllDomains(context.Context, func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error) {
	return f.revision, []*lacre.UnreadableError{{Key: "k", Record: &lacre.Domain{ID: "d", ProjectID: "p"}, Err: errTorn}}, nil
}

func (f *tornDomain) AllVersions(context.Context, func(*lacre.Certificate) bool, func(string, string, lacre.Latest) error) (int64, error) {
	return f.revision, nil
}

// unbegun are the holdings of an edge that follows nothing.
func unbegun(t *testing.T, f Feed) *holdings {
	t.Helper()
	e, err := New(Config{Feed: f, Sealer: fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.stop)
	return e.holdings
}

func (h *holdings) wantDamaged(t *testing.T, when string, want int) {
	t.Helper()
	if _, damaged := h.counts(); damaged != want {
		t.Errorf("%s: got %d damaged, want %d", when, damaged, want)
	}
}

// TestMended: a compare ends the damage of domains that it has not found, of what came later only
// when it is the last word, as over a store that was restored.
func TestMended(t *testing.T) {
	h := unbegun(t, silent{})
	h.markDomain(&lacre.Domain{ID: "d", ProjectID: "p"}, errTorn, 10, false)
	for _, step := range []struct {
		revision int64
		last     bool
		want     int
	}{{10, false, 1}, {5, false, 1}, {10, true, 1}, {5, true, 0}} {
		h.mended(step.revision, step.last)
		h.wantDamaged(t, fmt.Sprintf("as of %d, the last word: %t", step.revision, step.last), step.want)
	}
}

// TestDamagedInARestoredStore: that it was served or damaged later, before the restore, counts
// for nothing.
func TestDamagedInARestoredStore(t *testing.T) {
	f := &tornDomain{revision: 120}
	h := unbegun(t, f)
	for _, revision := range []int64{120, 50} {
		f.revision = revision
		if _, err := h.reconcile(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		h.wantDamaged(t, fmt.Sprint("damaged at 120, and now at ", revision), 1)
	}
	h = unbegun(t, f)
	if err := h.putDomain(t.Context(), &lacre.Domain{ID: "d", ProjectID: "p", Host: "a.test", Revision: 100}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.reconcile(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	h.wantDamaged(t, "served at 100, and damaged at 50", 1)
}

// TestInstalledLate: a compare that has read a domain before its damage does not end that.
func TestInstalledLate(t *testing.T) {
	h := unbegun(t, silent{})
	h.remember()
	fresh, _, _ := h.compared([]*lacre.Domain{{ID: "d", ProjectID: "p", Host: "a.test", Revision: 10}}, false)
	h.markDomain(&lacre.Domain{ID: "d", ProjectID: "p"}, errTorn, 20, false) // by the watch
	h.install(fresh[0], false)
	h.wantDamaged(t, "installed as of 10, damaged at 20", 1)
	h.install(h.newSite(&lacre.Domain{ID: "d", ProjectID: "p", Host: "a.test", Revision: 30}), false)
	h.wantDamaged(t, "mended at 30", 0)
}

// TestListsMended: damage of lists is over when newer ones are in force, whoever has read them,
// and nothing older ends it.
func TestListsMended(t *testing.T) {
	h := unbegun(t, silent{})
	key := certificateKey{"p", "c"}
	h.mu.Lock()
	c := h.certificate(key)
	c.refs++
	h.mu.Unlock()
	c.revoked.Store(&revocations{unread: true})
	set := func(revision int64) {
		h.setRevocations(key, &lacre.Revocations{ProjectID: "p", CertificateID: "c", Revision: revision}, revision, false)
	}
	set(14) // by a compare
	h.markRevocations(key, errTorn, 12)
	h.wantDamaged(t, "lists of 14 are in force, and the watch has come to 12", 0)
	h.markRevocations(key, errTorn, 0) // could not be read for a moment
	h.wantDamaged(t, "by a compare", 1)
	set(14)
	h.wantDamaged(t, "and read again", 0)
	h.markRevocations(key, errTorn, 20)
	set(14)
	h.wantDamaged(t, "damaged at 20, and read before", 1)
	set(25)
	h.wantDamaged(t, "mended at 25", 0)
}

// TestDroppedWhileItIsRead: what nobody needs any more is not damaged for ever.
func TestDroppedWhileItIsRead(t *testing.T) {
	h := unbegun(t, goneVersions{})
	h.mu.Lock()
	c := h.acquire(certificateKey{"p", "c"})
	c.refs--
	h.drop(c)
	h.mu.Unlock()
	if err := h.fetchAll(t.Context(), []*served{c}, newer); err != nil {
		t.Fatal(err)
	}
	h.wantDamaged(t, "dropped", 0)
}

// goneVersions is a feed that has no versions.
type goneVersions struct{ silent }

func (goneVersions) LatestVersions(_ context.Context, _ string, ids []string) ([]lacre.Latest, error) {
	return []lacre.Latest{{Err: lacre.ErrNotStored}}, nil
}

// TestFailuresOfVeryManyProjects: the report has a bound whatever fails, and says of nothing that
// is left out that it is served.
func TestFailuresOfVeryManyProjects(t *testing.T) {
	f := newFailures()
	for i := range 200 {
		f.domains[fmt.Sprint("d", i)], f.stale = fmt.Sprint("p", i), true
	}
	if p := f.proof(); len(p.More) != 200 || p.Unlisted != 0 {
		t.Errorf("got %d projects named, %d not, want all", len(p.More), p.Unlisted)
	}
	f.domains["d200"], f.stale = "p200", true
	p := f.proof()
	if _, fails := p.Fails("p", "c"); !fails || len(p.More) > 0 || p.Unlisted != 201 {
		t.Errorf("got %d projects named, %d not, any other fails: %t, want none, 201 and true", len(p.More), p.Unlisted, fails)
	}
}
