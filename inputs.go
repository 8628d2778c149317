package lacre

import "lacre/keypair"

// CertificateInput is the body of create and modify (API page, table 3).
type CertificateInput struct {
	Name        string
	CertContent string
	PrivateKey  Secret
	// Scope is optional: global on create, unchanged on modify.
	Scope      Scope
	InstanceID string
	// TrustedRootCA is optional on modify: nil keeps what is stored, "" removes it.
	TrustedRootCA *string
	// OCSPStaple is the base64 of a DER-encoded OCSP response. On modify nil keeps what is
	// stored as long as the leaf is the same, "" removes it.
	OCSPStaple      *string
	Algorithm       keypair.Algorithm // optional; must agree with the key when given
	CertContentSign string            // SM2 only
	PrivateKeySign  Secret            // SM2 only
}

// WriteOptions are the extensions of create, modify and delete.
type WriteOptions struct {
	// IfGeneration makes the change conditional on Certificate.Generation; nil is
	// unconditional.
	IfGeneration *int64
	// DryRun checks everything and changes nothing.
	DryRun bool
}

// Written is the outcome of a certificate change.
type Written struct {
	Certificate *Certificate
	// Warnings are for the uploader to read: what was put right, what will not work.
	Warnings []string
}

// CertificateFilter selects certificates; empty fields select all, others match
// exactly. InstanceID selects that instance's certificates and the global ones.
type CertificateFilter struct {
	InstanceID         string
	Name               string
	CommonName         string
	SignatureAlgorithm string
	Scope              Scope
	Algorithm          keypair.Algorithm
	Page               Page
}

// InstanceFilter selects instances; empty fields select all, others match exactly.
type InstanceFilter struct {
	ID     string
	Name   string
	Status string // as of Instance.Status
	Page   Page
}

// Page is a window of a list. It is clamped, not refused: offset below 0 is 0, limit
// below 1 is 20, above 500 is 500 (API page of the list call).
type Page struct{ Offset, Limit int }

// DomainRef names domains by host name for attach and detach.
type DomainRef struct {
	Name         string
	InstanceIDs  []string // empty: in every instance of the project
	VerifyClient *bool    // nil: true exactly when the certificate has a trust root
}

// DomainView is a domain with what its answers show of its surroundings.
type DomainView struct {
	*Domain
	GroupName    string
	Certificates []*Certificate // those bound, in the order of Domain.Bindings
}

// GroupView is a group with its domains.
type GroupView struct {
	*Group
	Domains []*DomainView
}

// GroupInput is the body of create and modify group. Remark nil leaves it alone.
type GroupInput struct {
	Name   string
	Remark *string
}

// GroupFilter selects groups; Name and Domain match as a part unless they are precise.
type GroupFilter struct {
	InstanceID    string
	ID            string
	Name          string
	Precise       bool
	Domain        string // name of one of the group's domains, as it was sent
	PreciseDomain bool
	Page          Page
}

// DomainInput is the body of create domain (API: AssociateDomainV2).
type DomainInput struct {
	Name          string
	MinTLS        string // empty: TLSv1.2
	RedirectHTTPS bool
	HSTS          bool
	HTTPPort      *int // nil: 80
	HTTPSPort     *int // nil: 443
	Upstream      string
}

// DomainChange is the body of modify domain; nil fields stay as they are.
type DomainChange struct {
	MinTLS        *string
	RedirectHTTPS *bool
	VerifyClient  *bool
	HSTS          *bool
	HTTPPort      *int
	HTTPSPort     *int
	Upstream      *string
}
