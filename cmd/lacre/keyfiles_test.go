package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lacre/internal/testcert"
)

// renewal is a pair of key files that are replaced, by hand of the test.
type renewal struct {
	*keyFiles
	t    testing.TB
	root *testcert.CA
	ca   *testcert.CA // an intermediate
	time time.Time    // now, in the process that uses the files
	talk output       // its log
}

// renew begins with the first leaf.
func renew(t testing.TB) *renewal {
	t.Helper()
	dir := t.TempDir()
	r := &renewal{t: t, root: testcert.NewCA(t, "Throw-away CA"), time: time.Now()}
	r.ca = r.root.Intermediate(t, "Throw-away issuer")
	r.keyFiles = &keyFiles{cert: filepath.Join(dir, "api.pem"), key: filepath.Join(dir, "api.key")}
	first := r.leaf(1)
	r.put(first.ChainPEM(), first.KeyPEM())
	f, err := r.open()
	if err != nil {
		t.Fatal(err)
	}
	r.keyFiles = f
	return r
}

func (r *renewal) open() (*keyFiles, error) {
	n := &node{log: slog.New(slog.NewTextHandler(&r.talk, nil)), now: func() time.Time { return r.time }}
	return n.openKeyFiles("--api-cert and --api-key", r.cert, r.key)
}

// leaf is the nth: its serial number says which it is.
func (r *renewal) leaf(n int64, opts ...testcert.Option) *testcert.Leaf {
	return r.ca.Leaf(r.t, []string{"127.0.0.1"}, append(opts, testcert.WithSerial(big.NewInt(n)))...)
}

func (r *renewal) put(cert, key string) {
	r.t.Helper()
	for path, text := range map[string]string{r.cert: cert, r.key: key} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *renewal) check(times int) {
	for range times {
		r.keyFiles.check()
	}
}

// want compares the leaf in use, and how often something was warned of and taken up so far.
func (r *renewal) want(n int64, warned, taken int) {
	r.t.Helper()
	used, log := r.used.Load(), r.talk.String()
	if got := used.Leaf.SerialNumber.Int64(); got != n || len(used.Certificate) != 2 {
		r.t.Errorf("leaf %d of %d certificates is in use, want leaf %d of 2", got, len(used.Certificate), n)
	}
	gotWarned, gotTaken := strings.Count(log, "level=WARN"), strings.Count(log, "level=INFO")
	if gotWarned != warned || gotTaken != taken || strings.Contains(log, "PRIVATE") {
		r.t.Errorf("got %d warnings and %d pieces of news, want %d and %d, and no key:\n%s", gotWarned, gotTaken, warned, taken, log)
	}
}

// TestKeyFiles: what lies still is taken up, and nothing is said or done while nothing changes.
func TestKeyFiles(t *testing.T) {
	r := renew(t)
	r.check(3)
	r.want(1, 0, 0)
	second := r.leaf(2)
	r.put(second.ChainPEM(), second.KeyPEM())
	r.check(1)
	r.want(1, 0, 0)
	r.check(3)
	r.want(2, 0, 1)
}

// TestKeyFilesBeingWritten: no half of anything is used, were it good by itself, nor warned of.
func TestKeyFilesBeingWritten(t *testing.T) {
	r := renew(t)
	second := r.leaf(2)
	whole, key := second.ChainPEM(), second.KeyPEM()
	for _, step := range [][2]string{
		{"", ""}, {whole[:100], ""}, {second.CertPEM(), ""}, {second.CertPEM(), key[:50]}, {second.CertPEM(), key}, {whole[:len(whole)-50], key}, {whole, key},
	} {
		r.put(step[0], step[1])
		r.check(1)
		r.want(1, 0, 0)
	}
	r.check(1)
	r.want(2, 0, 1)
}

// TestBadKeyFiles: the last good pair stays in use, whatever the files hold, and the log says so once
// for each time that they became bad.
func TestBadKeyFiles(t *testing.T) {
	past := testcert.WithValidity(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	for what, spoil := range map[string]func(r *renewal){
		"another key":         func(r *renewal) { r.put(r.leaf(2).ChainPEM(), r.leaf(3).KeyPEM()) },
		"switched":            func(r *renewal) { l := r.leaf(2); r.put(l.KeyPEM(), l.ChainPEM()) },
		"empty":               func(r *renewal) { r.put("", "") },
		"noise":               func(r *renewal) { r.put(strings.Repeat("noise", 100), strings.Repeat("noise", 100)) },
		"no certificate":      func(r *renewal) { os.Remove(r.cert) },
		"no key":              func(r *renewal) { os.Remove(r.key) },
		"half a key":          func(r *renewal) { l := r.leaf(2); r.put(l.ChainPEM(), l.KeyPEM()[:100]) },
		"expired":             func(r *renewal) { l := r.leaf(2, past); r.put(l.ChainPEM(), l.KeyPEM()) },
		"a link to nowhere":   func(r *renewal) { os.Remove(r.cert); os.Symlink("nowhere", r.cert) },
		"a directory":         func(r *renewal) { os.Remove(r.key); os.Mkdir(r.key, 0o700) },
		"a pipe, unwritten":   func(r *renewal) { os.Remove(r.key); syscall.Mkfifo(r.key, 0o600) },
		"more than is wanted": func(r *renewal) { l := r.leaf(2); r.put(l.ChainPEM()+strings.Repeat("\n", maxKeyFile), l.KeyPEM()) },
	} {
		t.Run(what, func(t *testing.T) {
			r := renew(t)
			spoil(r)
			r.check(5)
			r.want(1, 1, 0)
			os.Remove(r.key)
			os.Remove(r.cert)
			good := r.leaf(4)
			r.put(good.ChainPEM(), good.KeyPEM())
			r.check(5)
			r.want(4, 1, 1)
			r.put(good.ChainPEM(), "")
			r.check(5)
			r.want(4, 2, 1)
			r.put(good.ChainPEM(), good.KeyPEM())
			r.check(5)
			r.want(4, 2, 2)
		})
	}
}

// TestKeyFilesAheadOfTime are taken up when their time has come.
func TestKeyFilesAheadOfTime(t *testing.T) {
	r := renew(t)
	early := r.leaf(2, testcert.WithValidity(r.time.Add(time.Hour), r.time.Add(48*time.Hour)))
	r.put(early.ChainPEM(), early.KeyPEM())
	r.check(5)
	r.want(1, 1, 0)
	r.time = r.time.Add(2 * time.Hour)
	r.check(2)
	r.want(2, 1, 1)
	r.time = r.time.Add(100 * time.Hour) // and nobody has replaced them
	r.check(5)
	r.want(2, 2, 1)
	if f, err := r.open(); err != nil || f.used.Load().Leaf.SerialNumber.Int64() != 2 {
		t.Errorf("at a start: got %v, want the expired certificate in use", err)
	}
}

// TestKeyFilesBehindALink are those of a mounted secret: one link is replaced, and the files may be as
// long and as old as the others.
func TestKeyFilesBehindALink(t *testing.T) {
	r := renew(t)
	r.swap(r.leaf(2))
	r.check(2)
	r.want(2, 0, 1)
	r.swap(r.leaf(3))
	r.check(2)
	r.want(3, 0, 2)
}

// swap puts a pair in place as Kubernetes does: in a directory of its own, to which one link leads that
// is replaced at once. The first time it makes the files links.
func (r *renewal) swap(leaf *testcert.Leaf) {
	r.t.Helper()
	dir := filepath.Dir(r.cert)
	fresh, err := os.MkdirTemp(dir, "secret-")
	if err != nil {
		r.t.Fatal(err)
	}
	for path, text := range map[string]string{r.cert: leaf.ChainPEM(), r.key: leaf.KeyPEM()} {
		file := filepath.Join(fresh, filepath.Base(path))
		r.must(os.WriteFile(file, []byte(text+strings.Repeat("\n", 4096-len(text))), 0o600))
		r.must(os.Chtimes(file, r.time, r.time))
	}
	r.relink(fresh, filepath.Join(dir, "data"))
	for _, path := range []string{r.cert, r.key} {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			r.relink(filepath.Join("data", filepath.Base(path)), path)
		}
	}
}

func (r *renewal) relink(to, link string) {
	r.t.Helper()
	r.must(os.Symlink(to, link+".new"))
	r.must(os.Rename(link+".new", link))
}

func (r *renewal) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestKeyFilesOfAClient: a server is shown the certificate in use, if it would take it.
func TestKeyFilesOfAClient(t *testing.T) {
	r := renew(t)
	client, err := (&node{etcdFiles: r.keyFiles}).etcdTLS()
	if err != nil {
		t.Fatal(err)
	}
	client.InsecureSkipVerify = true
	shown := func(roots *x509.CertPool) int64 {
		t.Helper()
		near, far := net.Pipe()
		defer far.Close() // the server's own Close would wait for somebody who reads
		go tls.Client(near, client).Handshake()
		server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{r.leaf(9).TLS()}, ClientAuth: tls.RequestClientCert, ClientCAs: roots})
		if err := server.HandshakeContext(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		if peer := server.ConnectionState().PeerCertificates; len(peer) > 0 {
			return peer[0].SerialNumber.Int64()
		}
		return 0
	}
	if got := shown(r.ca.Pool()); got != 1 {
		t.Errorf("a server is shown leaf %d, want 1", got)
	}
	second := r.leaf(2)
	r.put(second.ChainPEM(), second.KeyPEM())
	r.check(2)
	if got := shown(r.ca.Pool()); got != 2 {
		t.Errorf("a server is shown leaf %d, want 2", got)
	}
	if got := shown(testcert.NewCA(t, "Stranger").Pool()); got != 0 {
		t.Errorf("a server that asks for another CA is shown leaf %d, want none", got)
	}
}
