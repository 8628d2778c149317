package tlcp

import (
	"crypto/ecdsa"
	"crypto/subtle"
	"io"

	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
)

// publicKey returns the SM2 key of a certificate, or nil if its key is another.
func publicKey(c *smx509.Certificate) *ecdsa.PublicKey {
	if !sm2.IsSM2PublicKey(c.PublicKey) {
		return nil
	}
	return c.PublicKey.(*ecdsa.PublicKey)
}

// identityHash is Z of GB/T 32918.2 section 5.5, for the key of a certificate.
func identityHash(c *smx509.Certificate) (z [32]byte, err error) {
	sum, err := sm2.CalculateZA(publicKey(c), userID)
	copy(z[:], sum)
	return z, err
}

// digest is what an SM2 signature signs: SM3(Z | parts).
func digest(z *[32]byte, parts ...[]byte) []byte {
	h := sm3.New()
	h.Write(z[:])
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// signParts signs the concatenation of parts, in DER.
func (p *KeyPair) signParts(random io.Reader, parts ...[]byte) ([]byte, error) {
	return p.signKey.Sign(random, digest(&p.z, parts...), nil)
}

// verifyParts verifies what signParts makes.
func verifyParts(c *smx509.Certificate, signature []byte, parts ...[]byte) bool {
	z, err := identityHash(c)
	return err == nil && sm2.VerifyASN1(publicKey(c), digest(&z, parts...), signature)
}

// decryptPreMaster decrypts a ClientKeyExchange of an ECC suite. Whatever is wrong with
// it, the result is random: the client's Finished then does not authenticate, and how it
// fails says nothing about why (RFC 5246 section 7.4.7.1 for the idea).
func (p *KeyPair) decryptPreMaster(random io.Reader, ciphertext []byte) (secret [masterLen]byte, err error) {
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return secret, err
	}
	const sequence = 0x30 // gmsm takes other forms too, which the standard does not have
	der := trimZeros(ciphertext)
	if len(der) == 0 || der[0] != sequence {
		return secret, nil
	}
	plain, err := p.encKey.Decrypt(nil, der, sm2.ASN1DecrypterOpts)
	if err != nil || len(plain) != masterLen {
		return secret, nil
	}
	right := subtle.ConstantTimeByteEq(plain[0], byte(Version>>8)) & subtle.ConstantTimeByteEq(plain[1], byte(Version&0xff))
	subtle.ConstantTimeCopy(right, secret[:], plain)
	return secret, nil
}

// trimZeros cuts zeros behind a DER element of less than 256 bytes: old clients send
// their whole buffer.
func trimZeros(der []byte) []byte {
	end := 0
	switch {
	case len(der) > 2 && der[1] < 0x80:
		end = 2 + int(der[1])
	case len(der) > 3 && der[1] == 0x81:
		end = 3 + int(der[2])
	}
	if end == 0 || end > len(der) {
		return der
	}
	for _, b := range der[end:] {
		if b != 0 {
			return der
		}
	}
	return der[:end]
}

// encryptPreMaster makes a pre-master secret and encrypts it to the server.
func encryptPreMaster(random io.Reader, server *smx509.Certificate) (secret, ciphertext []byte, err error) {
	secret = make([]byte, masterLen)
	if _, err := io.ReadFull(random, secret[2:]); err != nil {
		return nil, nil, err
	}
	secret[0], secret[1] = byte(Version>>8), byte(Version&0xff)
	ciphertext, err = sm2.EncryptASN1(random, publicKey(server), secret)
	return secret, ciphertext, err
}

// agree is the SM2 key exchange (GB/T 32918.3). The server is the initiator. static is
// the peer's certified key and point its ephemeral one.
func agree(p *KeyPair, ephemeral *ecdh.PrivateKey, static *smx509.Certificate, point []byte, isClient bool) ([]byte, error) {
	remote, err := sm2.PublicKeyToECDH(publicKey(static))
	if err != nil {
		return nil, refuse(AlertBadCertificate, "the encryption key: %w", err)
	}
	remoteEphemeral, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, refuse(AlertIllegalParameter, "the ephemeral key: %w", err)
	}
	shared, err := p.agreeKey.SM2MQV(ephemeral, remote, remoteEphemeral)
	if err != nil { // infinity
		return nil, refuse(AlertIllegalParameter, "the key exchange: %w", err)
	}
	return shared.SM2SharedKey(isClient, masterLen, p.agreeKey.PublicKey(), remote, userID, userID)
}
