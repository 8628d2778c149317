package lacre

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"fmt"

	"github.com/emmansun/gmsm/smx509"

	"lacre/keypair"
)

// Sealer encrypts private keys at rest under a data key of their project.
// It is safe for concurrent use. Open fails unless project and binding are the ones
// given to Seal; the error never contains plaintext.
type Sealer interface {
	Seal(ctx context.Context, projectID string, plaintext, binding []byte) ([]byte, error)
	Open(ctx context.Context, projectID string, sealed, binding []byte) ([]byte, error)
}

// keyContext is the associated data of a sealed private key: a sealed key opens only
// for the certificate and version it was sealed for. Every part is length-prefixed.
func keyContext(v *Version) []byte { return v.context("lacre/private-key/v1") }

// signKeyContext is keyContext for the signing key of an SM2 certificate, so that neither
// of its two keys opens in the place of the other.
func signKeyContext(v *Version) []byte { return v.context("lacre/sm2-signing-key/v1") }

func (v *Version) context(use string) []byte {
	b := []byte(use)
	for _, part := range []string{v.ProjectID, v.CertificateID} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(v.Number))
}

// SealKeys puts the private key of pair into v, and that of an SM2 signing pair, sealed for
// v's project, certificate and number. It is what OpenKey opens.
func SealKeys(ctx context.Context, sealer Sealer, v *Version, pair *keypair.Pair) (err error) {
	if v.SealedKey, err = sealKey(ctx, sealer, v, pair.Key, keyContext(v)); err != nil || pair.Signing == nil {
		return err
	}
	v.SealedSignKey, err = sealKey(ctx, sealer, v, pair.Signing.Key, signKeyContext(v))
	return err
}

func sealKey(ctx context.Context, sealer Sealer, v *Version, key crypto.Signer, binding []byte) ([]byte, error) {
	der, err := smx509.MarshalPKCS8PrivateKey(key) // the standard library's, and SM2
	if err != nil {
		return nil, fmt.Errorf("encoding the key of certificate %s: %w", v.CertificateID, err)
	}
	defer clear(der)
	sealed, err := sealer.Seal(ctx, v.ProjectID, der, binding)
	if err != nil {
		return nil, fmt.Errorf("sealing the key of certificate %s: %w", v.CertificateID, err)
	}
	return sealed, nil
}

// OpenKey unseals the private key of v, which is not SM2, and proves that it belongs to v's leaf.
func OpenKey(ctx context.Context, sealer Sealer, v *Version) (crypto.Signer, error) {
	key, _, err := OpenPair(ctx, sealer, v)
	return key, err
}

// OpenPair is OpenKey for who needs the leaf as well: parsing it a second time is half of
// what opening costs.
func OpenPair(ctx context.Context, sealer Sealer, v *Version) (crypto.Signer, *x509.Certificate, error) {
	return openHalf(ctx, sealer, v, half{v.SealedKey, keyContext(v), v.Chain, x509.ParsePKCS8PrivateKey, x509.ParseCertificate})
}

// half is one key pair of a version, stored, and how it is read.
type half struct {
	sealed, binding []byte
	chain           [][]byte
	parseKey        func([]byte) (any, error)
	parseLeaf       func([]byte) (*x509.Certificate, error)
}

func openHalf(ctx context.Context, sealer Sealer, v *Version, h half) (crypto.Signer, *x509.Certificate, error) {
	der, err := sealer.Open(ctx, v.ProjectID, h.sealed, h.binding)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the key of certificate %s version %d: %w", v.CertificateID, v.Number, err)
	}
	defer clear(der)
	key, err := h.parseKey(der)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s version %d: stored key is not PKCS#8", v.CertificateID, v.Number)
	}
	return matchLeaf(key, v, h)
}

func matchLeaf(key any, v *Version, h half) (crypto.Signer, *x509.Certificate, error) {
	signer, ok := key.(crypto.Signer)
	if !ok || len(h.chain) == 0 {
		return nil, nil, fmt.Errorf("certificate %s version %d: no signing key or no leaf", v.CertificateID, v.Number)
	}
	leaf, err := h.parseLeaf(h.chain[0])
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s version %d: leaf: %w", v.CertificateID, v.Number, err)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return nil, nil, fmt.Errorf("certificate %s version %d: key and leaf do not match", v.CertificateID, v.Number)
	}
	return signer, leaf, nil
}
