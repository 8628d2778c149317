package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"

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
	case *sm2.PrivateKey:
		c.add(what+" d", key.D.FillBytes(make([]byte, 32)))
		c[what+" d in decimal"] = []byte(key.D.String())
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
