package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
	"lacre/keyring"
)

// rotated is a certificate that is modified all the time over the real service.
type rotated struct {
	host    string
	id      string
	keys    [2]*testcert.Leaf // whose keys alternate: two versions in a row cannot be mixed unseen
	order   sync.Map          // serial number -> int, when its upload began
	settled atomic.Int64      // the last upload that was answered
}

// office is the real service in front of a world's edge.
type office struct {
	*world
	service *lacre.Service
	caller  lacre.Caller
}

func newOffice(w *world, ring *keyring.Keyring) *office {
	w.Helper()
	return &office{
		world:   w,
		service: lacre.NewService(lacre.Config{Store: shared, Sealer: ring, Edge: w.edge, EdgeWait: 30 * time.Second}),
		caller:  lacre.Caller{UserName: "tester", ProjectID: w.project, Role: lacre.RoleAdmin},
	}
}

// setUp creates a certificate and a domain bound to it through the service.
func (o *office) setUp(host, upstream string) *rotated {
	o.Helper()
	ctx := context.Background()
	c := &rotated{host: host, keys: [2]*testcert.Leaf{o.leaf([]string{host}), o.leaf([]string{host})}}
	created, err := o.service.CreateCertificate(ctx, o.caller, o.project, o.upload(c, 0), lacre.WriteOptions{})
	if err != nil {
		o.Fatal(err)
	}
	c.id = created.Certificate.ID
	g, err := o.service.CreateGroup(ctx, o.caller, o.project, o.inst, lacre.GroupInput{Name: "group_" + c.id[:8]})
	if err != nil {
		o.Fatal(err)
	}
	d, _, err := o.service.CreateDomain(ctx, o.caller, o.project, o.inst, g.ID, lacre.DomainInput{Name: host, Upstream: upstream})
	if err != nil {
		o.Fatal(err)
	}
	if _, err := o.service.AttachCertificate(ctx, o.caller, o.project, o.inst, g.ID, d.ID, c.id, nil); err != nil {
		o.Fatal(err)
	}
	return c
}

// upload makes the nth leaf of c.
func (o *office) upload(c *rotated, n int) lacre.CertificateInput {
	leaf := o.leaf([]string{c.host}, testcert.WithKey(c.keys[n%2].Key))
	c.order.Store(leaf.Cert.SerialNumber.String(), n)
	return lacre.CertificateInput{
		Name: "cert_" + c.host[:2], CertContent: leaf.ChainPEM(), PrivateKey: lacre.Secret(leaf.KeyPEM()),
	}
}

func (o *office) rotate(c *rotated, n int) error {
	_, err := o.service.ModifyCertificate(context.Background(), o.caller, o.project, c.id, o.upload(c, n), lacre.WriteOptions{})
	if err == nil {
		c.settled.Store(int64(n))
	}
	return err
}

// check makes one handshake: it must succeed and show nothing older than what was
// answered before it began. A leaf beside another's key fails the handshake itself.
func (o *office) check(c *rotated, cache tls.ClientSessionCache) error {
	least := c.settled.Load()
	conn, err := o.dial(c.host, func(cfg *tls.Config) { cfg.ClientSessionCache = cache })
	if err != nil {
		return fmt.Errorf("handshake for %s: %w", c.host, err)
	}
	defer conn.Close()
	serial := conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	n, ours := c.order.Load(serial)
	if !ours {
		return fmt.Errorf("%s shows a leaf that was never uploaded for it", c.host)
	}
	if int64(n.(int)) < least {
		return fmt.Errorf("%s shows version %d after %d was answered (resumed: %v)",
			c.host, n, least, conn.ConnectionState().DidResume)
	}
	if cache != nil { // read on for the ticket
		fmt.Fprintf(conn, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", c.host)
		_, err = io.ReadAll(conn)
	}
	return err
}

// rotations is how often the test below rotates.
func rotations() int {
	switch {
	case os.Getenv("LACRE_NIGHTLY") != "":
		return 20_000
	case large < 64<<20: // the race detector is on
		return 200
	}
	return 2_000
}

// TestRotationUnderLoad modifies certificates through the real service, keyring and
// store while clients do full and resumed handshakes and use connections made before.
// No handshake and no request may fail, and none may show what was replaced before.
func TestRotationUnderLoad(t *testing.T) {
	ring, err := keyring.Unlock(context.Background(), "file:"+filepath.Join(t.TempDir(), "master.key"), shared)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *edge.Config) { c.Sealer = ring })
	o := newOffice(w, ring)
	o.store(&lacre.Instance{ID: o.inst, ProjectID: o.project, Name: "rotating", Created: time.Now()})
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) })

	certs := make([]*rotated, 16)
	for i := range certs {
		certs[i] = o.setUp(fmt.Sprintf("%02d-rot.example.com", i), b.URL)
	}
	ctx, stop := context.WithCancel(context.Background())
	var clients, writers sync.WaitGroup
	var handshakes, requests atomic.Int64
	for i := range 4 {
		var cache tls.ClientSessionCache
		if i%2 == 1 {
			cache = tls.NewLRUClientSessionCache(16)
		}
		clients.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				if err := o.check(certs[n%len(certs)], cache); err != nil {
					t.Error(err)
					return
				}
				handshakes.Add(1)
			}
		})
	}
	for i, http2 := range []bool{false, true} {
		clients.Go(func() {
			client := o.client(http2)
			for ctx.Err() == nil {
				if status, err := request(t, client, "https://"+certs[i].host+"/"); status != 200 {
					t.Errorf("a request on a connection made before: got %d, %v, want 200", status, err)
					return
				}
				requests.Add(1)
			}
		})
	}
	each := rotations() / len(certs)
	for _, c := range certs {
		writers.Go(func() {
			for n := 1; n <= each && !t.Failed(); n++ {
				if err := o.rotate(c, n); err != nil {
					t.Errorf("rotation %d of %s: %v", n, c.host, err)
				}
			}
		})
	}
	writers.Wait()
	stop()
	clients.Wait()
	for _, c := range certs {
		if err := o.check(c, nil); err != nil {
			t.Error(err)
		}
	}
	if s := o.edge.Status(); s.Damaged != 0 || s.Certificates != len(certs) {
		t.Errorf("got %+v, want %d certificates and no damage", s, len(certs))
	}
	t.Logf("%d rotations, %d handshakes, %d requests", each*len(certs), handshakes.Load(), requests.Load())
}

// versions is a feed of one domain and its certificate, in memory: what an edge keeps
// of each rotation is not drowned in what a store keeps.
type versions struct {
	domain  *lacre.Domain
	first   *lacre.Version
	changes chan lacre.Change
}

func (f *versions) AllDomains(_ context.Context, visit func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error) {
	return 1, nil, visit(f.domain)
}

func (f *versions) LatestVersion(context.Context, string, string) (*lacre.Version, []*lacre.UnreadableError, error) {
	return f.first, nil, nil
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

// TestRotationLeavesNothingBehind: superseded versions, their keys, configs, chains
// and trust roots go, although connections made with them stay open.
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

// crowd is a feed of many domains, each with a certificate of its own; their versions
// are made by read.
type crowd struct {
	versions
	size  int
	read  func(id string) *lacre.Version
	named func(id string) // told every certificate's id; may be nil
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

func (f *crowd) LatestVersion(_ context.Context, _, id string) (*lacre.Version, []*lacre.UnreadableError, error) {
	return f.read(id), nil, nil
}

// TestSharedChainsAreHeldOnce: many certificates under one long chain, each read with
// bytes of its own, cost one chain.
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
