package testcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"sync"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// rsaKeys holds the RSA keys of this process, each made on first use.
var rsaKeys sync.Map // of func() *rsa.PrivateKey by rsaKey

type rsaKey struct{ bits, n int }

// RSAKey returns the nth throw-away RSA key of a size, the same one each time.
func RSAKey(bits, n int) *rsa.PrivateKey {
	generate := sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic("testcert: making an RSA key: " + err.Error())
		}
		return key
	})
	once, _ := rsaKeys.LoadOrStore(rsaKey{bits, n}, generate)
	return once.(func() *rsa.PrivateKey)()
}

// KeyPEM returns a key as PKCS#8 ("PRIVATE KEY").
func KeyPEM(key crypto.Signer) string {
	return encodeKey("PRIVATE KEY", func() ([]byte, error) { return smx509.MarshalPKCS8PrivateKey(key) })
}

// KeyPKCS1PEM returns an RSA key as PKCS#1 ("RSA PRIVATE KEY"); it panics on another.
func (l *Leaf) KeyPKCS1PEM() string {
	return encodeKey("RSA PRIVATE KEY", func() ([]byte, error) {
		return x509.MarshalPKCS1PrivateKey(l.Key.(*rsa.PrivateKey)), nil
	})
}

// KeySEC1PEM returns an elliptic-curve key as SEC 1 ("EC PRIVATE KEY"); it panics on
// another.
func (l *Leaf) KeySEC1PEM() string {
	return encodeKey("EC PRIVATE KEY", func() ([]byte, error) {
		if key, ok := l.Key.(*sm2.PrivateKey); ok {
			return smx509.MarshalSM2PrivateKey(key)
		}
		return x509.MarshalECPrivateKey(l.Key.(*ecdsa.PrivateKey))
	})
}

func encodeKey(blockType string, marshal func() ([]byte, error)) string {
	der, err := marshal()
	if err != nil {
		panic("testcert: encoding a key: " + err.Error())
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}))
}

func newECKey() crypto.Signer { return newKeyOn(elliptic.P256()) }

func newKeyOn(curve elliptic.Curve) crypto.Signer {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic("testcert: making a key: " + err.Error())
	}
	return key
}
