package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// An upstream of HTTP/2 may end its answer before the request has ended. net/http's transport
// waits for the request's body then.

// soonEnough is much less than the stalls here, and more than a busy machine takes.
const soonEnough = 5 * time.Second

func wantSoon(t *testing.T, since time.Time) {
	t.Helper()
	if took := time.Since(since); took > soonEnough {
		t.Errorf("it took %v", took)
	}
}

// TestGRPCEndsEarly: the status of a stream does not wait for its client's half, which may be
// silent for ever.
func TestGRPCEndsEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	enough := echoStream
	enough.Handler = func(_ any, s grpc.ServerStream) error {
		var m []byte
		if err := s.RecvMsg(&m); err != nil {
			return err
		}
		s.SendMsg(&m)
		return status.Error(codes.ResourceExhausted, "enough")
	}
	w.site("a.example.com", upstream("h2c://"+grpcServer(t, enough)))
	s, m := streamTo(t, w), []byte("hi")
	if err := s.SendMsg(&m); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&m); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&m); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want its status", err)
	}
}

// TestGRPCUpstreamDies: whose stream is silent is told.
func TestGRPCUpstreamDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := listen(t)
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{echoStream}}, struct{}{})
	go server.Serve(l)
	t.Cleanup(server.Stop)
	w.site("a.example.com", upstream("h2c://"+l.Addr().String()))
	s, m := streamTo(t, w), []byte("hi")
	if err := s.SendMsg(&m); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&m); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	server.Stop()
	if err := s.RecvMsg(&m); err == nil {
		t.Error("got another message")
	}
	wantSoon(t, begin)
}

// refusingH2C is an upstream that refuses requests unread, at some length.
func refusingH2C(t *testing.T) string {
	b := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "5000")
		rw.WriteHeader(http.StatusRequestEntityTooLarge)
		io.WriteString(rw, strings.Repeat("x", 5000))
	}))
	b.Config.Protocols = new(http.Protocols)
	b.Config.Protocols.SetUnencryptedHTTP2(true)
	b.Start()
	t.Cleanup(b.Close)
	return strings.Replace(b.URL, "http://", "h2c://", 1)
}

// TestEarlyAnswerOverHTTP2: the whole answer is there at once, however slow the request is.
func TestEarlyAnswerOverHTTP2(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // a stall takes a minute
	w.site("a.example.com", upstream(refusingH2C(t)))
	whole := func(t *testing.T, begin time.Time, resp *http.Response, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != 5000 || err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("got %d, %d bytes, %v", resp.StatusCode, n, err)
		}
		wantSoon(t, begin)
	}
	t.Run("client of HTTP 2", func(t *testing.T) {
		for range 5 { // it depends on who is first
			begin := time.Now()
			resp, err := w.client(true).Post("https://a.example.com/", "text/plain", pausing(t, 4))
			whole(t, begin, resp, err)
		}
	})
	t.Run("client of HTTP 1.1", func(t *testing.T) {
		c, begin := w.connect("a.example.com"), time.Now()
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("a", 10000))
		time.AfterFunc(50*time.Millisecond, func() { io.WriteString(c, strings.Repeat("a", 10000)) })
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		whole(t, begin, resp, err)
	})
	t.Run("client of HTTP 1.1 that stops", func(t *testing.T) {
		c, begin := w.connect("a.example.com"), time.Now()
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("a", 10000))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		whole(t, begin, resp, err)
	})
}

// TestUpstreamOfHTTP2Dies before it answers: that is its fault, and not that of a client that
// pauses.
func TestUpstreamOfHTTP2Dies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			go func(c net.Conn) {
				io.WriteString(c, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // SETTINGS
				time.Sleep(300 * time.Millisecond)
				c.Close()
			}(c)
		}
	}()
	w.site("a.example.com", upstream("h2c://"+l.Addr().String()))
	begin := time.Now()
	resp, err := w.client(true).Post("https://a.example.com/", "text/plain", pausing(t, 4))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusBadGateway {
		t.Errorf("got %d, want 502", resp.StatusCode)
	}
	wantSoon(t, begin)
}
