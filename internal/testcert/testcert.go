// Package testcert makes throw-away CAs, leaves and key pairs while a test runs, so
// that no key is ever kept in the repository. Only tests import it.
package testcert

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// CA signs certificates. By default it is a P-256 root valid from an hour ago for
// ten years.
type CA struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	// Chain is what a server sends above a leaf of this CA: the CA itself and its
	// issuers without the root. It is empty for a root.
	Chain []*x509.Certificate
}

// NewCA makes a self-signed root named cn.
func NewCA(tb testing.TB, cn string, opts ...Option) *CA {
	tb.Helper()
	s := newSpec(opts, authority(cn))
	return &CA{Cert: s.sign(tb, nil), Key: s.key}
}

// Intermediate makes a CA named cn whose certificate is signed by ca.
func (ca *CA) Intermediate(tb testing.TB, cn string, opts ...Option) *CA {
	tb.Helper()
	s := newSpec(opts, authority(cn))
	cert := s.sign(tb, ca)
	return &CA{Cert: cert, Key: s.key, Chain: append([]*x509.Certificate{cert}, ca.Chain...)}
}

// Leaf makes a server certificate for hosts (DNS names or IP addresses) signed by
// ca: by default P-256, valid from an hour ago for 90 days, for server and client
// authentication, with hosts[0] as its common name. Two leaves have different keys,
// RSA ones apart (see WithRSA). It takes well under a millisecond.
func (ca *CA) Leaf(tb testing.TB, hosts []string, opts ...Option) *Leaf {
	tb.Helper()
	s := newSpec(opts, server(hosts))
	cert := s.sign(tb, ca)
	return &Leaf{Cert: cert, Key: s.key, Chain: append([]*x509.Certificate{cert}, ca.Chain...)}
}

// PEM returns the CA's certificate.
func (ca *CA) PEM() string { return CertPEM(ca.Cert) }

// Pool returns a pool with the CA's certificate in it.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// Leaf is a server certificate with its key.
type Leaf struct {
	Cert  *x509.Certificate
	Key   crypto.Signer
	Chain []*x509.Certificate // the leaf and its intermediates, without the root
}

// SelfSigned makes a leaf that is signed by its own key and is no CA.
func SelfSigned(tb testing.TB, hosts []string, opts ...Option) *Leaf {
	tb.Helper()
	s := newSpec(opts, server(hosts))
	cert := s.sign(tb, nil)
	return &Leaf{Cert: cert, Key: s.key, Chain: []*x509.Certificate{cert}}
}

// CertPEM returns the leaf alone.
func (l *Leaf) CertPEM() string { return CertPEM(l.Cert) }

// ChainPEM returns the leaf and its intermediates, in that order.
func (l *Leaf) ChainPEM() string { return CertPEM(l.Chain...) }

// KeyPEM returns the key as PKCS#8 ("PRIVATE KEY").
func (l *Leaf) KeyPEM() string { return KeyPEM(l.Key) }

// TLS returns the leaf and its intermediates for use in a tls.Config.
func (l *Leaf) TLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: l.Key, Leaf: l.Cert}
	for _, cert := range l.Chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// CertPEM writes certificates one after the other.
func CertPEM(certs ...*x509.Certificate) string {
	var text []byte
	for _, cert := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return string(text)
}

// spec is a certificate about to be signed.
type spec struct {
	template x509.Certificate
	key      crypto.Signer
}

func newSpec(opts []Option, defaults x509.Certificate) *spec {
	s := &spec{template: defaults}
	for _, opt := range opts {
		opt(s)
	}
	if s.key == nil {
		s.key = newECKey()
	}
	return s
}

// sign signs with issuer, or with the certificate's own key when issuer is nil.
func (s *spec) sign(tb testing.TB, issuer *CA) *x509.Certificate {
	tb.Helper()
	parent, key := &s.template, s.key
	if issuer != nil {
		parent, key = issuer.Cert, issuer.Key
	}
	parse := x509.ParseCertificate
	if sm2.IsSM2PublicKey(s.key.Public()) {
		parse = parseSM2
	}
	der, err := smx509.CreateCertificate(rand.Reader, &s.template, parent, s.key.Public(), key)
	if err != nil {
		tb.Fatalf("testcert: signing %q: %v", s.template.Subject.CommonName, err)
	}
	cert, err := parse(der)
	if err != nil {
		tb.Fatalf("testcert: reading back %q: %v", s.template.Subject.CommonName, err)
	}
	return cert
}

func authority(cn string) x509.Certificate {
	now := time.Now()
	return x509.Certificate{
		Subject:               pkix.Name{CommonName: cn, Organization: []string{"Throw-away"}},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func server(hosts []string) x509.Certificate {
	now := time.Now()
	c := x509.Certificate{
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(0, 0, 90),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if len(hosts) > 0 {
		c.Subject.CommonName = hosts[0]
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	return c
}
