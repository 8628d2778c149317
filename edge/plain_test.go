package edge_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/edge"
)

func proxying(c *edge.Config) { c.ProxyHTTP = true }

// clear returns an HTTP client that connects to the plain HTTP listener whatever the
// URL says.
func (w *world) clear() *http.Client {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", w.plain)
	}}
	w.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// ask posts to a URL over plain HTTP and returns status and body.
func (w *world) ask(url string) (int, string) {
	w.Helper()
	resp, err := w.clear().Post(url, "text/plain", strings.NewReader("hello"))
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestPlainHTTPIsProxiedWhenTheEdgeIsToldTo(t *testing.T) {
	w := newWorld(t, proxying)
	var got http.Header
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		got = r.Header
		io.Copy(rw, r.Body)
	})
	w.site("a.example.com", upstream(b.URL))
	if status, body := w.ask("http://a.example.com/x"); status != 200 || body != "hello" {
		t.Errorf("got %d %q, want what the upstream answers", status, body)
	}
	for name, want := range map[string]string{
		"X-Forwarded-Proto": "http", "X-Forwarded-Port": "80", "Forwarded": `for=127.0.0.1;host="a.example.com";proto=http`,
	} {
		if got := got.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if status, _ := w.ask("http://a.example.com:8081/x"); status != 200 || got.Get("X-Forwarded-Port") != "8081" {
		t.Errorf("got %d and port %q, want the port of the Host", status, got.Get("X-Forwarded-Port"))
	}
}

func TestWhoIsNotProxiedOverPlainHTTP(t *testing.T) {
	w := newWorld(t, proxying)
	asked := 0
	b := backend(t, func(http.ResponseWriter, *http.Request) { asked++ })
	w.site("redirects.example.com", upstream(b.URL), func(d *lacre.Domain) { d.RedirectHTTPS = true })
	c := w.certificate(w.leaf([]string{"verifies.example.com"}), w.ca)
	w.domain("verifies.example.com", []*lacre.Certificate{c}, upstream(b.URL), func(d *lacre.Domain) { d.VerifyClient = true })
	w.site("off.example.com", upstream(b.URL), func(d *lacre.Domain) { d.HTTPPort = -1 })
	w.site("nowhere.example.com", upstream(b.URL), func(d *lacre.Domain) { d.RedirectHTTPS, d.HTTPSPort = true, -1 })
	for host, want := range map[string]int{
		"redirects.example.com": 308, "verifies.example.com": 404, "off.example.com": 404, "nowhere.example.com": 404, "unknown.example.com": 404,
	} {
		if status, _ := w.ask("http://" + host + "/"); status != want {
			t.Errorf("%s: got %d, want %d", host, status, want)
		}
	}
	if asked != 0 {
		t.Errorf("the upstream was asked %d times, want never", asked)
	}
	w.site("page.example.com")
	if status, body := w.ask("http://page.example.com/"); status != 200 || !strings.Contains(body, "no upstream yet") {
		t.Errorf("got %d %q, want the built-in page", status, body)
	}
}

func TestPortsThatAreOff(t *testing.T) {
	w := newWorld(t, proxying)
	d, _ := w.site("a.example.com")
	client := w.client(false)
	get := func() int {
		resp, err := client.Get("https://a.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body) // or the connection is not used again
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := get(); got != 200 {
		t.Fatalf("got %d, want 200", got)
	}
	d.HTTPSPort = -1
	w.store(d)
	if got := get(); got != http.StatusMisdirectedRequest {
		t.Errorf("on an open connection: got %d, want 421", got)
	}
	if c, err := w.dial("a.example.com"); err == nil {
		c.Close()
		t.Error("got a handshake, want none")
	} else if !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("got %v, want unrecognized_name", err)
	}
	if status, _ := w.ask("http://a.example.com/"); status != 200 {
		t.Errorf("over plain HTTP: got %d, want 200", status)
	}
	d.HTTPSPort, d.HTTPPort = 443, -1
	w.store(d)
	w.connect("a.example.com").Close()
	if status, _ := w.ask("http://a.example.com/"); status != 404 {
		t.Errorf("over plain HTTP that is off: got %d, want 404", status)
	}
}

func TestWebSocketOverPlainHTTPEndsWithTheEdge(t *testing.T) {
	w := newWorld(t, proxying)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, nil)
		if err != nil {
			return
		}
		kind, message, err := c.Read(r.Context())
		if err == nil {
			c.Write(r.Context(), kind, message)
		}
		c.Read(r.Context())
	})
	w.site("a.example.com", upstream(b.URL))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://a.example.com/chat", &websocket.DialOptions{HTTPClient: w.clear()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	_, got, err := c.Read(ctx)
	if diff := cmp.Diff("hi", string(got)); err != nil || diff != "" {
		t.Fatalf("echo: %v (-want +got):\n%s", err, diff)
	}
	grace, done := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer done()
	if err := w.edge.Shutdown(grace); err == nil {
		t.Error("got no error of Shutdown, want that it had to close the WebSocket")
	}
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("got %v, want the connection closed with the edge", err)
	}
}
