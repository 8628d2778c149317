package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"lacre"
	"lacre/internal/testcert"
)

// request makes one request and returns its status, 0 when the handshake failed.
func request(t *testing.T, c *http.Client, url string) (int, error) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

func verifyClients(d *lacre.Domain) { d.VerifyClient = true }

func certified(ca *testcert.CA, t *testing.T, opts ...testcert.Option) func(*tls.Config) {
	cert := ca.Leaf(t, []string{"client"}, opts...).TLS()
	return func(c *tls.Config) {
		// Sent whatever authorities the server names: what counts is what it verifies.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
}

func TestClientCertificates(t *testing.T) {
	w := newWorld(t)
	good, bad := testcert.NewCA(t, "good"), testcert.NewCA(t, "bad")
	now := time.Now()
	past := testcert.WithValidity(now.Add(-2*time.Hour), now.Add(-time.Hour))
	w.domain("auth.example.com", []*lacre.Certificate{w.certificate(w.leaf([]string{"auth.example.com"}), good)}, verifyClients)
	w.domain("rootless.example.com", []*lacre.Certificate{w.certificate(w.leaf([]string{"rootless.example.com"}))}, verifyClients)
	w.domain("open.example.com", []*lacre.Certificate{w.certificate(w.leaf([]string{"open.example.com"}), good)})
	none := func(*tls.Config) {}
	for _, test := range []struct {
		name, host string
		client     func(*tls.Config)
		want       bool
	}{
		{"verified", "auth.example.com", certified(good, t), true},
		{"an intermediate is verified too", "auth.example.com", certified(good.Intermediate(t, "sub"), t), true},
		{"no certificate", "auth.example.com", none, false},
		{"another CA", "auth.example.com", certified(bad, t), false},
		{"expired", "auth.example.com", certified(good, t, past), false},
		{"the CA of the server's own leaf", "auth.example.com", certified(w.ca, t), false},
		{"no trust roots: nobody", "rootless.example.com", certified(good, t), false},
		{"no trust roots, no certificate", "rootless.example.com", none, false},
		{"not demanded", "open.example.com", none, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
				status, err := request(t, w.client(false, version, test.client), "https://"+test.host)
				if (status == 200) != test.want {
					t.Errorf("got status %d, %v, want success %v", status, err, test.want)
				}
			})
		})
	}
}

// TestStricterPolicyEndsOldConnections: a connection made before is held to the
// policy as it is now.
func TestStricterPolicyEndsOldConnections(t *testing.T) {
	good, next := testcert.NewCA(t, "good"), testcert.NewCA(t, "next")
	for _, test := range []struct {
		name   string
		before func(*lacre.Domain)
		change func(*world, *lacre.Domain, *lacre.Certificate)
	}{
		{"client certificates are demanded", func(*lacre.Domain) {},
			func(w *world, d *lacre.Domain, _ *lacre.Certificate) { d.VerifyClient = true; w.store(d) }},
		{"other trust roots", verifyClients,
			func(w *world, d *lacre.Domain, c *lacre.Certificate) { w.rotate(c, w.leaf([]string{d.Host}), next) }},
		{"TLS 1.3 is demanded", func(*lacre.Domain) {},
			func(w *world, d *lacre.Domain, _ *lacre.Certificate) { d.MinTLS = "TLSv1.3"; w.store(d) }},
		{"the domain is gone", func(*lacre.Domain) {},
			func(w *world, d *lacre.Domain, _ *lacre.Certificate) { w.commit(lacre.Tx{Delete: []lacre.Record{d}}) }},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				w := newWorld(t)
				cert := w.certificate(w.leaf([]string{"a.example.com"}), good)
				d := w.domain("a.example.com", []*lacre.Certificate{cert}, test.before)
				client := w.client(http2, tls12, certified(good, t))
				if status, err := request(t, client, "https://a.example.com/"); status != 200 {
					t.Fatalf("before: got %d, %v, want 200", status, err)
				}
				test.change(w, d, cert)
				if status, err := request(t, client, "https://a.example.com/"); status != http.StatusMisdirectedRequest {
					t.Errorf("after: got %d, %v, want 421", status, err)
				}
			})
		}
	}
}

// TestSameRootsKeepConnections: a rotation with the same trust roots disturbs nobody.
func TestSameRootsKeepConnections(t *testing.T) {
	w := newWorld(t)
	good := testcert.NewCA(t, "good")
	cert := w.certificate(w.leaf([]string{"a.example.com"}), good)
	w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	client := w.client(true, certified(good, t))
	for i := range 5 {
		if status, err := request(t, client, "https://a.example.com/"); status != 200 {
			t.Fatalf("request %d: got %d, %v, want 200", i, status, err)
		}
		w.rotate(cert, w.leaf([]string{"a.example.com"}), good)
	}
}

// TestIdentityToUpstream: the upstream is told who the client is (RFC 9440), by nobody
// but the edge.
func TestIdentityToUpstream(t *testing.T) {
	w := newWorld(t)
	seen := make(chan http.Header, 1)
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })
	ca := testcert.NewCA(t, "clients")
	sub := ca.Intermediate(t, "sub")
	direct, below := ca.Leaf(t, []string{"direct"}), sub.Leaf(t, []string{"below"})
	junk := below.TLS()
	junk.Certificate = append(junk.Certificate, testcert.NewCA(t, "junk").Cert.Raw)
	cert := w.certificate(w.leaf([]string{"*.example.com"}), ca)
	w.domain("auth.example.com", []*lacre.Certificate{cert}, verifyClients, upstream(b.URL))
	w.domain("open.example.com", []*lacre.Certificate{cert}, upstream(b.URL))
	in := func(c *x509.Certificate) string { return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":" }
	withJunk := func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &junk, nil }
	}
	for _, test := range []struct {
		name, host, cert, chain string
		client                  func(*tls.Config)
	}{
		{"below the root", "auth.example.com", in(direct.Cert), "", as(direct)},
		{"below an intermediate", "auth.example.com", in(below.Cert), in(sub.Cert), as(below)},
		{"with what belongs to nobody", "auth.example.com", in(below.Cert), in(sub.Cert), withJunk},
		{"not verified", "open.example.com", "", "", as(direct)},
	} {
		for _, http2 := range []bool{false, true} {
			eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
				client := w.client(http2, version, test.client, caching(tls.NewLRUClientSessionCache(1)))
				for i := range 2 { // the second session is resumed
					r, _ := http.NewRequest("GET", "https://"+test.host+"/", nil)
					for _, name := range []string{"Client-Cert", "Client-Cert-Chain", "client_cert"} {
						r.Header[name] = []string{":Zm9yZ2Vk:"}
					}
					resp, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					resp.Body.Close()
					if resp.TLS.DidResume != (i == 1) {
						t.Errorf("%s: handshake %d: got resumed %t", test.name, i+1, resp.TLS.DidResume)
					}
					h := <-seen
					if h.Get("Client-Cert") != test.cert || h.Get("Client-Cert-Chain") != test.chain || len(h["Client_cert"]) > 0 {
						t.Errorf("%s: got %q, %q, %v", test.name, h.Get("Client-Cert"), h.Get("Client-Cert-Chain"), h["Client_cert"])
					}
					client.CloseIdleConnections()
				}
			})
		}
	}
}

// TestRefusalIsHeard: a client that goes on sending at once, as TLS 1.3 lets it, learns why it
// was refused. After a reset it could not write, and most would not read then.
func TestRefusalIsHeard(t *testing.T) {
	w := newWorld(t)
	ca := testcert.NewCA(t, "clients")
	cert := w.certificate(w.leaf([]string{"a.example.com"}), ca)
	w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	for range 20 {
		c, err := w.dial("a.example.com", tls13)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")); err != nil {
				t.Fatalf("before the alert could be read: %v", err)
			}
			time.Sleep(2 * time.Millisecond)
		}
		c.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("got %v, want the alert certificate_required", err)
		}
		c.Close()
	}
}
