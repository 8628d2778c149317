package keypair

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"math/big"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// readKey reads the one private key of private_key. Certificates beside it are skipped
// with a warning, but of two keys none is taken: the wrong one might match by mistake.
// The decoded bytes are wiped; the text they came from is the caller's. Nothing that
// crypto/x509 says about a key is passed on.
func (u *upload) readKey(text string) (crypto.Signer, error) {
	field := u.role.key()
	blocks, err := readBlocks(field, text)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for i, b := range blocks {
		switch b.kind {
		case kindKey:
			keys = append(keys, b.der)
			defer clear(b.der)
		case kindEncryptedKey:
			return nil, refuse(EncryptedKey, field, "the private key is encrypted: %s", b.kind.advice())
		case kindDSAKey, kindOpenSSHKey:
			return nil, refuse(Invalid, field, "this is %s: %s", b.kind, b.kind.advice())
		case kindParameters: // openssl ecparam -genkey writes them ahead of the key
		default:
			u.warnf("PEM block %d of %s is %s and was skipped", i+1, field, b.kind)
		}
	}
	switch len(keys) {
	case 0:
		found := instead(text, blocks)
		return nil, refuse(Invalid, field, "a PEM private key is expected, but this is %s: %s", found, found.advice())
	case 1:
	default:
		return nil, refuse(Invalid, field, "there are %d private keys; exactly one is expected", len(keys))
	}
	key, fault := parseKey(keys[0])
	if fault != "" {
		return nil, refuse(Invalid, field, "the private key is refused: %s", fault)
	}
	if _, ok := key.(*sm2.PrivateKey); ok != (u.role != server) {
		if ok {
			return nil, refuse(KeyMismatch, field, "the private key is an SM2 key, the certificate is not SM2")
		}
		return nil, refuse(KeyMismatch, field, "the private key is not an SM2 key")
	}
	return key, nil
}

// Faults of a key say which form or type was being read and no more: errors from below
// could quote numbers that are secret.
const (
	faultDamaged = "it is damaged or in an unknown form; PKCS #8, PKCS #1 or SEC 1 is expected"
	faultRSA     = "it is not a valid RSA key of two primes"
	faultEC      = "it is not a valid elliptic-curve key"
)

// parseKey reads a private key in any of the three usual forms, told apart by what is
// inside: labels are often wrong.
func parseKey(der []byte) (key crypto.Signer, fault string) {
	input := cryptobyte.String(der)
	var body cryptobyte.String
	if !input.ReadASN1(&body, tag.SEQUENCE) || !input.Empty() || !body.SkipASN1(tag.INTEGER) { // version
		return nil, faultDamaged
	}
	switch {
	case body.PeekASN1Tag(tag.SEQUENCE):
		return parsePKCS8(der, body)
	case body.PeekASN1Tag(tag.INTEGER):
		if isGM0010(body) {
			return parseSM2(der)
		}
		return parsePKCS1(der)
	case body.PeekASN1Tag(tag.OCTET_STRING):
		return parseSEC1(der, body)
	}
	return nil, faultDamaged
}

// parsePKCS8 reads a PrivateKeyInfo (RFC 5208 section 5); body follows its version.
func parsePKCS8(der []byte, body cryptobyte.String) (crypto.Signer, string) {
	var identifier, inner cryptobyte.String
	if !body.ReadASN1(&identifier, tag.SEQUENCE) || !body.ReadASN1(&inner, tag.OCTET_STRING) {
		return nil, faultDamaged
	}
	algorithm, fault := algorithmOf(identifier)
	if fault != "" {
		return nil, fault
	}
	switch algorithm {
	case RSA:
		return parsePKCS1(inner)
	case SM2:
		return parseSM2(inner)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, faultEC
	}
	return signer, ""
}

// parseSEC1 reads an ECPrivateKey (RFC 5915 section 3); body follows its version. The
// public key that may be inside is not used: it is computed from the private one.
func parseSEC1(der []byte, body cryptobyte.String) (crypto.Signer, string) {
	var parameters cryptobyte.String
	var curve asn1.ObjectIdentifier
	if !body.SkipASN1(tag.OCTET_STRING) ||
		!body.ReadASN1(&parameters, tag.Tag(0).Constructed().ContextSpecific()) ||
		!parameters.ReadASN1ObjectIdentifier(&curve) {
		return nil, "it does not name its elliptic curve; P-256, P-384 or P-521 is expected"
	}
	algorithm, fault := ofCurve(curve)
	if fault != "" {
		return nil, fault
	}
	if algorithm == SM2 {
		return parseSM2(der)
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, faultEC
	}
	return key, ""
}

// parsePKCS1 reads an RSAPrivateKey (RFC 8017 appendix A.1.2).
//
// Sizes are checked before crypto/rsa validates the key, which takes seconds for large
// numbers: the modulus, and primes of about half its size (FIPS 186-5 wants exactly
// half), so that signing costs what the modulus promises.
func parsePKCS1(der []byte) (crypto.Signer, string) {
	input := cryptobyte.String(der)
	var body cryptobyte.String
	if !input.ReadASN1(&body, tag.SEQUENCE) {
		return nil, faultRSA
	}
	var version, modulus, public, private, p, q, dP, dQ, qInv big.Int
	for _, n := range []*big.Int{&version, &modulus, &public, &private, &p, &q, &dP, &dQ, &qInv} {
		if !body.ReadASN1Integer(n) { // the last three are not optional, crypto/rsa would compute them
			return nil, faultRSA
		}
	}
	bits := modulus.BitLen()
	if fault := refusedSize(bits); fault != "" {
		return nil, fault
	}
	half := bits/2 + 8
	if version.Sign() != 0 || private.BitLen() > bits || p.BitLen() > half || q.BitLen() > half || !body.Empty() {
		return nil, faultRSA
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, faultRSA
	}
	return key, ""
}
