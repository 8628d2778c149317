package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"lacre/edge"
)

// rawUpstream answers every request with the same bytes, and tells what it was sent.
func rawUpstream(t *testing.T, answer string) (address string, lines chan string) {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	lines = make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				line, _ := bufio.NewReader(c).ReadString('\n')
				lines <- strings.TrimRight(line, "\r\n")
				io.WriteString(c, answer)
			}()
		}
	}()
	return "http://" + l.Addr().String(), lines
}

const emptyAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// TestRequestTargets: the upstream is asked for a path of its own and nothing else. A
// target in absolute form would say another Host there than the one checked here
// (RFC 9112 section 3.2.2), a blank would end the target early.
func TestRequestTargets(t *testing.T) {
	w := newWorld(t)
	address, lines := rawUpstream(t, emptyAnswer)
	w.site("a.example.com", upstream(address+"/base"))
	for _, test := range []struct {
		target string
		status int
		want   string
	}{
		{"/p?q", 200, "GET /base/p?q HTTP/1.1"},
		{"https://a.example.com/p", 200, "GET /base/p HTTP/1.1"},
		{"https://a.example.com", 200, "GET /base/ HTTP/1.1"},
		{"https://other.example.com/p", 421, ""},
		{"x:http://other.example.com/secret", 400, ""},
		{"x:secret", 400, ""},
	} {
		t.Run(test.target, func(t *testing.T) {
			c := w.connect("a.example.com")
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a.example.com\r\n\r\n", test.target)
			wantTarget(t, c, lines, test.status, test.want)
		})
	}
	t.Run("a blank over HTTP/2", func(t *testing.T) {
		r, _ := http.NewRequest("GET", "https://a.example.com/", nil)
		r.URL = &url.URL{Scheme: "https", Host: "a.example.com", Path: "/p", RawQuery: "q HTTP/1.0"}
		resp, err := w.client(true).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		wantSent(t, lines, resp.StatusCode, 400, "")
	})
}

func wantTarget(t *testing.T, c net.Conn, lines chan string, status int, want string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantSent(t, lines, resp.StatusCode, status, want)
}

func wantSent(t *testing.T, lines chan string, status, wantStatus int, want string) {
	t.Helper()
	got := ""
	select {
	case got = <-lines:
	default:
	}
	if status != wantStatus || got != want {
		t.Errorf("got %d, the upstream was sent %q, want %d, %q", status, got, wantStatus, want)
	}
}

// TestImpossibleStatus: net/http panics when it is told to answer with a status that is
// none.
func TestImpossibleStatus(t *testing.T) {
	w := newWorld(t)
	address, _ := rawUpstream(t, "HTTP/1.1 042 What\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	w.site("a.example.com", upstream(address))
	eachHTTP(t, func(t *testing.T, http2 bool) {
		if status, err := request(t, w.client(http2), "https://a.example.com/"); status != http.StatusBadGateway {
			t.Errorf("got %d, %v, want 502", status, err)
		}
	})
	if strings.Contains(w.log.String(), "panic") {
		t.Error("a handler panicked")
	}
}

// TestUpstreamThatIsTheEdge: one request of a tenant must not become as many as the edge
// can hold. A header that a client sends takes nothing away from that.
func TestUpstreamThatIsTheEdge(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.MaxConns = 100 })
	_, port, _ := net.SplitHostPort(w.addr)
	w.site("localhost", upstream("https://localhost:"+port))
	eachHTTP(t, func(t *testing.T, http2 bool) {
		client := w.client(http2)
		client.Timeout = 10 * time.Second
		for _, header := range []http.Header{{}, {"Cdn-Loop": {"other; v=1"}}, {"Connection": {"Cdn-Loop"}}} {
			if http2 && header["Connection"] != nil {
				continue // HTTP/2 has no such header
			}
			r, _ := http.NewRequest("GET", "https://localhost/", nil)
			r.Header = header
			resp, err := client.Do(r)
			if err != nil {
				t.Fatalf("%v: %v, with %d connections open", header, err, w.edge.Status().Connections)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusLoopDetected {
				t.Errorf("%v: got %d, want 508", header, resp.StatusCode)
			}
		}
	})
}

// TestBasePath: where an upstream has a path of its own nobody is led out of it, however the
// way is spelled. Dots that stay inside are passed on as they are.
func TestBasePath(t *testing.T) {
	w := newWorld(t)
	address, lines := rawUpstream(t, emptyAnswer)
	w.site("a.example.com", upstream(address+"/base"))
	for target, status := range map[string]int{
		"/..": 400, "/../": 400, "/../x": 400, "/x/../../y": 400, "//../x": 400, "/x//../../y": 400, "/./../x": 400,
		"/%2e%2e/x": 400, "/.%2E/x": 400, "/..%2fx": 400, "/x/..%2f..%2fy": 400, "/..;a=b/x": 400,
		"/..\\x": 400, "/%5c..%5c..": 400,
		"/a%5cb/../../x": 400, "/a\\b/../../x": 400, "/a%2fb/../../x": 400, "/%5c%5ca%5c%5cb/../../x": 400, "/a%2f..%2f..%2fx": 400,
		"/;%2fa/../x": 400, "/;%5ca/../x": 400, "/.;%2fa/../x": 400, "/;a/../x": 400, "/%09../../x": 400, "/..%09//x": 400, "/%2e%0a/../x": 400,
		"/..%3fx": 400, "/..%23x": 400, "/%252e%252e/x": 400, "/%252E./x": 400, "/..%20": 400, "/..%00/x": 400,
		"/..%252fx": 400, "/%252e%252e%255cx": 400, "/..%253bx": 400, "/..%2500": 400, "/..%2509%252fx": 400, "/..%253fx": 400,
		"/..%25252fx": 400, "/..%252fx%25zz": 400, "/a%25zz/b%2500c": 200,
		"/a;b/../x": 200, "/a;%2fb/c": 200,
		"/a%5cb/../x": 200, "/a%2fb/c": 200, "/x/..?/../..": 200, "/x/../y": 200, "/x/y/../../z": 200, "/...": 200, "/..x/": 200,
	} {
		c := w.connect("a.example.com")
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a.example.com\r\n\r\n", target)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		sent := ""
		if resp.StatusCode == 200 {
			sent = <-lines
		}
		if want := "GET /base" + strings.ReplaceAll(target, "\\", "%5C") + " HTTP/1.1"; resp.StatusCode != status || status == 200 && sent != want {
			t.Errorf("%s: got %d, the upstream was asked %q, want %d and, if asked, %q", target, resp.StatusCode, sent, status, want)
		}
	}
	w.site("root.example.com", upstream(address+"/"))
	c := w.connect("root.example.com")
	io.WriteString(c, "GET /../x HTTP/1.1\r\nHost: root.example.com\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("below the root there is nothing: got %v, %v, want 200", resp, err)
	}
}
