package edge_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
	"lacre/keypair"
	"lacre/tlcp"
)

var sites = []string{"a.example.com"}

// One domain has RSA, ECC and SM2 at once, on one port: each client gets what it speaks.
func TestTLSAndTLCPOnOnePort(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	ecc, rsa, d := w.leaf(sites), w.leaf(sites, testcert.WithRSA(2048)), ca.Dual(t, sites)
	w.domain(sites[0], []*lacre.Certificate{w.dual(d), w.certificate(rsa), w.certificate(ecc)})
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		if got := w.serial(sites[0], version); got != ecc.Cert.SerialNumber.String() {
			t.Errorf("got serial %s, want the ECC leaf's", got)
		}
	})
	if got := w.serial(sites[0], onlyRSA); got != rsa.Cert.SerialNumber.String() {
		t.Errorf("got serial %s, want the RSA leaf's", got)
	}
	if l := w.explain(hello(sites[0]), sites[0]).Losers; len(l) != 2 || l[1].Certificate == nil || l[1].Certificate.Algorithm != keypair.SM2 {
		t.Errorf("explained with losers %+v, want the RSA and the SM2 certificate", l)
	}
	for _, suite := range []uint16{tlcp.ECC_SM4_GCM_SM3, tlcp.ECC_SM4_CBC_SM3} {
		c := w.connectTLCP(ca, sites[0], onlySuite(suite))
		if got := serials(c); got != serialsOf(d) {
			t.Errorf("%s: got serials %v, want %v", tlcp.CipherSuiteName(suite), got, serialsOf(d))
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: got %v, %v; want 200", tlcp.CipherSuiteName(suite), resp, err)
		}
	}
}

// The first record may come in pieces of any size; neither protocol loses a byte.
func TestFirstRecordInPieces(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	w.domain(sites[0], []*lacre.Certificate{w.dual(ca.Dual(t, sites)), w.certificate(w.leaf(sites))})
	for _, size := range []int{1, 2, 3, 4, 5, 6, 100} {
		raw, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(15 * time.Second))
		c := tlcp.Client(&pieces{raw, size}, &tlcp.Config{ServerName: sites[0], RootCAs: poolSM2(ca)})
		if err := c.Handshake(); err != nil {
			t.Errorf("TLCP in pieces of %d: %v", size, err)
		}
		other, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		other.SetDeadline(time.Now().Add(15 * time.Second))
		if err := tls.Client(&pieces{other, size}, &tls.Config{ServerName: sites[0], RootCAs: w.ca.Pool()}).Handshake(); err != nil {
			t.Errorf("TLS in pieces of %d: %v", size, err)
		}
	}
}

// pieces writes in small pieces, the first few of them apart in time.
type pieces struct {
	net.Conn
	size int
}

func (p *pieces) Write(b []byte) (n int, err error) {
	for i := 0; len(b) > 0; i++ {
		k := min(p.size, len(b))
		if _, err := p.Conn.Write(b[:k]); err != nil {
			return n, err
		}
		if n, b = n+k, b[k:]; i < 6 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	return n, nil
}

// Neither stack is given what belongs to the other, or to none.
func TestFirstBytesThatAreNoHello(t *testing.T) {
	w, ca := newWorld(t, impatient), newSMCA(t)
	w.domain(sites[0], []*lacre.Certificate{w.dual(ca.Dual(t, sites))})
	for name, c := range map[string]struct {
		sent  string
		alert string // what comes back, of a two-byte alert record
	}{
		"TLCP record, TLS hello":       {"\x16\x01\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + strings.Repeat("x", 32) + "\x00\x00\x02\xe0\x13\x01\x00", "\x02\x46"},
		"TLS record, TLCP hello":       {"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x01\x01" + strings.Repeat("x", 32) + "\x00\x00\x02\xe0\x13\x01\x00", "\x02\x46"},
		"record of another version":    {"\x16\x01\x02\x00\x05hello", ""},
		"TLCP application data":        {"\x17\x01\x01\x00\x05hello", ""},
		"HTTP":                         {"GET / HTTP/1.1\r\n\r\n", ""},
		"one byte and then nothing":    {"\x16", ""},
		"two bytes and then nothing":   {"\x16\x01", ""},
		"a header, then nothing":       {"\x16\x01\x01\x40\x00", ""},
		"a record that is far too big": {"\x16\x01\x01\xff\xff\x01", "\x02\x16"},
	} {
		raw, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(raw, c.sent)
		if got := closesWithin(t, raw); c.alert != "" && !strings.HasSuffix(got, c.alert) {
			t.Errorf("%s: got %q, want the alert %q", name, got, c.alert)
		}
	}
	if got := w.edge.Status().Connections; got != 0 {
		eventually(t, "all are closed", func() bool { return w.edge.Status().Connections == 0 })
	}
}

// A domain with certificates of one protocol only answers clients of the other with
// handshake_failure, and counts them apart.
func TestOtherProtocolOnly(t *testing.T) {
	registry := prometheus.NewRegistry()
	w, ca := newWorld(t, func(c *edge.Config) { c.Metrics = registry }), newSMCA(t)
	w.domain("sm.example.com", []*lacre.Certificate{w.dual(ca.Dual(t, []string{"sm.example.com"}))})
	w.site("tls.example.com")
	w.domain("bare.example.com", nil)
	count := func(result, version string) float64 {
		return value(t, registry, "lacre_edge_handshakes_total", result, version)
	}
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		if _, err := w.dial("sm.example.com", version); !isAlert(err, 40) {
			t.Errorf("TLS for SM2 only: got %v, want alert handshake_failure", err)
		}
	})
	if h := w.explain(hello("sm.example.com"), "sm.example.com").Handshake; h.Result != "handshake_failure" || !strings.Contains(h.Reason, "TLCP") {
		t.Errorf("explained as %+v, want handshake_failure and why", h)
	}
	if _, err := w.dialTLCP(ca, "tls.example.com"); !gotAlert(err, tlcp.AlertHandshakeFailure) {
		t.Errorf("TLCP for ECC only: got %v, want alert handshake_failure", err)
	}
	for _, name := range []string{"unknown.example.com", "sm.example.com.evil.test"} {
		if _, err := w.dialTLCP(ca, name); !gotAlert(err, tlcp.AlertUnrecognizedName) {
			t.Errorf("TLCP for %s: got %v, want alert unrecognized_name", name, err)
		}
	}
	noName := func(c *tlcp.Config) { c.ServerName, c.InsecureSkipVerify = "", true }
	if _, err := w.dialTLCP(ca, "", noName); !gotAlert(err, tlcp.AlertUnrecognizedName) {
		t.Errorf("TLCP without SNI: got %v, want alert unrecognized_name", err)
	}
	if _, err := w.dialTLCP(ca, "bare.example.com"); err == nil {
		t.Error("a handshake for a domain without certificates succeeded")
	}
	w.connectTLCP(ca, "sm.example.com")
	eventually(t, "the handshakes are counted", func() bool {
		return count("handshake_failure", "none")+count("handshake_failure", "TLSv1.2")+count("handshake_failure", "TLSv1.3") == 2 &&
			count("handshake_failure", "TLCP") == 1 && count("unrecognized_name", "TLCP") == 3 && count("ok", "TLCP") == 1
	})
	if !strings.Contains(w.log.String(), "result=handshake_failure") {
		t.Error("the log says nothing of handshake_failure")
	}
}

// Requests over TLCP are HTTP over a secure connection, for the upstream too.
func TestProxyOverTLCP(t *testing.T) {
	lines := &syncBuffer{}
	w, ca := newWorld(t, func(c *edge.Config) { c.AccessLog = lines }), newSMCA(t)
	up := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(rw, "%s %s %d", r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-Port"), body)
	})
	hosts := []string{"a.example.com", "b.example.com", "*.w.example.com"}
	c := w.dual(ca.Dual(t, hosts))
	for _, host := range hosts {
		w.domain(host, []*lacre.Certificate{c}, upstream(up.URL))
	}
	client := w.clientTLCP(ca)
	resp, err := client.Post("https://a.example.com/", "text/plain", io.LimitReader(rand.Reader, 3<<20))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := fmt.Sprintf("https 443 %d", 3<<20); string(text) != want {
		t.Errorf("the upstream saw %q, want %q", text, want)
	}
	if line := logged(t, lines.String, 1)[0]; line["tls"] != "TLCP" {
		t.Errorf("the access log says %v, want TLCP", line["tls"])
	}
	// The Host must be that of the handshake, though the certificate covers both.
	conn := w.connectTLCP(ca, "a.example.com")
	answers := bufio.NewReader(conn)
	for host, want := range map[string]int{"a.example.com": 200, "b.example.com": 421, "x.w.example.com": 421} {
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func TestWebSocketOverTLCP(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	up := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		kind, message, err := c.Read(r.Context())
		if err == nil {
			c.Write(r.Context(), kind, append([]byte("echo "), message...))
		}
		c.Close(websocket.StatusNormalClosure, "")
	})
	w.domain(sites[0], []*lacre.Certificate{w.dual(ca.Dual(t, sites))}, upstream(up.URL))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "wss://a.example.com/chat", &websocket.DialOptions{HTTPClient: w.clientTLCP(ca)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(ctx); err != nil || string(got) != "echo hi" {
		t.Errorf("got %q, %v; want echo hi", got, err)
	}
}

func TestClientCertificatesOverTLCP(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	good, bad := newSMCA(t), newSMCA(t)
	root := testcert.NewCA(t, "SM2 clients", testcert.WithSM2())
	past := testcert.WithValidity(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	me := []string{"client"}
	w.domain("auth.example.com", []*lacre.Certificate{w.dual(ca.Dual(t, []string{"auth.example.com"}), good, root)}, verifyClients)
	w.domain("rootless.example.com", []*lacre.Certificate{w.dual(ca.Dual(t, []string{"rootless.example.com"}))}, verifyClients)
	none := func(*tlcp.Config) {}
	for _, test := range []struct {
		name, host string
		suite      uint16
		client     func(*tlcp.Config)
		want       bool
	}{
		{"verified", "auth.example.com", tlcp.ECC_SM4_GCM_SM3, withPair(t, good.Dual(t, me)), true},
		{"verified, CBC", "auth.example.com", tlcp.ECC_SM4_CBC_SM3, withPair(t, good.Dual(t, me)), true},
		{"verified, ECDHE GCM", "auth.example.com", tlcp.ECDHE_SM4_GCM_SM3, withPair(t, good.Dual(t, me)), true},
		{"verified, ECDHE CBC", "auth.example.com", tlcp.ECDHE_SM4_CBC_SM3, withPair(t, good.Dual(t, me)), true},
		{"through an intermediate", "auth.example.com", tlcp.ECC_SM4_GCM_SM3, withPair(t, root.Intermediate(t, "sub", testcert.WithSM2()).Dual(t, me)), true},
		{"no certificate", "auth.example.com", tlcp.ECC_SM4_GCM_SM3, none, false},
		{"another CA", "auth.example.com", tlcp.ECC_SM4_GCM_SM3, withPair(t, bad.Dual(t, me)), false},
		{"another CA, ECDHE", "auth.example.com", tlcp.ECDHE_SM4_GCM_SM3, withPair(t, bad.Dual(t, me)), false},
		{"the CA of the server's own leaf", "auth.example.com", tlcp.ECC_SM4_GCM_SM3, withPair(t, ca.Dual(t, me)), false},
		{"expired", "auth.example.com", tlcp.ECC_SM4_GCM_SM3, withPair(t, good.Dual(t, me, past)), false},
		{"no trust roots: nobody", "rootless.example.com", tlcp.ECC_SM4_GCM_SM3, withPair(t, good.Dual(t, me)), false},
	} {
		status, err := request(t, w.clientTLCP(ca, onlySuite(test.suite), test.client), "https://"+test.host)
		if (status == 200) != test.want {
			t.Errorf("%s: got status %d, %v, want success %v", test.name, status, err, test.want)
		}
	}
}

// A policy that became stricter ends old TLCP connections; a lowest TLS version is no
// word about TLCP.
func TestPolicyOfTLCPConnections(t *testing.T) {
	ca, clients, next := newSMCA(t), newSMCA(t), newSMCA(t)
	for name, test := range map[string]struct {
		before func(*lacre.Domain)
		change func(*world, *lacre.Domain, *lacre.Certificate)
		want   int
	}{
		"client certificates are demanded": {func(*lacre.Domain) {},
			func(w *world, d *lacre.Domain, _ *lacre.Certificate) { d.VerifyClient = true; w.store(d) }, 421},
		"other trust roots": {verifyClients,
			func(w *world, d *lacre.Domain, c *lacre.Certificate) { w.rotateDual(c, ca.Dual(t, sites), next) }, 421},
		"the same trust roots": {verifyClients,
			func(w *world, d *lacre.Domain, c *lacre.Certificate) { w.rotateDual(c, ca.Dual(t, sites), clients) }, 200},
		"TLS 1.3 is demanded": {func(*lacre.Domain) {},
			func(w *world, d *lacre.Domain, _ *lacre.Certificate) { d.MinTLS = "TLSv1.3"; w.store(d) }, 200},
		"the domain is gone": {func(*lacre.Domain) {},
			func(w *world, d *lacre.Domain, _ *lacre.Certificate) { w.commit(lacre.Tx{Delete: []lacre.Record{d}}) }, 421},
		"HTTPS is off": {func(*lacre.Domain) {},
			func(w *world, d *lacre.Domain, _ *lacre.Certificate) { d.HTTPSPort = -1; w.store(d) }, 421},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cert := w.dual(ca.Dual(t, sites), clients)
			d := w.domain(sites[0], []*lacre.Certificate{cert}, test.before)
			client := w.clientTLCP(ca, withPair(t, clients.Dual(t, []string{"client"})))
			if status, err := request(t, client, "https://a.example.com/"); status != 200 {
				t.Fatalf("before: got %d, %v, want 200", status, err)
			}
			test.change(w, d, cert)
			if status, err := request(t, client, "https://a.example.com/"); status != test.want {
				t.Errorf("after: got %d, %v, want %d", status, err, test.want)
			}
		})
	}
}

// A rotation of both pairs under load: no handshake fails, none shows half of a version,
// none shows what was replaced before it began.
func TestRotationUnderLoadOverTLCP(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	c := w.dual(ca.Dual(t, sites))
	w.domain(sites[0], []*lacre.Certificate{c})
	rounds := 60
	var order sync.Map // serials -> number of the version
	var settled atomic.Int64
	pairs := make([]*testcert.Dual, rounds)
	for i := range pairs {
		pairs[i] = ca.Dual(t, sites)
		order.Store(serialsOf(pairs[i]), int64(i+1))
	}
	w.rotateDual(c, pairs[0])
	settled.Store(1)
	var clients sync.WaitGroup
	done := make(chan struct{})
	var handshakes atomic.Int64
	for range 3 {
		clients.Go(func() {
			cache := tlcp.NewClientSessionCache(1)
			for {
				select {
				case <-done:
					return
				default:
				}
				least := settled.Load()
				conn, err := w.dialTLCP(ca, sites[0], func(c *tlcp.Config) { c.ClientSessionCache = cache })
				if err != nil {
					t.Errorf("handshake: %v", err)
					return
				}
				n, ours := order.Load(serials(conn))
				if !ours {
					t.Error("a handshake showed two halves that are no version")
				} else if n.(int64) < least {
					t.Errorf("a handshake showed version %d after %d was applied", n, least)
				}
				handshakes.Add(1)
				conn.Close()
			}
		})
	}
	for i := 1; i < rounds; i++ {
		w.rotateDual(c, pairs[i])
		settled.Store(int64(i + 1))
	}
	close(done)
	clients.Wait()
	if handshakes.Load() < 20 {
		t.Errorf("only %d handshakes in %d rotations", handshakes.Load(), rounds)
	}
}

// A certificate that becomes one of the other protocol's serves that one's clients.
func TestCertificateChangesProtocol(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	d, c := w.site(sites[0])
	c.Version++
	v := w.dualVersion(c.ID, c.Version, ca.Dual(t, sites))
	d.Bindings[0].Algorithm = keypair.SM2
	w.store(c, v, d)
	w.connectTLCP(ca, sites[0])
	if _, err := w.dial(sites[0]); !isAlert(err, 40) {
		t.Errorf("TLS after the change to SM2: got %v, want alert handshake_failure", err)
	}
	c.Version++
	d.Bindings[0].Algorithm = keypair.ECC
	w.store(c, w.version(c.ID, c.Version, w.leaf(sites)), d)
	w.connect(sites[0])
	if _, err := w.dialTLCP(ca, sites[0]); !gotAlert(err, tlcp.AlertHandshakeFailure) {
		t.Errorf("TLCP after the change to ECC: got %v, want alert handshake_failure", err)
	}
}

// A version one of whose keys does not open never takes the place of one that works.
func TestDamagedSM2VersionIsNotServed(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	good := ca.Dual(t, sites)
	c := w.dual(good)
	w.domain(sites[0], []*lacre.Certificate{c})
	w.connectTLCP(ca, sites[0])
	for name, damage := range map[string]func(*lacre.Version){
		"no signing key":         func(v *lacre.Version) { v.SealedSignKey = nil },
		"no signing certificate": func(v *lacre.Version) { v.SignChain = nil },
		"keys swapped":           func(v *lacre.Version) { v.SealedKey, v.SealedSignKey = v.SealedSignKey, v.SealedKey },
		"pairs swapped": func(v *lacre.Version) {
			v.SealedKey, v.SealedSignKey, v.Chain, v.SignChain = v.SealedSignKey, v.SealedKey, v.SignChain, v.Chain
		},
	} {
		c.Version++
		v := w.dualVersion(c.ID, c.Version, ca.Dual(t, sites))
		damage(v)
		w.refused(c, v)
		if got := serials(w.connectTLCP(ca, sites[0])); got != serialsOf(good) {
			t.Errorf("%s: got serials %v, want those of the last good version", name, got)
		}
		if w.edge.Status().Damaged == 0 {
			t.Errorf("%s: the damage is not reported", name)
		}
	}
	next := ca.Dual(t, sites)
	w.rotateDual(c, next)
	if got := serials(w.connectTLCP(ca, sites[0])); got != serialsOf(next) {
		t.Errorf("after the repair: got serials %v, want the new ones", got)
	}
}
