package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// Extensions of the hello (RFC 8446, section 4.2).
const (
	extServerName          = 0
	extSupportedGroups     = 10
	extSignatureAlgorithms = 13
	extSupportedVersions   = 43
	extKeyShare            = 51

	groupX25519 = 0x001d
)

// hello is a ClientHello message: TLS 1.3, TLS_AES_128_GCM_SHA256 and X25519 only, no
// resumption offered.
func (c *client13) hello(host string) []byte {
	b := []byte{1, 0, 0, 0, 3, 3}
	b = append(b, c.share.PublicKey().Bytes()...) // the random: any 32 bytes
	b = append(b, 0, 0, 2, 0x13, 0x01, 1, 0)      // no session, one suite, no compression
	start := len(b)
	b = append(b, 0, 0)
	name := binary.BigEndian.AppendUint16([]byte{0}, uint16(len(host)))
	b = extension(b, extServerName, vector(append(name, host...)))
	b = extension(b, extSupportedGroups, vector([]byte{groupX25519 >> 8, groupX25519 & 0xff}))
	b = extension(b, extSignatureAlgorithms, vector([]byte{4, 3, 8, 4, 4, 1})) // ECDSA P-256, RSA-PSS, RSA PKCS#1 in chains
	b = extension(b, extSupportedVersions, []byte{2, 3, 4})
	share := append([]byte{groupX25519 >> 8, groupX25519 & 0xff, 0, 32}, c.share.PublicKey().Bytes()...)
	b = extension(b, extKeyShare, vector(share))
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2))
	b[1], b[2], b[3] = 0, byte((len(b)-4)>>8), byte(len(b)-4)
	return b
}

// vector puts a length of two bytes before content.
func vector(content []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(content))), content...)
}

func extension(b []byte, number uint16, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, number), vector(content)...)
}

func length24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// keyShareOf finds the X25519 key share in the body of a ServerHello.
func keyShareOf(body []byte) ([]byte, error) {
	short := fmt.Errorf("%w: its ServerHello has no X25519 key share", errProtocol)
	if len(body) < 35 || len(body) < 35+int(body[34])+5 {
		return nil, short
	}
	extensions := body[35+int(body[34])+5:] // after version, random, session id, suite, compression and length
	for len(extensions) >= 4 {
		number, size := binary.BigEndian.Uint16(extensions), int(binary.BigEndian.Uint16(extensions[2:]))
		if len(extensions) < 4+size {
			return nil, short
		}
		content := extensions[4 : 4+size]
		if number == extKeyShare && size == 36 && binary.BigEndian.Uint16(content) == groupX25519 {
			return content[4:], nil
		}
		extensions = extensions[4+size:]
	}
	return nil, short
}

// leafOf is the first certificate in the body of a Certificate message.
func leafOf(body []byte) ([]byte, error) {
	if len(body) < 7 || len(body)-7 < length24(body[4:]) {
		return nil, fmt.Errorf("%w: its Certificate is cut short", errProtocol)
	}
	return body[7 : 7+length24(body[4:])], nil
}

func newProtection(secret []byte) (*protection, error) {
	key, err := expand(secret, "key", nil, 16)
	if err != nil {
		return nil, err
	}
	iv, err := expand(secret, "iv", nil, 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &protection{aead: aead, iv: iv}, err
}

func (p *protection) nonce() []byte {
	nonce := append([]byte(nil), p.iv...)
	tail := nonce[len(nonce)-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^p.sequence)
	p.sequence++
	return nonce
}

// open returns the handshake messages in a protected record.
func (p *protection) open(header, body []byte) ([]byte, error) {
	inner, err := p.aead.Open(body[:0], p.nonce(), body, header)
	if err != nil {
		return nil, err
	}
	for len(inner) > 0 && inner[len(inner)-1] == 0 {
		inner = inner[:len(inner)-1]
	}
	if len(inner) == 0 || inner[len(inner)-1] != recordHandshake {
		return nil, fmt.Errorf("%w: something else than a handshake message", errProtocol)
	}
	return inner[:len(inner)-1], nil
}

// seal makes a protected record of one handshake message.
func (p *protection) seal(message []byte) []byte {
	inner := append(message, recordHandshake)
	size := len(inner) + p.aead.Overhead()
	header := []byte{recordApplicationData, 3, 3, byte(size >> 8), byte(size)}
	return p.aead.Seal(header, p.nonce(), inner, header)
}
