// Package lacre is the language of the product: certificates and their versions,
// domains, groups, instances, projects and the people who may touch them, with the
// Service that holds every rule about them.
//
// Nothing here does I/O: records come from a Store, private keys are sealed by a
// Sealer, both declared here where they are used.
package lacre

import (
	"time"

	"lacre/keypair"
)

// Scope says which gateways may use a certificate. It cannot change after creation.
type Scope string

// The two scopes of the API page.
const (
	ScopeGlobal   Scope = "global"   // every instance of the project
	ScopeInstance Scope = "instance" // one instance only
)

// Certificate is what the API shows of an SSL certificate. The key pair itself is
// in its current Version; a Certificate never holds key material.
type Certificate struct {
	ID         string // 32 lower-case hexadecimal digits
	ProjectID  string
	Name       string // 4 to 50 characters, unique within project and scope
	Scope      Scope
	InstanceID string // empty when Scope is global
	Facts      keypair.Facts
	// HasTrustRoot tells whether the current version carries client trust roots.
	HasTrustRoot bool
	// OCSPNextUpdate is until when the current version's OCSP staple is served; zero when
	// it has none.
	OCSPNextUpdate time.Time
	Version        int   // number of the current Version, from 1
	Oldest         int   // number of the oldest Version still kept
	Generation     int64 // moves by one at every modification; the ETag
	Bound          int   // how many domains use it
	Created        time.Time
	Updated        time.Time
	Revision       int64 // store revision it was read at; 0 when not stored yet
}

// Version is one immutable key pair of a certificate: leaf, chain, sealed key and
// trust roots travel together and are never changed, only superseded. An SM2 certificate
// has two pairs in one version.
type Version struct {
	ProjectID     string
	CertificateID string
	Number        int // from 1, never reused
	Facts         keypair.Facts
	Chain         [][]byte // DER, leaf first; of the encryption pair with SM2
	SealedKey     []byte   // PKCS#8 DER under the Sealer, see keyContext
	SignChain     [][]byte // SM2 only: as Chain, of the signing pair
	SealedSignKey []byte   // SM2 only: as SealedKey, see signKeyContext
	TrustRoots    [][]byte // DER of the CAs that client certificates must chain to
	OCSPStaple    []byte   // DER of an OCSP response (RFC 6960) about the leaf; may be empty
	// OCSPNextUpdate is when the staple ends: it is not served afterwards.
	OCSPNextUpdate time.Time
	// Epoch is the number of the first of the versions before this one that differ from it
	// by their staples only: the TLS sessions made under them resume. 0 if there is none.
	Epoch    int
	Created  time.Time
	Revision int64
}

// CertificateName claims a certificate name within a project and scope.
type CertificateName struct {
	ProjectID     string
	InstanceID    string // empty in the global scope
	Name          string
	CertificateID string
	Revision      int64
}

// Revocations are the certificate revocation lists kept with a certificate: all of them, one
// for each issuer at most, those of former trust roots too while there is room. They stay when
// the certificate is modified; see ShownList.InForce for which have an effect.
type Revocations struct {
	ProjectID     string
	CertificateID string
	Lists         []RevocationList
	Updated       time.Time
	Revision      int64
}

// RevocationList is one list. It was checked against the trust roots when it came in.
type RevocationList struct {
	Issuer     string // distinguished name, for people
	IssuerID   []byte // keypair.IssuerID of the issuer
	Number     string // decimal, empty if the CA gives none
	ThisUpdate time.Time
	NextUpdate time.Time
	Revoked    int // entries
	DER        []byte
}
