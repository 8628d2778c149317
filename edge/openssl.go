//go:build openssl

package edge

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	"github.com/golang-fips/openssl/v2"
	"github.com/golang-fips/openssl/v2/bbig"
)

// libcrypto is OpenSSL 3's, by the name that Linux distributions install it under.
const libcrypto = "libcrypto.so.3"

// prepareSigning loads OpenSSL. Without it an edge that was built for it does not start,
// rather than be slower than its operator believes.
func prepareSigning() error {
	if err := openssl.Init(libcrypto); err != nil {
		return fmt.Errorf("edge: built to sign with OpenSSL, which cannot be loaded as %s: %w", libcrypto, err)
	}
	return nil
}

// signerOf returns what signs with a key in handshakes: OpenSSL with RSA, which it does
// three times as fast as Go, and Go with all else.
func signerOf(key crypto.Signer) (crypto.Signer, error) {
	private, ok := key.(*rsa.PrivateKey)
	if !ok || len(private.Primes) != 2 {
		return key, nil
	}
	private.Precompute() // done already by who parsed it
	p := &private.Precomputed
	held, err := openssl.NewPrivateKeyRSA(bbig.Enc(private.N), openssl.BigInt{uint(private.E)}, bbig.Enc(private.D),
		bbig.Enc(private.Primes[0]), bbig.Enc(private.Primes[1]), bbig.Enc(p.Dp), bbig.Enc(p.Dq), bbig.Enc(p.Qinv))
	if err != nil {
		return nil, fmt.Errorf("giving an RSA key to OpenSSL: %w", err)
	}
	public := private.PublicKey // a copy: a pointer into private would keep all of it
	return &rsaKey{&public, held}, nil
}

// rsaKey is an RSA key in OpenSSL's memory. It is freed there once the
// collector has found that nobody holds it any more: a handshake may sign with a key that
// the cache has dropped. It is safe for concurrent use.
type rsaKey struct {
	public  *rsa.PublicKey
	private *openssl.PrivateKeyRSA
}

// Public is crypto.Signer's.
func (k *rsaKey) Public() crypto.PublicKey { return k.public }

// Sign is crypto.Signer's. Salt and blinding come from OpenSSL's own generator.
func (k *rsaKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	hash := opts.HashFunc()
	if hash == 0 || len(digest) != hash.Size() {
		return nil, errors.New("edge: signing with RSA: the digest is not one of the hash that is named")
	}
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		return openssl.SignRSAPSS(k.private, hash, digest, pss.SaltLength)
	}
	return openssl.SignRSAPKCS1v15(k.private, hash, digest)
}
