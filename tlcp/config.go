package tlcp

import (
	"crypto/rand"
	"io"
	"net"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// ClientAuth says what a server wants of a client's certificates.
type ClientAuth uint8

// The policies for client certificates. What a client sends is always verified.
const (
	NoClientCert            ClientAuth = iota // they are not asked for
	VerifyClientCertIfGiven                   // asked for, but a client without is let in
	RequireAndVerifyClientCert
)

// A Config says how to handshake. It is not changed by this package and may serve any
// number of connections at once; do not change it after its first use. The zero value is
// a client that trusts the system's roots.
type Config struct {
	// KeyPair is what this side shows. A server must have one; a client without sends no
	// certificates when it is asked for them.
	KeyPair *KeyPair

	// GetConfigForClient, if set, returns the Config for a ClientHello, or nil to go on
	// with this one. Its error ends the handshake: with the Alert in it if there is one,
	// else with internal_error. Only for servers.
	GetConfigForClient func(*ClientHelloInfo) (*Config, error)

	// ClientAuth is the policy for client certificates, ClientCAs what they are verified
	// against. Without ClientCAs every certificate is refused: there is no default.
	ClientAuth ClientAuth
	ClientCAs  *smx509.CertPool

	// RootCAs is what a client verifies servers against; nil is the system's roots.
	RootCAs *smx509.CertPool

	// ServerName is the host name or IP address that a client expects of the server's
	// certificates, and sends (RFC 6066) if it is a name.
	ServerName string

	// InsecureSkipVerify makes a client accept any server certificates that have the right
	// algorithm and usage. For tests and diagnosis only.
	InsecureSkipVerify bool

	// VerifyPeer, if set, is called in every handshake, resumed or full, after the checks
	// of this package and before the handshake is complete. Its error ends the handshake: with the Alert in it if
	// there is one, else with bad_certificate.
	VerifyPeer func(ConnectionState) error

	// NextProtos are the ALPN protocols, best first. A server that shares none of a
	// client's goes on without ALPN.
	NextProtos []string

	// CipherSuites are the enabled suites, best first; nil is all of them. The server's
	// order counts.
	CipherSuites []uint16

	// WrapSession and UnwrapSession turn sessions into opaque bytes and back. WrapSession
	// must encrypt and authenticate, and may add to the state's Extra what UnwrapSession
	// then compares. UnwrapSession returns nil for what it does not accept: a full
	// handshake follows. With both set the server issues tickets to clients that take
	// them. The ConnectionState has the name and the suite only. Only for servers.
	WrapSession   func(ConnectionState, *SessionState) ([]byte, error)
	UnwrapSession func(identity []byte, cs ConnectionState) (*SessionState, error)

	// SessionTicketsDisabled makes sessions be resumed by their ID only: a server keeps
	// WrapSession and UnwrapSession for its SessionCache, a client asks for no ticket.
	SessionTicketsDisabled bool

	// SessionCache, if set, keeps sessions to be resumed by their ID. Only for servers.
	SessionCache SessionCache

	// ClientSessionCache, if set, keeps what a client needs to resume.
	ClientSessionCache ClientSessionCache

	// Time returns the current time; nil is time.Now.
	Time func() time.Time

	// Rand is where randomness comes from; nil is crypto/rand.
	Rand io.Reader

	// KeyLogWriter, if set, is written a line in NSS key log format for each handshake:
	// who reads it reads the traffic. For tests and diagnosis only.
	KeyLogWriter io.Writer
}

func (c *Config) now() time.Time {
	if c.Time != nil {
		return c.Time()
	}
	return time.Now()
}

func (c *Config) rand() io.Reader {
	if c.Rand != nil {
		return c.Rand
	}
	return rand.Reader
}

func (c *Config) suites() []uint16 {
	if c.CipherSuites != nil {
		return c.CipherSuites
	}
	return defaultSuites
}

func (c *Config) issuesTickets() bool {
	return c.WrapSession != nil && c.UnwrapSession != nil && !c.SessionTicketsDisabled
}

// ClientHelloInfo is what a client asks for.
type ClientHelloInfo struct {
	Conn            net.Conn // the connection underneath; not to be read or written
	ServerName      string   // host name in lower case, without a final dot; "" if not sent or no host name
	CipherSuites    []uint16 // as sent, unknown ones included
	SupportedProtos []string // ALPN
}

// ConnectionState is what is known of a connection.
type ConnectionState struct {
	HandshakeComplete  bool
	DidResume          bool
	Version            uint16 // always Version
	CipherSuite        uint16
	ServerName         string // asked for by the client
	NegotiatedProtocol string // ALPN; "" without

	// PeerCertificates are the peer's: signing, encryption, then CAs. A client may have
	// sent none, or the signing certificate without the encryption one.
	PeerCertificates []*smx509.Certificate
	// VerifiedChains are the chains of the signing certificate, EncryptionChains those of
	// the encryption certificate; nil if there is none, or it was not verified.
	VerifiedChains   [][]*smx509.Certificate
	EncryptionChains [][]*smx509.Certificate
}
