package tlcp

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// authority is a throw-away CA.
type authority struct {
	cert *x509.Certificate
	key  *sm2.PrivateKey
	pool *smx509.CertPool
}

func newKey(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate; parent nil is self-signed.
func issue(t testing.TB, template *x509.Certificate, key *sm2.PrivateKey, parent *authority) *x509.Certificate {
	t.Helper()
	template.SerialNumber, _ = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := smx509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := smx509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert.ToX509()
}

func newAuthority(t testing.TB, name string, parent *authority) *authority {
	t.Helper()
	a := &authority{key: newKey(t), pool: smx509.NewCertPool()}
	a.cert = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.key, parent)
	a.pool.AddCert((*smx509.Certificate)(a.cert))
	return a
}

// leaf is a certificate with its key.
type leaf struct {
	der [][]byte
	key *sm2.PrivateKey
}

const (
	signUsage = x509.KeyUsageDigitalSignature
	encUsage  = x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageKeyAgreement
)

// leaf issues a leaf; change may be nil.
func (a *authority) leaf(t testing.TB, name string, usage x509.KeyUsage, change func(*x509.Certificate)) leaf {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: usage, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	key := newKey(t)
	return leaf{der: [][]byte{issue(t, template, key, a).Raw}, key: key}
}

func (a *authority) pair(t testing.TB, name string) *KeyPair {
	t.Helper()
	return pairOf(t, a.leaf(t, name, signUsage, nil), a.leaf(t, name, encUsage, nil))
}

func pairOf(t testing.TB, sign, enc leaf) *KeyPair {
	t.Helper()
	p, err := NewKeyPair(sign.der, sign.key, enc.der, enc.key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
