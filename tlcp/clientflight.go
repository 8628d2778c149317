package tlcp

import (
	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/smx509"
)

// readFlight reads everything from Certificate to ServerHelloDone.
func (h *clientHandshake) readFlight() error {
	body, err := h.expect(typeCertificate, maxHello)
	if err != nil {
		return err
	}
	ders, err := parseCertificates(body)
	if err != nil {
		return err
	}
	certs, err := parsePeer(ders)
	if err != nil {
		return err
	}
	if err := h.c.verifyServer(certs); err != nil {
		return err
	}
	if body, err = h.expect(typeServerKeyExchange, maxKeyExchange); err != nil {
		return err
	}
	if err := h.checkKeyExchange(body, certs[0], ders[1]); err != nil {
		return err
	}
	return h.readRequest()
}

// checkKeyExchange verifies the signature of a ServerKeyExchange.
func (h *clientHandshake) checkKeyExchange(body []byte, cert *smx509.Certificate, encryption []byte) (err error) {
	signed, signature := appendVector24(nil, encryption), []byte(nil)
	if isECDHE(h.c.suite) {
		if signed, signature, err = parseServerParams(body); err != nil {
			return err
		}
		if h.point, err = parseParams(signed); err != nil {
			return err
		}
	} else if signature, err = parseSignature(body); err != nil {
		return err
	}
	if !verifyParts(cert, signature, h.client[:], h.server[:], signed) {
		return refuse(AlertDecryptError, "the server's signature is wrong")
	}
	return nil
}

// readRequest reads the CertificateRequest, if there is one, and the ServerHelloDone.
func (h *clientHandshake) readRequest() error {
	typ, body, err := h.read(maxHello, true)
	if err != nil {
		return err
	}
	if typ == typeCertificateRequest {
		h.asked = true
		if h.authorities, err = parseCertificateRequest(body); err != nil {
			return err
		}
		if typ, body, err = h.read(0, true); err != nil {
			return err
		}
	}
	switch {
	case typ != typeServerHelloDone:
		return unexpected(typ, typeServerHelloDone)
	case len(body) != 0:
		return refuse(AlertDecodeError, "ServerHelloDone has %d bytes, want none", len(body))
	}
	return h.nothingPending()
}

// writeFlight sends everything from Certificate to Finished with one write.
func (h *clientHandshake) writeFlight() error {
	pair := h.c.config.KeyPair
	if isECDHE(h.c.suite) && !h.asked {
		return refuse(AlertHandshakeFailure, "the server chose ECDHE and asks for no certificates")
	}
	if h.asked {
		certificates := marshalCertificates(nil)
		if pair != nil {
			certificates = pair.message
		}
		if err := h.write(certificates); err != nil {
			return err
		}
	}
	if err := h.writeKeyExchange(); err != nil {
		return err
	}
	if h.asked && pair != nil {
		signature, err := pair.signParts(h.c.config.rand(), h.transcript.sum())
		if err != nil {
			return refuse(AlertInternalError, "%w", err)
		}
		if err := h.write(message(typeCertificateVerify, appendVector16(nil, signature))); err != nil {
			return err
		}
	}
	if err := h.writeFinished(); err != nil {
		return err
	}
	return h.flush()
}

// writeKeyExchange makes the ClientKeyExchange and derives the keys.
func (h *clientHandshake) writeKeyExchange() error {
	secret, body, err := h.preMaster()
	if err != nil {
		return refuseFor(err, AlertInternalError)
	}
	if err := h.write(message(typeClientKeyExchange, body)); err != nil {
		return err
	}
	h.master = masterSecret(secret, &h.client, &h.server)
	clear(secret)
	return h.deriveKeys()
}

func (h *clientHandshake) preMaster() (secret, body []byte, err error) {
	random, peer := h.c.config.rand(), h.c.peer[1]
	if !isECDHE(h.c.suite) {
		secret, ciphertext, err := encryptPreMaster(random, peer)
		return secret, appendVector16(nil, ciphertext), err
	}
	ephemeral, err := ecdh.P256().GenerateKey(random)
	if err != nil {
		return nil, nil, err
	}
	secret, err = agree(h.c.config.KeyPair, ephemeral, peer, h.point, true)
	return secret, marshalParams(ephemeral.PublicKey().Bytes()), err
}

// readTicket reads the NewSessionTicket, if it was announced.
func (h *clientHandshake) readTicket() ([]byte, error) {
	if !h.answer.tickets {
		return nil, nil
	}
	body, err := h.expect(typeNewSessionTicket, maxTicket)
	if err != nil {
		return nil, err
	}
	return parseTicket(body)
}

// keep remembers the session, if there is somewhere to.
func (h *clientHandshake) keep(s *ClientSession) {
	if cache := h.c.config.ClientSessionCache; cache != nil {
		h.c.sessionKey = h.c.clientKey()
		cache.Put(h.c.sessionKey, s)
	}
}
