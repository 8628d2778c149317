package edge_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"
	proxyproto "github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"

	"lacre"
	"lacre/edge"
	"lacre/tlcp"
)

// behind makes the edge expect PROXY headers from this machine.
func behind(c *edge.Config) {
	c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}
	c.ProxyHTTP = true
}

// introduction is a header as another implementation writes it.
func introduction(t *testing.T, version byte, from, to string) []byte {
	t.Helper()
	addr := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	b, err := proxyproto.HeaderProxyFromAddrs(version, addr(from), addr(to)).Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const proxyV2 = "\r\n\r\n\x00\r\nQUIT\n"

// header writes one by hand, also one that no good implementation would.
func header(command, family byte, payload string) []byte {
	b := append([]byte(proxyV2), command, family)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(payload))), payload...)
}

// eachListener sends one header and a request over the TLS and the plain listener.
func eachListener(t *testing.T, w *world, test func(t *testing.T, begin func(header []byte) (*http.Response, error))) {
	over := func(addr string, wrap func(net.Conn) net.Conn) func([]byte) (*http.Response, error) {
		return func(header []byte) (*http.Response, error) {
			raw, err := net.Dial("tcp", addr)
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { raw.Close() })
			raw.SetDeadline(time.Now().Add(15 * time.Second))
			raw.Write(header)
			c := wrap(raw)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
			return http.ReadResponse(bufio.NewReader(c), nil)
		}
	}
	t.Run("TLS", func(t *testing.T) {
		test(t, over(w.addr, func(c net.Conn) net.Conn {
			return tls.Client(c, &tls.Config{ServerName: "a.example.com", RootCAs: w.ca.Pool()})
		}))
	})
	t.Run("plain", func(t *testing.T) { test(t, over(w.plain, func(c net.Conn) net.Conn { return c })) })
}

// TestProxyProtocolIn: the address that a listed proxy names is the client's, for every
// kind of header; where it names none, the proxy's own counts.
func TestProxyProtocolIn(t *testing.T) {
	w := newWorld(t, behind)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, r.Header.Get("X-Forwarded-For")+" "+r.Header.Get("Forwarded"))
	})
	w.site("a.example.com", upstream(b.URL))
	tcp4 := "\xcb\x00\x71\x07\xc0\x00\x02\x01\x00\x50\x01\xbb"
	eachListener(t, w, func(t *testing.T, begin func([]byte) (*http.Response, error)) {
		for _, test := range []struct {
			name   string
			header []byte
			want   string
		}{
			{"IPv4", introduction(t, 2, "203.0.113.7:4711", "192.0.2.1:443"), "203.0.113.7 for=203.0.113.7;"},
			{"IPv6", introduction(t, 2, "[2001:db8::7]:4711", "[2001:db8::1]:443"), `2001:db8::7 for="[2001:db8::7]";`},
			{"mapped IPv4", header(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff\xcb\x00\x71\x07"+strings.Repeat("\x00", 20)), "203.0.113.7 for=203.0.113.7;"},
			{"TLVs", header(0x21, 0x11, tcp4+"\x04\x00\x03abc\xea\x10\x00"+strings.Repeat("x", 0x1000)), "203.0.113.7 for=203.0.113.7;"},
			{"local", header(0x20, 0x00, ""), "127.0.0.1 for=127.0.0.1;"},
			{"local with addresses", header(0x20, 0x11, tcp4), "127.0.0.1 for=127.0.0.1;"},
			{"unspecified", header(0x21, 0x00, "anything"), "127.0.0.1 for=127.0.0.1;"},
			{"unix", header(0x21, 0x31, strings.Repeat("p", 216)), "127.0.0.1 for=127.0.0.1;"},
		} {
			resp, err := begin(test.header)
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			if got, _ := io.ReadAll(resp.Body); !strings.HasPrefix(string(got), test.want) {
				t.Errorf("%s: got client %q, want %q", test.name, got, test.want)
			}
		}
	})
}

// TestProxyProtocolIsDemanded of listed proxies: what is not a good header of version 2
// ends the connection, is counted and, but for a mere try of the port, logged.
func TestProxyProtocolIsDemanded(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorld(t, behind, func(c *edge.Config) { c.Metrics, c.Timeouts.Handshake = registry, time.Second })
	b := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was asked") })
	w.site("a.example.com", upstream(b.URL))
	refused := 0
	eachListener(t, w, func(t *testing.T, begin func([]byte) (*http.Response, error)) {
		for name, header := range map[string][]byte{
			"none":              nil,
			"version 1":         introduction(t, 1, "203.0.113.7:4711", "192.0.2.1:443"),
			"unknown version":   header(0x31, 0x11, strings.Repeat("x", 12)),
			"unknown command":   header(0x22, 0x11, strings.Repeat("x", 12)),
			"addresses short":   header(0x21, 0x21, strings.Repeat("x", 12)),
			"another signature": []byte("\r\n\r\n\x00\r\nQUIT\r\x21\x11\x00\x0c" + strings.Repeat("x", 12)),
			"longer than sent":  append([]byte(proxyV2), 0x21, 0x11, 0xff, 0xff),
		} {
			refused++
			if resp, err := begin(header); err == nil {
				t.Errorf("%s: got %d, want the connection closed", name, resp.StatusCode)
			}
		}
	})
	if got := value(t, registry, "lacre_edge_proxy_headers_refused_total"); got != float64(refused) {
		t.Errorf("got %v refused, want %d", got, refused)
	}
	gone, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	gone.(*net.TCPConn).CloseWrite()
	closesWithin(t, gone)
	if got := value(t, registry, "lacre_edge_proxy_headers_refused_total"); got != float64(refused) {
		t.Errorf("got %v refused after a try of the port, want %d still", got, refused)
	}
}

// TestProxyProtocolVersion1IsNamed, since most proxies send it unless told otherwise.
func TestProxyProtocolVersion1IsNamed(t *testing.T) {
	w := newWorld(t, behind)
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(introduction(t, 1, "203.0.113.7:4711", "192.0.2.1:443"))
	closesWithin(t, c)
	if want := "PROXY protocol version 1, want version 2 (HAProxy: send-proxy-v2)"; !strings.Contains(w.log.String(), want) {
		t.Errorf("got log %s, want it to say %q", w.log, want)
	}
}

// TestProxyProtocolOfOthers: a source that is not listed cannot name another address.
func TestProxyProtocolOfOthers(t *testing.T) {
	w := newWorld(t, behind, func(c *edge.Config) { c.ProxyFrom = c.ProxyFrom[:1] })
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Header.Get("X-Forwarded-For")) })
	w.site("a.example.com", upstream(b.URL))
	eachListener(t, w, func(t *testing.T, begin func([]byte) (*http.Response, error)) {
		resp, err := begin(introduction(t, 2, "203.0.113.7:4711", "192.0.2.1:443"))
		if err == nil && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("with a header: got %d, want it taken for junk", resp.StatusCode)
		}
		resp, err = begin(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(resp.Body); string(got) != "127.0.0.1" {
			t.Errorf("without: got client %q, want 127.0.0.1", got)
		}
	})
}

// TestProxyProtocolBeforeTLCP: TLCP is told from TLS behind a header, too, and the client
// in it is the one of headers and of the access log. Without one that is due, or with one
// of a source that is not listed, there is no handshake.
func TestProxyProtocolBeforeTLCP(t *testing.T) {
	lines := &syncBuffer{}
	server := newSMCA(t)
	const host = "a.example.com"
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, r.Header.Get("X-Forwarded-For")) })
	place := func(edits ...func(*edge.Config)) func(header []byte) (string, error) {
		w := newWorld(t, edits...)
		w.domain(host, []*lacre.Certificate{w.dual(server.Dual(t, []string{host}))}, upstream(b.URL))
		return func(header []byte) (string, error) { return askTLCPBehind(w, header, host, poolSM2(server)) }
	}
	listed := place(behind, func(c *edge.Config) { c.AccessLog = lines })
	unlisted := place(behind, func(c *edge.Config) { c.ProxyFrom = c.ProxyFrom[:1] })
	named := introduction(t, 2, "203.0.113.7:4711", "192.0.2.1:443")
	for _, test := range []struct {
		name   string
		begin  func([]byte) (string, error)
		header []byte
		want   string // the client; empty: no handshake
	}{
		{"listed, with a header", listed, named, "203.0.113.7"},
		{"listed, without", listed, nil, ""},
		{"not listed, with a header", unlisted, named, ""},
		{"not listed, without", unlisted, nil, "127.0.0.1"},
	} {
		if got, err := test.begin(test.header); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: got client %q, %v, want %q", test.name, got, err, test.want)
		}
	}
	if line := logged(t, lines.String, 1)[0]; line["client"] != "203.0.113.7" || line["tls"] != "TLCP" {
		t.Errorf("got client %v over %v in the access log, want 203.0.113.7 over TLCP", line["client"], line["tls"])
	}
}

// askTLCPBehind sends a header and makes a request over TLCP. It returns the answer.
func askTLCPBehind(w *world, header []byte, host string, roots *smx509.CertPool) (string, error) {
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		return "", err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(15 * time.Second))
	raw.Write(header)
	c := tlcp.Client(raw, &tlcp.Config{ServerName: host, RootCAs: roots})
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}
