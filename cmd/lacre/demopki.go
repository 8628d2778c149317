package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// demoCA signs the demo's certificates and is forgotten with it.
type demoCA struct {
	cert *x509.Certificate
	key  crypto.Signer
	now  time.Time
	sm2  bool
}

// demoLeaf is a certificate ready to be uploaded.
type demoLeaf struct {
	cert    *x509.Certificate
	certPEM string
	keyPEM  string
	sign    *demoLeaf // SM2 only: the signing pair; the leaf itself is for encryption
}

func newDemoCA(now time.Time, sm2 bool) (*demoCA, error) {
	ca := &demoCA{now: now, sm2: sm2}
	key, err := ca.newKey()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Lacre demo CA", Organization: []string{"Lacre demo"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 2), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	ca.key, ca.cert = key, t
	ca.cert, err = ca.issue(t, key)
	return ca, err
}

func (ca *demoCA) newKey() (crypto.Signer, error) {
	if ca.sm2 {
		return sm2.GenerateKey(rand.Reader)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// issue signs a certificate. smx509 does what crypto/x509 does, and SM2.
func (ca *demoCA) issue(t *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	der, err := smx509.CreateCertificate(rand.Reader, t, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	cert, err := smx509.ParseCertificate(der)
	return cert.ToX509(), err
}

// leaf makes a certificate for host, with SM2 the two of them.
func (ca *demoCA) leaf(host string, serial int64) (*demoLeaf, error) {
	if !ca.sm2 {
		return ca.pair(host, serial, x509.KeyUsageDigitalSignature)
	}
	leaf, err := ca.pair(host, serial, x509.KeyUsageKeyEncipherment|x509.KeyUsageDataEncipherment|x509.KeyUsageKeyAgreement)
	if err != nil {
		return nil, err
	}
	leaf.sign, err = ca.pair(host, serial+1000, x509.KeyUsageDigitalSignature)
	return leaf, err
}

func (ca *demoCA) pair(host string, serial int64, usage x509.KeyUsage) (*demoLeaf, error) {
	key, err := ca.newKey()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(13010 + serial), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: ca.now.Add(-time.Hour), NotAfter: ca.now.AddDate(0, 0, 1),
		KeyUsage: usage, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := ca.issue(t, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := smx509.MarshalPKCS8PrivateKey(key)
	return &demoLeaf{cert: cert, certPEM: toPEM("CERTIFICATE", cert.Raw), keyPEM: toPEM("PRIVATE KEY", keyDER)}, err
}

func toPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// body is the request body of the API page.
func (l *demoLeaf) body(name string) map[string]any {
	body := map[string]any{"name": name, "cert_content": l.certPEM, "private_key": l.keyPEM}
	if l.sign != nil {
		body["algorithm_type"], body["cert_content_sign"], body["private_key_sign"] = "SM2", l.sign.certPEM, l.sign.keyPEM
	}
	return body
}

// files are what an upload is made from, by name.
func (l *demoLeaf) files() map[string]string {
	if l.sign == nil {
		return map[string]string{"next.pem": l.certPEM, "next.key": l.keyPEM}
	}
	return map[string]string{"next-enc.pem": l.certPEM, "next-enc.key": l.keyPEM, "next-sign.pem": l.sign.certPEM, "next-sign.key": l.sign.keyPEM}
}
