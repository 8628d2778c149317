package tlcp

import (
	"crypto/x509"
	"errors"
	"net"
	"testing"

	"github.com/emmansun/gmsm/smx509"
)

// against runs a client of ours against a server that does act, and wants the client to
// refuse with an alert.
func against(t *testing.T, client *Config, act func(s *serverHandshake) error, alert Alert) {
	t.Helper()
	c, s := tcpPair(t)
	server := Server(s, &Config{})
	done := make(chan error, 1)
	go func() {
		h := &serverHandshake{handshake: handshake{c: server, transcript: newTranscript()}}
		err := act(h)
		if err == nil {
			_, _, err = server.next() // what the client makes of it
			for err == nil {
				_, _, err = server.next()
			}
		}
		done <- err
	}()
	conn := Client(c, client)
	err := conn.Handshake()
	wantAlert(t, "client", err, alert, false)
	_ = c.(*net.TCPConn).CloseWrite()
	if err := <-done; err != nil {
		if got, ok := errors.AsType[*AlertError](err); !ok || got.Alert != alert || !got.Remote {
			t.Errorf("server: got %v, want the alert %v", err, alert)
		}
	}
}

// rawServer sends messages without further ado, after the ClientHello.
func rawServer(messages ...[]byte) func(s *serverHandshake) error {
	return func(s *serverHandshake) error {
		if _, err := s.expect(typeClientHello, maxHello); err != nil {
			return err
		}
		for _, m := range messages {
			if err := s.write(m); err != nil {
				return err
			}
		}
		return s.flush()
	}
}

// Hellos of a server that a client refuses.
func TestHostileServerHello(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	answer := func(change func(*serverHello)) []byte {
		h := &serverHello{version: Version, suite: ECC_SM4_GCM_SM3}
		change(h)
		return h.marshal()
	}
	withExtension := func(b []byte) []byte {
		return message(typeServerHello, appendVector16(answer(func(*serverHello) {})[4:], b))
	}
	for name, c := range map[string]struct {
		message []byte
		alert   Alert
	}{
		"version 0303":           {answer(func(h *serverHello) { h.version = 0x0303 }), AlertProtocolVersion},
		"suite not offered":      {answer(func(h *serverHello) { h.suite = ECDHE_SM4_GCM_SM3 }), AlertIllegalParameter},
		"unknown suite":          {answer(func(h *serverHello) { h.suite = 0xe019 }), AlertIllegalParameter},
		"compression":            {answer(func(h *serverHello) { h.compression = 1 }), AlertIllegalParameter},
		"protocol not offered":   {answer(func(h *serverHello) { h.proto = "spdy/1" }), AlertIllegalParameter},
		"unsolicited ticket":     {answer(func(h *serverHello) { h.tickets = true }), AlertUnsupportedExtension},
		"unsolicited extension":  {withExtension(extension(23, nil)), AlertUnsupportedExtension},
		"extension twice":        {withExtension(append(extension(0, nil), extension(0, nil)...)), AlertIllegalParameter},
		"name with content":      {withExtension(extension(0, []byte{1})), AlertDecodeError},
		"two protocols":          {withExtension(extension(16, []byte{0, 4, 1, 'a', 1, 'b'})), AlertDecodeError},
		"cut":                    {answer(func(*serverHello) {})[:20], AlertDecodeError},
		"Certificate first":      {k.server.message, AlertUnexpectedMessage},
		"another message":        {message(typeHelloRequest, nil), AlertUnexpectedMessage},
		"a session ID of 33":     {answer(func(h *serverHello) { h.sessionID = make([]byte, 33) }), AlertDecodeError},
		"ServerHello of 100 KiB": {message(typeServerHello, make([]byte, 100<<10)), AlertDecodeError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := c.message
			if name == "cut" {
				m = message(typeServerHello, m[4:])
			}
			against(t, &Config{RootCAs: k.ca.pool, ServerName: testName, NextProtos: []string{"h2"}}, rawServer(m), c.alert)
		})
	}
}

// proper is a server that goes through all steps with a pair, and changes something.
func proper(pair *KeyPair, config func(*Config), finish func(s *serverHandshake)) func(s *serverHandshake) error {
	return func(s *serverHandshake) error {
		s.c.config = &Config{KeyPair: pair}
		if config != nil {
			config(s.c.config)
		}
		for _, step := range []func() error{s.readHello, s.chooseSuite, s.announceSession, s.writeFlight, s.readClient, s.readFinished} {
			if err := step(); err != nil {
				return err
			}
		}
		if finish != nil {
			finish(s)
		}
		if err := s.writeFinished(); err != nil {
			return err
		}
		return s.flush()
	}
}

// Certificates, signatures and ends of a server that a client refuses.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	changed := func(change func(*KeyPair)) *KeyPair {
		pair := *k.server
		change(&pair)
		return &pair
	}
	shows := func(ders ...[]byte) *KeyPair {
		return changed(func(p *KeyPair) { p.message = marshalCertificates(ders) })
	}
	sign, enc := k.server.sign.Raw, k.server.enc.Raw
	issued := func(a *authority, usage x509.KeyUsage, change func(*x509.Certificate)) []byte {
		return a.leaf(t, testName, usage, change).der[0]
	}
	otherName := func(c *x509.Certificate) { c.DNSNames = []string{"other.example.com"} }
	for name, c := range map[string]struct {
		act   func(s *serverHandshake) error
		alert Alert
	}{
		"wrong signature": {proper(changed(func(p *KeyPair) { p.z[0] ^= 1 }), nil, nil), AlertDecryptError},
		"signature over the signing certificate": {proper(changed(func(p *KeyPair) {
			p.encoded = appendVector24(nil, sign)
		}), nil, nil), AlertDecryptError},
		"signed with the encryption key": {proper(changed(func(p *KeyPair) {
			p.signKey = p.encKey
			p.z, _ = identityHash(p.enc)
		}), nil, nil), AlertDecryptError},
		"one certificate":       {proper(shows(sign), nil, nil), AlertBadCertificate},
		"none":                  {proper(shows(), nil, nil), AlertBadCertificate},
		"swapped":               {proper(shows(enc, sign), nil, nil), AlertUnsupportedCertificate},
		"signing twice":         {proper(shows(sign, sign), nil, nil), AlertUnsupportedCertificate},
		"P-256":                 {proper(shows(p256Certificate(t), enc), nil, nil), AlertUnsupportedCertificate},
		"garbage":               {proper(shows([]byte("garbage"), enc), nil, nil), AlertBadCertificate},
		"unknown CA":            {proper(k.other.pair(t, testName), nil, nil), AlertUnknownCA},
		"encryption of other":   {proper(shows(sign, issued(k.other, encUsage, nil)), nil, nil), AlertBadCertificate},
		"expired":               {proper(shows(issued(k.ca, signUsage, expired), enc), nil, nil), AlertCertificateExpired},
		"encryption expired":    {proper(shows(sign, issued(k.ca, encUsage, expired)), nil, nil), AlertCertificateExpired},
		"wrong host":            {proper(k.ca.pair(t, "other.example.com"), nil, nil), AlertBadCertificate},
		"encryption wrong host": {proper(shows(sign, issued(k.ca, encUsage, otherName)), nil, nil), AlertBadCertificate},
		"ticket not announced": {proper(k.server, nil, func(s *serverHandshake) {
			_ = s.write(marshalTicket(1, []byte("ticket")))
		}), AlertUnexpectedMessage},
		"Finished is wrong": {proper(k.server, nil, func(s *serverHandshake) { s.master[0] ^= 1 }), AlertDecryptError},
		"truncated authorities": {func(s *serverHandshake) error {
			s.c.config = &Config{KeyPair: k.server}
			for _, step := range []func() error{s.readHello, s.chooseSuite} {
				if err := step(); err != nil {
					return err
				}
			}
			exchange, err := s.keyExchange()
			if err != nil {
				return err
			}
			for _, m := range [][]byte{s.answer.marshal(), k.server.message, exchange, message(typeCertificateRequest, []byte{1, 64, 0, 4, 0, 9, 1, 1})} {
				if err := s.write(m); err != nil {
					return err
				}
			}
			return s.flush()
		}, AlertDecodeError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			against(t, &Config{RootCAs: k.ca.pool, ServerName: testName}, c.act, c.alert)
		})
	}
}

// A CertificateRequest whose names overrun it is malformed, and so is every cut of it.
func TestHostileCertificateRequest(t *testing.T) {
	t.Parallel()
	good := marshalCertificateRequest([][]byte{[]byte("name one"), []byte("name two")})[4:]
	if names, err := parseCertificateRequest(good); err != nil || len(names) != 2 {
		t.Fatalf("got %d names, %v, want 2", len(names), err)
	}
	for i := range good {
		_, err := parseCertificateRequest(good[:i])
		wantAlert(t, "cut", err, AlertDecodeError, false)
	}
	overrun := append([]byte{}, good...)
	overrun[6] = 0xff
	_, err := parseCertificateRequest(overrun)
	wantAlert(t, "overrun", err, AlertDecodeError, false)
}

// A client with VerifyPeer has the last word, and so has a server.
func TestVerifyPeer(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	for _, c := range []struct {
		err   error
		alert Alert
	}{{AlertAccessDenied, AlertAccessDenied}, {errors.New("not today"), AlertBadCertificate}} {
		refuse := func(cs ConnectionState) error {
			if len(cs.PeerCertificates) != 2 || len(cs.VerifiedChains) == 0 {
				return errors.New("called without the peer's certificates")
			}
			return c.err
		}
		cc := Config{RootCAs: k.ca.pool, ServerName: testName, KeyPair: k.client}
		sc := Config{KeyPair: k.server, ClientAuth: RequireAndVerifyClientCert, ClientCAs: k.ca.pool}
		refusing := sc
		refusing.VerifyPeer = refuse
		_, _, clientErr, serverErr := shake(t, &cc, &refusing)
		wantAlert(t, "client", clientErr, c.alert, true)
		wantAlert(t, "server", serverErr, c.alert, false)
		cc.VerifyPeer = refuse
		_, _, clientErr, _ = shake(t, &cc, &sc)
		wantAlert(t, "client", clientErr, c.alert, false)
	}
}

// Pairs that are refused when they are made.
func TestNewKeyPair(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	sign, enc := ca.leaf(t, testName, signUsage, nil), ca.leaf(t, testName, encUsage, nil)
	both := ca.leaf(t, testName, signUsage|encUsage, nil)
	for name, c := range map[string][2]leaf{
		"swapped": {enc, sign}, "signing twice": {sign, sign}, "encryption twice": {enc, enc}, "both usages": {both, both},
		"keys swapped": {leaf{sign.der, enc.key}, leaf{enc.der, sign.key}}, "no key": {sign, leaf{der: enc.der}},
		"no chain": {leaf{key: sign.key}, enc}, "garbage": {leaf{[][]byte{[]byte("x")}, sign.key}, enc},
		"P-256": {leaf{[][]byte{p256Certificate(t)}, sign.key}, enc},
	} {
		if _, err := NewKeyPair(c[0].der, c[0].key, c[1].der, c[1].key); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	other := newAuthority(t, "other", nil)
	pair := pairOf(t, leaf{[][]byte{sign.der[0], ca.cert.Raw}, sign.key},
		func() leaf {
			l := other.leaf(t, testName, encUsage, nil)
			l.der = append(l.der, other.cert.Raw, ca.cert.Raw)
			return l
		}())
	roots := smx509.NewCertPool()
	roots.AddCert((*smx509.Certificate)(ca.cert))
	roots.AddCert((*smx509.Certificate)(other.cert))
	client, _ := mustShake(t, &Config{RootCAs: roots, ServerName: testName}, &Config{KeyPair: pair})
	if got := len(client.ConnectionState().PeerCertificates); got != 4 {
		t.Errorf("got %d certificates of a pair with two issuers, want both leaves and both issuers once", got)
	}
}
