package main

import (
	"bufio"
	"crypto/tls"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"lacre/internal/testcert"
)

const apiNotAfterMetric = "lacre_api_certificate_not_after_timestamp_seconds"

// line is one connection to the API.
type line struct {
	*tls.Conn
	answers *bufio.Reader
}

// dialAPI makes a new connection and returns which leaf was presented.
func (r *renewal) dialAPI(address string) (line, int64) {
	r.t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: r.root.Pool()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return line{conn, bufio.NewReader(conn)}, conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// wantHealth requests something over the connection.
func (l line) wantHealth(t testing.TB) {
	t.Helper()
	request, _ := http.NewRequest("GET", "https://127.0.0.1/readyz", nil)
	if err := request.Write(l); err != nil {
		t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(patience))
	answer, err := http.ReadResponse(l.answers, request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Close {
		t.Errorf("over the old connection: got %s, close %v", answer.Status, answer.Close)
	}
}

// TestAPICertificateIsReplaced: new connections see what the files hold, old ones go on, and files
// that are no good change nothing.
func TestAPICertificateIsReplaced(t *testing.T) {
	t.Parallel()
	r := renew(t)
	p := start(t, filepath.Join(t.TempDir(), "d"), "--api-cert", r.cert, "--api-key", r.key)
	at, err := url.Parse(endpointsOf(t, p.dir).APIURL)
	if err != nil {
		t.Fatal(err)
	}
	old, first := r.dialAPI(at.Host)
	if old.wantHealth(t); first != 1 {
		t.Fatalf("leaf %d is presented, want 1", first)
	}
	trusting := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.root.Pool()}}
	t.Cleanup(trusting.CloseIdleConnections)
	w := &world{t: t, at: Endpoints{APIURL: at.String()}, http: &http.Client{Timeout: patience, Transport: trusting}}
	presented := func(want int64, leaf *testcert.Leaf) {
		t.Helper()
		eventually(t, "another certificate", func() bool {
			old.wantHealth(t)
			fresh, n := r.dialAPI(at.Host)
			fresh.Close()
			return n == want
		})
		if got := w.metric(apiNotAfterMetric); got != float64(leaf.Cert.NotAfter.Unix()) {
			t.Errorf("the metric says %v, want %d", got, leaf.Cert.NotAfter.Unix())
		}
	}
	year := testcert.WithValidity(time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	second, third := r.leaf(2, year), r.leaf(3)
	r.put(second.ChainPEM(), second.KeyPEM())
	presented(2, second)

	const bad = "hold no good certificate"
	r.put(third.ChainPEM(), second.KeyPEM())
	eventually(t, "a warning", func() bool { return strings.Contains(p.talk.String(), bad) })
	presented(2, second)
	r.swap(third)
	presented(3, third)
	if got := strings.Count(p.talk.String(), bad); got != 1 || strings.Contains(p.talk.String(), "PRIVATE") {
		t.Errorf("got %d warnings, want 1:\n%s", got, &p.talk)
	}
	p.stop()
}

// TestNoAPICertificateNoMetric: plain HTTP does not expire.
func TestNoAPICertificateNoMetric(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	a, err := visitLacre(t, p.dir).send("GET", "/metrics", nil)
	if err != nil || !strings.Contains(string(a.body), "lacre_store_up 1") || strings.Contains(string(a.body), apiNotAfterMetric) {
		t.Errorf("got %v and\n%s\nwant metrics without %s", err, a.body, apiNotAfterMetric)
	}
}

// securedEtcd starts an etcd that wants client certificates of a CA, and returns where it is and what
// stops it.
func securedEtcd(t testing.TB, dir, address string, server *renewal, clients *testcert.CA) (at url.URL, stop func()) {
	t.Helper()
	roots := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(roots, []byte(clients.PEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := embed.NewConfig()
	cfg.Dir, cfg.ListenPeerUrls = dir, nil
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	listen := []url.URL{{Scheme: "https", Host: address}}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = listen, listen
	cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = server.cert, server.key
	cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = roots, true
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(etcd.Close) // etcd panics when closed twice
	t.Cleanup(stop)
	<-etcd.Server.ReadyNotify()
	return url.URL{Scheme: "https", Host: etcd.Clients[0].Addr().String()}, stop
}

// TestEtcdClientCertificateIsReplaced: an etcd that ceases to trust the issuer of the first one is
// spoken to with the second, by the same process.
func TestEtcdClientCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	server, client, ca, dir := renew(t), renew(t), filepath.Join(t.TempDir(), "ca.pem"), t.TempDir()
	if err := os.WriteFile(ca, []byte(server.root.PEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	at, stop := securedEtcd(t, dir, "127.0.0.1:0", server, client.root)
	p := start(t, t.TempDir(), "--etcd-endpoints", at.String(), "--etcd-ca", ca, "--etcd-cert", client.cert, "--etcd-key", client.key)
	w := visitLacre(t, p.dir)

	other := renew(t)
	second := other.leaf(2)
	client.put(second.ChainPEM(), second.KeyPEM())
	eventually(t, "the second certificate", func() bool { return strings.Contains(p.talk.String(), "is in use now") })
	stop()
	securedEtcd(t, dir, at.Host, server, other.root)
	eventually(t, "a change", func() bool {
		a, err := w.project("PUT", "/certificates/none", map[string]any{})
		return err == nil && a.status < 500
	})
	w.publish("renewed.etcd.test", "", w.leaf("renewed.etcd.test", 1))
	p.stop() // before the etcd, which waits for its clients
}
