package layout

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// What is read of one file at most: of PEM more than any field of the API takes, of a
// configuration a crt-list of some hundred thousand lines.
const (
	maxFile   = 1 << 20
	maxConfig = 64 << 20
)

// keyID is the SHA-256 of a public key (SubjectPublicKeyInfo).
type keyID [sha256.Size]byte

// kind is what a file without PEM is.
type kind int

const (
	other kind = iota
	nginxConfig
	haproxyConfig
)

// contents is what one file has in it.
type contents struct {
	path   string
	fault  string // why it was not read; empty when it was
	unread bool   // the fault is in the file system, not in what the file is
	kind   kind
	certs  []cert
	keys   []keyID
	opaque bool // it has a private key that cannot be read here, such as an encrypted one
}

// cert is what matching needs of a certificate: some hundred bytes, for there may be a
// million of them.
type cert struct {
	key             keyID // zero when the certificate cannot be read here
	leaf            Leaf
	subject, issuer [sha256.Size]byte
	ca              bool
}

func (c *contents) isPEM() bool { return len(c.certs) > 0 || len(c.keys) > 0 || c.opaque }

func (c *contents) hasKey() bool { return len(c.keys) > 0 || c.opaque }

// open reads a file once, however often it is named.
func (f *finder) open(path string) *contents {
	if c := f.files[path]; c != nil {
		return c
	}
	c := read(path)
	f.files[path] = c
	return c
}

func read(path string) *contents {
	c := &contents{path: path}
	text, fault, unread := readFile(path, maxFile)
	if c.fault, c.unread = fault, unread; fault != "" {
		return c
	}
	defer clear(text) // there may be private keys in it
	c.blocks(text)
	if !c.isPEM() {
		c.kind, c.fault = sniff(path, text)
	}
	return c
}

// readFile reads a file of bearable size that is nothing but a file: a pipe could be
// waited for till doomsday.
func readFile(path string, limit int64) (text []byte, fault string, unread bool) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, reasonOf(err), true
	case !info.Mode().IsRegular():
		return nil, "not a regular file", false
	case info.Size() > limit:
		return nil, fmt.Sprintf("larger than %d MiB", limit>>20), false
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, reasonOf(err), true
	}
	defer file.Close()
	text, err = io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return nil, reasonOf(err), true
	}
	return text, "", false
}

// blocks reads the PEM blocks in text.
func (c *contents) blocks(text []byte) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return
		}
		switch {
		case strings.HasSuffix(block.Type, "CERTIFICATE"): // X509 and TRUSTED ones, too
			c.certs = append(c.certs, readCert(block.Bytes))
		case isKey(block):
			c.key(block)
		}
		clear(block.Bytes)
	}
}

// isKey tells whether a block is a private key that a TLS server could have: somebody's
// SSH key is not.
func isKey(block *pem.Block) bool {
	return strings.HasSuffix(block.Type, "PRIVATE KEY") && !strings.HasPrefix(block.Type, "OPENSSH")
}

func (c *contents) key(block *pem.Block) {
	public, ok := publicKey(block)
	if !ok {
		c.opaque = true
		return
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		c.opaque = true
		return
	}
	c.keys = append(c.keys, sha256.Sum256(spki))
}

// publicKey is the public half of a private key in any of the three usual forms.
func publicKey(block *pem.Block) (crypto.PublicKey, bool) {
	if len(block.Headers) > 0 { // RFC 1421: encrypted
		return nil, false
	}
	var key any
	var err error
	if key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		if key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		}
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, false
	}
	return signer.Public(), true
}

func readCert(der []byte) cert {
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return cert{}
	}
	id := sha256.Sum256(x.RawSubjectPublicKeyInfo)
	leaf := Leaf{key: id, Fingerprint: fingerprint(x.Raw), Serial: x.SerialNumber.String(), NotBefore: x.NotBefore, NotAfter: x.NotAfter}
	leaf.Names = slices.Clone(x.DNSNames)
	if len(leaf.Names) == 0 && x.Subject.CommonName != "" {
		leaf.Names = []string{x.Subject.CommonName}
	}
	leaf.SANs = slices.Clone(x.DNSNames)
	for _, ip := range x.IPAddresses {
		leaf.SANs = append(leaf.SANs, ip.String())
	}
	return cert{
		key: id, leaf: leaf, ca: x.IsCA,
		subject: sha256.Sum256(x.RawSubject), issuer: sha256.Sum256(x.RawIssuer),
	}
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

var (
	nginxLine   = regexp.MustCompile(`(?m)(^|[;{])\s*ssl_(enc_)?certificate\s+[^;]+;`)
	haproxyLine = regexp.MustCompile(`(?m)^\s*bind\s.*\scrt(-list)?\s`)
)

// sniff tells what a file without PEM is, or why it is none of our business.
func sniff(path string, text []byte) (kind, string) {
	switch {
	case bytes.Contains(text, []byte("-----BEGIN X509 CRL-----")):
		return other, "a revocation list; it comes along with a certificate whose configuration names it"
	case bytes.Contains(text, []byte("CERTIFICATE REQUEST-----")):
		return other, "a request for a certificate"
	case bytes.Contains(text, []byte("-----BEGIN ")):
		return other, "no whole certificate or key of a TLS server in its PEM"
	case bytes.IndexByte(text, 0) >= 0:
		return other, binary(path)
	case filepath.Base(path) == "nginx.conf", nginxLine.Match(text):
		return nginxConfig, ""
	case filepath.Base(path) == "haproxy.cfg", haproxyLine.Match(text):
		return haproxyConfig, ""
	}
	return other, ""
}

// binary says how to make PEM of what is not.
func binary(path string) string {
	switch {
	case strings.HasSuffix(path, ".p12"), strings.HasSuffix(path, ".pfx"):
		return "PKCS #12, not PEM; convert it with: openssl pkcs12 -nodes -in FILE"
	case strings.HasSuffix(path, ".jks"):
		return "a Java key store, not PEM; convert it with: keytool -importkeystore -deststoretype pkcs12, then openssl pkcs12 -nodes"
	}
	return "binary, not PEM"
}
