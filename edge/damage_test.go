package edge_test

import (
	"testing"

	"lacre"
	"lacre/keypair"
)

func TestDamagedVersion(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(w *world, f *faulty, v *lacre.Version)
	}{
		{"unreadable record", func(_ *world, f *faulty, v *lacre.Version) {
			f.change = func(c lacre.Change) (lacre.Change, error) {
				return lacre.Change{Revision: c.Revision, Unreadable: []*lacre.UnreadableError{{Record: v, Key: "test", Err: errFault}}}, nil
			}
		}},
		{"key of another leaf", func(w *world, _ *faulty, v *lacre.Version) {
			v.SealedKey = w.version(v.CertificateID, 9, w.leaf([]string{"a.example.com"})).SealedKey
		}},
		{"key that was never sealed", func(_ *world, _ *faulty, v *lacre.Version) { v.SealedKey = []byte("junk") }},
		{"leaf that is none", func(_ *world, _ *faulty, v *lacre.Version) { v.Chain[0] = []byte("junk") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, f := newFaultyWorld(t)
			_, c := w.site("a.example.com")
			w.site("b.example.com")
			before := w.serial("a.example.com")
			c.Version++
			bad := w.version(c.ID, c.Version, w.leaf([]string{"a.example.com"}))
			f.set(func() { test.damage(w, f, bad) })
			w.refused(c, bad)
			if got := w.serial("a.example.com"); got != before {
				t.Errorf("got leaf %s, want the last good one %s", got, before)
			}
			w.connect("b.example.com")
			if got := w.edge.Status().Damaged; got != 1 {
				t.Errorf("got %d damaged, want 1", got)
			}
			f.set(func() { f.change = nil })
			next := w.leaf([]string{"a.example.com"})
			w.rotate(c, next)
			if got, want := w.serial("a.example.com"), next.Cert.SerialNumber.String(); got != want {
				t.Errorf("after a good version: got leaf %s, want %s", got, want)
			}
			if got := w.edge.Status().Damaged; got != 0 {
				t.Errorf("after a good version: got %d damaged, want 0", got)
			}
		})
	}
}

func TestDamageAtLoad(t *testing.T) {
	w, f := newFaultyWorld(t)
	old := w.leaf([]string{"old.example.com"})
	c, lost := w.certificate(old), w.certificate(w.leaf([]string{"lost.example.com"}))
	f.set(func() {
		f.older[c.ID] = w.version(c.ID, 1, old)
		f.read[lost.ID] = &lacre.UnreadableError{Record: &lacre.Version{}, Key: "test", Err: errFault}
	})
	w.domain("old.example.com", []*lacre.Certificate{c})
	w.domain("lost.example.com", []*lacre.Certificate{lost})
	w.domain("dangling.example.com", []*lacre.Certificate{{ID: lacre.NewID(), Facts: keypair.Facts{Algorithm: keypair.ECC}}})
	if got, want := w.serial("old.example.com"), old.Cert.SerialNumber.String(); got != want {
		t.Errorf("got leaf %s, want the newest readable one %s", got, want)
	}
	for _, host := range []string{"lost.example.com", "dangling.example.com"} {
		if _, err := w.dial(host); !isAlert(err, 112) {
			t.Errorf("%s: got %v, want alert unrecognized_name", host, err)
		}
	}
	if got := w.edge.Status().Damaged; got != 3 {
		t.Errorf("got %d damaged, want 3", got)
	}
}

func TestUnavailableWhileApplying(t *testing.T) {
	w, f := newFaultyWorld(t)
	c := w.certificate(w.leaf([]string{"a.example.com"}))
	f.set(func() { f.read[c.ID] = lacre.ErrUnavailable })
	var revision int64
	w.edgeless(func() { revision = w.domain("a.example.com", []*lacre.Certificate{c}).Revision })
	eventually(t, "the watch to be tried again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.watches > 2
	})
	if got := w.edge.Status().Revision; got >= revision {
		t.Errorf("got revision %d, want less than %d, which cannot be applied", got, revision)
	}
	f.set(func() { delete(f.read, c.ID) })
	w.applied(revision)
	w.connect("a.example.com")
}

func TestRestoredStore(t *testing.T) {
	w, f := newFaultyWorld(t)
	d, c := w.site("a.example.com")
	w.rotate(c, w.leaf([]string{"a.example.com"}))
	future := *d
	future.MinTLS, future.Revision = "TLSv1.3", 1<<40
	f.set(func() { // the edge saw a later domain and another version 3
		lost := w.version(c.ID, 3, w.leaf([]string{"a.example.com"}))
		f.change = func(c lacre.Change) (lacre.Change, error) {
			return lacre.Change{Revision: 1 << 40, Put: []lacre.Record{&future, lost}}, nil
		}
	})
	w.edgeless(func() { w.store(&lacre.Project{ID: lacre.NewID(), Name: "any"}) })
	eventually(t, "the edge to be in the future", func() bool { return w.edge.Status().Revision == 1<<40 })
	if _, err := w.dial("a.example.com", tls12); err == nil {
		t.Fatal("the future domain is not served")
	}
	next := w.leaf([]string{"a.example.com"})
	f.set(func() { f.change = nil })
	w.edgeless(func() { w.rotate(c, next) }) // version 3 of the store
	f.endWatch(lacre.ErrCompacted)
	eventually(t, "the edge to believe the store", func() bool { return w.edge.Status().Revision < 1<<40 })
	if got, want := w.serial("a.example.com", tls12), next.Cert.SerialNumber.String(); got != want {
		t.Errorf("got leaf %s, want %s", got, want)
	}
}

// TestNoResumptionAcrossARestore: a version number that is given out again does not
// make a session of the lost version good for the new one.
func TestNoResumptionAcrossARestore(t *testing.T) {
	w, f := newFaultyWorld(t)
	_, c := w.site("a.example.com")
	lost := w.leaf([]string{"a.example.com"})
	f.set(func() {
		f.change = func(lacre.Change) (lacre.Change, error) {
			return lacre.Change{Revision: 1 << 40, Put: []lacre.Record{w.version(c.ID, 2, lost)}}, nil
		}
	})
	w.edgeless(func() { w.store(&lacre.Project{ID: lacre.NewID(), Name: "any"}) })
	eventually(t, "the edge to be in the future", func() bool { return w.edge.Status().Revision == 1<<40 })
	cache := &oneSession{}
	w.resumes("a.example.com", cache)
	if !w.resumes("a.example.com", cache) {
		t.Fatal("no session of the lost version")
	}
	f.set(func() { f.change = nil })
	next := w.leaf([]string{"a.example.com"})
	w.edgeless(func() { w.rotate(c, next) }) // version 2 of the store
	f.endWatch(lacre.ErrCompacted)
	eventually(t, "the edge to believe the store", func() bool {
		return w.serial("a.example.com") == next.Cert.SerialNumber.String()
	})
	if w.resumes("a.example.com", cache) {
		t.Error("resumed a session that another leaf was shown for")
	}
}

// TestDamageElsewhereEnds: a domain of another instance, once readable again, is no
// concern of this edge.
func TestDamageElsewhereEnds(t *testing.T) {
	w, f := newFaultyWorld(t)
	w.store(&lacre.Instance{ID: lacre.NewID(), ProjectID: w.project, Name: "first"}) // all is loaded then, and watched
	elsewhere := &lacre.Domain{ID: lacre.NewID(), ProjectID: w.project, InstanceID: lacre.NewID(), Host: "a.example.com"}
	for _, test := range []struct {
		change lacre.Change
		want   int
	}{
		{lacre.Change{Unreadable: []*lacre.UnreadableError{{Record: elsewhere, Key: "test", Err: errFault}}}, 1},
		{lacre.Change{Put: []lacre.Record{elsewhere}}, 0},
	} {
		f.set(func() {
			f.change = func(c lacre.Change) (lacre.Change, error) {
				test.change.Revision = c.Revision
				return test.change, nil
			}
		})
		w.store(&lacre.Instance{ID: lacre.NewID(), ProjectID: w.project, Name: "any"})
		if got := w.edge.Status().Damaged; got != test.want {
			t.Errorf("got %d damaged, want %d", got, test.want)
		}
	}
}
