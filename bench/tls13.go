package main

import (
	"bufio"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
)

// client13 makes full TLS 1.3 handshakes (RFC 8446) with as little work as the protocol
// allows, so that the server is what is measured: one cipher suite, one group, one key
// share for many handshakes, and no look at the certificate. It proves by the server's
// Finished that both ends agree; it does not know whom it talks to, and is a load
// generator and nothing else.
//
// It is for one goroutine.
type client13 struct {
	share      *ecdh.PrivateKey
	in         *bufio.Reader
	transcript hash.Hash
	leaf       []byte // DER of the last handshake's leaf
}

// Protocol numbers of RFC 8446, appendix B.
const (
	recordChangeCipherSpec = 20
	recordHandshake        = 22
	recordApplicationData  = 23

	helloServer = 2
	certificate = 11
	finished    = 20
)

var errProtocol = errors.New("the server does not speak TLS 1.3 as expected")

func newClient13(random io.Reader) (*client13, error) {
	share, err := ecdh.X25519().GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("making a key share: %w", err)
	}
	return &client13{share: share, in: bufio.NewReaderSize(nil, 16<<10), transcript: sha256.New()}, nil
}

// handshake makes a full handshake for host over a fresh connection.
func (c *client13) handshake(conn net.Conn, host string) error {
	c.in.Reset(conn)
	c.transcript.Reset()
	hello := c.hello(host)
	c.transcript.Write(hello)
	if _, err := conn.Write(append([]byte{recordHandshake, 3, 1, byte(len(hello) >> 8), byte(len(hello))}, hello...)); err != nil {
		return err
	}
	secret, err := c.agree()
	if err != nil {
		return err
	}
	client, server, err := c.trafficSecrets(secret)
	if err != nil {
		return err
	}
	if err := c.serverFlight(server); err != nil {
		return err
	}
	return c.finish(conn, client)
}

// agree reads the ServerHello and returns the shared secret.
func (c *client13) agree() ([]byte, error) {
	kind, _, body, err := c.record()
	if err != nil {
		return nil, err
	}
	if kind != recordHandshake || len(body) < 4 || body[0] != helloServer {
		return nil, fmt.Errorf("%w: record type %d instead of a ServerHello", errProtocol, kind)
	}
	c.transcript.Write(body)
	share, err := keyShareOf(body[4:])
	if err != nil {
		return nil, err
	}
	public, err := ecdh.X25519().NewPublicKey(share)
	if err != nil {
		return nil, fmt.Errorf("reading the server's key share: %w", err)
	}
	return c.share.ECDH(public)
}

// serverFlight reads up to the server's Finished and checks it. The leaf is kept.
func (c *client13) serverFlight(secret []byte) error {
	open, err := newProtection(secret)
	if err != nil {
		return err
	}
	for messages := []byte(nil); ; {
		kind, header, body, err := c.record()
		if err != nil {
			return err
		}
		if kind == recordChangeCipherSpec {
			continue // for the sake of old middle boxes (appendix D.4)
		}
		if body, err = open.open(header, body); err != nil || kind != recordApplicationData {
			return fmt.Errorf("%w: record type %d: %w", errProtocol, kind, err)
		}
		messages = append(messages, body...)
		for len(messages) >= 4 && len(messages)-4 >= length24(messages[1:]) {
			m := messages[:4+length24(messages[1:])]
			messages = messages[len(m):]
			if done, err := c.message(m, secret); done || err != nil {
				return err
			}
		}
	}
}

// message takes one message of the server's flight; the Finished is the last one.
func (c *client13) message(m, secret []byte) (done bool, err error) {
	switch m[0] {
	case certificate:
		if c.leaf, err = leafOf(m[4:]); err != nil {
			return false, err
		}
	case finished:
		want, err := c.verifyData(secret)
		if err != nil || !hmac.Equal(want, m[4:]) {
			return true, fmt.Errorf("%w: its Finished is wrong", errProtocol)
		}
		done = true
	}
	c.transcript.Write(m)
	return done, nil
}

// finish sends the client's Finished.
func (c *client13) finish(conn net.Conn, secret []byte) error {
	seal, err := newProtection(secret)
	if err != nil {
		return err
	}
	data, err := c.verifyData(secret)
	if err != nil {
		return err
	}
	_, err = conn.Write(seal.seal(append([]byte{finished, 0, 0, byte(len(data))}, data...)))
	return err
}

// trafficSecrets derives the two handshake traffic secrets (section 7.1), no PSK.
func (c *client13) trafficSecrets(shared []byte) (client, server []byte, err error) {
	zero := make([]byte, sha256.Size)
	empty := sha256.Sum256(nil)
	early, err := hkdf.Extract(sha256.New, zero, nil)
	if err != nil {
		return nil, nil, err
	}
	derived, err := expand(early, "derived", empty[:], sha256.Size)
	if err != nil {
		return nil, nil, err
	}
	secret, err := hkdf.Extract(sha256.New, shared, derived)
	if err != nil {
		return nil, nil, err
	}
	hello := c.transcript.Sum(nil)
	client, err1 := expand(secret, "c hs traffic", hello, sha256.Size)
	server, err2 := expand(secret, "s hs traffic", hello, sha256.Size)
	return client, server, errors.Join(err1, err2)
}

// verifyData is the content of a Finished over the transcript so far (section 4.4.4).
func (c *client13) verifyData(secret []byte) ([]byte, error) {
	key, err := expand(secret, "finished", nil, sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(c.transcript.Sum(nil))
	return mac.Sum(nil), nil
}

// expand is HKDF-Expand-Label (section 7.1).
func expand(secret []byte, label string, context []byte, length int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(append(info, byte(len(label))), label...)
	info = append(append(info, byte(len(context))), context...)
	return hkdf.Expand(sha256.New, secret, string(info), length)
}

// record reads one TLS record; body is valid until the next handshake of a goroutine.
func (c *client13) record() (kind byte, header, body []byte, err error) {
	header = make([]byte, 5)
	if _, err := io.ReadFull(c.in, header); err != nil {
		return 0, nil, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(c.in, body); err != nil {
		return 0, nil, nil, err
	}
	return header[0], header, body, nil
}

// protection is the record protection of one direction under one secret.
type protection struct {
	aead     cipher.AEAD
	iv       []byte
	sequence uint64
}
