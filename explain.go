package lacre

import (
	"context"
	"slices"
	"time"

	"lacre/keypair"
)

// Question asks which certificate and policy a client would meet. Nil lists stand for
// what a current browser offers.
type Question struct {
	ServerName string // SNI as the client sends it; empty: it sends none
	// Host of the request that follows, as in its header, port included; nil: ServerName.
	Host *string
	// Names or numbers of the IANA registries (RFC 8446 section 11), such as "TLSv1.2",
	// "TLS_AES_128_GCM_SHA256", "ecdsa_secp256r1_sha256", "0x1301" or "4865". Versions of
	// "TLCPv1.1" alone make it a client of TLCP, with the suites of GB/T 38636, such as
	// "ECC_SM4_GCM_SM3", and no signature algorithms.
	Versions            []string
	CipherSuites        []string
	SignatureAlgorithms []string
}

// ClientHello is what decides about a handshake, in the numbers of the wire.
type ClientHello struct {
	ServerName          string
	Versions            []uint16
	CipherSuites        []uint16
	SignatureAlgorithms []uint16
}

// VersionTLCP is TLCP 1.1's number on the wire (GB/T 38636-2020).
const VersionTLCP uint16 = 0x0101

// TLCP tells whether the hello is one of TLCP and not of TLS.
func (h *ClientHello) TLCP() bool { return slices.Contains(h.Versions, VersionTLCP) }

// Explanation is what the edge of a node does with a client hello and the request that
// follows. What concerns another project is absent, as if it did not exist.
type Explanation struct {
	Host        string             // the server name in canonical form; empty if it is no host name
	Handshake   HandshakeOutcome   // what the client sees
	Rule        *Rule              // nil when no domain serves the name
	Policy      *Policy            // of the rule's domain
	Certificate *ServedCertificate // nil when none is presented
	Request     *RequestOutcome    // nil when the handshake does not succeed
	Losers      []Loser            // what else could have been chosen, and why it was not
}

// HandshakeOutcome is how a handshake ends for the client.
type HandshakeOutcome struct {
	// Result is "ok" or the name of the alert (RFC 8446 section 6), such as
	// "unrecognized_name", "handshake_failure" or "protocol_version".
	Result      string
	Alert       uint8  // its number; 0 when ok
	Reason      string // for people; empty when ok
	Version     string // "TLSv1.2", "TLSv1.3" or "TLCPv1.1"; empty unless ok
	CipherSuite string // name in the IANA registry or, for TLCP, in GB/T 38636; empty unless ok
}

// Rule is the domain that serves a name.
type Rule struct {
	Wildcard   bool   // matched for its leftmost label; otherwise exactly
	Host       string // canonical, starts with "*." when Wildcard
	DomainID   string
	InstanceID string
}

// Policy is what the edge enforces for a domain.
type Policy struct {
	MinTLS        string // the higher of the domain's and the edge's own floor
	VerifyClient  bool
	RedirectHTTPS bool
	HSTS          bool
	HTTP          bool   // served over plain HTTP
	HTTPS         bool   // served over TLS
	Upstream      string // empty: the built-in page
}

// ServedCertificate is the version of a certificate that the edge presents.
type ServedCertificate struct {
	ID          string
	Version     int
	Fingerprint string // SHA-256 of the leaf, lower-case hexadecimal digits
	Algorithm   keypair.Algorithm
	NotBefore   time.Time
	NotAfter    time.Time
	StapleEnds  time.Time // until when its OCSP staple is presented; zero without one
}

// RequestOutcome is the edge's answer to a request on the connection of the handshake.
type RequestOutcome struct {
	Host   string // as asked for
	Status int    // HTTP status; 0 when the upstream decides
	Result string // "proxied", "built_in_page", "misdirected", "bad_request" or "bad_gateway"
	Reason string // for people; may be empty
}

// Loser is a certificate of the domain, or another domain, that was not chosen.
type Loser struct {
	Certificate *ServedCertificate // nil when it is a domain, or no version is readable
	Domain      *Rule              // nil when it is a certificate
	// CertificateID names the certificate, also when nothing of it is readable.
	CertificateID string
	Reason        string
}

// Explain tells what the edge of this node would do with a client (API: POST …/explain).
// The answer comes from the code that handshakes run through.
func (s *Service) Explain(ctx context.Context, by Caller, projectID string, q Question) (*Explanation, error) {
	if err := s.allow(ctx, by, projectID, CanExplain); err != nil {
		return nil, err
	}
	if s.Edge == nil {
		return nil, Errorf(CodeUnsupportedKind, "this node has no edge: ask one that serves traffic")
	}
	hello, err := q.hello()
	if err != nil {
		return nil, err
	}
	host := q.ServerName
	if q.Host != nil {
		host = *q.Host
	}
	if len(host) > maxNameSent {
		return nil, FieldErrorf(CodeInvalidField, "host", "expected at most %d bytes", maxNameSent)
	}
	return s.Edge.Explain(ctx, projectID, hello, host)
}
