package layout_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lacre/internal/testcert"
	"lacre/layout"
)

// tree is a directory made by a test.
type tree struct {
	*testing.T
	root string
	ca   *testcert.CA
}

func newTree(t *testing.T) *tree {
	t.Parallel()
	return &tree{t, t.TempDir(), testcert.NewCA(t, "Throw-away CA")}
}

func (t *tree) path(name string) string { return filepath.Join(t.root, name) }

func (t *tree) write(name string, texts ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(t.path(name)), 0o700); err != nil {
		t.Fatal(err)
	}
	// ROOT stands for the directory in configurations.
	text := strings.ReplaceAll(strings.Join(texts, ""), "ROOT", t.root)
	if err := os.WriteFile(t.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (t *tree) link(to, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(t.path(name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, t.path(name)); err != nil {
		t.Fatal(err)
	}
}

// pair writes a leaf and its key to two files.
func (t *tree) pair(cert, key string, hosts ...string) *testcert.Leaf {
	t.Helper()
	leaf := t.ca.Leaf(t, hosts)
	t.write(cert, leaf.ChainPEM())
	t.write(key, leaf.KeyPEM())
	return leaf
}

// combined writes a leaf and its key to one file.
func (t *tree) combined(name string, hosts ...string) *testcert.Leaf {
	t.Helper()
	leaf := t.ca.Leaf(t, hosts)
	t.write(name, leaf.ChainPEM(), leaf.KeyPEM())
	return leaf
}

// find returns what is found as lines: the pairs "CERT KEY HOSTS", then the notes.
func (t *tree) find(names ...string) (pairs, notes []string) {
	t.Helper()
	if len(names) == 0 {
		names = []string{"."}
	}
	for i, name := range names {
		names[i] = t.path(name)
	}
	found, err := layout.Find(names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range found.Pairs {
		pairs = append(pairs, t.line(p))
	}
	for _, n := range found.Notes {
		line := strings.ReplaceAll(n.Path+": "+n.Reason, t.root+"/", "")
		if n.Failed {
			line = "FAILED " + line
		}
		notes = append(notes, line)
	}
	return pairs, notes
}

func (t *tree) line(p *layout.Pair) string {
	line := p.Cert + " " + p.Key
	if p.CA != "" {
		line += " CA=" + p.CA
	}
	if p.Sign != "" {
		line += " SIGN=" + p.Sign + "," + p.SignKey
	}
	if p.CRL != "" {
		line += " CRL=" + p.CRL
	}
	for _, chain := range p.Chain {
		line += " +" + chain
	}
	for _, h := range p.Hosts {
		line += " " + h.Name
		if h.Verify {
			line += "!"
		}
	}
	return strings.ReplaceAll(line, t.root+"/", "")
}

func (t *tree) want(what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestKeysAreFoundByWhatTheyAreNotByTheirNames(t *testing.T) {
	f := newTree(t)
	f.pair("a/one.crt", "a/one.key", "one.test", "www.one.test")
	two := f.ca.Leaf(t, []string{"two.test"})
	three := f.ca.Leaf(t, []string{"three.test"})
	f.write("a/two.crt", two.ChainPEM()) // the names are crossed
	f.write("a/two.key", three.KeySEC1PEM())
	f.write("a/three.crt", three.ChainPEM())
	f.write("keys/three.key", two.KeyPEM())
	f.combined("b/four.pem", "four.test")
	rsa := f.ca.Leaf(t, []string{"four.test"}, testcert.WithRSA(2048))
	f.write("b/four.pem.rsa", rsa.KeyPKCS1PEM(), rsa.ChainPEM()) // the key comes first
	pairs, notes := f.find()
	f.want("pairs", pairs,
		"a/one.crt a/one.key one.test www.one.test",
		"a/three.crt a/two.key three.test",
		"a/two.crt keys/three.key two.test",
		"b/four.pem b/four.pem four.test",
		"b/four.pem.rsa b/four.pem.rsa four.test")
	f.want("notes", notes)
}

func TestWhatIsNoPairIsSaid(t *testing.T) {
	f := newTree(t)
	leaf := f.ca.Leaf(t, []string{"lonely.test"})
	f.write("lonely.crt", leaf.ChainPEM())
	f.write("stray.key", f.ca.Leaf(t, []string{"x.test"}).KeyPEM())
	f.write("ca.crt", f.ca.PEM())
	f.write("README", "nothing to see")
	f.write("store.p12", "\x30\x82\x00\x00")
	f.write("der.crt", string(leaf.Cert.Raw))
	f.write("cut.pem", leaf.ChainPEM()[:200])
	f.write("huge.pem", strings.Repeat("x", 2<<20))
	if err := syscall.Mkfifo(f.path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.link("nowhere", "dangling")
	f.link(".", "circle")
	f.link("..", "other/circle")
	pairs, notes := f.find()
	f.want("pairs", pairs)
	slices.Sort(notes)
	f.want("notes", notes,
		"FAILED dangling: no such file or directory",
		"README: no PEM certificate or key in it",
		"ca.crt: CA certificates only",
		"cut.pem: no whole certificate or key of a TLS server in its PEM",
		"der.crt: binary, not PEM",
		"huge.pem: larger than 1 MiB",
		"lonely.crt: its private key is not among the files",
		"pipe: not a regular file",
		"store.p12: PKCS #12, not PEM; convert it with: openssl pkcs12 -nodes -in FILE",
		"stray.key: a private key of none of the certificates")
}

func TestUnreadableFilesAreFailures(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	f := newTree(t)
	f.combined("a.pem", "a.test")
	f.combined("b.pem", "b.test")
	os.Chmod(f.path("b.pem"), 0)
	pairs, notes := f.find()
	f.want("pairs", pairs, "a.pem a.pem a.test")
	f.want("notes", notes, "FAILED b.pem: permission denied")
}

// A key that cannot be read here goes with its certificate by name, so that the server
// says what is wrong with it.
func TestEncryptedKeysAreLeftToTheServer(t *testing.T) {
	f := newTree(t)
	encrypted := string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{0x30, 0}}))
	legacy := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	f.write("a/x.crt", f.ca.Leaf(t, []string{"x.test"}).ChainPEM())
	f.write("a/x.key", encrypted)
	f.write("a/y.crt", f.ca.Leaf(t, []string{"y.test"}).ChainPEM())
	f.write("a/y.crt.key", legacy)
	f.write("b/server.crt", f.ca.Leaf(t, []string{"b.test"}).ChainPEM())
	f.write("b/secret.pem", encrypted) // may be anybody's
	f.write("d/ssh.crt", f.ca.Leaf(t, []string{"d.test"}).ChainPEM())
	f.write("d/ssh.key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
	f.write("c/both.pem", f.ca.Leaf(t, []string{"c.test"}).ChainPEM(), encrypted)
	pairs, notes := f.find()
	f.want("pairs", pairs,
		"a/x.crt a/x.key x.test", "a/y.crt a/y.crt.key y.test",
		"c/both.pem c/both.pem c.test")
	f.want("notes", notes,
		"d/ssh.key: no whole certificate or key of a TLS server in its PEM",
		"b/server.crt: its private key is not among the files",
		"d/ssh.crt: its private key is not among the files",
		"b/secret.pem: a private key of none of the certificates")
}

func TestCertbot(t *testing.T) {
	f := newTree(t)
	middle := f.ca.Intermediate(t, "Middle")
	for n := 1; n <= 2; n++ {
		leaf := middle.Leaf(t, []string{"shop.test"})
		archive := "archive/shop.test/"
		f.write(fmt.Sprintf(archive+"cert%d.pem", n), leaf.CertPEM())
		f.write(fmt.Sprintf(archive+"chain%d.pem", n), middle.PEM())
		f.write(fmt.Sprintf(archive+"fullchain%d.pem", n), leaf.ChainPEM())
		f.write(fmt.Sprintf(archive+"privkey%d.pem", n), leaf.KeyPEM())
	}
	for _, file := range []string{"cert", "chain", "fullchain", "privkey"} {
		f.link("../../archive/shop.test/"+file+"2.pem", "live/shop.test/"+file+".pem")
	}
	f.write("live/README", "This directory contains your keys and certificates.")
	pairs, notes := f.find()
	f.want("pairs", pairs, "live/shop.test/fullchain.pem live/shop.test/privkey.pem shop.test")
	f.want("notes", notes,
		"live/README: no PEM certificate or key in it",
		"live/shop.test/cert.pem: the same certificate as live/shop.test/fullchain.pem",
		"live/shop.test/chain.pem: CA certificates only")
}

// A leaf whose intermediates lie beside it gets them, but not those of the same name that
// did not sign it.
func TestChainsInFilesOfTheirOwn(t *testing.T) {
	f := newTree(t)
	wrong := f.ca.Intermediate(t, "Middle")
	upper := f.ca.Intermediate(t, "Upper")
	middle := upper.Intermediate(t, "Middle")
	leaf := middle.Leaf(t, []string{"a.test"})
	f.write("a.crt", leaf.CertPEM())
	f.write("a.key", leaf.KeyPEM())
	f.write("a-old.ca", wrong.PEM())
	f.write("b.ca", middle.PEM())
	f.write("c.ca", upper.PEM())
	f.write("root.ca", f.ca.PEM())
	pairs, notes := f.find()
	f.want("pairs", pairs, "a.crt a.key +b.ca +c.ca a.test")
	f.want("notes", notes, "a-old.ca: CA certificates only", "root.ca: CA certificates only")
}

// TestBothConfigurations: a directory with two servers' configurations gives the pairs of
// both, not those of one that nobody chose.
func TestBothConfigurations(t *testing.T) {
	f := newTree(t)
	f.pair("n.crt", "n.key", "n.test")
	f.combined("h.pem", "h.test")
	f.write("nginx.conf", "http { server { listen 443 ssl; server_name n.test; ssl_certificate n.crt; ssl_certificate_key n.key; } }")
	f.write("haproxy.cfg", "frontend f\n  bind :443 ssl crt ROOT/h.pem\n")
	pairs, notes := f.find()
	f.want("pairs", pairs, "n.crt n.key n.test", "h.pem h.pem h.test")
	f.want("notes", notes)
}

func TestPathsThatAreNotThere(t *testing.T) {
	f := newTree(t)
	if _, err := layout.Find(f.path("missing")); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("got %v, want an error that names the path", err)
	}
}

func TestNames(t *testing.T) {
	good := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{3,49}$`) // rule of the API
	seen := map[string]string{}
	for cert, start := range map[string]string{
		"/etc/letsencrypt/live/shop.example.com/fullchain.pem": "shop_example_com_",
		"/etc/ssl/shop.crt":   "shop_",
		"/other/ssl/shop.crt": "shop_",
		"/etc/ssl/4.crt":      "c_4_",
		"/etc/ssl/证书.crt":     "c_",
		"/server.pem":         "c_",
		"/etc/ssl/" + strings.Repeat("a.b", 50) + ".crt": "a_ba_b",
		"/etc/ssl/*.shop.example.com.pem":                "shop_example_com_",
	} {
		name := (&layout.Pair{Cert: cert}).Name()
		if !good.MatchString(name) || !strings.HasPrefix(name, start) {
			t.Errorf("%s: got %q, want %s… within the rule", cert, name, start)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("%s and %s have the same name %s", cert, other, name)
		}
		seen[name] = cert
	}
	a, b := layout.Pair{Cert: "/a.crt"}, layout.Pair{Cert: "/a.crt", CA: "/ca.crt"}
	if a.Name() == b.Name() {
		t.Errorf("got %s with a CA and without one, want two names", a.Name())
	}
}

// Nothing that is returned has key material in it.
func TestLeavesAreKnown(t *testing.T) {
	f := newTree(t)
	leaf := f.pair("a.crt", "a.key", "a.test", "127.0.0.1")
	found, err := layout.Find(f.root)
	if err != nil || len(found.Pairs) != 1 {
		t.Fatalf("got %+v, %v, want one pair", found, err)
	}
	got := found.Pairs[0].Leaf
	want := layout.Leaf{
		Fingerprint: got.Fingerprint, Serial: leaf.Cert.SerialNumber.String(), SANs: []string{"a.test", "127.0.0.1"},
		Names: []string{"a.test"}, NotBefore: leaf.Cert.NotBefore, NotAfter: leaf.Cert.NotAfter,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(layout.Leaf{})); diff != "" || len(got.Fingerprint) != 64 {
		t.Errorf("leaf (-want +got):\n%s", diff)
	}
	der, _ := x509.MarshalPKCS8PrivateKey(leaf.Key)
	if text := fmt.Sprintf("%+v", found); strings.Contains(text, string(der)) || strings.Contains(text, "PRIVATE") {
		t.Error("there is key material in what was found")
	}
}

// A file with a certificate and keys is taken apart for the two fields of the API.
func TestRead(t *testing.T) {
	f := newTree(t)
	leaf, other := f.ca.Leaf(t, []string{"a.test"}), f.ca.Leaf(t, []string{"b.test"})
	f.write("all.pem", other.KeyPEM(), leaf.ChainPEM(), "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n", leaf.KeyPEM())
	f.write("plain.crt", "subject=a\r\n", other.ChainPEM())
	f.write("plain.key", other.KeySEC1PEM())
	read := func(cert, key string) string {
		t.Helper()
		found, err := layout.Find(f.path(cert), f.path(key))
		if err != nil || len(found.Pairs) != 1 {
			t.Fatalf("got %+v, %v, want one pair", found, err)
		}
		text, err := found.Pairs[0].Read()
		if err != nil {
			return strings.ReplaceAll(err.Error(), f.root+"/", "")
		}
		return text.Cert + "|" + text.Key
	}
	for _, c := range []struct{ cert, key, want string }{
		{"all.pem", "all.pem", leaf.ChainPEM() + "|" + leaf.KeyPEM()},
		{"plain.crt", "plain.key", "subject=a\r\n" + other.ChainPEM() + "|" + other.KeySEC1PEM()},
	} {
		if got := read(c.cert, c.key); got != c.want {
			t.Errorf("%s: got %d bytes, want the certificate and its key", c.cert, len(got))
		}
	}
	f.write("bad.pem", leaf.ChainPEM(), leaf.KeyPEM(), other.CertPEM()[:100])
	if got, want := read("bad.pem", "bad.pem"), "bad.pem: a PEM block in it is damaged"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The key of a CA is nobody's business, and no server's: what lies in its directory is paired
// without it.
func TestKeyOfACA(t *testing.T) {
	f := newTree(t)
	f.write("ca.pem", f.ca.PEM())
	f.write("ca.key", (&testcert.Leaf{Cert: f.ca.Cert, Key: f.ca.Key}).KeyPEM())
	f.pair("good.pem", "good.key", "good.test")
	broken := f.ca.Leaf(t, []string{"broken.test"})
	f.write("broken.pem", broken.ChainPEM(), f.ca.PEM())
	pairs, notes := f.find()
	f.want("pairs", pairs, "good.pem good.key good.test")
	f.want("notes", notes, "broken.pem: its private key is not among the files", "ca.key: the private key of a CA", "ca.pem: CA certificates only")
}

// A CA that has names is one all the same: by who issued it, or by what it issued.
func TestKeyOfACAWithNames(t *testing.T) {
	named := func(name string) testcert.Option {
		return testcert.With(func(c *x509.Certificate) { c.DNSNames = []string{name} })
	}
	f := newTree(t)
	sub, own, root := f.ca.Intermediate(t, "sub", named("sub.test")), testcert.NewCA(t, "own", named("own.test")), testcert.NewCA(t, "root", named("root.test"))
	for name, ca := range map[string]*testcert.CA{"sub": sub, "own": own, "root": root} {
		f.write(name+".pem", ca.PEM())
		f.write(name+".key", (&testcert.Leaf{Cert: ca.Cert, Key: ca.Key}).KeyPEM())
	}
	leaf := root.Leaf(t, []string{"leaf.test"})
	f.write("leaf.pem", leaf.ChainPEM(), leaf.KeyPEM())
	pairs, notes := f.find()
	f.want("pairs", pairs, "leaf.pem leaf.pem leaf.test", "own.pem own.key own.test")
	f.want("notes", notes, "root.key: the private key of a CA", "root.pem: CA certificates only",
		"sub.key: the private key of a CA", "sub.pem: CA certificates only")
}

// What a server that is not HTTP demands of its clients forbids nothing to one that is, and a
// plain default is none of TLS.
func TestNginxForeignServersForbidNothing(t *testing.T) {
	f := newTree(t)
	f.pair("a.crt", "a.key", "a.test")
	f.write("nginx.conf", `http { ssl_certificate a.crt; ssl_certificate_key a.key;
	server { listen 80 default_server; server_name a.test; } }
stream { server { listen 993 ssl; server_name a.test; ssl_verify_client optional; } }`)
	pairs, notes := f.find()
	f.want("pairs", pairs, "a.crt a.key a.test")
	f.want("notes", notes)
}
