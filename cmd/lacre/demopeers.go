package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"lacre/tlcp"
)

// backend is the small server behind the demo's domain.
type backend struct {
	*http.Server
	url string
}

func startBackend() (*backend, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from the backend, you came by %s to %s", r.Header.Get("X-Forwarded-Proto"), r.Host)
	}
	b := &backend{&http.Server{Handler: http.HandlerFunc(answer), ReadHeaderTimeout: 5 * time.Second}, "http://" + l.Addr().String()}
	go b.Serve(l) // ends with Close
	return b, nil
}

// demoConn is one TLS or TLCP connection to the edge.
type demoConn struct {
	net.Conn
	answers *bufio.Reader
	peer    *x509.Certificate // of TLCP, the encryption certificate
	spoken  string
}

func (v *visitor) handshake(ctx context.Context) (*demoConn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	shake := v.handshakeTLS
	if v.ca.sm2 {
		shake = v.handshakeTLCP
	}
	c, err := shake(ctx)
	if err != nil {
		return nil, fmt.Errorf("handshake with the edge: %w", err)
	}
	c.answers = bufio.NewReader(c)
	return c, nil
}

func (v *visitor) handshakeTLS(ctx context.Context) (*demoConn, error) {
	roots := x509.NewCertPool()
	roots.AddCert(v.ca.cert)
	d := tls.Dialer{Config: &tls.Config{ServerName: demoHost, RootCAs: roots, MinVersion: tls.VersionTLS12}}
	c, err := d.DialContext(ctx, "tcp", v.edge)
	if err != nil {
		return nil, err
	}
	state := c.(*tls.Conn).ConnectionState()
	return &demoConn{Conn: c, peer: state.PeerCertificates[0], spoken: tls.VersionName(state.Version)}, nil
}

func (v *visitor) handshakeTLCP(ctx context.Context) (*demoConn, error) {
	roots := smx509.NewCertPool()
	roots.AddCert((*smx509.Certificate)(v.ca.cert))
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", v.edge)
	if err != nil {
		return nil, err
	}
	c := tlcp.Client(raw, &tlcp.Config{ServerName: demoHost, RootCAs: roots})
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	state := c.ConnectionState()
	return &demoConn{Conn: c, peer: state.PeerCertificates[1].ToX509(), spoken: "TLCP " + tlcp.CipherSuiteName(state.CipherSuite)}, nil
}

func (c *demoConn) leaf() *x509.Certificate { return c.peer }

func (c *demoConn) fingerprint() string {
	sum := sha256.Sum256(c.leaf().Raw)
	return hex.EncodeToString(sum[:])
}

func (c *demoConn) version() string { return c.spoken }

// get asks for a page on this very connection.
func (c *demoConn) get(path string) (string, error) {
	req, err := http.NewRequest(http.MethodGet, "https://"+demoHost+path, nil)
	if err != nil {
		return "", err
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if err := req.Write(c); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(c.answers, req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %s", resp.Status)
	}
	return strings.TrimSpace(string(body)), err
}

// invite leaves a next certificate and the lines to try with it.
func (v *visitor) invite(n *node, t target) error {
	next, err := v.ca.leaf(demoHost, 3)
	if err != nil {
		return err
	}
	dir := n.cfg.DataDir
	files := next.files()
	files["ca.pem"] = toPEM("CERTIFICATE", v.ca.cert.Raw)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(v.out, `
Still up. Try in another terminal (stop with Ctrl-C, everything is thrown away then):

  # what is served now
  %[2]s

  # rotate again, with the command ...
  lacre cert modify demo_cert --data-dir %[1]s %[3]s

  # ... or with nothing but curl
  TOKEN=$(curl -s -o /dev/null -D - %[4]s/v3/auth/tokens -H 'Content-Type: application/json' -d '{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"%[5]s","password":"%[6]s","domain":{"name":"%[7]s"}}}},"scope":{"project":{"id":"%[8]s"}}}}' | tr -d '\r' | awk 'tolower($1)=="x-subject-token:"{print $2}')
  curl -s %[4]s/v2/%[8]s/apic/certificates/%[9]s -H "X-Auth-Token: $TOKEN"

  # the API document, health and metrics
  curl %[4]s/openapi.yaml ; curl %[4]s/readyz ; curl %[4]s/metrics
`, dir, v.look(dir), v.renewal(dir), v.base, t.User, t.Password, t.Account, t.Project, v.id)
	return err
}

// look is the command that shows what is served.
func (v *visitor) look(dir string) string {
	if v.ca.sm2 {
		return fmt.Sprintf("lacre tlcp connect %s --sni %s --ca %s/ca.pem", v.edge, demoHost, dir)
	}
	port := portOf(v.edge)
	return fmt.Sprintf("curl --cacert %s/ca.pem --resolve %s:%s:127.0.0.1 https://%s:%s/", dir, demoHost, port, demoHost, port)
}

// renewal names the files of the next certificate, as 'cert modify' wants them.
func (v *visitor) renewal(dir string) string {
	if v.ca.sm2 {
		return strings.ReplaceAll("--sm2 --cert DIR/next-enc.pem --key DIR/next-enc.key --sign-cert DIR/next-sign.pem --sign-key DIR/next-sign.key", "DIR", dir)
	}
	return strings.ReplaceAll("--cert DIR/next.pem --key DIR/next.key", "DIR", dir)
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
