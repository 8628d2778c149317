package edge

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"sync/atomic"
	"time"
)

// trust is what client certificates are held to: the trust roots of the version that is
// served, and the revocation lists of all certificates of the site.
type trust struct {
	roots *bundle
	lists []*revocations
}

func (s *site) trust(v *version) trust { return trust{v.roots, s.revocations()} }

// verified is a client that proved who it is. What it was held to is kept as digests:
// lists that were replaced are not held by the connections made before.
type verified struct {
	tlcp  bool // by certificates of TLCP
	roots *bundle
	lists digests
	sent  []*x509.Certificate // as the client sent them
	until time.Time           // see trust.endOf
	// The values of Client-Cert and Client-Cert-Chain (RFC 9440), the latter empty when
	// the leaf was issued by the trust root itself.
	cert, chain string

	again atomic.Pointer[verified] // how it was found good later, under another trust or chain
}

var errNobody = errors.New("no client certificate")

// verify decides about the client of a handshake; chains are those that crypto/tls has
// just verified against the same roots, nil to verify here.
func (t trust) verify(sent []*x509.Certificate, chains [][]*x509.Certificate, now time.Time) (*verified, error) {
	chain, err := t.chain(sent, chains, now)
	if err != nil {
		return nil, err
	}
	return &verified{
		roots: t.roots, lists: digestsOf(t.lists), sent: sent, until: t.endOf(chain),
		cert: byteSequence(chain[0]), chain: intermediates(chain),
	}, nil
}

// chain returns the first chain from the client's leaf to a trust root that is valid now
// and not revoked.
func (t trust) chain(sent []*x509.Certificate, chains [][]*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	if len(sent) == 0 {
		return nil, errNobody
	}
	if chains == nil {
		var err error
		if chains, err = t.chains(sent, now); err != nil {
			return nil, err
		}
	}
	return t.good(chains, now)
}

// good returns the first of verified chains that is not revoked. Without any, the error
// says what is wrong with the first.
func (t trust) good(chains [][]*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	first := errNobody
	for i, chain := range chains {
		err := checkAll(t.lists, chain, now)
		if err == nil {
			return chain, nil
		}
		if i == 0 {
			first = err
		}
	}
	return nil, first
}

// chains verifies as crypto/tls does in a full handshake.
func (t trust) chains(sent []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, cert := range sent[1:] {
		between.AddCert(cert)
	}
	return sent[0].Verify(x509.VerifyOptions{
		Roots: t.roots.pool(), Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// endOf is the time after which a chain that is good now is so no more: the first of its
// certificates has expired, or a list that it was held to is stale.
func (t trust) endOf(chain []*x509.Certificate) time.Time {
	end := chain[0].NotAfter
	for _, cert := range chain[1:] {
		end = earlier(end, cert.NotAfter)
	}
	for _, x := range t.lists {
		for _, list := range x.over(chain) {
			end = earlier(end, list.due)
		}
	}
	return end
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// byteSequence writes a certificate as RFC 9440 does (RFC 8941, section 3.3.5).
func byteSequence(cert *x509.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(cert.Raw) + ":"
}

// intermediates writes what is between leaf and trust root. What the client sent beside
// that is nobody's word.
func intermediates(chain []*x509.Certificate) string {
	var members []string
	for i := 1; i < len(chain)-1; i++ {
		members = append(members, byteSequence(chain[i]))
	}
	return strings.Join(members, ", ")
}

// admits tells whether a client that was verified earlier may send a request to the site
// as it is now. When trust roots or lists have changed, or what it was verified by has
// ended, so has its connection, unless the edge keeps connections: then the client is
// verified anew, and another of its chains may be good.
func (e *Edge) admits(s *site, who *verified) bool {
	if who == nil {
		return false
	}
	now := e.cfg.Now()
	return !now.After(who.standing(s)) || e.cfg.KeepConnections && e.verifiesAgain(s, who, now)
}

// standing is until when a client is good under what the site holds clients to now, as far
// as it was verified. It is zero when it was not under that.
func (who *verified) standing(s *site) (until time.Time) {
	if v := who.under(s); v != nil {
		until = v.until
	}
	return until
}

// under is how a client was verified under what the site holds clients to now, for longest;
// nil when it was not.
func (who *verified) under(s *site) (longest *verified) {
	for _, v := range []*verified{who, who.again.Load()} {
		if v != nil && s.trusts(v.roots, who.tlcp) && s.heeds(v.lists) && (longest == nil || v.until.After(longest.until)) {
			longest = v
		}
	}
	return longest
}

// verifiesAgain holds a client to the roots and lists of now.
func (e *Edge) verifiesAgain(s *site, who *verified, now time.Time) bool {
	for _, slot := range s.speaking(who.tlcp) {
		v := slot.current.Load()
		if v == nil {
			continue
		}
		if again, err := s.trust(v).verifyAgain(who, now); err == nil {
			who.again.Store(again)
			return true
		}
	}
	return false
}

// verifyAgain verifies a client anew, as a full handshake does.
func (t trust) verifyAgain(who *verified, now time.Time) (*verified, error) {
	if who.tlcp {
		return t.verifyAgainTLCP(who.sent, now)
	}
	return t.verify(who.sent, nil, now)
}

// verification is the part of a handshake that is about its client. Each connection has
// one of its own: crypto/tls tells its callbacks nothing of the connection.
type verification struct {
	conn  *conn
	trust trust
	keys  *ticketKeys
	life  life // of the session that is resumed
}

// verifying returns a config for one connection whose client must prove who it is. The
// rest of it is shared.
func (e *Edge) verifying(c *conn, d decision) *tls.Config {
	shared := e.configOf(d)
	t := d.site.trust(d.version)
	x := &verification{conn: c, trust: t, keys: e.mutualKeys(d, t)}
	cfg := shared.Clone()
	cfg.VerifyConnection = x.verify
	if anyUnread(t.lists) {
		return cfg // which lets nobody in
	}
	cfg.SessionTicketsDisabled = false
	cfg.WrapSession, cfg.UnwrapSession = x.wrap, x.unwrap
	return cfg
}

// verify is tls.Config.VerifyConnection, which is called for resumed sessions too: their
// clients are verified like all others, against the roots, the lists and the time of now.
func (x *verification) verify(cs tls.ConnectionState) error {
	chains := cs.VerifiedChains
	if cs.DidResume {
		chains = nil
	}
	e := x.conn.edge
	who, err := x.trust.verify(cs.PeerCertificates, chains, e.cfg.Now())
	x.trust.lists = nil // not held for as long as the connection lives
	if err != nil {
		e.metrics.clientRefused(err)
		return err
	}
	x.conn.who = who
	return nil
}

// wrap is tls.Config.WrapSession. A session that was resumed keeps its birth: it ends a
// day after the client has shown its certificate, however often it is taken up again.
// crypto/tls may ask before it has had the client verified, but then the session was
// resumed and says itself until when it is good.
func (x *verification) wrap(cs tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
	l := x.life
	if !cs.DidResume {
		if x.conn.who == nil {
			return noTicket, nil
		}
		l = life{born: x.keys.now(), until: x.conn.who.until}
	}
	return sealSession(x.keys, x.conn.site.ticketBinding(cs.ServerName), session, l)
}

// unwrap is tls.Config.UnwrapSession. Of several tickets the last that opens is the one
// that crypto/tls goes on with, if any.
func (x *verification) unwrap(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	session, l := openSession(x.keys, x.conn.site.ticketBinding(cs.ServerName), ticket)
	if session != nil {
		x.life = l
	}
	return session, nil
}
