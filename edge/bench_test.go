package edge_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// BenchmarkHandshake makes full and resumed handshakes over loopback, both ends in
// this process: what is measured is about twice what the edge alone costs.
func BenchmarkHandshake(b *testing.B) {
	w := newWorld(b)
	w.domain("ecc.example.com", []*lacre.Certificate{w.certificate(w.leaf([]string{"ecc.example.com"}))})
	w.domain("rsa.example.com", []*lacre.Certificate{w.certificate(w.leaf([]string{"rsa.example.com"}, testcert.WithRSA(2048)))})
	w.domain("both.example.com", []*lacre.Certificate{
		w.certificate(w.leaf([]string{"both.example.com"})),
		w.certificate(w.leaf([]string{"both.example.com"}, testcert.WithRSA(2048))),
	})
	for _, bench := range []struct {
		name, host string
		edit       func(*tls.Config)
	}{
		{"TLS 1.3 P-256", "ecc.example.com", tls13},
		{"TLS 1.3 P-256 X25519", "ecc.example.com", func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }},
		{"TLS 1.3 RSA-2048", "rsa.example.com", tls13},
		{"TLS 1.3 both bound", "both.example.com", tls13},
		{"TLS 1.2 P-256", "ecc.example.com", tls12},
	} {
		b.Run(bench.name, func(b *testing.B) {
			cfg := &tls.Config{ServerName: bench.host, InsecureSkipVerify: true}
			bench.edit(cfg)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					handshakeOnce(b, w.addr, cfg)
				}
			})
		})
	}
	b.Run("plain crypto-tls for comparison", func(b *testing.B) {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{w.leaf([]string{"x"}).TLS()}})
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { c.(*tls.Conn).Handshake(); c.Close() }()
			}
		}()
		cfg := &tls.Config{ServerName: "x", InsecureSkipVerify: true}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				handshakeOnce(b, l.Addr().String(), cfg)
			}
		})
	})
}

func handshakeOnce(b *testing.B, addr string, cfg *tls.Config) {
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	if err := tls.Client(raw, cfg).Handshake(); err != nil {
		b.Error(err)
	}
	raw.(*net.TCPConn).SetLinger(0) // do not run out of ports
}

// BenchmarkRotation applies new versions to an edge that holds many certificates:
// it costs the same with any number of them.
func BenchmarkRotation(b *testing.B) {
	for _, size := range []int{1, 1_000, 100_000} {
		b.Run(fmt.Sprintf("%d certificates", size), func(b *testing.B) { benchmarkRotation(b, size) })
	}
}

func benchmarkRotation(b *testing.B, size int) {
	w := &world{TB: b, ca: testcert.NewCA(b, "crowd"), box: &strongbox{keys: map[string][]byte{}}, log: &syncBuffer{}}
	leaf := w.leaf([]string{"*.example.com"})
	one := w.version("", 1, leaf)
	var last string
	feed := &crowd{size: size, read: func(id string) *lacre.Version {
		v := *one
		v.ProjectID, v.CertificateID = "", id
		return &v
	}}
	feed.changes = make(chan lacre.Change)
	feed.named = func(id string) { last = id }
	w.edge = startEdge(b, edge.Config{Feed: feed, Sealer: w.box}, w)
	<-w.edge.Ready()
	revision := int64(1)
	for b.Loop() {
		revision++
		v := *one
		v.ProjectID, v.CertificateID, v.Number = "", last, int(revision)
		feed.changes <- lacre.Change{Revision: revision, Put: []lacre.Record{&v}}
		w.applied(revision)
	}
}
