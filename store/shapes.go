package store

import (
	"fmt"
	"time"

	"lacre"
	"lacre/keypair"
)

// The stored shapes. Identifying fields are in the key and only there. Fields are
// numbered and the numbers are never reused. Older programs must refuse what they would
// lose: a field that only some records have is added with omitempty or omitzero, since a program that
// does not know it refuses the records that have it and still reads the others; any other
// change takes a new format byte.

type projectShape struct {
	Name        string    `cbor:"1,keyasint"`
	AccountID   string    `cbor:"2,keyasint"`
	AccountName string    `cbor:"3,keyasint"`
	Created     time.Time `cbor:"4,keyasint"`
}

type instanceShape struct {
	Name    string    `cbor:"1,keyasint"`
	Closing bool      `cbor:"2,keyasint"`
	Created time.Time `cbor:"3,keyasint"`
}

type groupShape struct {
	InstanceID      string    `cbor:"1,keyasint"`
	Name            string    `cbor:"2,keyasint"`
	Remark          string    `cbor:"3,keyasint"`
	SubdomainAccess bool      `cbor:"4,keyasint"`
	DomainIDs       []string  `cbor:"5,keyasint"`
	Created         time.Time `cbor:"6,keyasint"`
	Updated         time.Time `cbor:"7,keyasint"`
}

type domainShape struct {
	InstanceID    string         `cbor:"1,keyasint"`
	GroupID       string         `cbor:"2,keyasint"`
	Name          string         `cbor:"3,keyasint"`
	Host          string         `cbor:"4,keyasint"`
	MinTLS        string         `cbor:"5,keyasint"`
	RedirectHTTPS bool           `cbor:"6,keyasint"`
	VerifyClient  bool           `cbor:"7,keyasint"`
	HTTPPort      int            `cbor:"8,keyasint"`
	HTTPSPort     int            `cbor:"9,keyasint"`
	Upstream      string         `cbor:"10,keyasint"`
	Bindings      []bindingShape `cbor:"11,keyasint"`
	Created       time.Time      `cbor:"12,keyasint"`
	Updated       time.Time      `cbor:"13,keyasint"`
	HSTS          bool           `cbor:"14,keyasint,omitempty"`
}

type bindingShape struct {
	CertificateID string            `cbor:"1,keyasint"`
	Algorithm     keypair.Algorithm `cbor:"2,keyasint"`
}

type certificateShape struct {
	Name         string      `cbor:"1,keyasint"`
	Scope        lacre.Scope `cbor:"2,keyasint"`
	InstanceID   string      `cbor:"3,keyasint"`
	Facts        factsShape  `cbor:"4,keyasint"`
	HasTrustRoot bool        `cbor:"5,keyasint"`
	Version      int         `cbor:"6,keyasint"`
	Oldest       int         `cbor:"7,keyasint"`
	Generation   int64       `cbor:"8,keyasint"`
	Bound        int         `cbor:"9,keyasint"`
	Created      time.Time   `cbor:"10,keyasint"`
	Updated      time.Time   `cbor:"11,keyasint"`

	OCSPNextUpdate time.Time `cbor:"12,keyasint,omitzero"`
}

type versionShape struct {
	Facts      factsShape `cbor:"1,keyasint"`
	Chain      [][]byte   `cbor:"2,keyasint"`
	SealedKey  []byte     `cbor:"3,keyasint"`
	TrustRoots [][]byte   `cbor:"4,keyasint"`
	Created    time.Time  `cbor:"5,keyasint"`

	// SM2 only.
	SignChain     [][]byte `cbor:"6,keyasint,omitempty"`
	SealedSignKey []byte   `cbor:"7,keyasint,omitempty"`

	// With an OCSP staple only.
	OCSPStaple     []byte    `cbor:"8,keyasint,omitempty"`
	OCSPNextUpdate time.Time `cbor:"9,keyasint,omitzero"`
	Epoch          int       `cbor:"10,keyasint,omitempty"`
}

type revocationsShape struct {
	Lists   []revocationListShape `cbor:"1,keyasint"`
	Updated time.Time             `cbor:"2,keyasint"`
}

type revocationListShape struct {
	Issuer     string    `cbor:"1,keyasint"`
	IssuerID   []byte    `cbor:"2,keyasint"`
	Number     string    `cbor:"3,keyasint"`
	ThisUpdate time.Time `cbor:"4,keyasint"`
	NextUpdate time.Time `cbor:"5,keyasint"`
	Revoked    int       `cbor:"6,keyasint"`
	DER        []byte    `cbor:"7,keyasint"`
}

// factsShape converts from and to keypair.Facts as a whole: when a field is added
// there, this stops compiling until the format has been thought about.
type factsShape struct {
	Algorithm          keypair.Algorithm `cbor:"1,keyasint"`
	CommonName         string            `cbor:"2,keyasint"`
	SANs               []string          `cbor:"3,keyasint"`
	Organization       []string          `cbor:"4,keyasint"`
	OrganizationalUnit []string          `cbor:"5,keyasint"`
	Locality           []string          `cbor:"6,keyasint"`
	State              []string          `cbor:"7,keyasint"`
	Country            []string          `cbor:"8,keyasint"`
	Issuer             []string          `cbor:"9,keyasint"`
	SerialNumber       string            `cbor:"10,keyasint"`
	SignatureAlgorithm string            `cbor:"11,keyasint"`
	X509Version        int               `cbor:"12,keyasint"`
	NotBefore          time.Time         `cbor:"13,keyasint"`
	NotAfter           time.Time         `cbor:"14,keyasint"`
	Fingerprint        string            `cbor:"15,keyasint"`
}

type userShape struct {
	AccountID    string                `cbor:"1,keyasint"`
	AccountName  string                `cbor:"2,keyasint"`
	Name         string                `cbor:"3,keyasint"`
	PasswordHash string                `cbor:"4,keyasint"`
	Roles        map[string]lacre.Role `cbor:"5,keyasint"`
	Disabled     bool                  `cbor:"6,keyasint"`
	Epoch        int                   `cbor:"7,keyasint"`
	Created      time.Time             `cbor:"8,keyasint"`
	Admin        bool                  `cbor:"9,keyasint"`
}

type accessKeyShape struct {
	UserID       string    `cbor:"1,keyasint"`
	SealedSecret []byte    `cbor:"2,keyasint"`
	Description  string    `cbor:"3,keyasint"`
	Disabled     bool      `cbor:"4,keyasint"`
	Created      time.Time `cbor:"5,keyasint"`
}

type permissionGroupShape struct {
	Permissions []lacre.Permission `cbor:"1,keyasint"`
	Created     time.Time          `cbor:"2,keyasint"`
}

// claimShape is the value of every name claim: the id of who holds the name.
type claimShape struct {
	Holder string `cbor:"1,keyasint"`
}

type boundShape struct {
	Host string `cbor:"1,keyasint"`
}

type auditShape struct {
	Time      time.Time        `cbor:"1,keyasint"`
	Action    lacre.Permission `cbor:"2,keyasint"`
	Resource  string           `cbor:"3,keyasint"`
	Detail    string           `cbor:"4,keyasint"`
	UserID    string           `cbor:"5,keyasint"`
	UserName  string           `cbor:"6,keyasint"`
	Source    string           `cbor:"7,keyasint"`
	RequestID string           `cbor:"8,keyasint"`
	AccountID string           `cbor:"9,keyasint,omitempty"`
}

// auditPackShape is many audit rows, stored at the key of the newest.
type auditPackShape struct {
	Oldest []byte `cbor:"1,keyasint"` // the last row's Key
	Rows   []byte `cbor:"2,keyasint"` // an array of packedRowShape, newest first, as deflated CBOR (RFC 1951)
}

type packedRowShape struct {
	Key     []byte `cbor:"1,keyasint"` // the sorting part of its own key, as bytes
	Payload []byte `cbor:"2,keyasint"` // CBOR of auditShape
}

type nodeShape struct {
	Name     string         `cbor:"1,keyasint"`
	Instance string         `cbor:"2,keyasint,omitempty"`
	Started  time.Time      `cbor:"3,keyasint"`
	Reported time.Time      `cbor:"4,keyasint"`
	Revision int64          `cbor:"5,keyasint"`
	Since    int64          `cbor:"6,keyasint"`
	Failing  []failingShape `cbor:"7,keyasint,omitempty"`
	More     []string       `cbor:"8,keyasint,omitempty"`
	Unlisted int            `cbor:"9,keyasint,omitempty"`
	Project  string         `cbor:"10,keyasint,omitempty"`
}

type failingShape struct {
	ProjectID     string `cbor:"1,keyasint"`
	CertificateID string `cbor:"2,keyasint"`
	Reason        string `cbor:"3,keyasint"`
}

// pack returns the shape of a record.
func pack(r lacre.Record) any {
	switch r := r.(type) {
	case *lacre.Project:
		return projectShape{r.Name, r.AccountID, r.AccountName, r.Created}
	case *lacre.Instance:
		return instanceShape{r.Name, r.Closing, r.Created}
	case *lacre.Group:
		return groupShape{r.InstanceID, r.Name, r.Remark, r.SubdomainAccess, r.DomainIDs, r.Created, r.Updated}
	case *lacre.Domain:
		return packDomain(r)
	case *lacre.Certificate:
		return certificateShape{r.Name, r.Scope, r.InstanceID, factsShape(r.Facts), r.HasTrustRoot,
			r.Version, r.Oldest, r.Generation, r.Bound, r.Created, r.Updated, r.OCSPNextUpdate}
	case *lacre.Version:
		return versionShape{factsShape(r.Facts), r.Chain, r.SealedKey, r.TrustRoots, r.Created,
			r.SignChain, r.SealedSignKey, r.OCSPStaple, r.OCSPNextUpdate, r.Epoch}
	case *lacre.Revocations:
		lists := make([]revocationListShape, len(r.Lists))
		for i, l := range r.Lists {
			lists[i] = revocationListShape(l)
		}
		return revocationsShape{lists, r.Updated}
	case *lacre.User:
		return userShape{r.AccountID, r.AccountName, r.Name, r.PasswordHash, r.Roles, r.Disabled, r.Epoch, r.Created, r.Administrator}
	case *lacre.AccessKey:
		return accessKeyShape{r.UserID, r.SealedSecret, r.Description, r.Disabled, r.Created}
	case *lacre.PermissionGroup:
		return permissionGroupShape{r.Permissions, r.Created}
	case *lacre.Bound:
		return boundShape{r.Host}
	}
	return claimShape{holder(r)}
}

// holder returns the id that a name claim points to.
func holder(r lacre.Record) string {
	switch r := r.(type) {
	case *lacre.ProjectName:
		return r.ProjectID
	case *lacre.InstanceName:
		return r.InstanceID
	case *lacre.GroupName:
		return r.GroupID
	case *lacre.Host:
		return r.DomainID
	case *lacre.CertificateName:
		return r.CertificateID
	case *lacre.UserName:
		return r.UserID
	}
	panic(fmt.Sprintf("no stored shape for %T", r)) // keyOf has refused it before
}

func packDomain(d *lacre.Domain) domainShape {
	var bindings []bindingShape
	if d.Bindings != nil {
		bindings = make([]bindingShape, len(d.Bindings))
	}
	for i, b := range d.Bindings {
		bindings[i] = bindingShape(b)
	}
	return domainShape{d.InstanceID, d.GroupID, d.Name, d.Host, d.MinTLS, d.RedirectHTTPS, d.VerifyClient,
		d.HTTPPort, d.HTTPSPort, d.Upstream, bindings, d.Created, d.Updated, d.HSTS}
}
