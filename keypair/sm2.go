package keypair

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"github.com/emmansun/gmsm/sm2"
)

// ParseSM2 reads the two pairs of an SM2 certificate (GB/T 38636), one for encryption and
// one for signing, and checks them as of now. It returns the encryption pair with the
// signing pair as its Signing. The error is always *Error.
//
// Each of the two is checked as Parse checks its pair, and both: the leaves must be for
// what their fields say by their key usage, be of one CA by SM2-with-SM3 signatures, and
// have names in common. Intermediates in one of the fields serve both chains. Facts are
// those of the encryption certificate, except that its names are the common ones and its
// validity is the time in which both are valid.
func ParseSM2(certPEM, keyPEM, signCertPEM, signKeyPEM string, now time.Time) (*Pair, error) {
	enc, sign := &half{upload: upload{now: now, role: encryption}}, &half{upload: upload{now: now, role: signing}}
	if err := enc.load(certPEM, keyPEM); err != nil {
		return nil, err
	}
	if err := sign.load(signCertPEM, signKeyPEM); err != nil {
		return nil, err
	}
	if err := enc.find(sign); err != nil {
		return nil, err
	}
	if err := sign.find(enc); err != nil {
		return nil, err
	}
	if err := checkRoles(enc.leaf, sign.leaf); err != nil {
		return nil, err
	}
	for _, h := range []*half{enc, sign} {
		var err error
		if h.pair, err = h.check(h.leaf, h.certs, h.key); err != nil {
			return nil, err
		}
	}
	return join(enc, sign)
}

// half is one of the two pairs while they are read.
type half struct {
	upload
	certs []*x509.Certificate
	key   crypto.Signer
	leaf  *x509.Certificate
	pair  *Pair
}

func (h *half) load(certPEM, keyPEM string) (err error) {
	h.certs, h.key, err = h.read(certPEM, keyPEM)
	return err
}

// find finds the leaf of the key. A key that belongs to the other half is told from one
// that belongs to neither.
func (h *half) find(other *half) (err error) {
	if h.leaf, err = h.leafOf(h.certs, h.key); err == nil {
		return nil
	}
	if _, swapped := other.leafOf(other.certs, h.key); swapped == nil {
		return refuse(KeyMismatch, h.role.key(), "the private key is that of the certificate in %s", other.role.cert())
	}
	return err
}

// join puts two halves that are right each by itself together.
func join(enc, sign *half) (*Pair, error) {
	if err := enc.complete(sign); err != nil {
		return nil, err
	}
	if err := sign.complete(enc); err != nil {
		return nil, err
	}
	if !sameIssuer(enc.pair.Chain, sign.pair.Chain) {
		return nil, refuse(BrokenChain, fieldCertSign, "certificate %s was issued under %.100q and certificate %s of %s under %.100q; one CA is expected",
			nameOf(sign.leaf), top(sign.pair.Chain).Issuer.CommonName, nameOf(enc.leaf), fieldCert, top(enc.pair.Chain).Issuer.CommonName)
	}
	pair := enc.pair
	pair.Signing = sign.pair
	pair.Warnings = slices.Concat(enc.warnings, sign.warnings)
	return pair, pair.common(&sign.pair.Facts)
}

// complete lends a chain that is a bare leaf the intermediates of the other one, if they
// are its issuers: people put them into one of the two files.
func (h *half) complete(other *half) error {
	if len(h.pair.Chain) > 1 || selfIssued(h.leaf) {
		return nil
	}
	issuer := issuerOf(h.leaf, other.pair.Chain[1:])
	if issuer == nil {
		return nil
	}
	if err := h.checkLink(h.pair.Chain, issuer); err != nil {
		return err
	}
	from := slices.Index(other.pair.Chain, issuer)
	h.pair.Chain = append(h.pair.Chain, other.pair.Chain[from:]...)
	return nil
}

// sameIssuer tells whether two chains end below the same CA.
func sameIssuer(a, b []*x509.Certificate) bool {
	x, y := top(a), top(b)
	if !bytes.Equal(x.RawIssuer, y.RawIssuer) {
		return false
	}
	return len(x.AuthorityKeyId) == 0 || len(y.AuthorityKeyId) == 0 || bytes.Equal(x.AuthorityKeyId, y.AuthorityKeyId)
}

func top(chain []*x509.Certificate) *x509.Certificate { return chain[len(chain)-1] }

// common leaves of p's facts what holds for the signing certificate, too.
func (p *Pair) common(sign *Facts) error {
	names := sign.names()
	all := len(p.Facts.SANs)
	p.Facts.SANs = slices.DeleteFunc(p.Facts.SANs, func(san string) bool {
		name, err := CanonicalHost(san)
		return !slices.Contains(sign.SANs, san) && (err != nil || !names[name])
	})
	alien := func(name string) bool { return !names[name] } // a common name that stands in for the SANs
	if len(p.Facts.SANs) == 0 || slices.ContainsFunc(slices.Collect(maps.Keys(p.Facts.names())), alien) {
		return refuse(NoSAN, fieldCertSign, "the signing certificate has none of the names of the encryption certificate")
	}
	if len(p.Facts.SANs) < all || len(sign.SANs) > all {
		p.Warnings = append(p.Warnings, "the two certificates have different names; only those of both count")
	}
	if sign.NotBefore.After(p.Facts.NotBefore) {
		p.Facts.NotBefore = sign.NotBefore
	}
	if sign.NotAfter.Before(p.Facts.NotAfter) {
		p.Facts.NotAfter = sign.NotAfter
	}
	return nil
}

// proveSM2 uses the key for what its role is: a signature that the leaf verifies, or a
// ciphertext for the leaf that it opens. Both are thrown away; what is random in them
// decides nothing.
func (u *upload) proveSM2(key crypto.Signer, leaf *x509.Certificate) error {
	private, ok := key.(*sm2.PrivateKey)
	public, good := leaf.PublicKey.(*ecdsa.PublicKey)
	message := []byte("lacre: proof that a private key belongs to its leaf")
	switch {
	case !ok || !good:
	case u.role == signing:
		signature, err := private.Sign(rand.Reader, message, sm2.DefaultSM2SignerOpts)
		if err == nil && sm2.VerifyASN1WithSM2(public, nil, message, signature) {
			return nil
		}
		return refuse(KeyMismatch, u.role.key(), "a signature by the private key does not verify with certificate %s", nameOf(leaf))
	default:
		sealed, err := sm2.EncryptASN1(rand.Reader, public, message)
		if err == nil {
			var opened []byte
			if opened, err = private.Decrypt(nil, sealed, sm2.ASN1DecrypterOpts); err == nil && bytes.Equal(opened, message) {
				return nil
			}
		}
	}
	return refuse(KeyMismatch, u.role.key(), "the private key does not decrypt what is encrypted for certificate %s", nameOf(leaf))
}
