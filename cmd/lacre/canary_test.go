package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lacre/internal/testcert"
)

// canaries are secrets in every form in which they could get out, with what each is.
type canaries map[string][]byte

// add takes a secret given as bytes: as it is, as hexadecimal, as base64 at each of the
// three places that it can have in a longer text, and as Go and JSON print byte slices.
func (c canaries) add(what string, secret []byte) {
	c[what] = secret
	c[what+" in hex"] = []byte(hex.EncodeToString(secret))
	c[what+" in HEX"] = []byte(strings.ToUpper(hex.EncodeToString(secret)))
	c[what+" as %v"] = []byte(strings.Trim(fmt.Sprint(secret), "[]"))
	c[what+" as numbers"] = []byte(strings.ReplaceAll(strings.Trim(fmt.Sprint(secret), "[]"), " ", ","))
	for skip := range 3 {
		at := append(make([]byte, skip), secret...)
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString(at)
			// The first and last characters also depend on the neighbours.
			c[fmt.Sprintf("%s in %s at %d", what, name, skip)] = []byte(text[4 : len(text)-2])
		}
	}
}

// number takes a secret number: as the bytes it has, and in decimal.
func (c canaries) number(what string, n *big.Int) {
	c.add(what, n.Bytes())
	c[what+" in decimal"] = []byte(n.String())
}

// pem takes the lines of a private key's text that do not only repeat the certificate:
// some lines of an RSA key are nothing but its public modulus.
func (c canaries) pem(what, text string, public []byte) {
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		bits, err := base64.StdEncoding.DecodeString(line)
		if err == nil && len(bits) >= 12 && !bytes.Contains(public, bits) {
			c[fmt.Sprintf("line %d of %s", i+1, what)] = []byte(line)
		}
	}
}

// key takes everything that is private about a leaf.
func (c canaries) key(t *testing.T, what string, leaf *testcert.Leaf, text string) {
	t.Helper()
	c.pem(what, text, leaf.Cert.Raw)
	block, _ := pem.Decode([]byte(text))
	c[what+" in DER"] = block.Bytes
	switch key := leaf.Key.(type) {
	case *ecdsa.PrivateKey:
		d, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		c.add(what+" d", d)
		c[what+" d in decimal"] = []byte(new(big.Int).SetBytes(d).String())
	case *rsa.PrivateKey:
		for name, n := range map[string]*big.Int{
			"d": key.D, "p": key.Primes[0], "q": key.Primes[1],
			"dp": key.Precomputed.Dp, "dq": key.Precomputed.Dq, "qinv": key.Precomputed.Qinv,
		} {
			c.number(what+" "+name, n)
		}
	}
}

// without leaves out the forms of one secret.
func (c canaries) without(what string) canaries {
	out := maps.Clone(c)
	maps.DeleteFunc(out, func(name string, _ []byte) bool { return strings.HasPrefix(name, what) })
	return out
}

// found names every canary that is in text.
func (c canaries) found(text []byte) []string {
	text = solid(text)
	var names []string
	for name, secret := range c {
		if bytes.Contains(text, secret) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// solid leaves out whole pages of zeros: etcd makes its log 64 MB long in advance.
func solid(text []byte) []byte {
	const page = 4096
	if len(text) < 64*page {
		return text
	}
	var out []byte
	for part := range slices.Chunk(text, page) {
		if bytes.Count(part, []byte{0}) < len(part) {
			out = append(out, part...)
		}
	}
	return out
}

// life is a whole life of a lacre, with everything that came out of it.
type life struct {
	*world
	secrets canaries
	heard   [][]byte // answers, header and body
	talk    []string // of each process
}

// TestCanary leads a whole life, with logs at their most talkative, and then looks for
// every secret in everything that came out and everything that was written.
func TestCanary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := &life{secrets: canaries{}}
	for _, format := range []string{"json", "text"} {
		p := start(t, dir, "--log-level", "debug", "--log-format", format)
		l.world = visitLacre(t, dir)
		l.secrets["token of the "+format+" run"] = []byte(l.token)
		l.world.heard = func(a *answer) {
			var text bytes.Buffer
			a.header.Write(&text)
			l.heard = append(l.heard, append(text.Bytes(), a.body...))
		}
		l.lead(t, format)
		p.stop()
		l.talk = append(l.talk, p.talk.String())
	}
	l.secrets["admin password"], l.secrets["admin secret key"] = []byte(l.creds.Password), []byte(l.creds.SecretKey)
	l.masterKey(t, dir)

	for i, text := range l.talk {
		wantNone(t, fmt.Sprintf("output of run %d", i+1), l.secrets.found([]byte(text)))
	}
	for _, text := range l.heard {
		wantNone(t, "an answer", l.secrets.found(text))
	}
	files := l.search(t, dir)
	if len(l.heard) < 40 || files < 6 {
		t.Errorf("searched %d answers and %d files: that is no whole life", len(l.heard), files)
	}
	t.Logf("%d forms of secrets, %d answers, %d files", len(l.secrets), len(l.heard), files)
}

func wantNone(t *testing.T, where string, found []string) {
	t.Helper()
	if len(found) > 0 {
		t.Errorf("%s: got %q, want no secret", where, found)
	}
}

// masterKey takes the master key, as it is and as it was decoded.
func (l *life) masterKey(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	l.secrets.add("master key", key)
}

// search looks into every file below dir. The administrator's secrets may be in
// credentials.json and the master key in master.key: that they are found there shows that the search works.
func (l *life) search(t *testing.T, dir string) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		allowed := map[string]string{credentialsFile: "admin", "master.key": "master key"}[d.Name()]
		if allowed == "" {
			wantNone(t, path, l.secrets.found(text))
			return nil
		}
		wantNone(t, path, l.secrets.without(allowed).found(text))
		if len(l.secrets.found(text)) == 0 {
			t.Errorf("%s: the search does not find the %s that is there", path, allowed)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// lead does whatever has to do with keys, well and badly.
func (l *life) lead(t *testing.T, run string) {
	host := run + ".canary.test"
	backend := httptest.NewServer(http.NotFoundHandler())
	defer backend.Close()
	hosts := []string{host}
	rsaLeaf := l.ca.Leaf(t, hosts, testcert.WithKey(testcert.RSAKey(2048, len(run)%2)))
	p256, p384 := l.ca.Leaf(t, hosts), l.ca.Leaf(t, hosts, testcert.WithECC(elliptic.P384()))
	keys := []struct {
		name string
		leaf *testcert.Leaf
		text string
	}{
		{"PKCS#1", rsaLeaf, rsaLeaf.KeyPKCS1PEM()}, {"PKCS#8 RSA", rsaLeaf, rsaLeaf.KeyPEM()},
		{"SEC1", p256, p256.KeySEC1PEM()}, {"PKCS#8 ECC", p384, p384.KeyPEM()},
	}
	for i, k := range keys {
		what := run + " " + k.name
		l.secrets.key(t, what, k.leaf, k.text)
		body := map[string]any{"name": fmt.Sprintf("canary_%s_%d", run, i), "cert_content": k.leaf.ChainPEM(), "private_key": k.text}
		id := l.ask("POST", "/certificates", body, 200, 201).field("id")
		l.ask("PUT", "/certificates/"+id, body, 200)
		l.ask("GET", "/certificates/"+id, nil, 200)
		l.misuse(t, id, body, k.leaf, keys[(i+2)%len(keys)].text)
	}
	leaf := l.ca.Leaf(t, hosts)
	l.secrets.key(t, run+" served", leaf, leaf.KeyPEM())
	s := l.publish(host, backend.URL, leaf)
	if _, err := l.served(host); err != nil { // opens the key
		t.Errorf("handshake for %s: %v", host, err)
	}
	l.ask("PUT", "/certificates/"+s.id, s.upload(leaf), 200)
	l.ask("GET", "/certificates?instance_id=", nil, 200)
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/openapi.yaml", "/nowhere"} {
		l.try(t, http.MethodGet, path, nil)
	}
	token := l.token
	l.try(t, http.MethodGet, "/v3/auth/tokens/none", nil)
	l.try(t, http.MethodPost, "/v3/auth/tokens", []byte(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","password":"`+l.creds.Password+`"`))
	l.token = token + "x" // an altered token is as good as a secret
	l.try(t, http.MethodGet, "/v2/"+l.creds.ProjectID+"/apic/certificates?instance_id=", nil)
	l.token = token
	l.try(t, http.MethodDelete, "/v3/auth/tokens", nil)
}

// misuse uploads a key in the ways that go wrong.
func (l *life) misuse(t *testing.T, id string, good map[string]any, leaf *testcert.Leaf, otherKey string) {
	key := good["private_key"].(string)
	with := func(field string, value any) map[string]any {
		body := maps.Clone(good)
		body[field] = value
		return body
	}
	swapped := with("cert_content", key)
	swapped["private_key"] = leaf.ChainPEM()
	for _, body := range []any{
		with("private_key", otherKey),             // of another leaf
		with("private_key", key[:len(key)/2]),     // cut short
		with("private_key", key+key),              // twice
		with("cert_content", leaf.ChainPEM()+key), // in the wrong field as well
		swapped,                            // the one for the other
		with("name", key),                  // in the name
		with("type", key),                  // in a field with few values
		with("algorithm_type", key),        // in another
		with("private_key", []string{key}), // of the wrong type
		with("trusted_root_ca", key),       // as trust roots
		with(key, "x"),                     // as the name of a field
		[]byte(`{"private_key":"` + strings.ReplaceAll(key, "\n", `\n`)), // JSON that ends early
	} {
		l.try(t, http.MethodPut, "/v2/"+l.creds.ProjectID+"/apic/certificates/"+id, body)
		l.try(t, http.MethodPost, "/v2/"+l.creds.ProjectID+"/apic/certificates", body)
	}
}

// try sends what may well be refused.
func (l *life) try(t *testing.T, method, path string, body any) {
	t.Helper()
	a, err := l.send(method, path, body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	} else if a.status >= 500 {
		t.Errorf("%s %s: got %d %s, want no internal error", method, path, a.status, a.body)
	}
}

// TestCanaryIsFound plants each form of a secret and has the search find it.
func TestCanaryIsFound(t *testing.T) {
	ca := testcert.NewCA(t, "Throw-away CA")
	leaf := ca.Leaf(t, []string{"planted.canary.test"})
	secrets := canaries{}
	secrets.key(t, "key", leaf, leaf.KeyPEM())
	if got := secrets.found(leaf.Cert.Raw); len(got) > 0 {
		t.Errorf("in the certificate: got %q, want nothing", got)
	}
	if got := secrets.found([]byte(testcert.CertPEM(leaf.Cert))); len(got) > 0 {
		t.Errorf("in the certificate's PEM: got %q, want nothing", got)
	}
	d := secrets["key d"]
	block, _ := pem.Decode([]byte(leaf.KeyPEM()))
	for what, text := range map[string]string{
		"PEM":           leaf.KeyPEM(),
		"DER":           string(block.Bytes),
		"SEC 1 DER":     string(mustDecode(t, leaf.KeySEC1PEM())),
		"raw":           string(d),
		"hex":           hex.EncodeToString(d),
		"upper hex":     fmt.Sprintf("%X", d),
		"%v":            fmt.Sprintf("%v", d),
		"big.Int":       fmt.Sprint(new(big.Int).SetBytes(d)),
		"base64":        base64.StdEncoding.EncodeToString(d),
		"base64 inside": base64.URLEncoding.EncodeToString(append([]byte("d="), append(d, "!!"...)...)),
		"far in a log":  strings.Repeat("\x00", 1<<20) + strings.Repeat("x", 4090) + string(d) + strings.Repeat("\x00", 1<<20),
	} {
		if got := secrets.found([]byte("before " + text + " after")); len(got) == 0 {
			t.Errorf("planted as %s: got nothing, want it found", what)
		}
	}
}

func mustDecode(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}
