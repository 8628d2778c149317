package tlcp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/asn1"
	"testing"

	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/sm2"
)

// encrypted sends secret as the ClientKeyExchange, encrypted to key and then changed, and
// goes on as if it were right.
func (p *peer) encrypted(key *ecdsa.PublicKey, secret []byte, change func([]byte) []byte) {
	p.t.Helper()
	ciphertext, err := sm2.EncryptASN1(rand.Reader, key, secret)
	p.must(err)
	if change != nil {
		ciphertext = change(ciphertext)
	}
	p.write(message(typeClientKeyExchange, appendVector16(nil, ciphertext)))
	p.keys(secret)
	p.finish()
}

func (p *peer) encryptionKey() *ecdsa.PublicKey { return publicKey(p.c.peer[1]) }

func rightSecret() []byte { return append([]byte{1, 1}, bytes.Repeat([]byte{5}, 46)...) }

// Whatever is wrong with the encrypted pre-master secret, the answer is that of a wrong
// one, with the same reason (items 68 to 73 and 75).
func TestHostilePreMaster(t *testing.T) {
	t.Parallel()
	keys := newTestPKI(t)
	reasons := make(map[string]bool)
	for name, act := range map[string]func(p *peer){
		"68 not ASN.1": func(p *peer) {
			plain, err := sm2.Encrypt(rand.Reader, p.encryptionKey(), rightSecret(), nil)
			p.must(err)
			p.encrypted(p.encryptionKey(), rightSecret(), func([]byte) []byte { return plain })
		},
		"68 garbage": func(p *peer) {
			p.encrypted(p.encryptionKey(), rightSecret(), func(b []byte) []byte { return b[10:] })
		},
		"68 one byte": func(p *peer) {
			p.encrypted(p.encryptionKey(), rightSecret(), func([]byte) []byte { return []byte{0x30} })
		},
		"69 C3": func(p *peer) {
			p.encrypted(p.encryptionKey(), rightSecret(), func(b []byte) []byte { b[len(b)-52] ^= 1; return b })
		},
		"69 C2": func(p *peer) {
			p.encrypted(p.encryptionKey(), rightSecret(), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		},
		"70 C1 off the curve": func(p *peer) {
			p.encrypted(p.encryptionKey(), rightSecret(), func(b []byte) []byte { b[20] ^= 1; return b })
		},
		"71 to the signing key": func(p *peer) { p.encrypted(publicKey(p.c.peer[0]), rightSecret(), nil) },
		"72 of 47 bytes":        func(p *peer) { p.encrypted(p.encryptionKey(), rightSecret()[:47], nil) },
		"72 of 49 bytes":        func(p *peer) { p.encrypted(p.encryptionKey(), append(rightSecret(), 5), nil) },
		"73 of version 0301": func(p *peer) {
			p.encrypted(p.encryptionKey(), append([]byte{3, 1}, rightSecret()[2:]...), nil)
		},
		"74 bytes behind the DER": func(p *peer) {
			p.encrypted(p.encryptionKey(), rightSecret(), func(b []byte) []byte { return append(b, 0, 1) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, &Config{KeyPair: keys.server})
			p.hello(nil)
			act(p)
			reasons[p.wantAlert(AlertBadRecordMAC)] = true
		})
	}
	if len(reasons) != 1 {
		t.Errorf("got the reasons %v, want one for all", reasons)
	}
}

// Messages of the key exchange that are malformed, or come when they may not.
func TestHostileExchange(t *testing.T) {
	t.Parallel()
	keys := newTestPKI(t)
	unexpected, decode := []Alert{AlertUnexpectedMessage}, []Alert{AlertDecodeError}
	exchangeOf := func(body []byte) func(p *peer) {
		return func(p *peer) {
			p.hello(nil)
			p.certificate()
			p.write(message(typeClientKeyExchange, body))
		}
	}
	point := func(change func([]byte) []byte) func(p *peer) {
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return exchangeOf(change(marshalParams(key.PublicKey().Bytes())))
	}
	ecdhe := mutualWith(ECDHE_SM4_GCM_SM3)
	pointAlerts := []Alert{AlertIllegalParameter, AlertDecodeError}
	keys.run(t, []hostile{
		{name: "61 CKE instead of Certificate", config: mutual, act: func(p *peer) {
			p.hello(nil)
			p.exchange()
		}, alerts: unexpected},
		{name: "62 no CKE", act: func(p *peer) {
			p.hello(nil)
			p.record(recordChangeCipherSpec, []byte{1})
		}, alerts: unexpected},
		{name: "63 two CKE", act: func(p *peer) {
			p.hello(nil)
			p.exchange()
			p.exchange()
		}, alerts: unexpected},
		{name: "64 ClientHello instead of CKE", act: func(p *peer) {
			p.hello(nil)
			p.sendHello(nil)
		}, alerts: unexpected},
		{name: "65 unsolicited Certificate", act: func(p *peer) {
			p.hello(nil)
			p.write(keys.client.message)
		}, alerts: unexpected},
		{name: "66 empty CKE", act: exchangeOf(nil), alerts: decode},
		{name: "66 empty ciphertext", act: exchangeOf([]byte{0, 0}), alerts: decode},
		{name: "67 length too large", act: exchangeOf([]byte{0, 9, 0x30, 0}), alerts: decode},
		{name: "67 length too small", act: exchangeOf([]byte{0, 1, 0x30, 0}), alerts: decode},
		{name: "67 CKE of 3 KiB", act: exchangeOf(make([]byte, 3<<10)), alerts: decode},
		{name: "74 zeros behind the DER", act: func(p *peer) {
			p.hello(nil)
			p.encrypted(p.encryptionKey(), rightSecret(), func(b []byte) []byte { return append(b, 0, 0, 0) })
			p.accepted()
			p.echoed()
		}},
		{name: "76 ECDHE of 69 bytes", config: ecdhe, act: func(p *peer) {
			p.connect()
			p.echoed()
		}},
		{name: "76 ECDHE of 71 bytes", config: ecdhe, act: func(p *peer) {
			p.hello(nil)
			p.certificate()
			secret, body, err := p.h.preMaster()
			p.must(err)
			p.write(message(typeClientKeyExchange, appendVector16(nil, body)))
			p.keys(secret)
			p.proof()
			p.finish()
			p.accepted()
			p.echoed()
		}},
		{name: "77 point off the curve", config: ecdhe, act: point(func(b []byte) []byte { b[20] ^= 1; return b }), alerts: pointAlerts},
		{name: "77 compressed point", config: ecdhe, act: point(func(b []byte) []byte { b[4] = 2; return b }), alerts: pointAlerts},
		{name: "77 compressed length", config: ecdhe, act: point(func(b []byte) []byte { b[3], b[4] = 33, 2; return b[:4+33] }), alerts: pointAlerts},
		{name: "77 infinity", config: ecdhe, act: point(func(b []byte) []byte { b[3] = 1; return append(b[:4], 0) }), alerts: pointAlerts},
		{name: "77 zeros", config: ecdhe, act: point(func(b []byte) []byte { clear(b[5:]); return b }), alerts: pointAlerts},
		{name: "77 64 bytes", config: ecdhe, act: point(func(b []byte) []byte { b[3] = 64; return b[:4+64] }), alerts: pointAlerts},
		{name: "80 ECC under ECDHE", config: ecdhe, act: func(p *peer) {
			p.hello(nil)
			p.certificate()
			_, ciphertext, err := encryptPreMaster(rand.Reader, p.c.peer[1])
			p.must(err)
			p.write(message(typeClientKeyExchange, appendVector16(nil, ciphertext)))
		}, alerts: pointAlerts},
		{name: "80 ECDHE under ECC", act: point(func(b []byte) []byte { return b }), alerts: decode},
	})
}

// trimZeros cuts behind a DER element only, and only zeros.
func TestTrimZeros(t *testing.T) {
	t.Parallel()
	short, _ := asn1.Marshal([]byte{1, 2, 3})
	long, _ := asn1.Marshal(bytes.Repeat([]byte{7}, 150))
	for _, der := range [][]byte{short, long} {
		for _, c := range []struct{ tail, want []byte }{{nil, nil}, {[]byte{0, 0}, nil}, {[]byte{0, 1}, []byte{0, 1}}} {
			equal(t, "trimmed", trimZeros(append(bytes.Clone(der), c.tail...)), append(bytes.Clone(der), c.want...))
		}
		for i := range der {
			equal(t, "cut", trimZeros(der[:i]), der[:i])
		}
	}
}
