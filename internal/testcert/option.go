package testcert

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"
)

// Option changes a certificate before it is signed. Options apply in their order.
type Option func(*spec)

// With edits the template itself, for whatever has no option of its own.
func With(edit func(template *x509.Certificate)) Option {
	return func(s *spec) { edit(&s.template) }
}

// WithRSA gives the certificate the throw-away RSA key RSAKey(bits, 0): certificates
// of one size share it, since making an RSA key is slow. Use WithKey(RSAKey(bits, 1))
// where two keys must differ.
func WithRSA(bits int) Option { return WithKey(RSAKey(bits, 0)) }

// WithECC gives the certificate a new key on curve.
func WithECC(curve elliptic.Curve) Option {
	return func(s *spec) { s.key = newKeyOn(curve) }
}

// WithKey gives the certificate this key.
func WithKey(key crypto.Signer) Option { return func(s *spec) { s.key = key } }

// WithValidity sets the validity, both ends included, in whole seconds.
func WithValidity(notBefore, notAfter time.Time) Option {
	return With(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = notBefore, notAfter })
}

// WithSubject replaces the whole subject.
func WithSubject(name pkix.Name) Option {
	return With(func(c *x509.Certificate) { c.Subject = name })
}

// WithoutSAN removes every subject alternative name; the common name stays.
func WithoutSAN() Option {
	return With(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil })
}

// WithSerial sets the serial number, random otherwise.
func WithSerial(serial *big.Int) Option {
	return With(func(c *x509.Certificate) { c.SerialNumber = serial })
}

// WithSignature sets how the issuer signs, its key's default otherwise.
func WithSignature(algorithm x509.SignatureAlgorithm) Option {
	return With(func(c *x509.Certificate) { c.SignatureAlgorithm = algorithm })
}

// WithKeyUsage replaces the key usage; 0 leaves the extension out.
func WithKeyUsage(usage x509.KeyUsage) Option {
	return With(func(c *x509.Certificate) { c.KeyUsage = usage })
}

// WithExtKeyUsage replaces the extended key usage; none leaves the extension out.
func WithExtKeyUsage(usage ...x509.ExtKeyUsage) Option {
	return With(func(c *x509.Certificate) { c.ExtKeyUsage = usage })
}

// NotCA makes an authority's certificate say that it is not one.
func NotCA() Option {
	return With(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
}
