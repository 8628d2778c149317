package testcert

import (
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// WithSM2 gives the certificate a new SM2 key. An issuer with an SM2 key signs by
// SM2-with-SM3.
func WithSM2() Option { return func(s *spec) { s.key = newSM2Key() } }

func newSM2Key() *sm2.PrivateKey {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		panic("testcert: making an SM2 key: " + err.Error())
	}
	return key
}

// Dual is what TLCP wants of a server: a leaf for signing and one for encryption.
type Dual struct{ Sign, Enc *Leaf }

// Dual makes two SM2 leaves for hosts with the key usages of their roles; the options
// apply to both, before their keys and usages are set.
func (ca *CA) Dual(tb testing.TB, hosts []string, opts ...Option) *Dual {
	tb.Helper()
	leaf := func(usage x509.KeyUsage) *Leaf {
		return ca.Leaf(tb, hosts, append(opts[:len(opts):len(opts)], WithSM2(), WithKeyUsage(usage))...)
	}
	return &Dual{
		Sign: leaf(x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment),
		Enc:  leaf(x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageKeyAgreement),
	}
}

func parseSM2(der []byte) (*x509.Certificate, error) {
	cert, err := smx509.ParseCertificate(der)
	return cert.ToX509(), err
}
