package edge_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"
)

// dial makes a TLS connection with a server name.
func (w *world) dial(name string, edits ...func(*tls.Config)) (*tls.Conn, error) {
	cfg := &tls.Config{ServerName: name, RootCAs: w.ca.Pool()}
	for _, edit := range edits {
		edit(cfg)
	}
	return secured(w.addr, func(raw net.Conn) *tls.Conn { return tls.Client(raw, cfg) })
}

// connect is dial for connections that must succeed.
func (w *world) connect(name string, edits ...func(*tls.Config)) *tls.Conn {
	w.Helper()
	c, err := w.dial(name, edits...)
	return kept(w, name, c, err)
}

// handshaking is a connection of TLS or of TLCP.
type handshaking interface {
	net.Conn
	Handshake() error
}

// secured makes a connection and its handshake.
func secured[C handshaking](address string, client func(raw net.Conn) C) (none C, err error) {
	raw, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return none, err
	}
	raw.SetDeadline(time.Now().Add(15 * time.Second))
	c := client(raw)
	if err := c.Handshake(); err != nil {
		raw.Close()
		return none, err
	}
	return c, nil
}

// kept is a connection that there must be, for as long as the test runs.
func kept[C handshaking](w *world, name string, c C, err error) C {
	w.Helper()
	if err != nil {
		w.Fatalf("%T, handshake for %q: %v", c, name, err)
	}
	w.Cleanup(func() { c.Close() })
	return c
}

// serial returns the serial number of the leaf that a new handshake is shown.
func (w *world) serial(name string, edits ...func(*tls.Config)) string {
	w.Helper()
	c := w.connect(name, edits...)
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// client returns an HTTP client that connects to the edge whatever the URL says.
func (w *world) client(http2 bool, edits ...func(*tls.Config)) *http.Client {
	w.Helper()
	cfg := &tls.Config{RootCAs: w.ca.Pool()}
	for _, edit := range edits {
		edit(cfg)
	}
	t := &http.Transport{
		TLSClientConfig: cfg, ForceAttemptHTTP2: http2, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.addr)
		},
	}
	w.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func tls12(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
func tls13(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }

// eachTLS runs a test for both versions of TLS.
func eachTLS(t *testing.T, test func(t *testing.T, version func(*tls.Config))) {
	t.Run("TLS 1.2", func(t *testing.T) { test(t, tls12) })
	t.Run("TLS 1.3", func(t *testing.T) { test(t, tls13) })
}

// eventually waits for a condition that nothing announces.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for end := time.Now().Add(15 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s: did not happen in 15 s", what)
		}
	}
}
