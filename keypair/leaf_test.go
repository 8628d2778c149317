package keypair_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

func TestLeafRefusals(t *testing.T) {
	_, ed25519Key, _ := ed25519.GenerateKey(nil)
	poison := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: []byte{5, 0}}
	past := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		option testcert.Option
		want   keypair.Reason
	}{
		"expired":                {testcert.WithValidity(past.Add(-time.Hour), past), keypair.Expired},
		"no SAN":                 {testcert.WithoutSAN(), keypair.NoSAN},
		"e-mail SAN only":        {testcert.With(onlyEmail), keypair.NoSAN},
		"RSA 1024":               {testcert.WithRSA(1024), keypair.Invalid},
		"P-224":                  {testcert.WithECC(elliptic.P224()), keypair.Invalid},
		"Ed25519":                {testcert.WithKey(ed25519Key), keypair.Invalid},
		"SHA-1":                  {testcert.WithSignature(x509.ECDSAWithSHA1), keypair.Invalid},
		"key encipherment only":  {testcert.WithKeyUsage(x509.KeyUsageKeyEncipherment), keypair.Invalid},
		"CA usage only":          {testcert.WithKeyUsage(x509.KeyUsageCertSign), keypair.Invalid},
		"client usage only":      {testcert.WithExtKeyUsage(x509.ExtKeyUsageClientAuth), keypair.Invalid},
		"unknown usage only":     {testcert.With(onlyUnknownUsage), keypair.Invalid},
		"precertificate":         {testcert.With(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{poison} }), keypair.Invalid},
		"1001 SANs":              {testcert.With(func(c *x509.Certificate) { c.DNSNames = manyHosts(1001) }), keypair.Invalid},
		"1000 SANs are allowed":  {testcert.With(func(c *x509.Certificate) { c.DNSNames = manyHosts(1000) }), ""},
		"no usage is allowed":    {testcert.WithKeyUsage(0), ""},
		"no ext usage is":        {testcert.WithExtKeyUsage(), ""},
		"any ext usage is":       {testcert.WithExtKeyUsage(x509.ExtKeyUsageAny), ""},
		"longest serial number":  {testcert.WithSerial(new(big.Int).Lsh(big.NewInt(1), 158)), ""},
		"SHA-512 is":             {testcert.WithSignature(x509.ECDSAWithSHA512), ""},
		"RSA key of an ECC CA's": {testcert.WithRSA(2048), ""},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := testcert.NewCA(t, "root").Leaf(t, hosts, c.option)
			_, err := keypair.Parse(leaf.CertPEM(), leaf.KeyPEM(), time.Now())
			if got := reason(t, err, "cert_content"); got != c.want {
				t.Errorf("got reason %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

func onlyEmail(c *x509.Certificate) { c.DNSNames, c.EmailAddresses = nil, []string{"a@a.test"} }

func onlyUnknownUsage(c *x509.Certificate) {
	c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
}

// Curves and algorithms that crypto/x509 cannot make are written into a certificate in
// place of an algorithm identifier of the same length, or into the skeleton of one.
func TestUnsupportedAlgorithmsAreNamed(t *testing.T) {
	p384 := testcert.SelfSigned(t, hosts, testcert.WithECC(elliptic.P384())).Cert.Raw
	k256 := bytes.Replace(p384, oid(t, 1, 3, 132, 0, 34), oid(t, 1, 3, 132, 0, 10), 1)
	ec := oid(t, 1, 2, 840, 10045, 2, 1)
	for name, c := range map[string]struct {
		der  []byte
		want string // what the uploader must read
	}{
		"secp256k1":     {k256, "secp256k1"},
		"P-224":         {testcert.SelfSigned(t, hosts, testcert.WithECC(elliptic.P224())).Cert.Raw, "P-224"},
		"Brainpool":     {skeleton(t, ec, oid(t, 1, 3, 36, 3, 3, 2, 8, 1, 1, 7)), "Brainpool"},
		"another curve": {skeleton(t, ec, oid(t, 1, 2, 3)), "P-256, P-384 or P-521"},
		"no curve":      {skeleton(t, ec), "P-256, P-384 or P-521"},
		"RSASSA-PSS":    {skeleton(t, oid(t, 1, 2, 840, 113549, 1, 1, 10)), "RSASSA-PSS"},
		"Ed448":         {skeleton(t, oid(t, 1, 3, 101, 113)), "Ed448"},
		"DSA":           {skeleton(t, oid(t, 1, 2, 840, 10040, 4, 1)), "DSA"},
		"another":       {skeleton(t, oid(t, 1, 2, 3)), "RSA or ECDSA"},
	} {
		t.Run(name, func(t *testing.T) {
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.der})
			_, err := keypair.Parse(string(text), "", time.Now())
			if got := reason(t, err, "cert_content"); got != keypair.Invalid {
				t.Fatalf("got reason %q, want %q", got, keypair.Invalid)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to name %s", err, c.want)
			}
		})
	}
}

func TestLeafWarnings(t *testing.T) {
	devCA := testcert.NewCA(t, "dev", testcert.WithKeyUsage(0), testcert.With(func(c *x509.Certificate) { c.DNSNames = hosts }))
	public := testcert.NewCA(t, "root").Leaf(t, hosts, testcert.With(func(c *x509.Certificate) {
		c.IssuingCertificateURL = []string{"http://ca.test/issuing.cer"}
	}))
	for name, c := range map[string]*testcert.Leaf{
		"self-signed CA:TRUE":  {Cert: devCA.Cert, Key: devCA.Key},
		"missing intermediate": public,
		"large RSA key":        testcert.SelfSigned(t, hosts, testcert.WithKey(famousKey(t))),
	} {
		if pair := parse(t, c.CertPEM(), c.KeyPEM()); len(pair.Warnings) != 1 {
			t.Errorf("%s: got warnings %q, want one", name, pair.Warnings)
		}
	}
}

// famousKey is an RSA key of 4413 bits that takes no time to make: its primes are a
// Mersenne prime and a Proth prime.
func famousKey(t *testing.T) *rsa.PrivateKey {
	one := big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 2203), one)
	q := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(3), 2208), one)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
		D:         new(big.Int).ModInverse(big.NewInt(65537), phi),
		Primes:    []*big.Int{p, q},
	}
	if err := key.Validate(); err != nil {
		t.Fatal(err)
	}
	return key
}

func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

func manyHosts(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("h%d.a.test", i)
	}
	return names
}

func oid(t *testing.T, arcs ...int) []byte {
	t.Helper()
	der, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// sequence wraps parts in an ASN.1 SEQUENCE.
func sequence(t *testing.T, parts ...[]byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: bytes.Join(parts, nil)})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// skeleton is a certificate with nothing in it but this AlgorithmIdentifier.
func skeleton(t *testing.T, identifier ...[]byte) []byte {
	t.Helper()
	empty, spki := sequence(t), sequence(t, sequence(t, identifier...))
	return sequence(t, sequence(t, []byte{2, 1, 1}, empty, empty, empty, empty, spki))
}
