package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// connection is a kind of connection that a soak holds open.
type connection struct {
	name     string
	upstream string
	talk     func(ctx context.Context, s *rotated, count *atomic.Int64)
}

// kinds are what a soak holds open in equal parts.
func (k *soaking) kinds() []connection {
	list := []connection{
		{"HTTP/1.1", "http", func(ctx context.Context, s *rotated, n *atomic.Int64) { k.requests(ctx, s, n, false) }},
		{"HTTP/2", "http", func(ctx context.Context, s *rotated, n *atomic.Int64) { k.requests(ctx, s, n, true) }},
		{"WebSocket", "http", k.webSocket},
		{"gRPC", "grpc", k.grpcStream},
	}
	for _, kind := range list {
		k.done[kind.name] = new(atomic.Int64)
	}
	return list
}

// wait waits and tells whether ctx still lasts.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// breathe is the pause between two exchanges on one connection.
func breathe(ctx context.Context) bool {
	return wait(ctx, time.Second+time.Duration(rand.Int64N(int64(8*time.Second))))
}

// lost reports a connection that did not last, unless the soak is over.
func (k *soaking) lost(ctx context.Context, kind string, s *rotated, err error) {
	if ctx.Err() == nil {
		k.resets.Add(1)
		k.t.Errorf("%s connection to %s: %v", kind, s.host, err)
	}
}

// requests sends one request after the other over one connection.
func (k *soaking) requests(ctx context.Context, s *rotated, count *atomic.Int64, http2 bool) {
	c := s.client(ctx, k.world, http2)
	defer c.CloseIdleConnections()
	for next := true; next; next = breathe(ctx) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.host+"/echo", http.NoBody)
		if err != nil {
			k.t.Error(err)
			return
		}
		resp, err := c.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil && (resp.StatusCode != http.StatusOK || resp.ProtoAtLeast(2, 0) != http2) {
				err = errors.New(resp.Proto + " " + resp.Status)
			}
		}
		if err != nil {
			k.lost(ctx, "HTTP", s, err)
			return
		}
		count.Add(1)
	}
}

// webSocket sends messages and reads them back.
func (k *soaking) webSocket(ctx context.Context, s *rotated, count *atomic.Int64) {
	c, _, err := websocket.Dial(ctx, "wss://"+s.host+"/socket", &websocket.DialOptions{HTTPClient: s.client(ctx, k.world, false)})
	if err != nil {
		k.lost(ctx, "WebSocket", s, err)
		return
	}
	defer c.CloseNow()
	for next := true; next; next = breathe(ctx) {
		err := c.Write(ctx, websocket.MessageText, []byte(s.host))
		if err == nil {
			var got []byte
			if _, got, err = c.Read(ctx); err == nil && string(got) != s.host {
				err = errors.New("another message came back")
			}
		}
		if err != nil {
			k.lost(ctx, "WebSocket", s, err)
			return
		}
		count.Add(1)
	}
}

// rawCodec passes messages as bytes.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(b []byte, v any) error { *v.(*[]byte) = append([]byte{}, b...); return nil }
func (rawCodec) Name() string                    { return "raw" }

var echoStream = grpc.StreamDesc{StreamName: "Echo", ServerStreams: true, ClientStreams: true,
	Handler: func(_ any, stream grpc.ServerStream) error {
		for {
			var message []byte
			if err := stream.RecvMsg(&message); err != nil {
				return err
			}
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
	}}

// grpcStream holds one bidirectional stream open.
func (k *soaking) grpcStream(ctx context.Context, s *rotated, count *atomic.Int64) {
	conn, err := grpc.NewClient("passthrough:///"+s.host+":443",
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: k.ca.Pool()})),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})),
		grpc.WithContextDialer(func(dialling context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(dialling, "tcp", k.at.EdgeAddr)
		}))
	if err != nil {
		k.t.Error(err)
		return
	}
	defer conn.Close()
	stream, err := conn.NewStream(ctx, &echoStream, "/soak.Echo/Echo")
	for next := err == nil; next; next = breathe(ctx) {
		message, reply := []byte(s.host), []byte(nil)
		if err = errors.Join(stream.SendMsg(&message), stream.RecvMsg(&reply)); err != nil {
			break
		}
		if string(reply) != s.host {
			err = errors.New("another message came back")
			break
		}
		count.Add(1)
	}
	if err != nil {
		k.lost(ctx, "gRPC", s, err)
	}
}

// echoHTTP is an upstream that answers requests and echoes WebSocket messages.
func echoHTTP(t testing.TB) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "hello") })
	mux.HandleFunc("/socket", func(rw http.ResponseWriter, r *http.Request) {
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
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// echoGRPC is an upstream with one echoing stream.
func echoGRPC(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "soak.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{echoStream}}, struct{}{})
	go server.Serve(l)
	t.Cleanup(server.Stop)
	return "h2c://" + l.Addr().String()
}
