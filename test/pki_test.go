package test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// authority is a throw-away certificate authority.
type authority struct {
	leaf *x509.Certificate
	key  crypto.Signer
	pem  string
}

// pair is a certificate with its private key.
type pair struct {
	leaf    *x509.Certificate
	content string // PEM
	key     string // PEM, PKCS#8
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newECKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root", Organization: []string{"Lacre Test CA"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf, text := signed(t, template, template, key.Public(), key)
	return &authority{leaf, key, text}
}

// issue makes a certificate for names with a new elliptic-curve key.
func (a *authority) issue(t *testing.T, names ...string) *pair {
	t.Helper()
	return a.issueFor(t, newECKey(t), time.Now().Add(12*time.Hour), names...)
}

func (a *authority) issueRSA(t *testing.T, names ...string) *pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return a.issueFor(t, key, time.Now().Add(12*time.Hour), names...)
}

// issueFor makes a certificate with every part of a subject that the API shows.
func (a *authority) issueFor(t *testing.T, key crypto.Signer, end time.Time, names ...string) *pair {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: names, NotBefore: time.Now().Add(-time.Minute), NotAfter: end,
		Subject: pkix.Name{
			CommonName: names[0], Organization: []string{"Lacre"}, OrganizationalUnit: []string{"Edge"},
			Locality: []string{"Lisboa"}, Province: []string{"Estremadura"}, Country: []string{"PT"},
		},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leaf, text := signed(t, template, a.leaf, key.Public(), a.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{leaf, text, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}
}

func signed(t *testing.T, template, parent *x509.Certificate, key crypto.PublicKey, by crypto.Signer) (*x509.Certificate, string) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func newECKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
