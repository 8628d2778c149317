package edge_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"lacre"
	"lacre/edge"
)

// rawCodec passes messages as bytes.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(b []byte, v any) error { *v.(*[]byte) = append([]byte{}, b...); return nil }
func (rawCodec) Name() string                    { return "raw" }

// echo answers each message of a bidirectional stream, then ends with a status that
// only trailers can carry.
func echo(_ any, stream grpc.ServerStream) error {
	stream.SetHeader(metadata.Pairs("x-header", "early"))
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if errors.Is(err, io.EOF) {
			stream.SetTrailer(metadata.Pairs("x-trailer", "late"))
			return status.Error(codes.DataLoss, "as agreed")
		}
		if err != nil {
			return err
		}
		reply := append([]byte("echo "), message...)
		if err := stream.SendMsg(&reply); err != nil {
			return err
		}
	}
}

var echoStream = grpc.StreamDesc{StreamName: "Echo", Handler: echo, ServerStreams: true, ClientStreams: true}

func TestGRPC(t *testing.T) {
	w := newWorld(t)
	l := listen(t)
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{echoStream},
	}, struct{}{})
	go server.Serve(l)
	t.Cleanup(server.Stop)
	w.site("grpc.example.com", upstream("h2c://"+l.Addr().String()))

	conn, err := grpc.NewClient("passthrough:///grpc.example.com:443",
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: w.ca.Pool()})),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.addr)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &echoStream, "/test.Echo/Echo")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 { // each reply is read before the next message is sent
		message := fmt.Appendf(nil, "message %d", i)
		var reply []byte
		if err := errors.Join(stream.SendMsg(&message), stream.RecvMsg(&reply)); err != nil {
			t.Fatal(err)
		}
		if got, want := string(reply), "echo "+string(message); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	stream.CloseSend()
	var nothing []byte
	if err := stream.RecvMsg(&nothing); status.Code(err) != codes.DataLoss || status.Convert(err).Message() != "as agreed" {
		t.Errorf("got %v, want the status of the upstream", err)
	}
	header, _ := stream.Header()
	if h, tr := header.Get("x-header"), stream.Trailer().Get("x-trailer"); len(h) != 1 || len(tr) != 1 {
		t.Errorf("got header %q and trailer %q, want one of each", h, tr)
	}
}

// late answers a stream a while after all of it has come.
func late(after time.Duration) func(any, grpc.ServerStream) error {
	return func(_ any, stream grpc.ServerStream) error {
		var message []byte
		for stream.RecvMsg(&message) == nil {
		}
		time.Sleep(after)
		return stream.SendMsg(&message)
	}
}

// TestSilentGRPC: a stream may begin with silence, and be silent in between, for longer than
// any other request. So may one whose client has said all that it has to say.
func TestSilentGRPC(t *testing.T) {
	const limit = 200 * time.Millisecond
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Response, c.Timeouts.Stall = limit, limit })
	own := w.leaf([]string{"127.0.0.1"}).TLS()
	secure := grpc.Creds(credentials.NewServerTLSFromCert(&own))
	for name, address := range map[string]string{"h2c": "h2c://" + grpcEndless(t), "https": "https://" + grpcEndless(t, secure)} {
		t.Run(name, func(t *testing.T) {
			d, _ := w.site("a.example.com", upstream(address))
			defer w.commit(lacre.Tx{Delete: []lacre.Record{d}})
			r := stream(t, w)
			for range 2 {
				time.Sleep(3 * limit)
				if err := r.say(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	echoed := echoStream
	echoed.Handler = late(3 * limit)
	for name, address := range map[string]string{"h2c": "h2c://" + grpcServer(t, echoed), "https": "https://" + grpcServer(t, echoed, secure)} {
		t.Run("late over "+name, func(t *testing.T) {
			d, _ := w.site("a.example.com", upstream(address))
			defer w.commit(lacre.Tx{Delete: []lacre.Record{d}})
			s, message := streamTo(t, w), []byte("hi")
			if err := errors.Join(s.SendMsg(&message), s.CloseSend(), s.RecvMsg(&message)); err != nil {
				t.Fatal(err)
			}
		})
	}
}
