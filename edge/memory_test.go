package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"net/http"
	"runtime"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

type versions struct {
	domain  *lacre.Domain
	first   *lacre.Version
	changes chan lacre.Change
}

func (f *versions) LatestRevocations(context.Context, string, string) (*lacre.Revocations, int64, error) {
	return nil, 0, nil
}

func (f *versions) AllDomains(_ context.Context, visit func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error) {
	return 1, nil, visit(f.domain)
}

func (f *versions) LatestVersions(context.Context, string, []string) ([]lacre.Latest, error) {
	return []lacre.Latest{{Version: f.first}}, nil
}

func (f *versions) AllVersions(context.Context, func(*lacre.Certificate) bool, func(string, string, lacre.Latest) error) (int64, error) {
	return 1, nil
}

func (f *versions) AllInstances(context.Context) ([]*lacre.Instance, error) { return nil, nil }

func (f *versions) HostDomains(context.Context, []*lacre.Instance, ...string) ([]*lacre.Domain, error) {
	return nil, nil
}

func (f *versions) Watch(ctx context.Context, _ int64) iter.Seq2[lacre.Change, error] {
	return func(yield func(lacre.Change, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case c := <-f.changes:
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

func TestRotationLeavesNothingBehind(t *testing.T) {
	w := &world{TB: t, ca: testcert.NewCA(t, "flat"), box: &strongbox{keys: map[string][]byte{}}, log: &syncBuffer{}}
	d := &lacre.Domain{ID: lacre.NewID(), Host: "a.example.com", Created: time.Now(), Revision: 1}
	d.Bindings = []lacre.Binding{{CertificateID: lacre.NewID(), Algorithm: "ECC"}}
	id := d.Bindings[0].CertificateID
	feed := &versions{domain: d, first: w.version(id, 1, w.leaf([]string{d.Host})), changes: make(chan lacre.Change)}
	w.edge = startEdge(t, edge.Config{Feed: feed, Sealer: w.box}, w)
	<-w.edge.Ready()
	kept := w.connect(d.Host)
	leaves := [2]*testcert.Leaf{w.leaf([]string{d.Host}), w.leaf([]string{d.Host})}
	roots := make([]byte, 64<<10) // trust roots of another content each time
	rotate := func(n int) {
		v := w.version(id, n, leaves[n%2])
		roots[0], roots[1] = byte(n), byte(n>>8)
		v.TrustRoots = [][]byte{append([]byte(nil), roots...)}
		feed.changes <- lacre.Change{Revision: int64(n), Put: []lacre.Record{v}}
		w.applied(int64(n))
		w.connect(d.Host).Close()
		clear(w.box.keys)
	}
	for n := 2; n <= 50; n++ {
		rotate(n)
	}
	before := heap()
	for n := 51; n <= 300; n++ {
		rotate(n)
	}
	if grown := heap() - before; grown > 4<<20 { // one leaked root a rotation would be 16 MiB
		t.Errorf("250 rotations grew the heap by %d KiB, want less than 4096", grown>>10)
	}
	fmt.Fprintf(kept, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", d.Host)
	if resp, err := http.ReadResponse(bufio.NewReader(kept), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("the connection from before 300 rotations: got %v, %v, want 200", resp, err)
	}
}

func heap() int64 {
	var m runtime.MemStats
	for range 3 { // weak pointers and cleanups need more than one round
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

type crowd struct {
	versions
	size  int
	read  func(id string) *lacre.Version
	named func(id string) // told every certificate's id; may be nil
}

func (f *crowd) LatestRevocations(context.Context, string, string) (*lacre.Revocations, int64, error) {
	return nil, 0, nil
}

func (f *crowd) AllDomains(_ context.Context, visit func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error) {
	for i := range f.size {
		d := &lacre.Domain{ID: lacre.NewID(), Host: fmt.Sprintf("c%d.example.com", i), Revision: 1}
		d.Bindings = []lacre.Binding{{CertificateID: lacre.NewID(), Algorithm: "ECC"}}
		if f.named != nil {
			f.named(d.Bindings[0].CertificateID)
		}
		if err := visit(d); err != nil {
			return 0, nil, err
		}
	}
	return 1, nil, nil
}

func (f *crowd) LatestVersions(_ context.Context, _ string, ids []string) (all []lacre.Latest, err error) {
	for _, id := range ids {
		all = append(all, lacre.Latest{Version: f.read(id)})
	}
	return all, nil
}

func TestSharedChainsAreHeldOnce(t *testing.T) {
	w := &world{TB: t, ca: testcert.NewCA(t, "crowd"), box: &strongbox{keys: map[string][]byte{}}, log: &syncBuffer{}}
	const certificates, bulk = 100, 256 << 10
	leaf := w.leaf([]string{"*.example.com"})
	feed := &crowd{size: certificates, read: func(id string) *lacre.Version {
		v := w.version(id, 1, leaf)
		v.Chain = append(v.Chain, make([]byte, bulk)) // a chain is passed on, not parsed
		v.TrustRoots = [][]byte{make([]byte, bulk)}
		return v
	}}
	before := heap()
	w.edge = startEdge(t, edge.Config{Feed: feed, Sealer: w.box}, w)
	<-w.edge.Ready()
	if got := w.edge.Status().Certificates; got != certificates {
		t.Errorf("got %d certificates, want %d", got, certificates)
	}
	if grown := heap() - before; grown > certificates*bulk/10 {
		t.Errorf("%d certificates with one chain of %d KiB grew the heap by %d KiB", certificates, bulk>>10, grown>>10)
	}
}
