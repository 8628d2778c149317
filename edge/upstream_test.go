package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
)

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
		"http://user:secret@127.0.0.1:x/":      502,
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
