package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
)

// serverFor accepts one connection after the other and reports how each handshake ended
// for crypto/tls, with the name that was asked for.
func serverFor(t *testing.T, p pair, change func(*tls.Config)) (address string, ended <-chan error, names <-chan string) {
	t.Helper()
	cert, err := tls.X509KeyPair([]byte(p.cert), []byte(p.key))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	change(config)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	handshakes, asked := make(chan error, 16), make(chan string, 16)
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(raw, config)
			handshakes <- conn.Handshake()
			asked <- conn.ConnectionState().ServerName
			conn.Close()
		}
	}()
	return l.Addr().String(), handshakes, asked
}

func dialled(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestHandshake13(t *testing.T) {
	for _, kind := range []string{ecc, rs2} {
		t.Run(kind, func(t *testing.T) {
			ca, err := newAuthority(kind)
			if err != nil {
				t.Fatal(err)
			}
			p, err := ca.pair("a.bench.test")
			if err != nil {
				t.Fatal(err)
			}
			address, ended, names := serverFor(t, p, func(*tls.Config) {})
			client, err := newClient13(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // one client makes many
				if err := client.handshake(dialled(t, address), "a.bench.test"); err != nil {
					t.Fatalf("client: %v", err)
				}
				if err := <-ended; err != nil {
					t.Fatalf("server: %v", err)
				}
				if got := <-names; got != "a.bench.test" {
					t.Errorf("got server name %q", got)
				}
				if !bytes.Equal(client.leaf, p.leaf) {
					t.Error("the leaf that was kept is not the server's")
				}
			}
		})
	}
}

func TestHandshake13Refuses(t *testing.T) {
	ca, err := newAuthority(ecc)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.pair("a.bench.test")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.2 only":  func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"another group": func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} },
		"no such name": func(c *tls.Config) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			address, _, _ := serverFor(t, p, change)
			client, err := newClient13(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := client.handshake(dialled(t, address), "a.bench.test"); !errors.Is(err, errProtocol) {
				t.Errorf("got %v, want %v", err, errProtocol)
			}
		})
	}
}

// TestPairs: what the servers are given is a chain that verifies for its host.
func TestPairs(t *testing.T) {
	for _, kind := range []string{ecc, rs2} {
		ca, err := newAuthority(kind)
		if err != nil {
			t.Fatal(err)
		}
		pairs, err := ca.pairs(2)
		if err != nil {
			t.Fatal(err)
		}
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(ca.root)
		between.AddCert(ca.intermediate)
		for i, p := range pairs {
			leaf, err := x509.ParseCertificate(p.leaf)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: hostName(i)}); err != nil {
				t.Errorf("%s, host %d: %v", kind, i, err)
			}
		}
	}
}
