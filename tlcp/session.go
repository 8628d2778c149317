package tlcp

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// SessionLifetime is how long a session may be resumed after its full handshake.
const SessionLifetime = 24 * time.Hour

// A SessionState is what is needed to resume a session, and to judge whether to. It has
// the master secret: seal it before it leaves the process.
type SessionState struct {
	CipherSuite uint16
	CreatedAt   time.Time // of the full handshake, in seconds
	ServerName  string
	// PeerCertificates are verified again when the session is resumed.
	PeerCertificates []*smx509.Certificate
	// Extra is for WrapSession and UnwrapSession.
	Extra [][]byte

	master   [masterLen]byte
	identity [32]byte // of the server's key pair; zero on the client's side
}

const sessionFormat = 1

// Bytes encodes the state, not sealed.
func (s *SessionState) Bytes() ([]byte, error) {
	if len(s.ServerName) > 255 {
		return nil, errors.New("tlcp: the server name of a session is too long")
	}
	b := appendUint16([]byte{sessionFormat}, int(s.CipherSuite))
	b = binary.BigEndian.AppendUint64(b, uint64(s.CreatedAt.Unix()))
	b = append(append(b, s.master[:]...), s.identity[:]...)
	b = appendVector8(b, []byte(s.ServerName))
	var certs, extra []byte
	for _, c := range s.PeerCertificates {
		certs = appendVector24(certs, c.Raw)
	}
	for _, x := range s.Extra {
		extra = appendVector24(extra, x)
	}
	if len(certs) >= 1<<24 || len(extra) >= 1<<24 {
		return nil, errors.New("tlcp: a session is too large")
	}
	return appendVector24(appendVector24(b, certs), extra), nil
}

var errSession = errors.New("tlcp: malformed session state")

// ParseSessionState decodes what Bytes made.
func ParseSessionState(b []byte) (*SessionState, error) {
	r, s := reader(b), new(SessionState)
	format, ok1 := r.uint(1)
	suite, ok2 := r.uint(2)
	created, ok3 := r.fixed(8)
	master, ok4 := r.fixed(masterLen)
	identity, ok5 := r.fixed(len(s.identity))
	name, ok6 := r.vector(1)
	certs, ok7 := r.vector(3)
	extra, ok8 := r.vector(3)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || !ok8 || len(r) != 0 || format != sessionFormat {
		return nil, errSession
	}
	s.CipherSuite, s.ServerName = uint16(suite), string(name)
	s.CreatedAt = time.Unix(int64(binary.BigEndian.Uint64(created)), 0)
	copy(s.master[:], master)
	copy(s.identity[:], identity)
	return s, s.parseLists(certs, extra)
}

func (s *SessionState) parseLists(certs, extra reader) error {
	for len(certs) > 0 {
		der, ok := certs.vector(3)
		if !ok {
			return errSession
		}
		c, err := smx509.ParseCertificate(der)
		if err != nil {
			return errSession
		}
		s.PeerCertificates = append(s.PeerCertificates, c)
	}
	for len(extra) > 0 {
		x, ok := extra.vector(3)
		if !ok {
			return errSession
		}
		s.Extra = append(s.Extra, x)
	}
	return nil
}

// fresh tells whether the session is young enough. One from the future is not.
func (s *SessionState) fresh(now time.Time) bool {
	age := now.Sub(s.CreatedAt)
	return age > -time.Second && age < SessionLifetime
}

// newSession is the session of the handshake that ends.
func (h *handshake) newSession() *SessionState {
	c := h.c
	s := &SessionState{
		CipherSuite: c.suite, CreatedAt: time.Unix(c.config.now().Unix(), 0), ServerName: c.serverName,
		PeerCertificates: c.peer, master: h.master,
	}
	if !c.isClient {
		s.identity = c.config.KeyPair.identity
	}
	return s
}

// forgetSession keeps a session from being resumed after a fatal alert, as the standard
// demands; what is in tickets is out of reach.
func (c *Conn) forgetSession() {
	switch {
	case c.sessionKey == "":
	case c.isClient:
		c.config.ClientSessionCache.Put(c.sessionKey, nil)
	default:
		c.config.SessionCache.Delete(c.sessionKey)
	}
}
