package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"lacre/internal/testcert"
	"lacre/tlcp"
)

// tlcpListener handshakes TLCP on what it accepts.
type tlcpListener struct {
	net.Listener
	config *tlcp.Config
}

func (l tlcpListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tlcp.Server(c, l.config), nil
}

// tlcpServer serves HTTP over TLCP and returns its address.
func tlcpServer(t *testing.T, config *tlcp.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "path %s host %s", r.URL.Path, r.Host)
	})}
	go func() { _ = server.Serve(tlcpListener{l, config}) }() // ends with the test
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

func tlcpPairOf(t *testing.T, d *testcert.Dual) *tlcp.KeyPair {
	t.Helper()
	pair, err := tlcp.NewKeyPair([][]byte{d.Sign.Cert.Raw}, d.Sign.Key.(*sm2.PrivateKey), [][]byte{d.Enc.Cert.Raw}, d.Enc.Key.(*sm2.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func pemFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// lacreTLCP runs the command and compares exit code and output.
func lacreTLCP(t *testing.T, code int, stdout, stderr string, args ...string) {
	t.Helper()
	var out, errs bytes.Buffer
	got := run(t.Context(), append([]string{"tlcp", "connect"}, args...), nil, &out, &errs)
	if got != code {
		t.Errorf("%v: got exit code %d, want %d\n%s%s", args, got, code, &out, &errs)
	}
	for _, c := range []struct{ name, text, pattern string }{{"stdout", out.String(), stdout}, {"stderr", errs.String(), stderr}} {
		if !regexp.MustCompile(`(?s)` + c.pattern).MatchString(c.text) {
			t.Errorf("%v: got %s %q, want %s", args, c.name, c.text, c.pattern)
		}
	}
}

// Somebody without Tongsuo looks at a TLCP server.
func TestTLCPConnect(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "Throw-away SM2 CA", testcert.WithSM2())
	roots := smx509.NewCertPool()
	roots.AddCert((*smx509.Certificate)(ca.Cert))
	me := ca.Dual(t, []string{"me.example.com"})
	dir := t.TempDir()
	caFile := pemFile(t, dir, "ca.pem", ca.PEM())
	address := tlcpServer(t, &tlcp.Config{
		KeyPair: tlcpPairOf(t, ca.Dual(t, []string{"gw.example.com"})), NextProtos: []string{"http/1.1"},
		ClientAuth: tlcp.VerifyClientCertIfGiven, ClientCAs: roots, SessionCache: tlcp.NewSessionCache(10),
	})
	base := []string{address, "--sni", "gw.example.com", "--ca", caFile}
	with := func(more ...string) []string { return append(base[:len(base):len(base)], more...) }

	lacreTLCP(t, exitDone, `^SUITE +ECC_SM4_GCM_SM3\nSERVER NAME +gw.example.com\nPROTOCOL +none\nSIGNING .*gw.example.com, by .*\nENCRYPTION .*\nVERIFIED +both .*\nRESUMPTION +offered`, `^$`, base...)
	lacreTLCP(t, exitDone, `RESUMPTION +the second connection resumed`, `^$`, with("--resume")...)
	lacreTLCP(t, exitDone, `PROTOCOL +http/1.1\n`, `^$`, with("--alpn", "h2,http/1.1")...)
	lacreTLCP(t, exitDone, `^path /status host gw.example.com:\d+$`, `^SUITE +ECC_SM4_CBC_SM3\n.*PROTOCOL +http/1.1\n.*HTTP/1.1 200 OK\n$`,
		with("--get", "/status", "--suite", "ECC_SM4_CBC_SM3")...)
	client := []string{"--suite", "ECDHE_SM4_GCM_SM3",
		"--sign-cert", pemFile(t, dir, "sign.pem", me.Sign.CertPEM()), "--sign-key", pemFile(t, dir, "sign.key", me.Sign.KeySEC1PEM()),
		"--cert", pemFile(t, dir, "enc.pem", me.Enc.CertPEM()), "--key", pemFile(t, dir, "enc.key", me.Enc.KeyPEM())}
	lacreTLCP(t, exitDone, `^SUITE +ECDHE_SM4_GCM_SM3\n`, `^$`, with(client...)...)

	lacreTLCP(t, exitFailed, `^$`, `^lacre: .*unknown_ca.*\nhint: .*--ca\n$`, address, "--sni", "gw.example.com")
	lacreTLCP(t, exitFailed, `^$`, `^lacre: .*other.example.com`, address, "--sni", "other.example.com", "--ca", caFile)
	lacreTLCP(t, exitDone, `VERIFIED +nothing`, `^$`, address, "--insecure")
	lacreTLCP(t, exitUsage, `^$`, `^lacre: --suite: .*--sign-cert`, with("--suite", "ECDHE_SM4_CBC_SM3")...)
	lacreTLCP(t, exitFailed, `^$`, `^lacre: .*holds none`, address, "--ca", filepath.Join(dir, "sign.key"))
	lacreTLCP(t, exitFailed, `^$`, `expected an SM2 private key`, with("--sign-cert", caFile, "--sign-key", caFile, "--cert", caFile, "--key", caFile)...)
	lacreTLCP(t, exitUsage, `^$`, `^lacre: nonsense: expected HOST:PORT`, "nonsense")
	lacreTLCP(t, exitUsage, `^$`, `go together`, with("--cert", caFile)...)
	lacreTLCP(t, exitUsage, `^$`, `unknown suite`, with("--suite", "RSA")...)
	lacreTLCP(t, exitUsage, `^$`, `--get`, with("--get", "status")...)
	lacreTLCP(t, exitUsage, `^$`, `--alpn`, with("--get", "/", "--alpn", "h2")...)
}
