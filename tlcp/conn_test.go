package tlcp

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

const testName = "gw.example.com"

// tcpPair returns both ends of a connection on the loopback.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{client, server} {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { _ = c.Close() })
	}
	return client, server
}

// shake runs both handshakes and returns both connections.
func shake(t testing.TB, clientConfig, serverConfig *Config) (client, server *Conn, clientErr, serverErr error) {
	t.Helper()
	c, s := tcpPair(t)
	client, server = Client(c, clientConfig), Server(s, serverConfig)
	done := make(chan error, 1)
	go func() {
		err := server.Handshake()
		if err != nil {
			_ = s.(*net.TCPConn).CloseWrite() // not Close: a reset would eat the alert
		}
		done <- err
	}()
	clientErr = client.Handshake()
	if clientErr != nil {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	return client, server, clientErr, <-done
}

func mustShake(t testing.TB, clientConfig, serverConfig *Config) (client, server *Conn) {
	t.Helper()
	client, server, clientErr, serverErr := shake(t, clientConfig, serverConfig)
	if clientErr != nil || serverErr != nil {
		t.Fatalf("got client %v, server %v, want a handshake", clientErr, serverErr)
	}
	return client, server
}

// exchange sends n bytes in each direction and closes both.
func exchange(t *testing.T, client, server *Conn, n int) {
	t.Helper()
	for _, way := range [][2]*Conn{{client, server}, {server, client}} {
		data := make([]byte, n)
		_, _ = rand.Read(data)
		sent := make(chan error, 1)
		go func() {
			_, err := way[0].Write(data)
			if err == nil {
				err = way[0].CloseWrite()
			}
			sent <- err
		}()
		got, err := io.ReadAll(way[1])
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("got %d bytes and %v, want the %d sent", len(got), err, n)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

func TestSuites(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	server, client := ca.pair(t, testName), ca.pair(t, "client")
	for _, suite := range defaultSuites {
		for _, auth := range []ClientAuth{NoClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert} {
			if isECDHE(suite) && auth == NoClientCert {
				continue
			}
			t.Run(fmt.Sprint(CipherSuiteName(suite), auth), func(t *testing.T) {
				t.Parallel()
				c, s := mustShake(t,
					&Config{RootCAs: ca.pool, ServerName: testName, KeyPair: client, CipherSuites: []uint16{suite}, NextProtos: []string{"x", "h2"}},
					&Config{KeyPair: server, ClientAuth: auth, ClientCAs: ca.pool, NextProtos: []string{"h2", "x"}})
				for _, state := range []ConnectionState{c.ConnectionState(), s.ConnectionState()} {
					if state.CipherSuite != suite || !state.HandshakeComplete || state.DidResume || state.NegotiatedProtocol != "h2" ||
						state.ServerName != testName || state.Version != Version {
						t.Errorf("got %+v, want %s, h2 and %s", state, CipherSuiteName(suite), testName)
					}
				}
				if got := len(c.ConnectionState().PeerCertificates); got != 2 {
					t.Errorf("client: got %d certificates, want 2", got)
				}
				want := 2
				if auth == NoClientCert {
					want = 0
				}
				if got := len(s.ConnectionState().PeerCertificates); got != want {
					t.Errorf("server: got %d certificates, want %d", got, want)
				}
				exchange(t, c, s, 300_000)
			})
		}
	}
}

// wantAlert checks that err is the given alert, ours or the peer's.
func wantAlert(t *testing.T, who string, err error, alert Alert, remote bool) {
	t.Helper()
	got, ok := errors.AsType[*AlertError](err)
	if !ok || got.Alert != alert || got.Remote != remote {
		t.Errorf("%s: got %v, want alert %v (remote %v)", who, err, alert, remote)
	}
}

func TestConfigForClient(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	pair := ca.pair(t, testName)
	config := &Config{GetConfigForClient: func(hello *ClientHelloInfo) (*Config, error) {
		switch hello.ServerName {
		case testName:
			return &Config{KeyPair: pair}, nil
		case "tls.example.com":
			return nil, fmt.Errorf("no pair for it: %w", AlertHandshakeFailure)
		case "broken.example.com":
			return nil, errors.New("disk on fire")
		}
		return nil, AlertUnrecognizedName
	}}
	mustShake(t, &Config{RootCAs: ca.pool, ServerName: testName}, config)
	for name, alert := range map[string]Alert{
		"tls.example.com": AlertHandshakeFailure, "other.example.com": AlertUnrecognizedName, "broken.example.com": AlertInternalError,
	} {
		_, _, clientErr, serverErr := shake(t, &Config{RootCAs: ca.pool, ServerName: name}, config)
		wantAlert(t, name, clientErr, alert, true)
		wantAlert(t, name, serverErr, alert, false)
	}
}

func TestIsRecord(t *testing.T) {
	t.Parallel()
	for first, want := range map[string]bool{
		"\x16\x01\x01\x00\x4c": true, "\x16\x01\x01": true, "\x16\x01": false, "": false,
		"\x16\x03\x01\x00\x4c": false, "\x15\x01\x01\x00\x02": false, "GET /": false,
	} {
		if got := IsRecord([]byte(first)); got != want {
			t.Errorf("%q: got %v, want %v", first, got, want)
		}
	}
}
