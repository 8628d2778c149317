package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/edge"
)

// backend starts an upstream.
func backend(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// eachHTTP runs a test over HTTP/1.1 and HTTP/2.
func eachHTTP(t *testing.T, test func(t *testing.T, http2 bool)) {
	t.Run("HTTP 1.1", func(t *testing.T) { test(t, false) })
	t.Run("HTTP 2", func(t *testing.T) { test(t, true) })
}

func TestForwardedHeaders(t *testing.T) {
	w := newWorld(t)
	var got http.Header
	var gotHost, gotURI string
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) { got, gotHost, gotURI = r.Header, r.Host, r.RequestURI })
	w.site("a.example.com", upstream(b.URL+"/base"))
	eachHTTP(t, func(t *testing.T, http2 bool) {
		r, _ := http.NewRequest("GET", "https://a.example.com:8443/p%2Fq//r?x=1;y&z", nil)
		r.Header = http.Header{
			"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"http"},
			"X-Forwarded-Port": {"1"}, "X-Forwarded-Client-Cert": {"evil"}, "X_forwarded_for": {"6.6.6.6"},
			"Forwarded": {"for=6.6.6.6"}, "X-Real-Ip": {"6.6.6.6"}, "Client-Cert": {"evil"}, "Client-Cert-Chain": {"evil"},
			"X-Kept": {"yes"}, "User-Agent": {"test"}, "Accept-Encoding": {"br"},
		}
		if !http2 {
			r.Header["Connection"] = []string{"X-Hop"}
			r.Header["X-Hop"] = []string{"evil"}
			r.Header["Proxy-Authorization"] = []string{"evil"}
			r.Header["Keep-Alive"] = []string{"evil"}
		}
		resp, err := w.client(http2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"a.example.com:8443"},
			"X-Forwarded-Proto": {"https"}, "X-Forwarded-Port": {"8443"}, "X-Real-Ip": {"127.0.0.1"},
			"Forwarded": {`for=127.0.0.1;host="a.example.com:8443";proto=https`},
			"X-Kept":    {"yes"}, "User-Agent": {"test"}, "Accept-Encoding": {"br"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("headers at the upstream (-want +got):\n%s", diff)
		}
		if gotHost != "a.example.com:8443" || gotURI != "/base/p%2Fq//r?x=1;y&z" {
			t.Errorf("got host %q and %q, want them as they were sent", gotHost, gotURI)
		}
	})
}

func TestResponseHeaders(t *testing.T) {
	w := newWorld(t)
	b := backend(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header()["Keep-Alive"] = []string{"timeout=5"}
		rw.Header()["Connection"] = []string{"X-Hop"}
		rw.Header()["X-Hop"] = []string{"internal"}
		rw.Header()["X-Kept"] = []string{"yes"}
		rw.WriteHeader(http.StatusTeapot)
	})
	w.site("a.example.com", upstream(b.URL))
	resp, err := w.client(false).Get("https://a.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	resp.Header.Del("Date")
	want := http.Header{"X-Kept": {"yes"}, "Content-Length": {"0"}}
	if diff := cmp.Diff(want, resp.Header); diff != "" || resp.StatusCode != http.StatusTeapot {
		t.Errorf("got status %d, headers (-want +got):\n%s", resp.StatusCode, diff)
	}
}

// TestHostMustMatchHandshake: HTTP/2 clients coalesce connections over certificates
// with several names; policies must not be coalesced with them.
func TestHostMustMatchHandshake(t *testing.T) {
	w := newWorld(t)
	both := w.certificate(w.leaf([]string{"a.example.com", "b.example.com", "*.w.example.com"}))
	w.domain("a.example.com", []*lacre.Certificate{both})
	w.domain("b.example.com", []*lacre.Certificate{both})
	w.domain("*.w.example.com", []*lacre.Certificate{both})
	for _, test := range []struct {
		sni, host string
		want      int
	}{
		{"a.example.com", "a.example.com", 200},
		{"a.example.com", "A.Example.COM.:8443", 200},
		{"a.example.com", "b.example.com", 421},
		{"a.example.com", "unknown.test", 421},
		{"a.example.com", "127.0.0.1", 421},
		{"a.example.com", "[::1]:443", 421},
		{"a.example.com", "a.example.com:http", 421},
		{"a.example.com", "*.w.example.com", 421},
		{"x.w.example.com", "y.w.example.com", 200}, // one domain
		{"x.w.example.com", "*.w.example.com", 421},
		{"x.w.example.com", "a.example.com", 421},
	} {
		eachHTTP(t, func(t *testing.T, http2 bool) {
			client := w.client(http2, func(c *tls.Config) { c.ServerName = test.sni })
			r, _ := http.NewRequest("GET", "https://a.example.com/", nil)
			r.Host = test.host
			resp, err := client.Do(r)
			if err != nil {
				t.Fatalf("%s on %s: %v", test.host, test.sni, err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.want {
				t.Errorf("%s on %s: got %d, want %d", test.host, test.sni, resp.StatusCode, test.want)
			}
		})
	}
	t.Run("no Host", func(t *testing.T) {
		c := w.connect("a.example.com")
		io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 421 {
			t.Errorf("got %v, %v, want 421", resp, err)
		}
	})
}

func TestBuiltInPage(t *testing.T) {
	w := newWorld(t)
	w.site("a.example.com")
	resp, err := w.client(true).Get("https://a.example.com/any/path")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || !strings.Contains(string(page), "a.example.com") || resp.Header.Get("Server") != "" {
		t.Errorf("got %d %q, server %q, want a page naming the host", resp.StatusCode, page, resp.Header.Get("Server"))
	}
}

// TestStreaming: each piece of a response arrives before the next is made.
func TestStreaming(t *testing.T) {
	w := newWorld(t)
	next := make(chan struct{})
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		for i := range 5 {
			fmt.Fprintf(rw, "event %d\n", i)
			rw.(http.Flusher).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	w.site("a.example.com", upstream(b.URL))
	eachHTTP(t, func(t *testing.T, http2 bool) {
		resp, err := w.client(http2).Get("https://a.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		for i := range 5 {
			line, err := lines.ReadString('\n')
			if want := fmt.Sprintf("event %d\n", i); line != want {
				t.Fatalf("got %q, %v, want %q", line, err, want)
			}
			next <- struct{}{}
		}
	})
}

// zeros is a large body that exists nowhere as a whole.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func digestOf(r io.Reader) (string, int64) {
	h := sha256.New()
	n, _ := io.Copy(h, r)
	return fmt.Sprintf("%x", h.Sum(nil)), n
}

// TestLargeBodies goes both ways without anything being held back or lost.
func TestLargeBodies(t *testing.T) {
	w := newWorld(t)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		sum, n := digestOf(r.Body)
		rw.Header().Set("X-Received", sum)
		rw.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		io.Copy(rw, zeros(n))
	})
	w.site("a.example.com", upstream(b.URL))
	want, _ := digestOf(zeros(large))
	eachHTTP(t, func(t *testing.T, http2 bool) {
		resp, err := w.client(http2).Post("https://a.example.com/", "application/octet-stream", zeros(large))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		sum, n := digestOf(resp.Body)
		if sum != want || n != large || resp.Header.Get("X-Received") != want {
			t.Errorf("got %d bytes back (digest %s), the upstream got %s, want %d bytes %s",
				n, sum, resp.Header.Get("X-Received"), large, want)
		}
	})
}

func TestWebSocket(t *testing.T) {
	w := newWorld(t)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				return
			}
			c.Write(r.Context(), kind, bytes.ToUpper(message))
		}
	})
	w.site("a.example.com", upstream(b.URL))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "wss://a.example.com/chat", &websocket.DialOptions{HTTPClient: w.client(false)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	for _, message := range []string{"one", "two", strings.Repeat("x", 20_000)} {
		if err := c.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); string(got) != strings.ToUpper(message) {
			t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(message))
		}
	}
}

// TestOnlyWebSocketUpgrades: an upstream that speaks h2c is not asked to, or clients
// would reach it past every check.
func TestOnlyWebSocketUpgrades(t *testing.T) {
	w := newWorld(t)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
			if got := r.Header.Get(name); got != "" {
				t.Errorf("the upstream was sent %s: %s", name, got)
			}
		}
	})
	w.site("a.example.com", upstream(b.URL))
	for _, upgrade := range []string{"h2c", "H2C", "h2c, websocket", "TLS/1.0"} {
		r, _ := http.NewRequest("GET", "https://a.example.com/", nil)
		r.Header = http.Header{"Connection": {"Upgrade, HTTP2-Settings"}, "Upgrade": {upgrade}, "Http2-Settings": {"AAMAAABk"}}
		resp, err := w.client(false).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: got %d, want 200 without an upgrade", upgrade, resp.StatusCode)
		}
	}
}

func TestHTTPSUpstreamIsVerified(t *testing.T) {
	w := newWorld(t)
	serve := func(tlsCert tls.Certificate) string {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			io.WriteString(rw, r.Proto)
		}))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{tlsCert}}
		s.EnableHTTP2 = true
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	w.site("good.example.com", upstream(serve(w.leaf([]string{"127.0.0.1"}).TLS())))
	w.site("name.example.com", upstream(serve(w.leaf([]string{"other.test"}).TLS())))
	client := w.client(false)
	resp, err := client.Get("https://good.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "HTTP/2.0" {
		t.Errorf("verified upstream: got %d over %s, want 200 over HTTP/2.0", resp.StatusCode, body)
	}
	if status, err := request(t, client, "https://name.example.com/"); status != http.StatusBadGateway {
		t.Errorf("upstream with another name: got %d, %v, want 502", status, err)
	}
}

// TestUpstreamFailures: the client learns whose fault it is, and nothing about the
// inside.
func TestUpstreamFailures(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Response = 200 * time.Millisecond })
	silent := backend(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	closed := listen(t)
	closed.Close()
	rude := listen(t)
	t.Cleanup(func() { rude.Close() })
	go func() {
		for {
			c, err := rude.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	upstreams := map[string]int{
		"http://" + closed.Addr().String():     502,
		"http://" + rude.Addr().String():       502,
		silent.URL:                             504,
		"ftp://127.0.0.1/":                     502,
		"http://":                              502,
		"http://user:secret@127.0.0.1:1/":      502,
		"http://169.254.169.254/latest/":       502,
		"http://[::ffff:169.254.169.254]/":     502,
		"http://[fe80::1]/":                    502,
		"http://0.0.0.0:1/":                    502,
		"http://224.0.0.1/":                    502,
		"http://100.100.100.200/latest/":       502,
		"http://[fd00:ec2::254]/latest/":       502,
		"http://name-that-does-not.exist.test": 502,
	}
	client := w.client(true)
	i := 0
	for url := range maps.Keys(upstreams) {
		i++
		host := fmt.Sprintf("u%d.example.com", i)
		w.site(host, upstream(url))
		resp, err := client.Get("https://" + host + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != upstreams[url] {
			t.Errorf("%s: got %d, want %d", url, resp.StatusCode, upstreams[url])
		}
		if s := string(body); strings.Contains(s, "127.0.0.1") || strings.Contains(s, "dial") || len(s) > 100 {
			t.Errorf("%s: the answer tells too much: %q", url, s)
		}
	}
	if strings.Contains(w.log.String(), "secret") {
		t.Error("an upstream's password is in the log")
	}
}

// TestRefusedAddresses: what a tenant may not reach is refused before a packet leaves.
func TestRefusedAddresses(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.AllowLoopback = false })
	reached := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("the loopback upstream was reached") })
	_, port, _ := net.SplitHostPort(reached.Listener.Addr().String())
	for i, address := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"} {
		host := fmt.Sprintf("l%d.example.com", i)
		w.site(host, upstream("http://"+address+":"+port))
		if status, err := request(t, w.client(false), "https://"+host+"/"); status != 502 {
			t.Errorf("%s: got %d, %v, want 502", address, status, err)
		}
	}
}

func TestUpstreamDyingMidway(t *testing.T) {
	w := newWorld(t)
	b := backend(t, func(rw http.ResponseWriter, _ *http.Request) {
		io.WriteString(rw, "half")
		rw.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	w.site("a.example.com", upstream(b.URL))
	eachHTTP(t, func(t *testing.T, http2 bool) {
		resp, err := w.client(http2).Get("https://a.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("got %q as a complete response, want an error: half of it is missing", body)
		}
	})
}

func TestClientLeavingEndsTheUpstreamRequest(t *testing.T) {
	w := newWorld(t)
	started, ended := make(chan struct{}), make(chan struct{})
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		close(ended)
	})
	w.site("a.example.com", upstream(b.URL))
	ctx, leave := context.WithCancel(context.Background())
	r, _ := http.NewRequestWithContext(ctx, "GET", "https://a.example.com/", nil)
	go func() {
		<-started
		leave()
	}()
	if resp, err := w.client(true).Do(r); err == nil {
		resp.Body.Close()
		t.Error("the request succeeded although the client left")
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the upstream still works for a client that left")
	}
}

func TestConnectIsRefused(t *testing.T) {
	w := newWorld(t)
	b := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("CONNECT reached the upstream") })
	w.site("a.example.com", upstream(b.URL))
	c := w.connect("a.example.com")
	io.WriteString(c, "CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com:443\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("got %v, %v, want 405", resp, err)
	}
}

func TestPlainHTTP(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.HTTPSPort = 8443 })
	w.site("go.example.com", func(d *lacre.Domain) { d.RedirectHTTPS = true })
	w.site("*.go.example.com", func(d *lacre.Domain) { d.RedirectHTTPS = true })
	w.site("stay.example.com")
	for _, test := range []struct {
		method, host, uri string
		status            int
		location          string
	}{
		{"GET", "go.example.com", "/a%2Fb?c=d", 301, "https://go.example.com:8443/a%2Fb?c=d"},
		{"HEAD", "GO.example.com:80", "/", 301, "https://go.example.com:8443/"},
		{"POST", "go.example.com", "/form", 308, "https://go.example.com:8443/form"},
		{"GET", "x.go.example.com", "//evil.test/", 301, "https://x.go.example.com:8443//evil.test/"},
		{"GET", "go.example.com", "http://go.example.com/absolute", 301, "https://go.example.com:8443/absolute"},
		{"GET", "stay.example.com", "/", 404, ""},
		{"GET", "unknown.test", "/", 404, ""},
		{"GET", "127.0.0.1", "/", 404, ""},
	} {
		c, err := net.Dial("tcp", w.plain)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", test.method, test.uri, test.host)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != test.status || resp.Header.Get("Location") != test.location {
			t.Errorf("%s %s%s: got %d to %q, want %d to %q", test.method, test.host, test.uri,
				resp.StatusCode, resp.Header.Get("Location"), test.status, test.location)
		}
	}
}
