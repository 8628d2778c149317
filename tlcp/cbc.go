package tlcp

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"hash"
	"io"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
)

const (
	cbcIVLen   = 16
	cbcBlock   = 16
	maxPadding = 256 // with its length byte
)

// cbc is SM4-CBC with HMAC-SM3 under it, MAC first as in TLS 1.2. Opening takes time and
// memory accesses that depend on the length of the record only, not on what the padding
// says or whether anything is right (Lucky Thirteen, AlFardan and Paterson 2013).
type cbc struct {
	block cipher.Block
	mac   hash.Hash

	enc, dec interface {
		cipher.BlockMode
		SetIV([]byte)
	}
	inner, outer [sm3.BlockSize]byte // the MAC key with the pads of HMAC

	// Scratch, for what would be allocated anew for each record.
	hash   hash.Hash
	iv     [cbcIVLen]byte
	more   [authenticatedLen]byte
	padded [sm3.BlockSize]byte
	state  [128]byte
	digest [sm3.Size]byte
	sum    [sm3.Size]byte
}

func newCBC(key, macKey []byte) *cbc {
	c := &cbc{block: must(sm4.NewCipher(key)), mac: hmac.New(sm3.New, macKey), hash: sm3.New()}
	for i := range c.inner {
		c.inner[i], c.outer[i] = 0x36, 0x5c
	}
	subtle.XORBytes(c.inner[:], c.inner[:], macKey)
	subtle.XORBytes(c.outer[:], c.outer[:], macKey)
	return c
}

func (c *cbc) seal(dst []byte, random io.Reader, seq uint64, typ recordType, plain []byte) ([]byte, error) {
	start := len(dst)
	if _, err := io.ReadFull(random, c.iv[:]); err != nil {
		return dst, err
	}
	authenticated(c.more[:], seq, typ, len(plain))
	c.mac.Reset()
	c.mac.Write(c.more[:])
	c.mac.Write(plain)
	dst = append(append(dst, c.iv[:]...), plain...)
	dst = c.mac.Sum(dst)
	padding := cbcBlock - (len(plain)+sm3.Size)%cbcBlock
	for range padding {
		dst = append(dst, byte(padding-1))
	}
	c.encrypt(c.iv[:], dst[start+cbcIVLen:])
	return dst, nil
}

func (c *cbc) encrypt(iv, data []byte) {
	if c.enc == nil {
		c.enc = c.mode(cipher.NewCBCEncrypter(c.block, iv))
	}
	c.enc.SetIV(iv)
	c.enc.CryptBlocks(data, data)
}

func (c *cbc) decrypt(iv, data []byte) {
	if c.dec == nil {
		c.dec = c.mode(cipher.NewCBCDecrypter(c.block, iv))
	}
	c.dec.SetIV(iv)
	c.dec.CryptBlocks(data, data)
}

func (c *cbc) mode(m cipher.BlockMode) interface {
	cipher.BlockMode
	SetIV([]byte)
} {
	return m.(interface {
		cipher.BlockMode
		SetIV([]byte)
	})
}

func (c *cbc) open(seq uint64, typ recordType, fragment []byte) ([]byte, bool) {
	if len(fragment)%cbcBlock != 0 || len(fragment) < cbcIVLen+(sm3.Size/cbcBlock+1)*cbcBlock {
		return nil, false
	}
	data := fragment[cbcIVLen:]
	c.decrypt(fragment[:cbcIVLen], data)

	padding, good := checkPadding(data)
	longest := len(data) - sm3.Size - 1
	n := longest - padding // secret: the length of the plaintext
	// What is authenticated comes where the IV was, right before the data.
	stream := fragment[cbcIVLen-authenticatedLen:]
	authenticated(stream, seq, typ, n)
	want := c.secretMAC(stream, authenticatedLen+n, authenticatedLen+longest)
	got := secretSlice(data, n, longest)
	good &= subtle.ConstantTimeCompare(want, got[:])
	if good != 1 {
		return nil, false
	}
	return data[:n], true
}

// checkPadding returns how many padding bytes come before the last byte, and 1 if all of
// them are right and leave room for a MAC; else 0 and 0.
func checkPadding(data []byte) (padding, good int) {
	last := len(data) - 1
	padding = int(data[last])
	good = subtle.ConstantTimeLessOrEq(padding+1+sm3.Size, len(data))
	var wrong byte
	for i := range min(maxPadding, len(data)) {
		covered := byte(-subtle.ConstantTimeLessOrEq(i, padding))
		wrong |= covered & (data[last-i] ^ data[last])
	}
	good &= subtle.ConstantTimeByteEq(wrong, 0)
	return padding & -good, good
}

// secretMAC is HMAC-SM3 of stream[:n], where n is secret and at most longest. SM3 is run
// over all blocks there could be; the state after the one that ends stream[:n], padded as
// SM3 pads, is kept.
func (c *cbc) secretMAC(stream []byte, n, longest int) []byte {
	const block, magicLen = sm3.BlockSize, 4
	shortest := max(authenticatedLen, longest-maxPadding+1)
	sure := shortest / block // blocks without an end in them
	c.hash.Reset()
	c.hash.Write(c.inner[:])
	c.hash.Write(stream[:sure*block])

	var bits [block]byte
	binary.BigEndian.PutUint64(bits[block-8:], uint64(block+n)*8)
	end := (n + 8) / block // secret: the block that has the length
	clear(c.digest[:])
	for i := sure; i <= (longest+8)/block; i++ {
		isEnd := subtle.ConstantTimeEq(int32(i), int32(end))
		padBlock(&c.padded, stream, i*block, n)
		for j := block - 8; j < block; j++ {
			c.padded[j] |= bits[j] & byte(-isEnd)
		}
		c.hash.Write(c.padded[:])
		s, _ := c.hash.(encoding.BinaryAppender).AppendBinary(c.state[:0]) // never fails
		subtle.ConstantTimeCopy(isEnd, c.digest[:], s[magicLen:magicLen+sm3.Size])
	}
	c.hash.Reset()
	c.hash.Write(c.outer[:])
	c.hash.Write(c.digest[:])
	return c.hash.Sum(c.sum[:0])
}

// padBlock fills block with stream[:n] from offset from on, 0x80 behind its end, and
// zeros behind that. n is secret.
func padBlock(block *[sm3.BlockSize]byte, stream []byte, from, n int) {
	for j := range block {
		at := from + j
		var b byte
		if at < len(stream) { // known to all
			b = stream[at]
		}
		inside := byte(-subtle.ConstantTimeLessOrEq(at+1, n))
		isEnd := byte(-subtle.ConstantTimeEq(int32(at), int32(n)))
		block[j] = b&inside | 0x80&isEnd
	}
}

// secretSlice returns data[n:n+32], where n is secret and at most longest.
func secretSlice(data []byte, n, longest int) (out [sm3.Size]byte) {
	start := max(0, longest-maxPadding+1)
	var turned [sm3.Size]byte // out, turned by an amount that depends on n
	for i := start; i < longest+sm3.Size; i++ {
		inside := subtle.ConstantTimeLessOrEq(n, i) & subtle.ConstantTimeLessOrEq(i+1, n+sm3.Size)
		turned[(i-start)%sm3.Size] |= data[i] & byte(-inside)
	}
	turn := (n - start) % sm3.Size
	for step := 1; step < sm3.Size; step *= 2 {
		var next [sm3.Size]byte
		for i := range next {
			next[i] = turned[(i+step)%sm3.Size]
		}
		subtle.ConstantTimeCopy(subtle.ConstantTimeEq(int32(turn&step), int32(step)), turned[:], next[:])
	}
	return turned
}
