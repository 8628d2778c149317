package tlcp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
)

// showing makes the client show certificates that NewKeyPair would refuse.
func showing(pair *KeyPair, ders ...[]byte) func(*Config) {
	return func(c *Config) {
		changed := *pair
		changed.message = marshalCertificates(ders)
		c.KeyPair = &changed
	}
}

func sendCertificate(p *peer) {
	p.hello(nil)
	p.certificate()
}

func p256Certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), KeyUsage: signUsage, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}

func future(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
}

func serverOnly(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }

// Numbers are those of the negative checklist: client certificates that are refused.
func TestHostileClientCertificates(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	sign, enc := k.client.sign.Raw, k.client.enc.Raw
	leafOf := func(a *authority, name string, enc bool, change func(*x509.Certificate)) []byte {
		if enc {
			return a.leaf(t, name, encUsage, change).der[0]
		}
		return a.leaf(t, name, signUsage, change).der[0]
	}
	raw := func(body []byte) func(p *peer) {
		return func(p *peer) {
			p.hello(nil)
			p.write(message(typeCertificate, body))
		}
	}
	unknown, expiry, decode := []Alert{AlertUnknownCA}, []Alert{AlertCertificateExpired}, []Alert{AlertDecodeError}
	bad, unsupported, failure := []Alert{AlertBadCertificate}, []Alert{AlertUnsupportedCertificate}, []Alert{AlertHandshakeFailure}
	ecdhe := mutualWith(ECDHE_SM4_GCM_SM3)
	k.run(t, []hostile{
		{name: "78 ECDHE with one certificate", config: ecdhe, client: showing(k.client, sign), act: sendCertificate, alerts: failure},
		{name: "78 ECDHE with a CA instead", config: ecdhe, client: showing(k.client, sign, k.ca.cert.Raw), act: sendCertificate, alerts: failure},
		{name: "79 ECDHE with none", config: ecdhe, client: showing(k.client), act: sendCertificate, alerts: failure},
		{name: "79 ECDHE with none though optional", config: func(c *Config) {
			c.ClientAuth, c.CipherSuites = VerifyClientCertIfGiven, []uint16{ECDHE_SM4_GCM_SM3}
		}, client: showing(k.client), act: sendCertificate, alerts: failure},
		{name: "81 none though required", config: mutual, client: showing(k.client), act: sendCertificate, alerts: failure},
		{name: "82 unknown CA", config: mutual, client: showing(k.client, leafOf(k.other, "client", false, nil), leafOf(k.other, "client", true, nil)),
			act: sendCertificate, alerts: unknown},
		{name: "82 no CA known", config: func(c *Config) { mutual(c); c.ClientCAs = nil }, act: sendCertificate, alerts: unknown},
		{name: "82 unknown CA though optional", config: func(c *Config) { c.ClientAuth, c.ClientCAs = VerifyClientCertIfGiven, k.other.pool },
			act: sendCertificate, alerts: unknown},
		{name: "83 expired", config: mutual, client: showing(k.client, leafOf(k.ca, "client", false, expired), enc), act: sendCertificate, alerts: expiry},
		{name: "83 encryption expired", config: mutual, client: showing(k.client, sign, leafOf(k.ca, "client", true, expired)), act: sendCertificate, alerts: expiry},
		{name: "84 not yet valid", config: mutual, client: showing(k.client, leafOf(k.ca, "client", false, future), enc), act: sendCertificate, alerts: expiry},
		{name: "85 swapped", config: mutual, client: showing(k.client, enc, sign), act: sendCertificate, alerts: unsupported},
		{name: "85 signing twice", config: mutual, client: showing(k.client, sign, sign), act: sendCertificate, alerts: unsupported},
		{name: "85 for servers only", config: mutual, client: showing(k.client, leafOf(k.ca, "client", false, serverOnly), enc), act: sendCertificate, alerts: unsupported},
		{name: "86 encryption of another subject", config: mutual, client: showing(k.client, sign, leafOf(k.ca, "mallory", true, nil)), act: sendCertificate, alerts: bad},
		{name: "86 encryption of another CA", config: mutual, client: showing(k.client, sign, leafOf(k.other, "client", true, nil)), act: sendCertificate, alerts: bad},
		{name: "87 P-256", config: mutual, client: showing(k.client, p256Certificate(t)), act: sendCertificate, alerts: unsupported},
		{name: "87 P-256 encryption", config: mutual, client: showing(k.client, sign, p256Certificate(t)), act: sendCertificate, alerts: unsupported},
		{name: "88 garbage", config: mutual, client: showing(k.client, []byte("garbage")), act: sendCertificate, alerts: bad},
		{name: "89 bytes behind the DER", config: mutual, client: showing(k.client, append(bytes.Clone(sign), 0), enc), act: sendCertificate, alerts: bad},
		{name: "90 list too long", config: mutual, act: raw([]byte{0, 0, 9, 0, 0, 1, 7}), alerts: decode},
		{name: "90 list too short", config: mutual, act: raw([]byte{0, 0, 0, 0}), alerts: decode},
		{name: "90 certificate overruns", config: mutual, act: raw([]byte{0, 0, 4, 0, 0, 9, 7}), alerts: decode},
		{name: "90 empty certificate", config: mutual, act: raw([]byte{0, 0, 3, 0, 0, 0}), alerts: decode},
		{name: "90 nothing", config: mutual, act: raw(nil), alerts: decode},
	})
}

// Clients that are let in.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	optional := func(c *Config) { c.ClientAuth = VerifyClientCertIfGiven }
	good := func(p *peer) {
		p.connect()
		p.echoed()
	}
	k.run(t, []hostile{
		{name: "both", config: mutual, act: good},
		{name: "signing only", config: mutual, client: showing(k.client, k.client.sign.Raw), act: good},
		{name: "signing and its CA", config: mutual, client: showing(k.client, k.client.sign.Raw, k.ca.cert.Raw), act: good},
		{name: "none though asked", config: optional, client: func(c *Config) { c.KeyPair = nil }, act: good},
		{name: "both though optional", config: optional, act: good},
	})
}

// Proofs of the signing key that are none.
func TestHostileProofs(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	// signed goes through the handshake with what sign makes of the transcript's hash and
	// its bytes.
	signed := func(sign func(p *peer, sum, raw []byte) []byte) func(p *peer) {
		return func(p *peer) {
			raw := new(bytes.Buffer)
			p.h.transcript.hash = tee{p.h.transcript.hash, raw}
			p.hello(nil)
			p.certificate()
			p.exchange()
			p.write(message(typeCertificateVerify, appendVector16(nil, sign(p, p.h.transcript.sum(), raw.Bytes()))))
			p.finish()
		}
	}
	with := func(key *sm2.PrivateKey, uid, msg []byte) []byte {
		signature, err := key.Sign(rand.Reader, msg, sm2.NewSM2SignerOption(true, uid))
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	right := func(sum []byte) []byte { return with(k.client.signKey, nil, sum) }
	unexpected, decrypt := []Alert{AlertUnexpectedMessage}, []Alert{AlertDecryptError}
	var captured []byte
	k.run(t, []hostile{
		{name: "91 none", config: mutual, act: func(p *peer) {
			p.hello(nil)
			p.certificate()
			p.exchange()
			p.finish()
		}, alerts: unexpected},
		{name: "92 before the CKE", config: mutual, act: func(p *peer) {
			p.hello(nil)
			p.certificate()
			p.proof()
		}, alerts: unexpected},
		{name: "93 bit flipped", config: mutual, act: signed(func(_ *peer, sum, _ []byte) []byte {
			s := right(sum)
			s[len(s)-1] ^= 1
			return s
		}), alerts: decrypt},
		{name: "94 over the transcript itself", config: mutual, act: signed(func(_ *peer, _, raw []byte) []byte {
			return right(raw)
		}), alerts: decrypt},
		{name: "95 with the encryption key", config: mutual, act: signed(func(_ *peer, sum, _ []byte) []byte {
			return with(k.client.encKey, nil, sum)
		}), alerts: decrypt},
		{name: "96 with another ID", config: mutual, act: signed(func(_ *peer, sum, _ []byte) []byte {
			return with(k.client.signKey, []byte("somebody"), sum)
		}), alerts: decrypt},
		{name: "97 byte behind the DER", config: mutual, act: signed(func(_ *peer, sum, _ []byte) []byte {
			return append(right(sum), 0)
		}), alerts: decrypt},
		{name: "97 r is 0", config: mutual, act: signed(func(*peer, []byte, []byte) []byte {
			return []byte{0x30, 6, 2, 1, 0, 2, 1, 1}
		}), alerts: decrypt},
		{name: "97 empty", config: mutual, act: signed(func(*peer, []byte, []byte) []byte { return nil }), alerts: []Alert{AlertDecodeError}},
		{name: "98 without a certificate", config: func(c *Config) { c.ClientAuth = VerifyClientCertIfGiven }, act: func(p *peer) {
			p.hello(nil)
			p.write(marshalCertificates(nil))
			p.exchange()
			p.proof()
		}, alerts: unexpected},
		{name: "99 of another connection", config: mutual, act: func(p *peer) {
			// Captured on a first connection, sent on a second.
			first := newPeerWith(p.t, &Config{KeyPair: k.server, ClientCAs: k.ca.pool, ClientAuth: RequireAndVerifyClientCert}, p.c.config)
			signed(func(_ *peer, sum, _ []byte) []byte { captured = right(sum); return captured })(first)
			first.accepted()
			signed(func(*peer, []byte, []byte) []byte { return captured })(p)
		}, alerts: decrypt},
	})
}
