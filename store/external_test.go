package store_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"lacre"
	"lacre/internal/testcert"
	"lacre/store"
)

// cluster is an etcd that listens on the loopback.
type cluster struct {
	stop     func()
	endpoint string
	tls      *tls.Config
	user     string
	password string
}

func serve(tb testing.TB, secured bool) *cluster {
	tb.Helper()
	c := &cluster{}
	listen := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c.start(tb, tb.TempDir(), listen, secured)
	if secured {
		c.user, c.password = "root", "only for this test"
		c.demandPassword(tb)
	}
	return c
}

// start starts the cluster's server in a directory.
func (c *cluster) start(tb testing.TB, dir string, listen url.URL, secured bool) {
	tb.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.TickMs, cfg.ElectionMs = 10, 100
	if secured {
		listen.Scheme = "https"
		cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile, c.tls = certificateFiles(tb)
	}
	cfg.ListenPeerUrls = nil
	cfg.BcryptCost = 4 // bcrypt's lowest: hashing is not under test
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{listen}, []url.URL{listen}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		tb.Fatalf("starting etcd: %v", err)
	}
	stop := sync.OnceFunc(server.Close) // etcd panics when closed twice
	c.stop = stop
	tb.Cleanup(stop)
	<-server.Server.ReadyNotify()
	c.endpoint = listen.Scheme + "://" + server.Clients[0].Addr().String()
}

func certificateFiles(tb testing.TB) (certFile, keyFile string, client *tls.Config) {
	tb.Helper()
	ca := testcert.NewCA(tb, "store test")
	leaf := ca.Leaf(tb, []string{"127.0.0.1"})
	dir := tb.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, content := range map[string]string{certFile: leaf.ChainPEM(), keyFile: leaf.KeyPEM()} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return certFile, keyFile, &tls.Config{RootCAs: ca.Pool()}
}

func (c *cluster) demandPassword(tb testing.TB) {
	tb.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.endpoint}, TLS: c.tls, Logger: zap.NewNop()})
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	ctx := soon(tb)
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := client.UserAdd(ctx, c.user, c.password); return err },
		func(ctx context.Context) error { _, err := client.UserGrantRole(ctx, c.user, "root"); return err },
		func(ctx context.Context) error { _, err := client.AuthEnable(ctx); return err },
	} {
		if err := step(ctx); err != nil {
			tb.Fatalf("demanding a password: %v", err)
		}
	}
}

func external(tb testing.TB, c *cluster) *store.Store {
	tb.Helper()
	s, err := store.External(soon(tb), store.ExternalConfig{Endpoints: []string{c.endpoint},
		TLS: c.tls, Username: c.user, Password: c.password})
	if err != nil {
		tb.Fatalf("External: %v", err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func TestExternalSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := serve(t, true)
	stranger := testcert.NewCA(t, "stranger")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, test := range []struct {
		name   string
		config store.ExternalConfig
		want   string // the text is what an operator has to go by
	}{
		{"no endpoint", store.ExternalConfig{}, "no etcd endpoints"},
		{"nobody there", store.ExternalConfig{Endpoints: []string{closed.Addr().String()}}, "connection refused"},
		{"another CA", store.ExternalConfig{Endpoints: []string{c.endpoint}, TLS: &tls.Config{RootCAs: stranger.Pool()}}, "certificate"},
		{"wrong password", store.ExternalConfig{Endpoints: []string{c.endpoint}, TLS: c.tls, Username: "root", Password: "no"}, "invalid user ID or password"},
		{"no password", store.ExternalConfig{Endpoints: []string{c.endpoint}, TLS: c.tls}, "user name is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := store.External(soon(t), test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %q", err, test.want)
			}
		})
	}
}

// A watch goes on where it was when its server went away and comes back.
func TestWatchOutlivesItsServer(t *testing.T) {
	t.Parallel()
	c, dir := &cluster{}, t.TempDir()
	c.start(t, dir, url.URL{Scheme: "http", Host: "127.0.0.1:0"}, false)
	s := external(t, c)
	seen, start := make(chan lacre.Change), put(t, s, &lacre.Project{ID: "p1"})
	go func() {
		defer close(seen)
		for change, err := range s.Watch(soon(t), start) {
			if err != nil {
				t.Errorf("Watch: %v", err)
				return
			}
			if seen <- change; len(change.Put) == 2 {
				return
			}
		}
	}()
	before := commit(t, s, lacre.Tx{Audit: auditOf("p1"), Put: []lacre.Record{domain("p1", "before.example")}})
	if got := <-seen; got.Revision != before {
		t.Errorf("got revision %d, want %d", got.Revision, before)
	}
	address, _ := url.Parse(c.endpoint)
	c.stop()
	c.start(t, dir, *address, false)
	between := commitSoon(t, s, domain("p1", "between.example"))
	last := commitSoon(t, s, domain("p1", "a.example"), domain("p1", "b.example"))
	var got []int64
	for change := range seen {
		got = append(got, change.Revision)
	}
	if diff := cmp.Diff([]int64{between, last}, got); diff != "" {
		t.Errorf("revisions seen (-want +got):\n%s", diff)
	}
}

// commitSoon commits once the connection is there again.
func commitSoon(t *testing.T, s *store.Store, records ...lacre.Record) int64 {
	t.Helper()
	for ctx := soon(t); ; time.Sleep(50 * time.Millisecond) {
		revision, err := s.Commit(ctx, lacre.Tx{Audit: auditOf("p1"), Put: records})
		if err == nil {
			return revision
		}
		if !errors.Is(err, lacre.ErrUnavailable) || ctx.Err() != nil {
			t.Fatalf("Commit: %v", err)
		}
	}
}

// With one member of two away, everything goes on.
func TestADeadEndpointIsPassedOver(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	c := serve(t, false)
	s, err := store.External(soon(t), store.ExternalConfig{Endpoints: []string{"http://" + dead.Addr().String(), c.endpoint}, MaxOps: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, domain("p1", "a.example"), domain("p1", "b.example"))
	if stats, err := s.Stats(soon(t)); err != nil || stats.Revision == 0 {
		t.Errorf("Stats: got %+v, %v", stats, err)
	}
	_, err = s.Commit(t.Context(), lacre.Tx{Audit: auditOf("p1"), Forget: []lacre.Record{
		domain("p1", "a.example"), domain("p1", "b.example"), domain("p1", "c.example")}})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("four operations where three are allowed: got %v, want ErrTooLarge", err)
	}
}

// A cluster that allows less than was configured refuses, and nothing has happened.
func TestAClusterWithALowerLimit(t *testing.T) {
	t.Parallel()
	c := serve(t, false)
	s, err := store.External(soon(t), store.ExternalConfig{Endpoints: []string{c.endpoint}, MaxOps: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var many []lacre.Record
	for i := range 200 {
		many = append(many, domain("p1", fmt.Sprintf("%d.example", i)))
	}
	if _, err := s.Commit(t.Context(), lacre.Tx{Audit: auditOf("p1"), Put: many}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if _, err := s.Domain(t.Context(), "p1", many[0].(*lacre.Domain).ID); !errors.Is(err, lacre.ErrNotStored) {
		t.Errorf("got %v, want that nothing was stored", err)
	}
}
