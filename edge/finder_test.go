package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// looking counts the look-ups of single names.
type looking struct {
	*faulty
	looks atomic.Int64
}

func (f *looking) HostDomains(ctx context.Context, instances []*lacre.Instance, hosts ...string) ([]*lacre.Domain, error) {
	f.looks.Add(1)
	return f.faulty.HostDomains(ctx, instances, hosts...)
}

// newLoadingWorld is a world with something in it whose edge reads all domains and then
// hangs, until load is called.
func newLoadingWorld(t *testing.T, fill func(*world)) (w *world, f *looking, load func()) {
	t.Helper()
	w = &world{TB: t, ca: testcert.NewCA(t, "loading"), box: &strongbox{keys: map[string][]byte{}},
		project: lacre.NewID(), inst: lacre.NewID(), log: &syncBuffer{}}
	w.store(&lacre.Project{ID: w.project, Name: w.project, Created: time.Now()},
		&lacre.Instance{ID: w.inst, ProjectID: w.project, Name: "here", Created: time.Now()})
	fill(w)
	held := make(chan chan struct{})
	f = &looking{faulty: &faulty{Feed: shared, held: held, read: map[string]error{}, older: map[string]*lacre.Version{}}}
	w.edge = startEdge(t, edge.Config{Feed: f, Sealer: w.box, Instance: w.inst}, w)
	gate := <-held
	return w, f, func() {
		f.set(func() { f.held = nil })
		close(gate)
		<-w.edge.Ready()
	}
}

// claimed is site with the claim of its host, by which it is found, and the count of the
// certificate's domains, by which that is read early.
func (w *world) claimed(host string) (*lacre.Domain, *lacre.Certificate) {
	w.Helper()
	d, c := w.site(host)
	c.Bound = 1
	w.store(c, &lacre.Host{ProjectID: d.ProjectID, InstanceID: d.InstanceID, Host: d.Host, DomainID: d.ID})
	return d, c
}

func TestHandshakeBeforeEverythingIsLoaded(t *testing.T) {
	w, f, load := newLoadingWorld(t, func(w *world) {
		w.claimed("exact.wild.example.com")
		w.claimed("*.wild.example.com")
		w.claimed("other.example.com")
	})
	if s := w.edge.Status(); s.Ready || !s.Serving || s.Sites != 0 {
		t.Fatalf("got %+v, want an edge that serves and has no site yet", s)
	}
	for host, want := range map[string]string{"b.wild.example.com": "*.wild.example.com", "exact.wild.example.com": "exact.wild.example.com"} {
		leaf := w.connect(host).ConnectionState().PeerCertificates[0]
		if got := leaf.DNSNames[0]; got != want {
			t.Errorf("%s: got the leaf of %s, want that of %s", host, got, want)
		}
	}
	for range 2 {
		if _, err := w.dial("nobody.example.com"); !isAlert(err, 112) {
			t.Errorf("a name that is not there: got %v, want alert unrecognized_name", err)
		}
	}
	looks := f.looks.Load()
	if looks != 3 {
		t.Errorf("three names were looked up %d times, want once each", looks)
	}
	load()
	w.connect("other.example.com")
	if _, err := w.dial("another.example.com"); !isAlert(err, 112) {
		t.Errorf("got %v, want alert unrecognized_name", err)
	}
	if got := f.looks.Load(); got != looks {
		t.Errorf("after everything was loaded there were %d look-ups", got-looks)
	}
}

func TestOneLookUpForAllWhoAsk(t *testing.T) {
	w, f, load := newLoadingWorld(t, func(w *world) { w.claimed("crowd.example.com") })
	var crowd sync.WaitGroup
	for range 50 {
		crowd.Go(func() {
			if c, err := w.dial("crowd.example.com"); err != nil {
				t.Errorf("handshake: %v", err)
			} else {
				c.Close()
			}
		})
	}
	crowd.Wait()
	if got := f.looks.Load(); got != 1 {
		t.Errorf("got %d look-ups of one name, want 1", got)
	}
	load()
}

// TestLoadingNeverGoesBack: what was looked up is newer than what the loading read before,
// and stays; what has gone since goes.
func TestLoadingNeverGoesBack(t *testing.T) {
	var rotated *lacre.Certificate
	var gone *lacre.Domain
	w, _, load := newLoadingWorld(t, func(w *world) {
		_, rotated = w.claimed("rotated.example.com")
		gone, _ = w.claimed("gone.example.com")
	})
	w.connect("gone.example.com")
	next := w.leaf([]string{"rotated.example.com"})
	w.edgeless(func() {
		w.rotate(rotated, next)
		w.claimed("new.example.com")
		w.commit(lacre.Tx{Delete: []lacre.Record{gone}})
	})
	serial := next.Cert.SerialNumber.String()
	watch := func(when string) {
		t.Helper()
		if got := w.serial("rotated.example.com"); got != serial {
			t.Errorf("%s: got leaf %s, want %s", when, got, serial)
		}
		w.connect("new.example.com")
	}
	watch("while loading")
	load()
	watch("after loading")
	w.applied(w.store(&lacre.Project{ID: lacre.NewID(), Name: "later"}))
	watch("after the watch has caught up")
	if _, err := w.dial("gone.example.com"); !isAlert(err, 112) {
		t.Errorf("gone: got %v, want alert unrecognized_name", err)
	}
}

// TestAppliedWaitsForTheLoading: what is said to be served is, also of names that nobody
// has asked for yet.
func TestAppliedWaitsForTheLoading(t *testing.T) {
	w, _, load := newLoadingWorld(t, func(w *world) { w.claimed("a.example.com") })
	revision := w.behind(&lacre.Project{ID: lacre.NewID(), Name: "later"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.edge.Applied(ctx, revision); err == nil {
		t.Error("a change counts as served before everything is loaded")
	}
	load()
	w.applied(revision)
}

// TestInventedNamesDoNotMultiply: what is remembered of names that are not there is
// bounded by the loading, and each costs the store one look-up.
func TestInventedNamesDoNotMultiply(t *testing.T) {
	w, f, load := newLoadingWorld(t, func(w *world) { w.claimed("real.example.com") })
	var crowd sync.WaitGroup
	for i := range 200 {
		crowd.Go(func() {
			if _, err := w.dial(fmt.Sprintf("x%d.example.com", i%20)); !isAlert(err, 112) {
				t.Errorf("got %v, want alert unrecognized_name", err)
			}
		})
	}
	crowd.Wait()
	if got := f.looks.Load(); got != 20 {
		t.Errorf("20 names were looked up %d times", got)
	}
	w.connect("real.example.com")
	load()
}

// TestAnotherNameBeforeEverythingIsLoaded: a connection that was made for one name of a wildcard
// does not reach the wildcard's upstream under a name that has a domain of its own.
func TestAnotherNameBeforeEverythingIsLoaded(t *testing.T) {
	w, _, load := newLoadingWorld(t, func(w *world) {
		w.claimed("exact.wild.example.com")
		w.claimed("*.wild.example.com")
	})
	c := w.connect("b.wild.example.com")
	in := bufio.NewReader(c)
	for _, when := range []string{"loading", "loaded"} {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: exact.wild.example.com\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if io.Copy(io.Discard, resp.Body); resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s: got %d, want 421", when, resp.StatusCode)
		}
		load()
		load = func() {}
	}
}
