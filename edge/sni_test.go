package edge_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"lacre"
	"lacre/internal/testcert"
)

// rawHello is a TLS 1.2 client hello, a handshake message without its record, with one
// server_name extension for each body, unchecked.
func rawHello(serverNames ...[]byte) []byte {
	var b cryptobyte.Builder
	numbers := func(n ...uint16) cryptobyte.BuilderContinuation {
		return func(b *cryptobyte.Builder) {
			for _, v := range n {
				b.AddUint16(v)
			}
		}
	}
	b.AddUint8(1)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(tls.VersionTLS12)
		b.AddBytes(make([]byte, 32))
		b.AddUint8(0)
		b.AddUint16LengthPrefixed(numbers(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256))
		b.AddBytes([]byte{1, 0})
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, body := range serverNames {
				b.AddUint16(0)
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(body) })
			}
			b.AddUint16(10) // supported_groups
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16LengthPrefixed(numbers(uint16(tls.CurveP256))) })
			b.AddUint16(13) // signature_algorithms
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint16LengthPrefixed(numbers(uint16(tls.ECDSAWithP256AndSHA256)))
			})
		})
	})
	return b.BytesOrPanic()
}

// serverName is the body of a server_name extension with these entries of type host_name.
func serverName(names ...string) []byte {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, name := range names {
			b.AddUint8(0)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
		}
	})
	return b.BytesOrPanic()
}

// records cuts a handshake message into TLS records of at most size bytes each.
func records(message []byte, size int) []byte {
	var out []byte
	for len(message) > 0 {
		n := min(size, len(message))
		out = append(out, 22, 3, 1)
		out = binary.BigEndian.AppendUint16(out, uint16(n))
		out, message = append(out, message[:n]...), message[n:]
	}
	return out
}

// answerTo sends bytes in pieces of at most size, waits in between, and returns what the
// edge says until it closes.
func (w *world) answerTo(sent []byte, size int) []byte {
	w.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(15 * time.Second))
	for piece := 0; len(sent) > 0; piece++ {
		n := min(size, len(sent))
		if _, err := c.Write(sent[:n]); err != nil {
			w.Fatal(err)
		}
		if sent = sent[n:]; len(sent) > 0 && piece%16 == 0 { // often enough to be read in pieces
			time.Sleep(time.Millisecond)
		}
	}
	c.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(c) // a reset after an alert is an answer, too
	return answer
}

// verdict tells whose leaf an answer presents, or which alert it is.
func verdict(answer []byte, leaves map[string]*testcert.Leaf) (host string, alert int) {
	if len(answer) == 7 && answer[0] == 21 {
		return "", int(answer[6])
	}
	for host, leaf := range leaves {
		if bytes.Contains(answer, leaf.Cert.Raw) {
			return host, 0
		}
	}
	return "", -1
}

// TestRawServerName is the table of what crypto/tls as a client would never send.
func TestRawServerName(t *testing.T) {
	w := newWorld(t)
	leaves := map[string]*testcert.Leaf{}
	for _, host := range []string{"a.example.com", "*.example.com", "xn--bcher-kva.example.org", "under_score.example.org", "a.b.example.com"} {
		leaves[host] = w.leaf([]string{host})
		w.domain(host, []*lacre.Certificate{w.certificate(leaves[host])})
	}
	const unrecognized, decode, unexpected = 112, 50, 10
	long := strings.Repeat("a", 63)
	for _, test := range []struct {
		name  string
		sent  [][]byte
		host  string
		alert []int
	}{
		{"exact", [][]byte{serverName("a.example.com")}, "a.example.com", nil},
		{"exact below a wildcard's label", [][]byte{serverName("a.b.example.com")}, "a.b.example.com", nil},
		{"case", [][]byte{serverName("A.ExAmPlE.COM")}, "a.example.com", nil},
		{"wildcard", [][]byte{serverName("z.example.com")}, "*.example.com", nil},
		{"wildcard, case", [][]byte{serverName("Z.EXAMPLE.com")}, "*.example.com", nil},
		{"wildcard, underscore", [][]byte{serverName("_z.example.com")}, "*.example.com", nil},
		{"wildcard, an A-label", [][]byte{serverName("xn--bcher-kva.example.com")}, "*.example.com", nil},
		{"A-label", [][]byte{serverName("xn--bcher-kva.example.org")}, "xn--bcher-kva.example.org", nil},
		{"U-label", [][]byte{serverName("bücher.example.org")}, "xn--bcher-kva.example.org", nil},
		{"U-label, decomposed, capitals", [][]byte{serverName("BU\u0308CHER.example.org")}, "xn--bcher-kva.example.org", nil},
		{"underscore", [][]byte{serverName("under_score.example.org")}, "under_score.example.org", nil},

		{"two labels below a wildcard", [][]byte{serverName("y.z.example.com")}, "", []int{unrecognized}},
		{"the apex of a wildcard", [][]byte{serverName("example.com")}, "", []int{unrecognized}},
		{"a pattern", [][]byte{serverName("*.example.com")}, "", []int{unrecognized}},
		{"unknown", [][]byte{serverName("unknown.test")}, "", []int{unrecognized}},
		{"none", nil, "", []int{unrecognized}},
		{"IPv4", [][]byte{serverName("127.0.0.1")}, "", []int{unrecognized}},
		{"IPv6", [][]byte{serverName("::1")}, "", []int{unrecognized}},
		{"IPv6 in brackets", [][]byte{serverName("[::1]")}, "", []int{unrecognized}},
		{"with a port", [][]byte{serverName("a.example.com:443")}, "", []int{unrecognized}},
		{"NUL behind", [][]byte{serverName("a.example.com\x00")}, "", []int{unrecognized}},
		{"NUL and another name", [][]byte{serverName("a.example.com\x00.evil.test")}, "", []int{unrecognized}},
		{"a blank", [][]byte{serverName(" a.example.com")}, "", []int{unrecognized}},
		{"a line", [][]byte{serverName("a.example.com\n")}, "", []int{unrecognized}},
		{"no UTF-8", [][]byte{serverName("\xff.example.com")}, "", []int{unrecognized}},
		{"an empty label", [][]byte{serverName("a..example.com")}, "", []int{unrecognized}},
		{"a label of 64", [][]byte{serverName(long + "a.example.com")}, "", []int{unrecognized}},
		{"a label of 63", [][]byte{serverName(long + ".example.com")}, "*.example.com", nil},
		{"255 characters", [][]byte{serverName(strings.Repeat("a.", 122) + "example.com")}, "", []int{unrecognized}},
		{"15,000 characters", [][]byte{serverName(strings.Repeat("a", 15_000))}, "", []int{unrecognized}},

		{"a trailing dot", [][]byte{serverName("a.example.com.")}, "", []int{decode, unexpected}},
		{"an empty name", [][]byte{serverName("")}, "", []int{decode, unexpected}},
		{"no names", [][]byte{serverName()}, "", []int{decode, unexpected}},
		{"an empty extension", [][]byte{{}}, "", []int{decode, unexpected}},
		{"two names", [][]byte{serverName("a.example.com", "z.example.com")}, "", []int{decode, unexpected}},
		{"one name twice", [][]byte{serverName("a.example.com", "a.example.com")}, "", []int{decode, unexpected}},
		{"two extensions", [][]byte{serverName("a.example.com"), serverName("z.example.com")}, "", []int{decode, unexpected}},
		{"a length too long", [][]byte{append(serverName("a.example.com")[:4:4], 'a', '.')}, "", []int{decode, unexpected}},
	} {
		host, alert := verdict(w.answerTo(records(rawHello(test.sent...), 1<<14), 1<<15), leaves)
		ok := host == test.host && test.host != ""
		for _, want := range test.alert {
			ok = ok || alert == want
		}
		if !ok {
			t.Errorf("%s: got the leaf of %q, alert %d, want that of %q or alert %v", test.name, host, alert, test.host, test.alert)
		}
	}
}

// TestFragmentedHello: however a hello is cut up, over TCP segments and over records, it
// is the same hello. Others took a name that had not come yet for none (CVE-2026-32305).
func TestFragmentedHello(t *testing.T) {
	w := newWorld(t)
	leaves := map[string]*testcert.Leaf{}
	for _, host := range []string{"a.example.com", "*.example.com"} {
		leaves[host] = w.leaf([]string{host})
		w.domain(host, []*lacre.Certificate{w.certificate(leaves[host])})
	}
	for name, want := range map[string]string{"a.example.com": "a.example.com", "b.example.com": "*.example.com", "unknown.test": ""} {
		message := rawHello(serverName(name))
		inName := bytes.Index(message, []byte(name)) + 2
		for _, record := range []int{len(message), 4, 1, inName} {
			for _, segment := range []int{1 << 15, 7, 1} {
				host, alert := verdict(w.answerTo(records(message, record), segment), leaves)
				if host != want || (want == "") != (alert == 112) {
					t.Errorf("%s in records of %d, segments of %d: got the leaf of %q, alert %d, want that of %q", name, record, segment, host, alert, want)
				}
			}
		}
	}
}

// TestCipherSuites offers every suite that is known, one at a time: only those that are
// forward secret and authenticated are spoken.
func TestCipherSuites(t *testing.T) {
	w := newWorld(t)
	hosts := []string{"a.example.com"}
	w.domain(hosts[0], []*lacre.Certificate{w.certificate(w.leaf(hosts)), w.certificate(w.leaf(hosts, testcert.WithRSA(2048)))})
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.SupportedVersions[0] == tls.VersionTLS13 {
			continue // all three are what we want, and not configurable
		}
		asked := hello(hosts[0])
		asked.Versions, asked.CipherSuites = []uint16{tls.VersionTLS12}, []uint16{suite.ID}
		want := strings.HasPrefix(suite.Name, "TLS_ECDHE_") && (strings.Contains(suite.Name, "_GCM_") || strings.HasSuffix(suite.Name, "_POLY1305_SHA256"))
		c, err := w.dial(hosts[0], func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite.ID}
		})
		if c != nil {
			c.Close()
		}
		if (err == nil) != want || err != nil && !isAlert(err, 40) {
			t.Errorf("%s: got %v, want success %v or alert handshake_failure", suite.Name, err, want)
		}
		if got := w.explain(asked, hosts[0]).Handshake.Result == "ok"; got != want {
			t.Errorf("%s: explained as %v, want success %v", suite.Name, got, want)
		}
	}
}

func TestPostQuantumKeyExchange(t *testing.T) {
	w := newWorld(t)
	w.site("a.example.com")
	if got := w.connect("a.example.com").ConnectionState().CurveID; got != tls.X25519MLKEM768 {
		t.Errorf("a client that offers everything: got %v, want X25519MLKEM768", got)
	}
	for _, only := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256} {
		c := w.connect("a.example.com", func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{only} })
		if got := c.ConnectionState().CurveID; got != only {
			t.Errorf("a client that offers %v only: got %v", only, got)
		}
	}
}
