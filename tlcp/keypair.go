package tlcp

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
)

// userID is the identity with which every SM2 signature and key exchange of TLCP is made
// (GB/T 35276 section 10).
var userID = []byte("1234567812345678")

// A KeyPair is what one side shows: a signing certificate and an encryption certificate
// with their keys. It is checked once and never changes; make it once and share it.
type KeyPair struct {
	sign, enc       *smx509.Certificate
	signKey, encKey *sm2.PrivateKey
	agreeKey        *ecdh.PrivateKey // encKey, for the SM2 key exchange

	message  []byte   // the Certificate message
	identity [32]byte // SM3 of message
	z        [32]byte // Z of the signing key, which every signature begins with
	encoded  []byte   // the encryption certificate, with its length
}

// NewKeyPair checks two chains of DER certificates, leaf first, and their keys. The
// chains may have different issuers and may overlap. The KeyUsage of the leaves must tell
// them apart: the signing one allows signatures, the encryption one allows encipherment
// or agreement, and no signatures.
func NewKeyPair(signChain [][]byte, signKey *sm2.PrivateKey, encChain [][]byte, encKey *sm2.PrivateKey) (*KeyPair, error) {
	p := &KeyPair{signKey: signKey, encKey: encKey}
	var err error
	if p.sign, err = leafOf(signChain, signKey); err != nil {
		return nil, fmt.Errorf("tlcp: signing certificate: %w", err)
	}
	if p.enc, err = leafOf(encChain, encKey); err != nil {
		return nil, fmt.Errorf("tlcp: encryption certificate: %w", err)
	}
	if !canSign(p.sign) || !canEncrypt(p.enc) {
		if canSign(p.enc) && canEncrypt(p.sign) {
			return nil, errors.New("tlcp: the signing and the encryption certificate are swapped")
		}
		return nil, errors.New("tlcp: want KeyUsage digitalSignature in the signing certificate, and " +
			"keyEncipherment, dataEncipherment or keyAgreement without digitalSignature in the encryption one")
	}
	return p, p.precompute(signChain, encChain)
}

func leafOf(chain [][]byte, key *sm2.PrivateKey) (*smx509.Certificate, error) {
	if len(chain) == 0 || key == nil {
		return nil, errors.New("the certificate or its key is missing")
	}
	leaf, err := smx509.ParseCertificate(chain[0])
	switch {
	case err != nil:
		return nil, err
	case publicKey(leaf) == nil:
		return nil, errors.New("its key is not an SM2 key")
	case !key.PublicKey.Equal(publicKey(leaf)):
		return nil, errors.New("the private key belongs to another certificate")
	}
	return leaf, nil
}

const signatures = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment

func canSign(c *smx509.Certificate) bool { return c.KeyUsage&signatures != 0 }

// canEncrypt refuses a certificate that also signs: with two such certificates nothing
// would tell which is which.
func canEncrypt(c *smx509.Certificate) bool {
	return c.KeyUsage&(x509.KeyUsageKeyEncipherment|x509.KeyUsageDataEncipherment|x509.KeyUsageKeyAgreement) != 0 &&
		c.KeyUsage&signatures == 0
}

// precompute does what every handshake would otherwise repeat.
func (p *KeyPair) precompute(signChain, encChain [][]byte) (err error) {
	list := [][]byte{signChain[0], encChain[0]}
	for _, der := range append(signChain[1:len(signChain):len(signChain)], encChain[1:]...) {
		if !containsBytes(list[2:], der) {
			list = append(list, der)
		}
	}
	p.message = marshalCertificates(list)
	if len(p.message) > maxHello {
		return fmt.Errorf("tlcp: the certificates take %d bytes, want at most %d", len(p.message), maxHello)
	}
	p.identity = sm3.Sum(p.message)
	p.encoded = appendVector24(nil, encChain[0])
	if p.z, err = identityHash(p.sign); err != nil {
		return err
	}
	p.agreeKey, err = p.encKey.ECDH()
	return err
}

func containsBytes(list [][]byte, b []byte) bool {
	for _, x := range list {
		if bytes.Equal(x, b) {
			return true
		}
	}
	return false
}

// Signing returns the signing certificate.
func (p *KeyPair) Signing() *smx509.Certificate { return p.sign }

// Encryption returns the encryption certificate.
func (p *KeyPair) Encryption() *smx509.Certificate { return p.enc }
