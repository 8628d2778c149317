package tlcp

import (
	"crypto/hmac"
	"hash"

	"github.com/emmansun/gmsm/sm3"
)

const (
	masterLen = 48
	verifyLen = 12
)

const (
	labelMaster   = "master secret"
	labelKeys     = "key expansion"
	labelClient   = "client finished"
	labelServer   = "server finished"
	maxLabelBytes = 16
)

// prf fills out with P_SM3(secret, label | seed), the TLS 1.2 construction.
func prf(out, secret []byte, label string, seed []byte) {
	mac := hmac.New(sm3.New, secret)
	var buf [sm3.Size + maxLabelBytes + 64]byte
	// a is A(i); what follows it is label | seed all the time.
	a, input := buf[:sm3.Size], buf[:sm3.Size+len(label)+len(seed)]
	copy(input[sm3.Size:], label)
	copy(input[sm3.Size+len(label):], seed)
	mac.Write(input[sm3.Size:])
	mac.Sum(a[:0])
	for {
		mac.Reset()
		mac.Write(input)
		var block [sm3.Size]byte
		n := copy(out, mac.Sum(block[:0]))
		if out = out[n:]; len(out) == 0 {
			return
		}
		mac.Reset()
		mac.Write(a)
		mac.Sum(a[:0])
	}
}

func randoms(first, second *[32]byte) []byte {
	seed := make([]byte, 0, 64)
	return append(append(seed, first[:]...), second[:]...)
}

func masterSecret(preMaster []byte, client, server *[32]byte) (master [masterLen]byte) {
	prf(master[:], preMaster, labelMaster, randoms(client, server))
	return master
}

// keyBlock is what the keys of both directions are cut from.
func keyBlock(master *[masterLen]byte, suite uint16, client, server *[32]byte) []byte {
	n := 2 * (sm4KeyLen + gcmIVLen)
	if !isGCM(suite) {
		n = 2 * (sm3.Size + sm4KeyLen + cbcIVLen)
	}
	block := make([]byte, n)
	prf(block, master[:], labelKeys, randoms(server, client))
	return block
}

// directions cuts the key block: what protects client to server, and the reverse.
func directions(block []byte, suite uint16) (client, server protection) {
	if isGCM(suite) {
		return newGCM(block[:16], block[32:36]), newGCM(block[16:32], block[36:40])
	}
	return newCBC(block[64:80], block[:32]), newCBC(block[80:96], block[32:64])
}

func verifyData(master *[masterLen]byte, label string, transcript []byte) (out [verifyLen]byte) {
	prf(out[:], master[:], label, transcript)
	return out
}

// transcript hashes the messages of a handshake as they were on the wire.
type transcript struct{ hash hash.Hash }

func newTranscript() transcript { return transcript{sm3.New()} }

func (t transcript) add(message []byte) { t.hash.Write(message) }

func (t transcript) sum() []byte { return t.hash.Sum(nil) }
