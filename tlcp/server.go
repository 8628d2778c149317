package tlcp

import (
	"io"
	"slices"

	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/smx509"
)

// serverHandshake is a server's handshake under way.
type serverHandshake struct {
	handshake
	hello     *clientHello
	answer    serverHello
	ephemeral *ecdh.PrivateKey // ECDHE suites
	wrapped   []byte           // the session, for ticket or cache
}

func (c *Conn) serverHandshake() error {
	h := &serverHandshake{handshake: handshake{c: c, transcript: newTranscript()}}
	if err := h.readHello(); err != nil {
		return err
	}
	session, err := h.resumable()
	switch {
	case err != nil:
		return err
	case session != nil:
		return h.resume(session)
	}
	return h.full()
}

// readHello reads the ClientHello and lets the caller choose the config for it.
func (h *serverHandshake) readHello() error {
	body, err := h.expect(typeClientHello, maxHello)
	if err != nil {
		return err
	}
	if err := h.nothingPending(); err != nil {
		return err
	}
	if h.hello, err = parseClientHello(body); err != nil {
		return err
	}
	switch {
	case h.hello.version < Version || h.hello.version >= 0x0200:
		return refuse(AlertProtocolVersion, "the client speaks version 0x%04X, want 0x%04X", h.hello.version, Version)
	case !slices.Contains(h.hello.compressions, 0):
		return refuse(AlertHandshakeFailure, "the client does not offer null compression")
	}
	c := h.c
	c.serverName = h.hello.serverName
	if err := h.choose(); err != nil {
		return err
	}
	h.client = h.hello.random
	if _, err := io.ReadFull(c.config.rand(), h.server[:]); err != nil {
		return refuse(AlertInternalError, "%w", err)
	}
	h.answer = serverHello{
		version: Version, random: h.server, named: c.serverName != "", proto: commonProtocol(c.config.NextProtos, h.hello.protos),
	}
	c.proto = h.answer.proto
	return nil
}

// choose asks the caller for the config of this client.
func (h *serverHandshake) choose() error {
	c := h.c
	if c.config.GetConfigForClient != nil {
		chosen, err := c.config.GetConfigForClient(&ClientHelloInfo{
			Conn: c.conn, ServerName: c.serverName, CipherSuites: h.hello.suites, SupportedProtos: h.hello.protos,
		})
		if err != nil {
			return refuseFor(err, AlertInternalError)
		}
		if chosen != nil {
			c.config = chosen
		}
	}
	if c.config.KeyPair == nil {
		return refuse(AlertHandshakeFailure, "there is no key pair for the client")
	}
	return nil
}

// commonProtocol is the first of ours that is one of theirs.
func commonProtocol(ours, theirs []string) string {
	for _, p := range ours {
		if slices.Contains(theirs, p) {
			return p
		}
	}
	return ""
}

// chooseSuite takes the first of our suites that the client offers. The ECDHE ones need
// client certificates.
func (h *serverHandshake) chooseSuite() error {
	for _, suite := range h.c.config.suites() {
		if isECDHE(suite) && h.c.config.ClientAuth == NoClientCert || !knownSuite(suite) {
			continue
		}
		if slices.Contains(h.hello.suites, suite) {
			h.c.suite, h.answer.suite = suite, suite
			return nil
		}
	}
	return refuse(AlertHandshakeFailure, "the client offers no cipher suite that is enabled")
}

// full is a full handshake.
func (h *serverHandshake) full() error {
	if err := h.chooseSuite(); err != nil {
		return err
	}
	if err := h.announceSession(); err != nil {
		return err
	}
	if err := h.writeFlight(); err != nil {
		return err
	}
	if err := h.readClient(); err != nil {
		return err
	}
	if err := h.readFinished(); err != nil {
		return err
	}
	if err := h.c.verifyPeer(); err != nil {
		return err
	}
	if err := h.issueSession(); err != nil {
		return err
	}
	if err := h.writeFinished(); err != nil {
		return err
	}
	if err := h.flush(); err != nil {
		return err
	}
	h.keepSession()
	return nil
}

// writeFlight sends everything from ServerHello to ServerHelloDone, each in a record of
// its own as everybody does, all in one write.
func (h *serverHandshake) writeFlight() error {
	c := h.c
	pair := c.config.KeyPair
	exchange, err := h.keyExchange()
	if err != nil {
		return refuse(AlertInternalError, "%w", err)
	}
	c.flight = make([]byte, 0, len(pair.message)+1024)
	messages := [][]byte{h.answer.marshal(), pair.message, exchange, nil, message(typeServerHelloDone, nil)}
	if c.config.ClientAuth != NoClientCert {
		messages[3] = marshalCertificateRequest(c.config.authorities())
	}
	for _, m := range messages {
		if err := h.write(m); err != nil {
			return err
		}
	}
	return h.flush()
}

// authorities are the names of the CAs that a client certificate may come from.
func (c *Config) authorities() [][]byte {
	if c.ClientCAs == nil {
		return nil
	}
	//lint:ignore SA1019 what it leaves out are the system's roots, which verify no client
	return c.ClientCAs.Subjects()
}

// keyExchange makes the ServerKeyExchange: a signature over the encryption certificate,
// or over the ephemeral key.
func (h *serverHandshake) keyExchange() ([]byte, error) {
	random, pair := h.c.config.rand(), h.c.config.KeyPair
	signed := pair.encoded
	var body []byte
	if isECDHE(h.c.suite) {
		var err error
		if h.ephemeral, err = ecdh.P256().GenerateKey(random); err != nil {
			return nil, err
		}
		body = marshalParams(h.ephemeral.PublicKey().Bytes())
		signed = body
	}
	signature, err := pair.signParts(random, h.client[:], h.server[:], signed)
	if err != nil {
		return nil, err
	}
	return message(typeServerKeyExchange, appendVector16(body, signature)), nil
}

// readClient reads the client's certificates and its key exchange, and derives the keys.
func (h *serverHandshake) readClient() error {
	c := h.c
	var certs []*smx509.Certificate
	if c.config.ClientAuth != NoClientCert {
		body, err := h.expect(typeCertificate, maxHello)
		if err != nil {
			return err
		}
		ders, err := parseCertificates(body)
		if err != nil {
			return err
		}
		if certs, err = parsePeer(ders); err != nil {
			return err
		}
		if err := c.verifyClient(certs, isECDHE(c.suite)); err != nil {
			return err
		}
	}
	body, err := h.expect(typeClientKeyExchange, maxKeyExchange)
	if err != nil {
		return err
	}
	if err := h.readKeyExchange(body); err != nil {
		return err
	}
	if len(certs) == 0 {
		return nil
	}
	return h.readVerify(certs[0])
}

func (h *serverHandshake) readKeyExchange(body []byte) error {
	secret, err := h.preMaster(body)
	if err != nil {
		return err
	}
	h.master = masterSecret(secret, &h.client, &h.server)
	clear(secret)
	return h.deriveKeys()
}

func (h *serverHandshake) preMaster(body []byte) ([]byte, error) {
	c := h.c
	if isECDHE(c.suite) {
		point, err := parseClientParams(body)
		if err != nil {
			return nil, err
		}
		return agree(c.config.KeyPair, h.ephemeral, c.peer[1], point, false)
	}
	ciphertext, err := parseCiphertext(body)
	if err != nil {
		return nil, err
	}
	secret, err := c.config.KeyPair.decryptPreMaster(c.config.rand(), ciphertext)
	if err != nil {
		return nil, refuse(AlertInternalError, "%w", err)
	}
	return secret[:], nil
}

// readVerify reads the client's proof that it has the signing key: a signature over the
// hash of the handshake so far, hashed again by the signature.
func (h *serverHandshake) readVerify(cert *smx509.Certificate) error {
	signed := h.transcript.sum()
	body, err := h.expect(typeCertificateVerify, maxSignature)
	if err != nil {
		return err
	}
	signature, err := parseSignature(body)
	if err != nil {
		return err
	}
	if !verifyParts(cert, signature, signed) {
		return refuse(AlertDecryptError, "the client's signature is wrong")
	}
	return nil
}
