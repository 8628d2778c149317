package edge_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// hello is what a current client offers for a name.
func hello(name string) lacre.ClientHello {
	return lacre.ClientHello{
		ServerName: name, Versions: []uint16{tls.VersionTLS13, tls.VersionTLS12},
		CipherSuites:        []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		SignatureAlgorithms: []uint16{uint16(tls.ECDSAWithP256AndSHA256), uint16(tls.PSSWithSHA256), uint16(tls.PKCS1WithSHA256)},
	}
}

func (w *world) explain(h lacre.ClientHello, host string) *lacre.Explanation {
	w.Helper()
	x, err := w.edge.Explain(context.Background(), w.project, h, host)
	if err != nil {
		w.Fatal(err)
	}
	return x
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf([]string{"*.example.com"})
	ecc := w.certificate(leaf)
	rsa := w.certificate(w.leaf([]string{"*.example.com"}, testcert.WithRSA(2048)))
	d := w.domain("*.example.com", []*lacre.Certificate{ecc, rsa}, upstream("h2c://127.0.0.1:9/base"), func(d *lacre.Domain) { d.RedirectHTTPS = true })
	w.rotate(ecc, leaf)
	sum := sha256.Sum256(leaf.Cert.Raw)
	want := &lacre.Explanation{
		Host:      "www.example.com",
		Handshake: lacre.HandshakeOutcome{Result: "ok", Version: "TLSv1.3", CipherSuite: "TLS_AES_128_GCM_SHA256"},
		Rule:      &lacre.Rule{Wildcard: true, Host: "*.example.com", DomainID: d.ID, InstanceID: w.inst},
		Policy:    &lacre.Policy{MinTLS: "TLSv1.2", RedirectHTTPS: true, HTTP: true, HTTPS: true, Upstream: "h2c://127.0.0.1:9/base"},
		Certificate: &lacre.ServedCertificate{
			ID: ecc.ID, Version: 2, Fingerprint: hex.EncodeToString(sum[:]), Algorithm: "ECC",
			NotBefore: leaf.Cert.NotBefore, NotAfter: leaf.Cert.NotAfter,
		},
		Request: &lacre.RequestOutcome{Host: "WWW.example.com:443", Result: "proxied"},
		Losers:  []lacre.Loser{{CertificateID: rsa.ID, Reason: "ECC goes before RSA"}},
	}
	got := w.explain(hello("WWW.example.com"), "WWW.example.com:443")
	if l := got.Losers; len(l) == 1 && l[0].Certificate != nil && l[0].Certificate.ID == rsa.ID {
		got.Losers[0].Certificate = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("explanation (-want +got):\n%s", diff)
	}
}

// TestExplainAgreesWithHandshakes asks for the same hello twice: explained and for real.
func TestExplainAgreesWithHandshakes(t *testing.T) {
	w := newWorld(t)
	hosts := []string{"both.example.com"}
	w.domain(hosts[0], []*lacre.Certificate{w.certificate(w.leaf(hosts)), w.certificate(w.leaf(hosts, testcert.WithRSA(2048)))})
	w.site("ecc.example.com")
	w.site("*.example.com")
	w.site("strict.example.com", func(d *lacre.Domain) { d.MinTLS = "TLSv1.3" })
	w.site("off.example.com", func(d *lacre.Domain) { d.HTTPSPort = -1 })
	w.domain("bare.example.com", nil)
	for _, name := range []string{"both.example.com", "ecc.example.com", "x.example.com", "strict.example.com", "off.example.com",
		"bare.example.com", "unknown.test", "BOTH.example.com", "a.b.example.com"} {
		for _, client := range []struct {
			name  string
			edit  func(*tls.Config)
			hello func(*lacre.ClientHello)
		}{
			{"current", func(*tls.Config) {}, func(*lacre.ClientHello) {}},
			{"TLS 1.2", tls12, func(h *lacre.ClientHello) { h.Versions = []uint16{tls.VersionTLS12} }},
			{"RSA only", onlyRSA, func(h *lacre.ClientHello) {
				h.Versions, h.CipherSuites = []uint16{tls.VersionTLS12}, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
			}},
			{"old", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
				func(h *lacre.ClientHello) { h.Versions = []uint16{tls.VersionTLS11, tls.VersionTLS10} }},
			{"CBC", func(c *tls.Config) {
				c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
			}, func(h *lacre.ClientHello) {
				h.Versions, h.CipherSuites = []uint16{tls.VersionTLS12}, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
			}},
		} {
			asked := hello(name)
			client.hello(&asked)
			x := w.explain(asked, name)
			c, err := w.dial(name, client.edit, func(c *tls.Config) { c.InsecureSkipVerify = true })
			if (err == nil) != (x.Handshake.Result == "ok") || err != nil && !isAlert(err, tls.AlertError(x.Handshake.Alert)) {
				t.Errorf("%s, %s client: explained %+v, the handshake says %v", name, client.name, x.Handshake, err)
			}
			if err != nil {
				continue
			}
			c.Close()
			state := c.ConnectionState()
			sum := sha256.Sum256(state.PeerCertificates[0].Raw)
			if x.Certificate == nil || x.Certificate.Fingerprint != hex.EncodeToString(sum[:]) {
				t.Errorf("%s, %s client: explained %+v, another certificate was presented", name, client.name, x.Certificate)
			}
			if want := map[uint16]string{tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"}[state.Version]; x.Handshake.Version != want {
				t.Errorf("%s, %s client: explained %s, negotiated %s", name, client.name, x.Handshake.Version, want)
			}
		}
	}
}

func TestExplainLosers(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	host := []string{"www.example.com"}
	expired := w.certificate(w.leaf(host, testcert.WithValidity(now.Add(-48*time.Hour), now.Add(-24*time.Hour))))
	valid := w.certificate(w.leaf(host, testcert.WithRSA(2048)))
	wild, _ := w.site("*.example.com")
	w.domain(host[0], []*lacre.Certificate{expired, valid})
	got := w.explain(hello(host[0]), host[0])
	if got.Certificate == nil || got.Certificate.ID != valid.ID || got.Rule.Wildcard {
		t.Fatalf("got %+v by %+v, want the valid certificate by an exact name", got.Certificate, got.Rule)
	}
	if len(got.Losers) != 2 || got.Losers[0].CertificateID != expired.ID || got.Losers[0].Reason != "it is not valid at this time" ||
		got.Losers[1].Domain == nil || got.Losers[1].Domain.DomainID != wild.ID {
		t.Errorf("got losers %+v, want the expired certificate and the wildcard", got.Losers)
	}
	only := hello(host[0])
	only.Versions, only.CipherSuites = []uint16{tls.VersionTLS12}, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	got = w.explain(only, host[0])
	if got.Certificate == nil || got.Certificate.ID != expired.ID || !strings.HasPrefix(got.Losers[0].Reason, "the client cannot use it: ") {
		t.Errorf("a client without RSA: got %+v, losers %+v", got.Certificate, got.Losers)
	}
}

func TestExplainRequests(t *testing.T) {
	w := newWorld(t)
	shared := w.certificate(w.leaf([]string{"*.example.com"}))
	w.domain("page.example.com", []*lacre.Certificate{shared})
	w.domain("other.example.com", []*lacre.Certificate{shared})
	w.domain("bad.example.com", []*lacre.Certificate{shared}, upstream("ftp://127.0.0.1"))
	for _, test := range []struct {
		sni, host, result string
		status            int
	}{
		{"page.example.com", "page.example.com", "built_in_page", 200},
		{"page.example.com", "PAGE.example.com.:8443", "built_in_page", 200},
		{"page.example.com", "other.example.com", "misdirected", 421}, // covered by the certificate
		{"page.example.com", "unknown.test", "misdirected", 421},
		{"page.example.com", "page.example.com:x", "misdirected", 421},
		{"page.example.com", "", "misdirected", 421},
		{"page.example.com", "page.example.com\n", "bad_request", 400},
		{"bad.example.com", "bad.example.com", "bad_gateway", 502},
	} {
		got := w.explain(hello(test.sni), test.host).Request
		if got == nil || got.Result != test.result || got.Status != test.status {
			t.Errorf("%s, then Host %q: got %+v, want %s %d", test.sni, test.host, got, test.result, test.status)
		}
	}
	if got := w.explain(hello("unknown.test"), "page.example.com"); got.Request != nil {
		t.Errorf("got %+v without a handshake, want no request", got.Request)
	}
}

// TestExplainIsBlindToOthers: names of another project answer like unknown ones, and do
// not even open a key.
func TestExplainIsBlindToOthers(t *testing.T) {
	w := newWorld(t)
	w.site("www.example.com", upstream("http://10.0.0.1"))
	last, _ := w.site("*.example.org")
	w.proves(last.Revision) // which opens keys
	mine := w.project
	w.project = lacre.NewID() // from here on somebody else asks
	before := w.box.opened.Load()
	for _, name := range []string{"www.example.com", "a.example.org"} {
		unknown := "zzz" + name[1:]
		for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12, tls.VersionTLS11} {
			theirs, none := hello(name), hello(unknown)
			theirs.Versions, none.Versions = []uint16{version}, []uint16{version}
			want := w.explain(none, unknown)
			want.Host = name
			if diff := cmp.Diff(want, w.explain(theirs, name)); diff != "" {
				t.Errorf("%s: (-unknown name +other project's):\n%s", name, diff)
			}
		}
	}
	if got := w.box.opened.Load(); got != before {
		t.Errorf("%d keys were opened for somebody else", got-before)
	}
	// A host of theirs is any other host to a connection of ours.
	own, _ := w.site("own.example.net")
	if own.ProjectID == mine {
		t.Fatal("the project was not changed")
	}
	a, b := w.explain(hello("own.example.net"), "www.example.com").Request, w.explain(hello("own.example.net"), "zzz.example.com").Request
	a.Host, b.Host = "", ""
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("requests: (-other project's +unknown):\n%s", diff)
	}
}

func TestExplainBeforeTheLoad(t *testing.T) {
	e, err := edge.New(edge.Config{Feed: shared, Sealer: &strongbox{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Explain(context.Background(), "p", hello("www.example.com"), ""); !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}
