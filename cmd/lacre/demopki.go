package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// demoCA signs the demo's certificates and is forgotten with it.
type demoCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  time.Time
}

// demoLeaf is a certificate ready to be uploaded.
type demoLeaf struct {
	cert    *x509.Certificate
	certPEM string
	keyPEM  string
}

func newDemoCA(now time.Time) (*demoCA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Lacre demo CA", Organization: []string{"Lacre demo"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 2), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &demoCA{cert: cert, key: key, now: now}, err
}

func (ca *demoCA) leaf(host string, serial int64) (*demoLeaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(13010 + serial), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: ca.now.Add(-time.Hour), NotAfter: ca.now.AddDate(0, 0, 1),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &demoLeaf{cert: cert, certPEM: toPEM("CERTIFICATE", der), keyPEM: toPEM("PRIVATE KEY", keyDER)}, err
}

func toPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// body is the request body of the API page.
func (l *demoLeaf) body(name string) map[string]any {
	return map[string]any{"name": name, "cert_content": l.certPEM, "private_key": l.keyPEM}
}
