package tlcp

import (
	"crypto/cipher"
	"encoding/binary"
	"io"

	"github.com/emmansun/gmsm/sm4"
)

type recordType byte

const (
	recordChangeCipherSpec recordType = 20
	recordAlert            recordType = 21
	recordHandshake        recordType = 22
	recordApplicationData  recordType = 23
	recordSite2Site        recordType = 80 // in the standard, spoken by nobody we serve
)

const (
	recordHeaderLen = 5
	maxPlaintext    = 1 << 14
	maxCiphertext   = maxPlaintext + 2048
	maxOverhead     = cbcIVLen + 32 + 16 // of CBC: IV, MAC and a block of padding
)

const sm4KeyLen = 16

// protection is how one direction of a connection is protected. It is used by one
// goroutine at a time.
type protection interface {
	// seal appends the protected form of plain to dst.
	seal(dst []byte, random io.Reader, seq uint64, typ recordType, plain []byte) ([]byte, error)
	// open returns what fragment protects, and overwrites it. Whatever is wrong, it says
	// no more than that.
	open(seq uint64, typ recordType, fragment []byte) (plain []byte, ok bool)
}

// authenticated is what is authenticated beside the plaintext: sequence number, type,
// version and length.
func authenticated(b []byte, seq uint64, typ recordType, length int) {
	binary.BigEndian.PutUint64(b, seq)
	b[8] = byte(typ)
	binary.BigEndian.PutUint16(b[9:], Version)
	b[11], b[12] = byte(length>>8), byte(length) // also for a secret length: no branch
}

const authenticatedLen = 13

const (
	gcmIVLen    = 4
	gcmNonceLen = 8
	gcmTagLen   = 16
)

// gcm is SM4-GCM. Its explicit nonce is the sequence number when sealing, and whatever
// the peer chose when opening.
type gcm struct {
	aead  cipher.AEAD
	nonce [gcmIVLen + gcmNonceLen]byte
	more  [authenticatedLen]byte
}

func newGCM(key, iv []byte) *gcm {
	g := &gcm{aead: must(cipher.NewGCM(must(sm4.NewCipher(key))))}
	copy(g.nonce[:], iv)
	return g
}

// must is for functions that fail for keys of a wrong size only.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (g *gcm) seal(dst []byte, _ io.Reader, seq uint64, typ recordType, plain []byte) ([]byte, error) {
	binary.BigEndian.PutUint64(g.nonce[gcmIVLen:], seq)
	authenticated(g.more[:], seq, typ, len(plain))
	dst = append(dst, g.nonce[gcmIVLen:]...)
	return g.aead.Seal(dst, g.nonce[:], plain, g.more[:]), nil
}

func (g *gcm) open(seq uint64, typ recordType, fragment []byte) ([]byte, bool) {
	if len(fragment) < gcmNonceLen+gcmTagLen {
		return nil, false
	}
	copy(g.nonce[gcmIVLen:], fragment)
	sealed := fragment[gcmNonceLen:]
	authenticated(g.more[:], seq, typ, len(sealed)-gcmTagLen)
	plain, err := g.aead.Open(sealed[:0], g.nonce[:], sealed, g.more[:])
	return plain, err == nil
}

// half is one direction of a connection.
type half struct {
	protect protection // nil until its ChangeCipherSpec
	seq     uint64
	err     error // why nothing more comes or goes; what is stuck stays so
}

func (h *half) switchTo(p protection) { h.protect, h.seq = p, 0 }

// appendRecord appends one record to dst. plain must fit into one.
func (h *half) appendRecord(dst []byte, random io.Reader, typ recordType, plain []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, byte(typ), byte(Version>>8), byte(Version&0xff), 0, 0)
	var err error
	if h.protect == nil {
		dst = append(dst, plain...)
	} else if dst, err = h.protect.seal(dst, random, h.seq, typ, plain); err != nil {
		return dst, err
	}
	h.seq++ // 2^64 records are out of reach
	binary.BigEndian.PutUint16(dst[start+3:], uint16(len(dst)-start-recordHeaderLen))
	return dst, nil
}

// appendRecords appends data as records, cut where needed.
func (h *half) appendRecords(dst []byte, random io.Reader, typ recordType, data []byte) (_ []byte, err error) {
	for len(data) > 0 && err == nil {
		n := min(len(data), maxPlaintext)
		dst, err = h.appendRecord(dst, random, typ, data[:n])
		data = data[n:]
	}
	return dst, err
}

// open takes the protection off a fragment, in place.
func (h *half) open(typ recordType, fragment []byte) ([]byte, error) {
	plain := fragment
	if h.protect != nil {
		var ok bool
		if plain, ok = h.protect.open(h.seq, typ, fragment); !ok {
			return nil, refuse(AlertBadRecordMAC, "a record does not authenticate")
		}
	}
	h.seq++
	if len(plain) > maxPlaintext {
		return nil, refuse(AlertRecordOverflow, "a record holds %d bytes, want at most %d", len(plain), maxPlaintext)
	}
	return plain, nil
}
