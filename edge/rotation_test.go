package edge_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
// TestRotationLeavesNothingBehind: superseded versions, their keys, configs, chains
// and trust roots go, although connections made with them stay open.
// crowd is a feed of many domains, each with a certificate of its own; their versions
// are made by read.
// TestSharedChainsAreHeldOnce: many certificates under one long chain, each read with
// bytes of its own, cost one chain.
