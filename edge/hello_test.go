package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// TestServerName is the table of names a client may send and who answers.
func TestServerName(t *testing.T) {
	w := newWorld(t)
	w.site("a.example.com")
	w.site("*.example.com")
	w.site("xn--bcher-kva.example.org")
	w.site("under_score.example.org")
	const none = ""
	for _, test := range []struct{ name, san string }{
		{"a.example.com", "a.example.com"},
		{"A.eXample.COM", "a.example.com"}, // case
		{"b.example.com", "*.example.com"},
		{"B.EXAMPLE.com", "*.example.com"},
		{"xn--bcher-kva.example.org", "xn--bcher-kva.example.org"},
		{"XN--BCHER-KVA.example.org", "xn--bcher-kva.example.org"},
		{"bücher.example.org", "xn--bcher-kva.example.org"},
		{"under_score.example.org", "under_score.example.org"},
		{"b.a.example.com", none}, // a wildcard is one label
		{"example.com", none},     // and not the apex
		{"*.example.com", none},   // nor a name to ask for
		{"a.example.com.evil.test", none},
		{"unknown.test", none},
		{"", none},
		{"127.0.0.1", none},
		{"[::1]", none},
		{"a..example.com", none},
		{"-a.example.com", none},
		{"com", none},
	} {
		eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
			san, alert := rawServerName(t, w, test.name, version)
			if test.san == none && alert != 112 {
				t.Errorf("%q: got leaf %q, alert %d, want alert 112 (unrecognized_name)", test.name, san, alert)
			}
			if test.san != none && san != test.san {
				t.Errorf("%q: got leaf %q, alert %d, want leaf %q", test.name, san, alert, test.san)
			}
		})
	}
}

// rawServerName makes a handshake with exactly this server name: crypto/tls sends
// no IP literals and drops trailing dots, so the name is written into its hello.
func rawServerName(t *testing.T, w *world, name string, version func(*tls.Config)) (san string, alert int) {
	t.Helper()
	cfg := &tls.Config{ServerName: name, InsecureSkipVerify: true}
	version(cfg)
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	spy := &alertSpy{Conn: raw}
	if ip := net.ParseIP(name); ip != nil || (name != "" && name[0] == '[') {
		placeholder := "zzzzzzzzzzzzzzzzzzzzzzzz"[:len(name)]
		cfg.ServerName, spy.replace, spy.by = placeholder, placeholder, name
	}
	c := tls.Client(spy, cfg)
	if err := c.Handshake(); err != nil {
		return "", spy.alert
	}
	return c.ConnectionState().PeerCertificates[0].DNSNames[0], 0
}

// alertSpy sees the alert of a peer before there is encryption.
type alertSpy struct {
	net.Conn
	seen        []byte
	alert       int
	replace, by string
}

func (s *alertSpy) Write(b []byte) (int, error) {
	if s.replace != "" {
		for i := 0; i+len(s.replace) <= len(b); i++ {
			if string(b[i:i+len(s.replace)]) == s.replace {
				b = append(append(append([]byte{}, b[:i]...), s.by...), b[i+len(s.by):]...)
			}
		}
	}
	return s.Conn.Write(b)
}

func (s *alertSpy) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.seen = append(s.seen, b[:n]...)
	if len(s.seen) >= 7 && s.seen[0] == 21 && binary.BigEndian.Uint16(s.seen[3:]) == 2 {
		s.alert = int(s.seen[6])
	}
	return n, err
}

func TestDomainWithoutCertificateIsRefused(t *testing.T) {
	w := newWorld(t)
	w.domain("bare.example.com", nil)
	if _, err := w.dial("bare.example.com"); !isAlert(err, 112) {
		t.Errorf("got %v, want alert unrecognized_name", err)
	}
}

func isAlert(err error, code tls.AlertError) bool {
	got, ok := errors.AsType[tls.AlertError](err)
	if op, isOp := errors.AsType[*net.OpError](err); !ok && isOp {
		return op.Err.Error() == code.Error() // how crypto/tls reports a remote alert
	}
	return ok && got == code
}

func onlyRSA(c *tls.Config) {
	c.MaxVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
}

func onlyECDSA(c *tls.Config) {
	c.MaxVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
}

func TestAlgorithmFollowsTheHello(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	expired := testcert.WithValidity(now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	host := []string{"x.example.com"}
	for _, test := range []struct {
		name     string
		ecc, rsa []testcert.Option // nil: not bound
		client   func(*tls.Config)
		want     x509.PublicKeyAlgorithm
	}{
		{"ECC is preferred on TLS 1.3", []testcert.Option{}, []testcert.Option{}, tls13, x509.ECDSA},
		{"ECC is preferred on TLS 1.2", []testcert.Option{}, []testcert.Option{}, tls12, x509.ECDSA},
		{"a client that knows RSA only", []testcert.Option{}, []testcert.Option{}, onlyRSA, x509.RSA},
		{"a client that knows ECDSA only", []testcert.Option{}, []testcert.Option{}, onlyECDSA, x509.ECDSA},
		{"valid RSA before expired ECC", []testcert.Option{expired}, []testcert.Option{}, tls13, x509.RSA},
		{"both expired", []testcert.Option{expired}, []testcert.Option{expired}, tls13, x509.ECDSA},
		{"support before validity", []testcert.Option{}, []testcert.Option{expired}, onlyRSA, x509.RSA},
		{"RSA alone", nil, []testcert.Option{}, tls13, x509.RSA},
	} {
		t.Run(test.name, func(t *testing.T) {
			var bound []*lacre.Certificate
			if test.rsa != nil { // RSA is bound first: the order of bindings means nothing
				bound = append(bound, w.certificate(w.leaf(host, append(test.rsa, testcert.WithRSA(2048))...)))
			}
			if test.ecc != nil {
				bound = append(bound, w.certificate(w.leaf(host, test.ecc...)))
			}
			d := w.domain(host[0], bound)
			defer w.commit(lacre.Tx{Delete: []lacre.Record{d}})
			c := w.connect(host[0], test.client, func(c *tls.Config) { c.InsecureSkipVerify = true })
			if got := c.ConnectionState().PeerCertificates[0].PublicKeyAlgorithm; got != test.want {
				t.Errorf("got a %v leaf, want %v", got, test.want)
			}
		})
	}
}

func TestMinimumVersion(t *testing.T) {
	w := newWorld(t)
	w.site("any.example.com")
	w.site("strict.example.com", func(d *lacre.Domain) { d.MinTLS = "TLSv1.3" })
	old := func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }
	for _, test := range []struct {
		host   string
		client func(*tls.Config)
		want   bool
	}{
		{"any.example.com", tls13, true}, {"any.example.com", tls12, true}, {"any.example.com", old, false},
		{"strict.example.com", tls13, true}, {"strict.example.com", tls12, false}, {"strict.example.com", old, false},
	} {
		c, err := w.dial(test.host, test.client)
		if (err == nil) != test.want {
			t.Errorf("%s: got %v, want success %v", test.host, err, test.want)
		}
		if err != nil && !isAlert(err, 70) {
			t.Errorf("%s: got %v, want alert protocol_version", test.host, err)
		}
		if c != nil {
			c.Close()
		}
	}
}

func TestEdgeFloorIsAboveTheDomain(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.MinTLS = tls.VersionTLS13 })
	w.site("a.example.com")
	if _, err := w.dial("a.example.com", tls12); !isAlert(err, 70) {
		t.Errorf("TLS 1.2 below the edge's floor: got %v, want alert protocol_version", err)
	}
	w.connect("a.example.com", tls13)
}

func TestProtocolNegotiation(t *testing.T) {
	w := newWorld(t)
	w.site("a.example.com")
	for _, test := range []struct {
		offer []string
		want  string
	}{{[]string{"http/1.1", "h2"}, "h2"}, {[]string{"http/1.1"}, "http/1.1"}, {nil, ""}} {
		c := w.connect("a.example.com", func(c *tls.Config) { c.NextProtos = test.offer })
		if got := c.ConnectionState().NegotiatedProtocol; got != test.want {
			t.Errorf("offered %q: got %q, want %q", test.offer, got, test.want)
		}
	}
}

func TestChainIsSentInOrder(t *testing.T) {
	w := newWorld(t)
	inter := w.ca.Intermediate(t, "intermediate")
	leaf := inter.Leaf(t, []string{"a.example.com"})
	w.domain("a.example.com", []*lacre.Certificate{w.certificate(leaf)})
	got := w.connect("a.example.com").ConnectionState().PeerCertificates
	if len(got) != 2 || !got[0].Equal(leaf.Cert) || !got[1].Equal(inter.Cert) {
		t.Errorf("got %d certificates, want the leaf and then its intermediate", len(got))
	}
}

// TestOpenKeysAreBounded serves more certificates than may be open at once.
func TestOpenKeysAreBounded(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.OpenKeys = 2 })
	hosts := []string{"a.example.com", "b.example.com", "c.example.com", "d.example.com"}
	for _, h := range hosts {
		w.site(h)
	}
	for range 3 {
		for _, h := range hosts {
			w.connect(h).Close()
		}
	}
	if got := w.box.opened.Load(); got < 8 {
		t.Errorf("got %d openings for 4 certificates in turn and room for 2, want 8 or more", got)
	}
	before := w.box.opened.Load()
	for range 5 {
		w.connect("d.example.com").Close()
	}
	if got := w.box.opened.Load() - before; got > 1 {
		t.Errorf("got %d openings of one key in use, want 1 at most", got)
	}
}

func TestKeyThatDoesNotOpen(t *testing.T) {
	w := newWorld(t)
	w.box.broken.Store(true)
	d, _ := w.site("a.example.com")
	w.proves(d.Revision) // the edge tries for itself
	if _, err := w.dial("a.example.com"); !isAlert(err, 112) {
		t.Errorf("got %v, want alert unrecognized_name", err)
	}
	opened := w.box.opened.Load()
	if _, err := w.dial("a.example.com"); err == nil {
		t.Error("a handshake succeeded without a key")
	}
	if got := w.box.opened.Load(); got != opened {
		t.Errorf("the key was tried again at once (%d times, want %d): clients could hammer the sealer", got, opened)
	}
}

// TestRotationToAKeyThatDoesNotOpen: the old certificate stays, who waits for the new one is
// told so, and it is served once its key opens.
func TestRotationToAKeyThatDoesNotOpen(t *testing.T) {
	w, _ := newFaultyWorld(t)
	_, c := w.site("a.example.com")
	before := w.serial("a.example.com")
	w.box.broken.Store(true)
	c.Version++
	next := w.leaf([]string{"a.example.com"})
	revision := w.behind(c, w.version(c.ID, c.Version, next))
	if err := w.edge.Applied(t.Context(), revision); !errors.Is(err, errBroken) {
		t.Errorf("Applied: got %v, want that the key does not open", err)
	}
	w.site("b.example.com") // which waits until it is applied
	if got := w.serial("a.example.com"); got != before {
		t.Errorf("got leaf %s, want the old one", got)
	}
	w.box.broken.Store(false)
	if err := w.edge.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.applied(revision)
	if got, want := w.serial("a.example.com"), next.Cert.SerialNumber.String(); got != want {
		t.Errorf("got leaf %s once the key opens, want %s", got, want)
	}
	if n := w.edge.Status().Damaged; n != 0 {
		t.Errorf("got %d damaged after the repair, want none", n)
	}
}

func TestPlainBytesOnTheTLSPort(t *testing.T) {
	w := newWorld(t)
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(raw, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
	answer, err := io.ReadAll(raw)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 400 ") {
		t.Errorf("got %q, %v, want HTTP status 400", answer, err)
	}
}
