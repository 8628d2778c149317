package edge_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// running is an exchange under way: say makes a message go to the upstream and back,
// ending waits until it has ended and tells how.
type running struct {
	say    func() error
	ending func() string
}

// arrived says of the upstream below that it has a request that it will not answer.
var arrived sync.Map // path -> chan struct{}

// endless is an upstream whose answers do not end by themselves.
func endless(t *testing.T) string {
	return backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if c, ok := arrived.LoadAndDelete(r.URL.Path); ok {
			r.Body.Read(make([]byte, 1))
			close(c.(chan struct{}))
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		switch r.URL.Path {
		case "/events":
			for http.NewResponseController(rw).Flush() == nil && r.Context().Err() == nil {
				io.WriteString(rw, "data\n")
				time.Sleep(time.Millisecond)
			}
		default:
			c, err := websocket.Accept(rw, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			for {
				kind, message, err := c.Read(r.Context())
				if err != nil || c.Write(r.Context(), kind, message) != nil {
					return
				}
			}
		}
	}).URL
}

// grpcEndless is endless for gRPC; it returns the server's address.
func grpcEndless(t *testing.T, opts ...grpc.ServerOption) string {
	return grpcServer(t, echoStream, opts...)
}

func grpcServer(t *testing.T, stream grpc.StreamDesc, opts ...grpc.ServerOption) string {
	l := listen(t)
	server := grpc.NewServer(append(opts, grpc.ForceServerCodec(rawCodec{}))...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{stream},
	}, struct{}{})
	go server.Serve(l)
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// chat is a WebSocket.
func chat(t *testing.T, client *http.Client) running {
	ctx := within(t)
	client.Timeout = 0 // it would end the WebSocket
	c, _, err := websocket.Dial(ctx, "wss://a.example.com/chat", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return running{
		func() error {
			err := c.Write(ctx, websocket.MessageText, []byte("hi"))
			if err == nil {
				_, _, err = c.Read(ctx)
			}
			return err
		},
		func() string { _, _, err := c.Read(ctx); return err.Error() },
	}
}

func webSocket(t *testing.T, w *world, edits ...func(*tls.Config)) running {
	return chat(t, w.client(false, edits...))
}

func stream(t *testing.T, w *world, edits ...func(*tls.Config)) running {
	s := streamTo(t, w, edits...)
	var reply []byte
	return running{
		func() error { message := []byte("hi"); return errors.Join(s.SendMsg(&message), s.RecvMsg(&reply)) },
		func() string { return fmt.Sprint(s.RecvMsg(&reply)) },
	}
}

// streamTo begins a stream of gRPC.
func streamTo(t *testing.T, w *world, edits ...func(*tls.Config)) grpc.ClientStream {
	cfg := &tls.Config{RootCAs: w.ca.Pool()}
	for _, edit := range edits {
		edit(cfg)
	}
	conn, err := grpc.NewClient("passthrough:///a.example.com:443",
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.addr)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s, err := conn.NewStream(within(t), &echoStream, "/test.Echo/Echo")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// download is an answer that has begun.
func download(http2 bool) func(*testing.T, *world, ...func(*tls.Config)) running {
	return func(t *testing.T, w *world, edits ...func(*tls.Config)) running {
		resp, err := w.client(http2, edits...).Get("https://a.example.com/events")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return running{
			func() error { _, err := io.ReadFull(resp.Body, make([]byte, 5)); return err },
			func() string { _, err := io.Copy(io.Discard, resp.Body); return fmt.Sprint(err) },
		}
	}
}

// unanswered is a request whose answer has not begun, with or without a body that is
// still being sent.
func unanswered(http2, upload bool) func(*testing.T, *world, ...func(*tls.Config)) running {
	return func(t *testing.T, w *world, edits ...func(*tls.Config)) running {
		ctx, cancel := context.WithCancel(within(t))
		t.Cleanup(cancel)
		in, out := io.Pipe()
		t.Cleanup(func() { in.Close() })
		var body io.Reader
		if upload {
			body = in
			go out.Write([]byte("some"))
		}
		path, there := "/"+lacre.NewID(), make(chan struct{})
		arrived.Store(path, there)
		r, _ := http.NewRequestWithContext(ctx, "POST", "https://a.example.com"+path, body)
		ended := make(chan string, 1)
		client := w.client(http2, edits...)
		go func() {
			resp, err := client.Do(r)
			if err != nil {
				ended <- err.Error()
				return
			}
			resp.Body.Close()
			ended <- resp.Status
		}()
		select {
		case <-there:
		case how := <-ended:
			t.Fatalf("before: %s", how)
		}
		return running{
			func() error {
				select {
				case how := <-ended:
					return errors.New(how)
				default:
					return nil
				}
			},
			func() string { return <-ended },
		}
	}
}

// TestRunningExchanges: what runs ends when a request that begins would be refused, and
// not otherwise. The domain is the wildcard, so that a name below it can be taken away.
func TestRunningExchanges(t *testing.T) {
	ca, other := testcert.NewCA(t, "clients"), testcert.NewCA(t, "others")
	type place struct {
		*world
		domain *lacre.Domain
		cert   *lacre.Certificate
		client *x509.Certificate
	}
	for _, change := range []struct {
		name      string
		open      bool // clients are not verified before
		do        func(p place)
		end, keep bool // whether what runs goes on, by default and with KeepConnections
	}{
		{name: "the leaf is rotated", do: func(p place) { p.rotate(p.cert, p.leaf([]string{"*.example.com"}), ca) }, end: true, keep: true},
		{name: "another domain changes", do: func(p place) { p.site("b.example.com", verifyClients) }, end: true, keep: true},
		{name: "a switch that is no matter of trust", do: func(p place) { p.domain.HSTS = true; p.store(p.domain) }, end: true, keep: true},
		{name: "another list", do: func(p place) { p.revoke(p.cert, ca) }, keep: true},
		{name: "the client is revoked", do: func(p place) { p.revoke(p.cert, ca, p.client) }},
		{name: "a trust root more", do: func(p place) { p.rotate(p.cert, p.leaf([]string{"*.example.com"}), ca, other) }, keep: true},
		{name: "another trust root", do: func(p place) { p.rotate(p.cert, p.leaf([]string{"*.example.com"}), other) }},
		{name: "no trust root", do: func(p place) { p.rotate(p.cert, p.leaf([]string{"*.example.com"})) }},
		{name: "clients are verified", open: true, do: func(p place) { p.domain.VerifyClient = true; p.store(p.domain) }},
		{name: "TLS 1.3 is demanded", open: true, do: func(p place) { p.domain.MinTLS = "TLSv1.3"; p.store(p.domain) }},
		{name: "HTTPS is switched off", open: true, do: func(p place) { p.domain.HTTPSPort = -1; p.store(p.domain) }},
		{name: "the domain is gone", open: true, do: func(p place) { p.commit(lacre.Tx{Delete: []lacre.Record{p.domain}}) }},
		{name: "the name has a domain of its own", open: true, do: func(p place) { p.site("a.example.com", verifyClients) }},
		{name: "a binding more, then another trust root", do: func(p place) {
			second := p.certificate(p.leaf([]string{"*.example.com"}, testcert.WithRSA(2048)), ca)
			p.domain.Bindings = append(p.domain.Bindings, lacre.Binding{CertificateID: second.ID, Algorithm: second.Facts.Algorithm})
			p.store(p.domain)
			p.rotate(p.cert, p.leaf([]string{"*.example.com"}), other)
			p.rotate(second, p.leaf([]string{"*.example.com"}, testcert.WithRSA(2048)), other)
		}},
	} {
		for _, kind := range []struct {
			name  string
			begin func(*testing.T, *world, ...func(*tls.Config)) running
			want  string // part of how it ends
		}{
			{"WebSocket", webSocket, "EOF"},
			{"gRPC stream", stream, "stream terminated by RST_STREAM"},
			{"download over HTTP/1.1", download(false), "unexpected EOF"},
			{"download over HTTP/2", download(true), "stream error"},
			{"poll over HTTP/1.1", unanswered(false, false), "421"},
			{"poll over HTTP/2", unanswered(true, false), "421"},
			{"upload over HTTP/1.1", unanswered(false, true), ""}, // Go's client may see the close first
			{"upload over HTTP/2", unanswered(true, true), "421"},
		} {
			for _, keep := range []bool{false, true} {
				if (keep || change.open) && kind.name != "WebSocket" && kind.name != "gRPC stream" {
					continue // all kinds are seen to end, and to go on, elsewhere
				}
				t.Run(fmt.Sprintf("%s, %s, keep %t", change.name, kind.name, keep), func(t *testing.T) {
					t.Parallel()
					registry := prometheus.NewRegistry()
					w := newWorld(t, func(c *edge.Config) { c.KeepConnections, c.Metrics = keep, registry })
					address := endless(t)
					if kind.name == "gRPC stream" {
						address = "h2c://" + grpcEndless(t)
					}
					cert := w.certificate(w.leaf([]string{"*.example.com"}), ca)
					domain := w.domain("*.example.com", []*lacre.Certificate{cert}, upstream(address), func(d *lacre.Domain) { d.VerifyClient = !change.open })
					leaf := ca.Leaf(t, []string{"client"})
					r := kind.begin(t, w, tls12, as(leaf))
					if err := r.say(); err != nil {
						t.Fatalf("before: %v", err)
					}
					change.do(place{w, domain, cert, leaf.Cert})
					if goesOn := keep && change.keep || change.end; goesOn {
						time.Sleep(50 * time.Millisecond) // it would have ended by now
						if err := r.say(); err != nil {
							t.Errorf("it has ended: %v", err)
						}
						return
					}
					began := time.Now()
					if got := r.ending(); !strings.Contains(got, kind.want) {
						t.Errorf("it ended with %q, want %q", got, kind.want)
					}
					if took := time.Since(began); took > 10*time.Second {
						t.Errorf("it ended after %v", took)
					}
					eventually(t, "the end is counted", func() bool { return value(t, registry, "lacre_edge_requests_ended_total") == 1 })
				})
			}
		}
	}
}

// TestRunningTLCP is TestRunningExchanges for a WebSocket over TLCP.
func TestRunningTLCP(t *testing.T) {
	server, ca, other := newSMCA(t), newSMCA(t), newSMCA(t)
	const host = "a.example.com"
	for _, change := range []struct {
		name   string
		verify bool
		do     func(w *world, d *lacre.Domain, c *lacre.Certificate)
		goesOn bool
	}{
		{"the pair is rotated", true, func(w *world, _ *lacre.Domain, c *lacre.Certificate) {
			w.rotateDual(c, server.Dual(w, []string{host}), ca)
		}, true},
		{"TLS 1.3 is demanded", false, func(w *world, d *lacre.Domain, _ *lacre.Certificate) { d.MinTLS = "TLSv1.3"; w.store(d) }, true},
		{"another trust root", true, func(w *world, _ *lacre.Domain, c *lacre.Certificate) {
			w.rotateDual(c, server.Dual(w, []string{host}), other)
		}, false},
		{"clients are verified", false, func(w *world, d *lacre.Domain, _ *lacre.Certificate) { d.VerifyClient = true; w.store(d) }, false},
		{"the domain is gone", false, func(w *world, d *lacre.Domain, _ *lacre.Certificate) { w.commit(lacre.Tx{Delete: []lacre.Record{d}}) }, false},
	} {
		t.Run(change.name, func(t *testing.T) {
			w := newWorld(t)
			cert := w.dual(server.Dual(t, []string{host}), ca)
			d := w.domain(host, []*lacre.Certificate{cert}, upstream(endless(t)), func(d *lacre.Domain) { d.VerifyClient = change.verify })
			r := chat(t, w.clientTLCP(server, withPair(t, ca.Dual(t, []string{"client"}))))
			if err := r.say(); err != nil {
				t.Fatal(err)
			}
			change.do(w, d, cert)
			if change.goesOn {
				time.Sleep(50 * time.Millisecond) // it would have ended by now
				if err := r.say(); err != nil {
					t.Errorf("it has ended: %v", err)
				}
			} else if got := r.ending(); !strings.Contains(got, "EOF") {
				t.Errorf("it ended with %q, want EOF", got)
			}
		})
	}
}

// TestRunningPlain: over plain HTTP a WebSocket ends when its domain is not proxied there
// any more.
func TestRunningPlain(t *testing.T) {
	for _, test := range []struct {
		name   string
		edit   func(*lacre.Domain)
		goesOn bool
	}{
		{"HSTS", func(d *lacre.Domain) { d.HSTS = true }, true},
		{"redirect", func(d *lacre.Domain) { d.RedirectHTTPS = true }, false},
		{"clients are verified", verifyClients, false},
		{"HTTP is switched off", func(d *lacre.Domain) { d.HTTPPort = -1 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, proxying)
			d, _ := w.site("a.example.com", upstream(endless(t)))
			ctx, client := within(t), w.clear()
			client.Timeout = 0
			c, _, err := websocket.Dial(ctx, "ws://a.example.com/chat", &websocket.DialOptions{HTTPClient: client})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			test.edit(d)
			w.store(d)
			if !test.goesOn {
				if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
					t.Errorf("got %v, want the end", err)
				}
				return
			}
			time.Sleep(50 * time.Millisecond)
			c.Write(ctx, websocket.MessageText, []byte("hi"))
			if _, _, err := c.Read(ctx); err != nil {
				t.Errorf("it has ended: %v", err)
			}
		})
	}
}

// TestRunningEndsWithTheClientsCertificate: no change is needed for that.
func TestRunningEndsWithTheClientsCertificate(t *testing.T) {
	w := newWorld(t)
	ca := testcert.NewCA(t, "clients")
	cert := w.certificate(w.leaf([]string{"a.example.com"}), ca)
	w.domain("a.example.com", []*lacre.Certificate{cert}, upstream(endless(t)), verifyClients)
	now := time.Now()
	r := webSocket(t, w, as(ca.Leaf(t, []string{"client"}, testcert.WithValidity(now.Add(-time.Hour), now.Add(2*time.Second)))))
	if err := r.say(); err != nil {
		t.Fatal(err)
	}
	if got := r.ending(); !strings.Contains(got, "EOF") {
		t.Errorf("it ended with %q, want EOF", got)
	}
	if time.Since(now) < time.Second {
		t.Error("it ended before the certificate did")
	}
}

// TestRunningRace: requests come and go while the policy changes to and fro. None is left
// that the policy forbids.
func TestRunningRace(t *testing.T) {
	w := newWorld(t)
	ca, other := testcert.NewCA(t, "clients"), testcert.NewCA(t, "others")
	cert := w.certificate(w.leaf([]string{"a.example.com"}), ca)
	w.domain("a.example.com", []*lacre.Certificate{cert}, upstream(endless(t)), verifyClients)
	var left, made atomic.Int64
	stop := time.Now().Add(2 * time.Second)
	for range 8 {
		leaf := as(ca.Leaf(t, []string{"client"}))
		go func() {
			for time.Now().Before(stop) {
				c, err := w.dial("a.example.com", leaf)
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				left.Add(1)
				made.Add(1)
				go func() {
					io.WriteString(c, "GET /events HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
					io.Copy(io.Discard, c)
					c.Close()
					left.Add(-1)
				}()
			}
		}()
	}
	for time.Now().Before(stop) {
		w.rotate(cert, w.leaf([]string{"a.example.com"}), other)
		w.rotate(cert, w.leaf([]string{"a.example.com"}), ca)
	}
	w.rotate(cert, w.leaf([]string{"a.example.com"}), other)
	eventually(t, "all have ended", func() bool { return left.Load() == 0 })
	t.Logf("%d connections", made.Load())
}
