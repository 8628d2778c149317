package keypair

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"
)

// Pair is a checked key pair.
type Pair struct {
	Facts    Facts
	Chain    []*x509.Certificate // leaf first, each signed by the next; no root
	Issuer   *x509.Certificate   // the leaf's, nil when it was not uploaded
	Key      crypto.Signer       // *rsa.PrivateKey, *ecdsa.PrivateKey or *sm2.PrivateKey, proven against the leaf
	Signing  *Pair               // of an SM2 pair, which is itself for encryption; else nil
	Warnings []string            // what was put right, for the uploader to read
}

// Reason says what is wrong with an upload.
type Reason string

// The reasons, one for each meaning of the API's certificate errors.
const (
	Invalid      Reason = "invalid-pair"  // unreadable, not PEM, weak, unsupported
	KeyMismatch  Reason = "key-mismatch"  // the key is not the leaf's
	Expired      Reason = "expired"       // the leaf's validity has ended
	BrokenChain  Reason = "broken-chain"  // a link does not verify
	EncryptedKey Reason = "encrypted-key" // the private key is encrypted
	NoSAN        Reason = "no-san"        // the leaf has no subject alternative name

	InvalidStaple Reason = "invalid-field" // not an OCSP staple for the leaf

	WrongUsage     Reason = "wrong-usage"     // an SM2 certificate in the place of the other
	WrongAlgorithm Reason = "wrong-algorithm" // SM2 where it is not expected, or the other way round
)

// Error is a refused upload. Field is "cert_content", "private_key", "cert_content_sign",
// "private_key_sign", "trusted_root_ca" or "ocsp_staple"; Detail says what was found and what was expected.
type Error struct {
	Reason Reason
	Field  string
	Detail string
}

// Error returns Field and Detail; it is fit to be shown to the uploader.
func (e *Error) Error() string { return e.Field + ": " + e.Detail }

// The fields of the API that texts come from.
const (
	fieldCert  = "cert_content"
	fieldKey   = "private_key"
	fieldRoots = "trusted_root_ca"

	fieldCertSign = "cert_content_sign"
	fieldKeySign  = "private_key_sign"
)

// Limits on an upload. They are checked before the work they bound, so that the worst
// upload costs some tens of milliseconds: one signature with a key of maxProvenBits, and
// one signature check for each of maxBlocks certificates with keys of maxRSABits.
const (
	maxText       = 256 << 10 // bytes in one field
	maxBlocks     = 12        // PEM blocks in a certificate's or key's field
	maxRoots      = 64        // trust roots, and revocation lists in one upload
	maxChain      = 10        // certificates to send, the leaf included
	maxSANs       = 1000      // subject alternative names in the leaf
	minRSABits    = 2048      // CA/Browser Forum Baseline Requirements 6.1.5
	maxRSABits    = 8192
	maxProvenBits = 4096 // see prove
)

// refuse makes an Error. Its arguments may be sizes, kinds and the public names of a
// certificate, never a part of the text that was uploaded.
func refuse(reason Reason, field, format string, args ...any) *Error {
	return &Error{Reason: reason, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// upload is one key pair while it is read: as of when, what for, and what was put right.
type upload struct {
	now      time.Time
	role     role
	warnings []string
}

// warnf notes something that was put right. The duty of refuse's arguments applies.
func (u *upload) warnf(format string, args ...any) {
	u.warnings = append(u.warnings, fmt.Sprintf(format, args...))
}

// Parse reads a certificate (leaf and, optionally, its chain in any order) and its
// private key from PEM text and checks them as of now. The error is always *Error.
//
// The leaf is the certificate that the private key belongs to. It must be in time
// (one that is not valid yet is accepted with a warning), name its hosts in SANs and
// be fit for a TLS server; every further certificate must sign the one before it.
func Parse(certPEM, keyPEM string, now time.Time) (*Pair, error) {
	u := &upload{now: now}
	certs, key, err := u.read(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	leaf, err := u.leafOf(certs, key)
	if err != nil {
		return nil, err
	}
	return u.check(leaf, certs, key)
}

// read reads the two texts of a pair.
func (u *upload) read(certPEM, keyPEM string) ([]*x509.Certificate, crypto.Signer, error) {
	certs, err := u.readChain(certPEM)
	if err != nil {
		return nil, nil, err
	}
	key, err := u.readKey(keyPEM)
	return certs, key, err
}

// check is all that is looked at once it is known which of certs is the leaf of key.
func (u *upload) check(leaf *x509.Certificate, certs []*x509.Certificate, key crypto.Signer) (*Pair, error) {
	if err := u.checkLeaf(leaf); err != nil {
		return nil, err
	}
	chain, err := u.order(leaf, certs)
	if err != nil {
		return nil, err
	}
	if err := u.prove(key, leaf); err != nil {
		return nil, err
	}
	return &Pair{Facts: factsOf(leaf), Chain: chain, Issuer: issuerIn(leaf, chain, certs), Key: key, Warnings: u.warnings}, nil
}

// leafOf returns the certificate that key belongs to, the first one if there are more.
// The key decides which certificate is the leaf: of order, names and CA flags people get
// each wrong, but nobody has the private key of somebody else's intermediate.
func (u *upload) leafOf(certs []*x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	public := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	for _, cert := range certs {
		if public.Equal(cert.PublicKey) {
			return cert, nil
		}
	}
	if len(certs) == 1 {
		return nil, refuse(KeyMismatch, u.role.key(), "the private key is not the key of certificate %s", nameOf(certs[0]))
	}
	return nil, refuse(KeyMismatch, u.role.key(), "the private key is not the key of any of the %d certificates", len(certs))
}

// prove signs with an RSA key and verifies with leaf: a key with the right public half and
// a damaged private one would fail in every handshake. The signature is thrown away.
//
// An elliptic-curve key cannot be like that, and a signature would prove nothing more: its
// public half, which leafOf has compared, was computed from the private one when it was
// read, whatever the file says. That leaves a tenth of a modification's work undone.
//
// An RSA signature takes time by the cube of the key's size, a tenth of a second and
// more at 8192 bits. Keys above maxProvenBits are left to crypto/rsa, which compared
// modulus, primes and exponents when it read the key.
func (u *upload) prove(key crypto.Signer, leaf *x509.Certificate) error {
	if u.role != server {
		return u.proveSM2(key, leaf)
	}
	public, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok || large(leaf) {
		return nil
	}
	digest := sha256.Sum256([]byte("lacre: proof that a private key belongs to its leaf"))
	signature, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err == nil && rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil {
		return nil
	}
	return refuse(KeyMismatch, u.role.key(), "a signature by the private key does not verify with certificate %s", nameOf(leaf))
}

// large tells whether a leaf's key is RSA and so long that each signature is a burden.
func large(leaf *x509.Certificate) bool {
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	return ok && key.N.BitLen() > maxProvenBits
}
