package store_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"lacre/internal/testcert"
	"lacre/store"
)

// cluster is an etcd that listens on the loopback.
type cluster struct {
	server   *embed.Etcd
	endpoint string
	tls      *tls.Config
	user     string
	password string
}

func serve(tb testing.TB, secured bool) *cluster {
	tb.Helper()
	c := &cluster{}
	listen := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Dir = tb.TempDir()
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
	tb.Cleanup(server.Close)
	<-server.Server.ReadyNotify()
	c.server = server
	c.endpoint = listen.Scheme + "://" + server.Clients[0].Addr().String()
	if secured {
		c.user, c.password = "root", "only for this test"
		c.demandPassword(tb)
	}
	return c
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
		_, err := store.External(soon(t), test.config)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want something about %q", test.name, err, test.want)
		}
	}
}
