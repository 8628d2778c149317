package edge_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"lacre"
	"lacre/edge"
	"lacre/tlcp"
)

// shape is a client hello as one of the browsers with SM2 sends it. Their makers publish
// none; these are what server operators have reported of them.
type shape struct {
	version    uint16 // of record and hello
	session    int    // bytes of the session ID
	suites     []uint16
	extensions func(*cryptobyte.Builder) // nil: the block is absent
}

func (s shape) record() []byte {
	var b cryptobyte.Builder
	b.AddUint8(22)
	b.AddUint16(min(s.version, 0x0301)) // TLS clients begin with an old record version
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(s.version)
			b.AddBytes(make([]byte, 32))
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(make([]byte, s.session)) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, suite := range s.suites {
					b.AddUint16(suite)
				}
			})
			b.AddBytes([]byte{1, 0})
			if s.extensions != nil {
				b.AddUint16LengthPrefixed(s.extensions)
			}
		})
	})
	return b.BytesOrPanic()
}

func extension(number uint16, data string) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddUint16(number)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(data)) })
	}
}

func extensions(list ...func(*cryptobyte.Builder)) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		for _, add := range list {
			add(b)
		}
	}
}

// asksFor is the server_name extension.
func asksFor(host string) func(*cryptobyte.Builder) {
	return extension(0, "\x00"+string(rune(len(host)+3))+"\x00\x00"+string(rune(len(host)))+host)
}

// firstAnswer is what the server says to a hello: the suite of its server hello with the
// version of its record, or an alert.
func (w *world) firstAnswer(hello []byte) (version, suite uint16, alert byte) {
	w.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	c.Write(hello)
	head := make([]byte, 5)
	if _, err := io.ReadFull(c, head); err != nil {
		w.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(c, body); err != nil {
		w.Fatal(err)
	}
	version = binary.BigEndian.Uint16(head[1:])
	if head[0] == 21 {
		return version, 0, body[1]
	}
	session := int(body[38])
	return version, binary.BigEndian.Uint16(body[39+session:]), 0
}

// TestBrowsersWithSM2 is the table of what the browsers with SM2 are known to send.
func TestBrowsersWithSM2(t *testing.T) {
	const host = "sm2.example.com"
	server := newSMCA(t)
	place := func(fallback string) *world {
		w := newWorld(t, func(c *edge.Config) { c.TLCPDefault = fallback })
		w.domain(host, []*lacre.Certificate{w.dual(server.Dual(t, []string{host}))})
		w.domain("both.example.com", []*lacre.Certificate{w.certificate(w.leaf([]string{"both.example.com"})), w.dual(server.Dual(t, []string{"both.example.com"}))})
		return w
	}
	strict, lenient := place(""), place(strings.ToUpper(host))
	const gcm, cbc, ecdsa = tlcp.ECC_SM4_GCM_SM3, tlcp.ECC_SM4_CBC_SM3, 0xc02b
	hint := func(host string) shape { // RFC 5246 hello with the suites of TLCP among its own
		return shape{0x0303, 32, []uint16{ecdsa, 0xe013, 0xe053}, extensions(asksFor(host), extension(10, "\x00\x02\x00\x17"), extension(13, "\x00\x02\x04\x03"))}
	}
	for _, test := range []struct {
		name           string
		hello          shape
		version, suite uint16 // of the answer
		alert          byte
		unnamed        bool // it is answered where there is a host for clients without a name
	}{
		{name: "Chromium family: GREASE, one suite, no extensions", hello: shape{0x0101, 0, []uint16{0x8a8a, cbc}, nil}, version: 0x0101, suite: cbc, unnamed: true},
		{name: "empty extensions", hello: shape{0x0101, 0, []uint16{gcm, cbc}, extensions()}, version: 0x0101, suite: gcm, unnamed: true},
		{name: "360: a hello of TLS that hints at TLCP, SM2 only", hello: hint(host), version: 0x0303, alert: 40},
		{name: "360: the same, ECC and SM2", hello: hint("both.example.com"), version: 0x0303, suite: ecdsa},
		{name: "360: then TLCP", hello: shape{0x0101, 0, []uint16{cbc, gcm}, extensions(asksFor("both.example.com"))}, version: 0x0101, suite: gcm},
		{name: "Qianxin: server name under 0x0101", hello: shape{0x0101, 0, []uint16{cbc}, extensions(asksFor(host))}, version: 0x0101, suite: cbc},
		{name: "SCSV, extensions that mean nothing here", hello: shape{0x0101, 32, []uint16{0x00ff, 0x2a2a, gcm}, extensions(
			extension(0x4a4a, ""), asksFor(host), extension(23, ""), extension(35, ""), extension(11, "\x01\x00"), extension(0xff01, "\x00"),
			extension(16, "\x00\x0c\x02h2\x08http/1.1"), extension(0x9a9a, "\x00"))}, version: 0x0101, suite: gcm},
		{name: "ECDHE before ECC, no client certificate", hello: shape{0x0101, 0, []uint16{0xe051, 0xe011, cbc}, extensions(asksFor(host))}, version: 0x0101, suite: cbc},
	} {
		for _, w := range []struct {
			name string
			*world
			refuses bool
		}{{"no default", strict, test.unnamed}, {"a default", lenient, false}} {
			version, suite, alert := w.firstAnswer(test.hello.record())
			if w.refuses {
				if version != 0x0101 || alert != 112 {
					t.Errorf("%s, %s: got version %#x, suite %#x, alert %d, want unrecognized_name", test.name, w.name, version, suite, alert)
				}
				continue
			}
			if version != test.version || suite != test.suite || alert != test.alert {
				t.Errorf("%s, %s: got version %#x, suite %#x, alert %d, want %#x, %#x, %d", test.name, w.name, version, suite, alert, test.version, test.suite, test.alert)
			}
		}
	}
}

// TestTLCPDefault: a client of TLCP without a server name gets the host that is there for
// it, resumes there, and gets no other; one of TLS gets nothing.
func TestTLCPDefault(t *testing.T) {
	server := newSMCA(t)
	const host = "sm2.example.com"
	w := newWorld(t, func(c *edge.Config) { c.TLCPDefault = host })
	w.domain(host, []*lacre.Certificate{w.dual(server.Dual(t, []string{host}))})
	w.domain("other.example.com", []*lacre.Certificate{w.dual(server.Dual(t, []string{"other.example.com"}))})
	unnamed := func(c *tlcp.Config) { c.ServerName, c.InsecureSkipVerify = "", true }
	cache := tlcp.NewClientSessionCache(4)
	for round := range 2 {
		c := w.connectTLCP(server, "", unnamed, func(c *tlcp.Config) { c.ClientSessionCache = cache })
		if c.ConnectionState().DidResume != (round == 1) {
			t.Errorf("round %d: resumed %v", round, round != 1)
		}
		if got := statusOn(t, c, host); got != 200 {
			t.Errorf("request for the default: got %d, want 200", got)
		}
		if got := statusOn(t, c, "other.example.com"); got != 421 {
			t.Errorf("request for another host: got %d, want 421", got)
		}
	}
	if got := w.explain(helloTLCP(""), host); got.Rule == nil || got.Rule.Host != host || got.Request == nil || got.Request.Result != "built_in_page" {
		t.Errorf("explained %+v by %+v, want the default host", got.Handshake, got.Rule)
	}
	if got := w.explain(hello(""), host); got.Handshake.Result != "unrecognized_name" {
		t.Errorf("explained %+v to a client of TLS, want unrecognized_name", got.Handshake)
	}
	if san, alert := rawServerName(t, w, "", tls12); alert != 112 {
		t.Errorf("TLS without a name: got %q, alert %d, want 112", san, alert)
	}
}

// statusOn makes a request for a host on a connection.
func statusOn(t *testing.T, c net.Conn, host string) int {
	t.Helper()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
