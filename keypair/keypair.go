// Package keypair reads what people upload (PEM as it comes) and returns a checked
// leaf, its ordered chain and the private key that belongs to it.
//
// It is pure: no clock but the one given, no I/O, no state. Its errors name the field
// at fault and what was expected, and never contain key material.
package keypair

import (
	"crypto"
	"crypto/x509"
	"time"
)

// Algorithm is a certificate's algorithm type as the API names it.
type Algorithm string

// The algorithm types of the API page.
const (
	RSA Algorithm = "RSA"
	ECC Algorithm = "ECC"
	SM2 Algorithm = "SM2"
)

// Facts is what a leaf says about itself, in the form the API shows it.
type Facts struct {
	Algorithm          Algorithm
	CommonName         string
	SANs               []string // DNS names as written in the leaf, then IP addresses
	Organization       []string
	OrganizationalUnit []string
	Locality           []string
	State              []string
	Country            []string
	Issuer             []string // the issuer's O; its CN when it has no O
	SerialNumber       string   // decimal
	SignatureAlgorithm string   // x509.SignatureAlgorithm.String(), e.g. "SHA256-RSA"
	X509Version        int
	NotBefore          time.Time
	NotAfter           time.Time
	Fingerprint        string // SHA-256 of the leaf's DER, lower-case hexadecimal
}

// Pair is a checked key pair.
type Pair struct {
	Facts    Facts
	Chain    []*x509.Certificate // leaf first, each signed by the next
	Key      crypto.Signer       // *rsa.PrivateKey or *ecdsa.PrivateKey, proven against the leaf
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
)

// Error is a refused upload. Field is "cert_content", "private_key" or
// "trusted_root_ca"; Detail says what was found and what was expected.
type Error struct {
	Reason Reason
	Field  string
	Detail string
}

func (e *Error) Error() string { return e.Field + ": " + e.Detail }

// Parse reads a certificate (leaf and, optionally, its chain in any order) and its
// private key from PEM text and checks them as of now. The error is always *Error.
func Parse(certPEM, keyPEM string, now time.Time) (*Pair, error) { panic("TODO") }

// ParseTrustRoots reads one or more CA certificates that client certificates will be
// verified against. The error is always *Error with Field "trusted_root_ca".
func ParseTrustRoots(pem string, now time.Time) ([]*x509.Certificate, error) { panic("TODO") }

// CanonicalHost returns name in the one form in which host names are stored, compared
// and looked up: A-labels, lower case, no trailing dot. A leftmost label "*" is kept.
// It errors on IP literals, empty names, labels or names that are too long, and
// anything that is not a host name.
func CanonicalHost(name string) (string, error) { panic("TODO") }

// Covers tells whether a leaf with these SANs (or, without any DNS name in them, this
// common name) is valid for host, a canonical host name that may itself start with
// "*.": a wildcard stands for exactly the one leftmost label (RFC 6125, RFC 9525).
func (f *Facts) Covers(host string) bool { panic("TODO") }
