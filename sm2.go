package lacre

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"lacre/keypair"
)

// maxSigning is the most characters of cert_content_sign and of private_key_sign (API
// reference of CreateCertificateV2).
const maxSigning = 8092

// signing is what of the input makes up the signing pair.
func (in CertificateInput) signing() []struct{ name, text string } {
	return []struct{ name, text string }{{"cert_content_sign", in.CertContentSign}, {"private_key_sign", string(in.PrivateKeySign)}}
}

// withSigning refuses a signing pair that is incomplete or too long.
func (in CertificateInput) withSigning() error {
	for _, f := range in.signing() {
		switch length := utf8.RuneCountInString(f.text); {
		case strings.TrimSpace(f.text) == "":
			return FieldErrorf(CodeInvalidField, f.name, "mandatory for an SM2 certificate")
		case length > maxSigning:
			return FieldErrorf(CodeInvalidField, f.name, "expected at most %d characters, there are %d", maxSigning, length)
		}
	}
	return nil
}

// withoutSigning refuses a signing pair that is there for another algorithm type.
func (in CertificateInput) withoutSigning() error {
	for _, f := range in.signing() {
		if f.text != "" {
			return FieldErrorf(CodeInvalidField, f.name, "only for an SM2 certificate")
		}
	}
	return nil
}

// parse reads what the input says it is, or what the certificate shows it to be: the one
// pair of an RSA or ECC certificate or the two of an SM2 one.
func (in CertificateInput) parse(now time.Time) (*keypair.Pair, error) {
	switch in.Algorithm {
	case keypair.SM2:
		return in.parseSM2(now)
	case keypair.RSA, keypair.ECC:
		if err := in.withoutSigning(); err != nil {
			return nil, err
		}
	}
	pair, err := keypair.Parse(in.CertContent, string(in.PrivateKey), now)
	if err != nil {
		err = pairError(err)
		if CodeOf(err) == CodeWrongAlgorithm && in.Algorithm == "" {
			return in.parseSM2(now)
		}
		return nil, err
	}
	return pair, in.withoutSigning()
}

func (in CertificateInput) parseSM2(now time.Time) (*keypair.Pair, error) {
	if err := in.withSigning(); err != nil {
		return nil, err
	}
	pair, err := keypair.ParseSM2(in.CertContent, string(in.PrivateKey), in.CertContentSign, string(in.PrivateKeySign), now)
	return pair, pairError(err)
}

// SM2Pairs are the two pairs of an SM2 version, their keys unsealed.
type SM2Pairs struct {
	EncryptionKey, SigningKey   *sm2.PrivateKey
	EncryptionLeaf, SigningLeaf *x509.Certificate
}

// OpenSM2 unseals both private keys of v, an SM2 version, and proves that each belongs to
// its leaf.
func OpenSM2(ctx context.Context, sealer Sealer, v *Version) (*SM2Pairs, error) {
	var p SM2Pairs
	var err error
	p.EncryptionKey, p.EncryptionLeaf, err = openSM2(ctx, sealer, v, half{sealed: v.SealedKey, binding: keyContext(v), chain: v.Chain})
	if err != nil {
		return nil, err
	}
	p.SigningKey, p.SigningLeaf, err = openSM2(ctx, sealer, v, half{sealed: v.SealedSignKey, binding: signKeyContext(v), chain: v.SignChain})
	return &p, err
}

func openSM2(ctx context.Context, sealer Sealer, v *Version, h half) (*sm2.PrivateKey, *x509.Certificate, error) {
	h.parseKey, h.parseLeaf = smx509.ParsePKCS8PrivateKey, keypair.ParseCertificate
	signer, leaf, err := openHalf(ctx, sealer, v, h)
	if err != nil {
		return nil, nil, err
	}
	key, ok := signer.(*sm2.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("certificate %s version %d: the key is not SM2", v.CertificateID, v.Number)
	}
	return key, leaf, nil
}

// checkKeys tells whether the keys of a version open and belong to their leaves.
func checkKeys(ctx context.Context, sealer Sealer, v *Version) (err error) {
	if v.Facts.Algorithm == keypair.SM2 {
		_, err = OpenSM2(ctx, sealer, v)
	} else {
		_, err = OpenKey(ctx, sealer, v)
	}
	return err
}
