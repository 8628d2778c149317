package tlcp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// wire is one end of a connection in memory: what is written to one end is read from
// the other, without a system call in between.
type wire struct {
	net.Conn // nil: deadlines are not asked for
	in, out  chan []byte
	rest     []byte
}

func newWire() (a, b *wire) {
	x, y := make(chan []byte, 64), make(chan []byte, 64)
	return &wire{in: x, out: y}, &wire{in: y, out: x}
}

func (w *wire) Read(b []byte) (int, error) {
	if len(w.rest) == 0 {
		data, ok := <-w.in
		if !ok {
			return 0, io.EOF
		}
		w.rest = data
	}
	n := copy(b, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (w *wire) Write(b []byte) (int, error) {
	w.out <- append([]byte(nil), b...)
	return len(b), nil
}

func (w *wire) Close() error                     { return nil }
func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// cpuTime is the CPU time of this thread.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	const thread = 1 // RUSAGE_THREAD of getrusage(2)
	var usage syscall.Rusage
	if err := syscall.Getrusage(thread, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchServer measures the CPU time of a server's handshakes, which is that of a thread
// of its own: cpu-µs/server is the figure to read. The client works in other threads, so
// ns/op is both sides one after the other.
func benchServer(b *testing.B, client, server func(net.Conn) error) {
	b.Helper()
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := cpuTime(b)
	for b.Loop() {
		c, s := newWire()
		done := make(chan error, 1)
		go func() { done <- client(c) }()
		if err := server(s); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-start).Microseconds())/float64(b.N), "cpu-µs/server")
}

func BenchmarkHandshake(b *testing.B) {
	ca := newAuthority(b, "root", nil)
	server, client := ca.pair(b, testName), ca.pair(b, "client")
	for _, suite := range defaultSuites {
		b.Run(CipherSuiteName(suite), func(b *testing.B) {
			cc := &Config{RootCAs: ca.pool, ServerName: testName, KeyPair: client, CipherSuites: []uint16{suite}}
			sc := &Config{KeyPair: server}
			if isECDHE(suite) {
				sc.ClientAuth, sc.ClientCAs = RequireAndVerifyClientCert, ca.pool
			}
			benchServer(b, func(c net.Conn) error { return Client(c, cc).Handshake() },
				func(c net.Conn) error { return Server(c, sc).Handshake() })
		})
	}
	b.Run("resumed", func(b *testing.B) {
		cc := &Config{RootCAs: ca.pool, ServerName: testName, ClientSessionCache: NewClientSessionCache(1)}
		sc := sealed(&Config{KeyPair: server})
		benchServer(b, func(c net.Conn) error { return Client(c, cc).Handshake() },
			func(c net.Conn) error { return Server(c, sc).Handshake() })
	})
	b.Run("TLS13_P256", func(b *testing.B) { benchTLS13(b) })
}

// benchTLS13 is what TLCP is compared with: TLS 1.3 with a P-256 key exchange and an ECDSA
// P-256 certificate.
func benchTLS13(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: testName}, DNSNames: []string{testName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	curves := []tls.CurveID{tls.CurveP256}
	sc := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13,
		CurvePreferences: curves, SessionTicketsDisabled: true}
	cc := &tls.Config{RootCAs: roots, ServerName: testName, CurvePreferences: curves}
	benchServer(b, func(c net.Conn) error { return tls.Client(c, cc).Handshake() },
		func(c net.Conn) error { return tls.Server(c, sc).Handshake() })
}

// BenchmarkBulk seals and opens full records on one core, as a proxy does with a body.
func BenchmarkBulk(b *testing.B) {
	for _, suite := range []uint16{ECC_SM4_GCM_SM3, ECC_SM4_CBC_SM3} {
		client, _ := directions(make([]byte, 128), suite)
		plain := make([]byte, maxPlaintext)
		sealed, err := client.seal(nil, rand.Reader, 0, recordApplicationData, plain)
		if err != nil {
			b.Fatal(err)
		}
		scratch := make([]byte, len(sealed))
		b.Run(CipherSuiteName(suite)+"/seal", func(b *testing.B) {
			b.SetBytes(maxPlaintext)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.seal(scratch[:0], rand.Reader, 0, recordApplicationData, plain); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(CipherSuiteName(suite)+"/open", func(b *testing.B) {
			b.SetBytes(maxPlaintext)
			b.ReportAllocs()
			for b.Loop() {
				copy(scratch, sealed)
				if _, ok := client.open(0, recordApplicationData, scratch); !ok {
					b.Fatal("got a record that does not open")
				}
			}
		})
	}
}
