package edge

import "crypto/tls"

// policy is what of a site's policy the TLS layer enforces. It indexes the configs of
// an opened version, so that any number of domains share them.
type policy uint8

const (
	onlyTLS13    policy = 1 << iota
	verifyClient        // client certificates are demanded and verified
	stapled             // an OCSP staple is presented
	policies     = 1 << iota
)

func (s *site) policy() (p policy) {
	if s.minTLS >= tls.VersionTLS13 {
		p |= onlyTLS13
	}
	if s.verifyClient {
		p |= verifyClient
	}
	return p
}

// protocols are what ALPN offers, best first.
var protocols = []string{"h2", "http/1.1"}

// suites are the TLS 1.2 cipher suites: forward secret and authenticated only.
// TLS 1.3 has no others and is not configurable.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// baseTLS is the config every connection starts with. It has no ticket keys: whatever
// config goes on with the handshake brings its own.
func (e *Edge) baseTLS() *tls.Config {
	return &tls.Config{
		MinVersion: e.cfg.MinTLS, CipherSuites: suites, Time: e.cfg.Now,
		GetConfigForClient: e.configFor, SessionTicketsDisabled: true,
	}
}

// refusingTLS makes crypto/tls answer the alert unrecognized_name (RFC 6066 section 3)
// since it has no certificate. Tickets are off: a resumption would not miss one.
func (e *Edge) refusingTLS() *tls.Config {
	return &tls.Config{
		MinVersion: e.cfg.MinTLS, CipherSuites: suites, NextProtos: protocols,
		SessionTicketsDisabled: true,
	}
}

// configFor answers a client hello with the config of what was decided. That stays with
// the connection, whatever is applied during the handshake.
func (e *Edge) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	d := e.decide(hello)
	c := hello.Conn.(*conn)
	c.handshaken, c.refused = handshaken{site: d.site}, d.refused
	if d.refused == succeeded && d.site.verifyClient {
		return e.verifying(c, d), nil
	}
	return e.configOf(d), nil
}

// configOf is the shared config to go on with after a decision.
func (e *Edge) configOf(d decision) *tls.Config {
	switch d.refused {
	case succeeded:
	case handshakeFailure:
		return e.mismatch
	default:
		return e.refuse
	}
	p := d.site.policy()
	if s := d.version.staple; s != nil && s.freshAt(e.cfg.Now()) {
		p |= stapled
	}
	return e.config(d.version, d.key, p)
}

// config returns the shared config of an opened version for a policy.
func (e *Edge) config(v *version, o *opened, p policy) *tls.Config {
	if c := o.configs[p].Load(); c != nil {
		return c
	}
	c := e.newConfig(v, o, p)
	if o.configs[p].CompareAndSwap(nil, c) {
		return c
	}
	return o.configs[p].Load()
}

// newConfig makes the config of an opened version for a policy. It holds exactly one
// certificate, so crypto/tls has nothing left to choose.
func (e *Edge) newConfig(v *version, o *opened, p policy) *tls.Config {
	c := &tls.Config{
		Certificates: []tls.Certificate{o.certificate},
		MinVersion:   e.cfg.MinTLS, CipherSuites: suites, NextProtos: protocols, Time: e.cfg.Now,
	}
	if p&stapled != 0 {
		c.Certificates[0].OCSPStaple = v.staple.der
	}
	if p&onlyTLS13 != 0 {
		c.MinVersion = tls.VersionTLS13
	}
	if p&verifyClient != 0 {
		// Without trust roots the pool is empty and every client is refused. Only the
		// config of a connection resumes, see verifying.
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, v.roots.pool()
		c.SessionTicketsDisabled = true
		return c
	}
	r := &resumption{edge: e, keys: e.ticketKeys(v, p, nil)}
	c.WrapSession, c.UnwrapSession = r.wrap, r.unwrap
	return c
}
