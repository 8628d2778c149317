package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"lacre"
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
			"Proxy": {"evil"}, "Content_length": {"7"}, "Transfer_encoding": {"chunked"}, "X_request_id": {"evil"},
			"X.Forwarded.For": {"6.6.6.6"}, "Client^Cert": {"evil"}, "Content.Length": {"7"},
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
		got.Del("Cdn-Loop")     // see TestUpstreamThatIsTheEdge
		got.Del("X-Request-Id") // see TestRequestID
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

// TestStreamingUp: each piece of a request arrives before the next is made; over HTTP/2 the
// answer to it, too. Over HTTP/1.1 net/http answers when the request has ended.
func TestStreamingUp(t *testing.T) {
	w := newWorld(t)
	arrived := make(chan string)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		http.NewResponseController(rw).EnableFullDuplex()
		piece := make([]byte, 100)
		for {
			n, err := r.Body.Read(piece)
			if err != nil {
				return
			}
			arrived <- string(piece[:n])
			if r.Header.Get("X-Echo") != "" {
				rw.Write(piece[:n])
				rw.(http.Flusher).Flush()
			}
		}
	})
	w.site("a.example.com", upstream(b.URL))
	t.Run("HTTP 1.1", func(t *testing.T) {
		c := w.connect("a.example.com")
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
		exchangePieces(t, httputil.NewChunkedWriter(c), arrived, nil)
	})
	t.Run("HTTP 2", func(t *testing.T) {
		body, pieces := io.Pipe()
		defer pieces.Close()
		r, _ := http.NewRequest("POST", "https://a.example.com/", body)
		r.Header.Set("X-Echo", "yes")
		answer := make(chan *http.Response, 1)
		go func() {
			resp, err := w.client(true).Do(r)
			if err != nil {
				t.Error(err)
			}
			answer <- resp
		}()
		exchangePieces(t, pieces, arrived, func() io.Reader { return (<-answer).Body })
	})
}

// exchangePieces sends pieces one by one, each only when the last was at the upstream and,
// if begin is there to return what comes back, came back.
func exchangePieces(t *testing.T, out io.Writer, arrived chan string, begin func() io.Reader) {
	t.Helper()
	var in *bufio.Reader
	for i := range 5 {
		piece := fmt.Sprintf("piece %d\n", i)
		io.WriteString(out, piece)
		if got := <-arrived; got != piece {
			t.Fatalf("the upstream got %q, want %q", got, piece)
		}
		if begin == nil {
			continue
		}
		if in == nil {
			in = bufio.NewReader(begin())
		}
		if back, err := in.ReadString('\n'); back != piece {
			t.Fatalf("got %q, %v back, want %q", back, err, piece)
		}
	}
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

// TestUpstreamFailures: the client learns whose fault it is, and nothing about the
// inside.
// TestRefusedAddresses: what a tenant may not reach is refused before a packet leaves.
