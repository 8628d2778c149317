package tlcp

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// clientHandshake is a client's handshake under way.
type clientHandshake struct {
	handshake
	hello   clientHello
	answer  *serverHello
	offered *ClientSession // nil if none

	asked       bool     // the server wants certificates
	authorities [][]byte // of those CAs, or any if empty
	point       []byte   // the server's ephemeral key; ECDHE suites
}

func (c *Conn) clientHandshake() error {
	h := &clientHandshake{handshake: handshake{c: c, transcript: newTranscript()}}
	switch {
	case c.config.ServerName == "" && !c.config.InsecureSkipVerify:
		return errors.New("tlcp: a client needs a ServerName or InsecureSkipVerify")
	case len(h.suites()) == 0:
		return errors.New("tlcp: no cipher suite is left; the ECDHE suites need a KeyPair")
	}
	if err := h.writeHello(); err != nil {
		return err
	}
	if err := h.readHello(); err != nil {
		return err
	}
	c.serverName, c.proto, c.suite = h.hello.serverName, h.answer.proto, h.answer.suite
	if h.offered != nil && bytes.Equal(h.answer.sessionID, h.hello.sessionID) {
		return h.resume()
	}
	return h.full()
}

func (h *clientHandshake) writeHello() error {
	c := h.c
	if _, err := io.ReadFull(c.config.rand(), h.client[:]); err != nil {
		return refuse(AlertInternalError, "%w", err)
	}
	h.hello = clientHello{
		version: Version, random: h.client, compressions: []byte{0}, suites: h.suites(),
		serverName: hostName(c.config.ServerName), protos: c.config.NextProtos,
		tickets: c.config.ClientSessionCache != nil && !c.config.SessionTicketsDisabled,
	}
	if err := h.offer(); err != nil {
		return err
	}
	if err := h.write(h.hello.marshal()); err != nil {
		return err
	}
	return h.flush()
}

// suites are those enabled, without ECDHE for a client that has no key pair for it.
func (h *clientHandshake) suites() (suites []uint16) {
	for _, suite := range h.c.config.suites() {
		if knownSuite(suite) && (!isECDHE(suite) || h.c.config.KeyPair != nil) {
			suites = append(suites, suite)
		}
	}
	return suites
}

func (c *Conn) clientKey() string {
	if c.config.ServerName != "" {
		return c.config.ServerName
	}
	return c.conn.RemoteAddr().String()
}

// offer offers to resume what the cache has, if the server would pass its checks now.
func (h *clientHandshake) offer() error {
	c := h.c
	if c.config.ClientSessionCache == nil {
		return nil
	}
	session, ok := c.config.ClientSessionCache.Get(c.clientKey())
	if !ok {
		return nil
	}
	s := session.state
	if !s.fresh(c.config.now()) || !slices.Contains(h.hello.suites, s.CipherSuite) || c.verifyServer(s.PeerCertificates) != nil {
		c.peer, c.chains, c.encChains = nil, nil, nil
		return nil
	}
	h.offered, h.hello.sessionID, h.hello.ticket = session, session.id, session.ticket
	if len(session.ticket) > 0 { // the server echoes an ID if it takes the ticket
		h.hello.sessionID = make([]byte, 32)
		if _, err := io.ReadFull(c.config.rand(), h.hello.sessionID); err != nil {
			return refuse(AlertInternalError, "%w", err)
		}
	}
	return nil
}

func (h *clientHandshake) readHello() error {
	body, err := h.expect(typeServerHello, maxHello)
	if err != nil {
		return err
	}
	if h.answer, err = parseServerHello(body); err != nil {
		return err
	}
	a := h.answer
	h.server = a.random
	switch {
	case a.version != Version:
		return refuse(AlertProtocolVersion, "the server speaks version 0x%04X, want 0x%04X", a.version, Version)
	case !slices.Contains(h.hello.suites, a.suite):
		return refuse(AlertIllegalParameter, "the server chose cipher suite %s, which was not offered", CipherSuiteName(a.suite))
	case a.compression != 0:
		return refuse(AlertIllegalParameter, "the server chose compression %d, want null", a.compression)
	case a.named && h.hello.serverName == "", a.tickets && !h.hello.tickets, a.proto != "" && len(h.hello.protos) == 0:
		return refuse(AlertUnsupportedExtension, "the server answers an extension that was not sent")
	case a.proto != "" && !slices.Contains(h.hello.protos, a.proto):
		return refuse(AlertIllegalParameter, "the server chose a protocol that was not offered")
	}
	return nil
}

// resume ends an abbreviated handshake.
func (h *clientHandshake) resume() error {
	c, s := h.c, h.offered.state
	if c.suite != s.CipherSuite {
		return refuse(AlertIllegalParameter, "the server resumes with cipher suite %s, want %s",
			CipherSuiteName(c.suite), CipherSuiteName(s.CipherSuite))
	}
	c.resumed, h.master = true, s.master
	if err := h.deriveKeys(); err != nil {
		return err
	}
	ticket, err := h.readEnd()
	if err != nil {
		return err
	}
	if err := h.writeFinished(); err != nil {
		return err
	}
	if err := h.flush(); err != nil {
		return err
	}
	if len(ticket) > 0 {
		h.keep(&ClientSession{state: s, ticket: bytes.Clone(ticket)})
	}
	return nil
}

// full goes on with a full handshake.
func (h *clientHandshake) full() error {
	c := h.c
	c.peer, c.chains, c.encChains = nil, nil, nil // those of the session offered
	if err := h.readFlight(); err != nil {
		return err
	}
	if err := h.writeFlight(); err != nil {
		return err
	}
	ticket, err := h.readEnd()
	if err != nil {
		return err
	}
	if len(ticket) > 0 || len(h.answer.sessionID) > 0 {
		h.keep(&ClientSession{state: h.newSession(), id: bytes.Clone(h.answer.sessionID), ticket: bytes.Clone(ticket)})
	}
	return nil
}

// readEnd reads how the server ends its part, after which the caller has the last word. It
// returns the ticket, if there is one.
func (h *clientHandshake) readEnd() (ticket []byte, err error) {
	if ticket, err = h.readTicket(); err != nil {
		return nil, err
	}
	if err := h.readFinished(); err != nil {
		return nil, err
	}
	return ticket, h.c.verifyPeer()
}
