package lacre

import (
	"time"

	"lacre/keypair"
)

// Domain is a host name bound to a group, with the policy the edge enforces for it.
type Domain struct {
	ID         string // 32 lower-case hexadecimal digits
	ProjectID  string
	InstanceID string
	GroupID    string
	// Name is the host name as the client wrote it (a trailing dot is kept).
	Name string
	// Host is Name in the canonical form of keypair.CanonicalHost; it may start with "*.".
	Host string
	// MinTLS is "TLSv1.1", "TLSv1.2" or "TLSv1.3", stored and shown as sent.
	MinTLS        string
	RedirectHTTPS bool // plain HTTP answers a redirect to HTTPS
	VerifyClient  bool // client certificates are demanded and verified
	HSTS          bool // answers over HTTPS tell browsers to stay there (RFC 6797)
	HTTPPort      int  // as sent; -1 is off
	HTTPSPort     int
	Upstream      string // URL requests are forwarded to; empty shows a built-in page
	Bindings      []Binding
	Created       time.Time
	Updated       time.Time
	Revision      int64
}

// Binding attaches one certificate to a domain: at most one of each algorithm type.
type Binding struct {
	CertificateID string
	Algorithm     keypair.Algorithm
}

// Host claims a canonical host name within an instance for one domain.
type Host struct {
	ProjectID  string
	InstanceID string
	Host       string
	DomainID   string
	Revision   int64
}

// Bound is the way back from a certificate to a domain that uses it.
type Bound struct {
	ProjectID     string
	CertificateID string
	DomainID      string
	Host          string
	Revision      int64
}
