package tlcp

import (
	"io"
	"slices"
)

// resumable returns the session that the client asks to resume, if it may be. That it
// may not is no error: a full handshake follows.
func (h *serverHandshake) resumable() (*SessionState, error) {
	wrapped := h.offered()
	if wrapped == nil {
		return nil, nil
	}
	session, err := h.unwrap(wrapped)
	if err != nil || session == nil || !h.mayResume(session) {
		return nil, err
	}
	return session, nil
}

// offered returns the wrapped session of the client's ticket or session ID.
func (h *serverHandshake) offered() []byte {
	config := h.c.config
	switch {
	case len(h.hello.ticket) > 0 && config.issuesTickets():
		return h.hello.ticket
	case len(h.hello.sessionID) > 0 && config.SessionCache != nil:
		if session, ok := config.SessionCache.Get(string(h.hello.sessionID)); ok {
			return session
		}
	}
	return nil
}

func (h *serverHandshake) unwrap(wrapped []byte) (*SessionState, error) {
	config := h.c.config
	if config.UnwrapSession != nil {
		session, err := config.UnwrapSession(wrapped, ConnectionState{Version: Version, ServerName: h.c.serverName})
		if err != nil {
			return nil, refuseFor(err, AlertInternalError)
		}
		return session, nil
	}
	session, err := ParseSessionState(wrapped)
	if err != nil {
		return nil, nil // not of our making
	}
	return session, nil
}

// mayResume compares the session with what a full handshake would come to now. Its client
// certificates are verified again: time passes, and trust roots change.
func (h *serverHandshake) mayResume(s *SessionState) bool {
	c := h.c
	switch {
	case !s.fresh(c.config.now()),
		s.ServerName != c.serverName,
		s.identity != c.config.KeyPair.identity,
		!knownSuite(s.CipherSuite),
		!slices.Contains(h.hello.suites, s.CipherSuite),
		!slices.Contains(c.config.suites(), s.CipherSuite):
		return false
	case c.config.ClientAuth == NoClientCert:
		return len(s.PeerCertificates) == 0
	}
	return c.verifyClient(s.PeerCertificates, isECDHE(s.CipherSuite)) == nil
}

// resume is an abbreviated handshake: the server finishes first.
func (h *serverHandshake) resume(s *SessionState) error {
	c := h.c
	c.resumed, c.suite, h.answer.suite, h.master = true, s.CipherSuite, s.CipherSuite, s.master
	h.answer.sessionID = h.hello.sessionID
	h.answer.named = false // RFC 6066 section 3: not when resuming
	if err := c.verifyPeer(); err != nil {
		return err
	}
	if err := h.deriveKeys(); err != nil {
		return err
	}
	if err := h.write(h.answer.marshal()); err != nil {
		return err
	}
	if err := h.writeFinished(); err != nil {
		return err
	}
	if err := h.flush(); err != nil {
		return err
	}
	if err := h.readFinished(); err != nil {
		return err
	}
	if len(h.hello.ticket) == 0 {
		c.sessionKey = string(h.hello.sessionID)
	}
	return nil
}

// announceSession decides how the session can be resumed: by ticket if the client takes
// them, else by a new ID, else not at all.
func (h *serverHandshake) announceSession() error {
	config := h.c.config
	switch {
	case config.issuesTickets() && h.hello.tickets:
		h.answer.tickets = true
	case config.SessionCache != nil:
		h.answer.sessionID = make([]byte, 32)
		if _, err := io.ReadFull(config.rand(), h.answer.sessionID); err != nil {
			return refuse(AlertInternalError, "%w", err)
		}
	}
	return nil
}

// issueSession wraps the session, and sends it if a ticket was announced. A session that
// cannot be wrapped is not resumed, no more: an empty ticket is none (RFC 5077 section 3.3).
func (h *serverHandshake) issueSession() error {
	if !h.answer.tickets && h.answer.sessionID == nil {
		return nil
	}
	h.wrapped = h.wrap(h.newSession())
	if !h.answer.tickets {
		return nil
	}
	if len(h.wrapped) >= 1<<16 {
		h.wrapped = nil
	}
	return h.write(marshalTicket(uint32(SessionLifetime.Seconds()), h.wrapped))
}

func (h *serverHandshake) wrap(s *SessionState) (wrapped []byte) {
	var err error
	if config := h.c.config; config.WrapSession != nil {
		wrapped, err = config.WrapSession(h.c.state(), s)
	} else {
		wrapped, err = s.Bytes()
	}
	if err != nil {
		return nil
	}
	return wrapped
}

// keepSession makes the session known under its ID.
func (h *serverHandshake) keepSession() {
	if id := h.answer.sessionID; id != nil && h.wrapped != nil {
		h.c.sessionKey = string(id)
		h.c.config.SessionCache.Put(h.c.sessionKey, h.wrapped)
	}
}
