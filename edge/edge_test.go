package edge_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
	"lacre/keypair"
	"lacre/store"
)

// shared is one real store for all tests; each test has a project and an instance of
// its own in it.
var shared *store.Store

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		panic(err)
	}
	shared, err = store.Embedded(context.Background(), store.EmbeddedConfig{Dir: dir})
	if err != nil {
		panic(err)
	}
	code := m.Run()
	shared.Close()
	os.RemoveAll(dir)
	os.Exit(code)
}

// strongbox is a Sealer whose sealed keys are numbers; it can be told to fail.
type strongbox struct {
	mu     sync.Mutex
	keys   map[string][]byte
	opened atomic.Int64
	broken atomic.Bool
}

var errBroken = errors.New("the strongbox is broken")

func (b *strongbox) Seal(_ context.Context, _ string, plaintext, _ []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := fmt.Sprintf("sealed %d", len(b.keys))
	b.keys[id] = bytes.Clone(plaintext)
	return []byte(id), nil
}

func (b *strongbox) Open(_ context.Context, _ string, sealed, _ []byte) ([]byte, error) {
	b.opened.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	key, ok := b.keys[string(sealed)]
	if !ok || b.broken.Load() {
		return nil, errBroken
	}
	return bytes.Clone(key), nil
}

// world is an edge with everything around it: a store, a CA, a project, an instance.
type world struct {
	testing.TB
	edge    *edge.Edge
	ca      *testcert.CA
	box     *strongbox
	project string
	inst    string
	addr    string // of the TLS listener
	plain   string // of the plain HTTP listener
	log     *syncBuffer
}

// newWorld starts an edge. Changes of the config are applied before it starts.
func newWorld(tb testing.TB, configure ...func(*edge.Config)) *world {
	tb.Helper()
	w := &world{
		TB: tb, ca: testcert.NewCA(tb, "edge test"), box: &strongbox{keys: map[string][]byte{}},
		inst: lacre.NewID(), log: &syncBuffer{},
	}
	w.tenant()
	cfg := edge.Config{
		Feed: shared, Sealer: w.box, Instance: w.inst, AllowLoopback: true,
		Log:           slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		UpstreamRoots: w.ca.Pool(),
	}
	for _, change := range configure {
		change(&cfg)
	}
	w.edge = startEdge(tb, cfg, w)
	return w
}

func startEdge(tb testing.TB, cfg edge.Config, w *world) *edge.Edge {
	tb.Helper()
	e, err := edge.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Follow(ctx) })
	secure, plain := listen(tb), listen(tb)
	w.addr, w.plain = secure.Addr().String(), plain.Addr().String()
	running.Go(func() { mustClose(tb, e.ServeTLS(secure)) })
	running.Go(func() { mustClose(tb, e.ServePlain(plain)) })
	tb.Cleanup(func() {
		cancel()
		grace, done := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer done()
		_ = e.Shutdown(grace) // tests leave connections open
		running.Wait()
	})
	return e
}

func mustClose(tb testing.TB, err error) {
	if !errors.Is(err, http.ErrServerClosed) {
		tb.Errorf("serving ended with %v, want http.ErrServerClosed", err)
	}
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := edge.Listen(tb.Context(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// store writes new or changed records and sets their revision.
func (w *world) store(records ...lacre.Record) int64 {
	w.Helper()
	return w.commit(lacre.Tx{Put: records})
}

func (w *world) commit(tx lacre.Tx) int64 {
	w.Helper()
	revision := w.write(tx)
	if w.edge != nil {
		w.applied(revision)
	}
	return revision
}

// write is commit without waiting for the edge.
func (w *world) write(tx lacre.Tx) int64 {
	w.Helper()
	tx.Audit = lacre.Audit{ProjectID: w.project, Action: lacre.CanModifyCertificate}
	revision, err := shared.Commit(context.Background(), tx)
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range tx.Put {
		switch r := r.(type) {
		case *lacre.Domain:
			r.Revision = revision
		case *lacre.Certificate:
			r.Revision = revision
		case *lacre.Project:
			r.Revision = revision
		case *lacre.Revocations:
			r.Revision = revision
		}
	}
	return revision
}

func (w *world) applied(revision int64) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.edge.Applied(ctx, revision); err != nil {
		w.Fatal(err)
	}
}

// leaf makes a leaf for hosts.
func (w *world) leaf(hosts []string, opts ...testcert.Option) *testcert.Leaf {
	w.Helper()
	return w.ca.Leaf(w, hosts, opts...)
}

// tenant makes another project, whose records are stored from now on.
func (w *world) tenant() {
	w.Helper()
	w.project = lacre.NewID()
	w.store(&lacre.Project{ID: w.project, Name: w.project, Created: time.Now()})
}

// version makes version n of a certificate from a leaf.
func (w *world) version(certificateID string, n int, leaf *testcert.Leaf) *lacre.Version {
	w.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	if err != nil {
		w.Fatal(err)
	}
	sealed, _ := w.box.Seal(context.Background(), w.project, der, nil)
	v := &lacre.Version{
		ProjectID: w.project, CertificateID: certificateID, Number: n, SealedKey: sealed,
		Facts:   keypair.Facts{Algorithm: keypair.ECC, NotBefore: leaf.Cert.NotBefore, NotAfter: leaf.Cert.NotAfter},
		Created: time.Now(),
	}
	if leaf.Cert.PublicKeyAlgorithm == x509.RSA {
		v.Facts.Algorithm = keypair.RSA
	}
	for _, c := range leaf.Chain {
		v.Chain = append(v.Chain, c.Raw)
	}
	return v
}

// certificate stores a certificate with its first version.
func (w *world) certificate(leaf *testcert.Leaf, roots ...*testcert.CA) *lacre.Certificate {
	w.Helper()
	c := &lacre.Certificate{ID: lacre.NewID(), ProjectID: w.project, Version: 1, Scope: lacre.ScopeGlobal}
	v := w.version(c.ID, 1, leaf)
	for _, root := range roots {
		v.TrustRoots = append(v.TrustRoots, root.Cert.Raw)
	}
	c.Facts = v.Facts
	w.store(c, v)
	return c
}

// rotate gives c another version.
func (w *world) rotate(c *lacre.Certificate, leaf *testcert.Leaf, roots ...*testcert.CA) int64 {
	w.Helper()
	c.Version++
	v := w.version(c.ID, c.Version, leaf)
	for _, root := range roots {
		v.TrustRoots = append(v.TrustRoots, root.Cert.Raw)
	}
	return w.store(c, v)
}

// domain stores a domain bound to certificates, edited before it is stored.
func (w *world) domain(host string, certs []*lacre.Certificate, edits ...func(*lacre.Domain)) *lacre.Domain {
	w.Helper()
	d := &lacre.Domain{
		ID: lacre.NewID(), ProjectID: w.project, InstanceID: w.inst, GroupID: lacre.NewID(),
		Name: host, Host: host, MinTLS: "TLSv1.1", Created: time.Now(),
	}
	for _, c := range certs {
		d.Bindings = append(d.Bindings, lacre.Binding{CertificateID: c.ID, Algorithm: c.Facts.Algorithm})
	}
	for _, edit := range edits {
		edit(d)
	}
	w.store(d)
	return d
}

// site stores a domain with a certificate of its own.
func (w *world) site(host string, edits ...func(*lacre.Domain)) (*lacre.Domain, *lacre.Certificate) {
	w.Helper()
	c := w.certificate(w.leaf([]string{host}))
	return w.domain(host, []*lacre.Certificate{c}, edits...), c
}

func upstream(url string) func(*lacre.Domain) {
	return func(d *lacre.Domain) { d.Upstream = url }
}

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
