package edge

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"lacre/tlcp"
)

// poolSM2 is pool for what verifies TLCP clients.
func (b *bundle) poolSM2() *smx509.CertPool {
	b.onceSM2.Do(func() {
		b.certsSM2 = smx509.NewCertPool()
		for _, der := range b.ders {
			if cert, err := smx509.ParseCertificate(der); err == nil {
				b.certsSM2.AddCert(cert)
			}
		}
	})
	return b.certsSM2
}

// verifyingTLCP is verifying for TLCP.
func (e *Edge) verifyingTLCP(c *conn, d decision) *tlcp.Config {
	t := d.site.trust(d.version)
	x := &verification{conn: c, trust: t, keys: e.mutualKeys(d, t)}
	cfg := *e.configTLCP(d.version, d.key.sm2, d.site.policy())
	cfg.VerifyPeer = x.verifyTLCP
	if anyUnread(t.lists) {
		return &cfg // which lets nobody in
	}
	cfg.WrapSession, cfg.UnwrapSession, cfg.SessionCache = x.wrapTLCP, x.unwrapTLCP, e.sessions
	return &cfg
}

// verifyTLCP is tlcp.Config.VerifyPeer, which is called for resumed sessions too. By then
// tlcp has verified the client against the trust roots of now.
func (x *verification) verifyTLCP(cs tlcp.ConnectionState) error {
	e := x.conn.edge
	who, err := x.trust.verifyTLCP(plainX509(cs.PeerCertificates), chainsOf(cs), e.cfg.Now())
	x.trust.lists = nil // not held for as long as the connection lives
	if err != nil {
		e.metrics.clientRefused(err)
		return answered(err)
	}
	x.conn.who = who
	return nil
}

// answered adds the alert that TLCP has for a refusal, if there is a better one than
// bad_certificate.
func answered(refusal error) error {
	if errors.Is(refusal, errRevoked) {
		return fmt.Errorf("%w: %w", refusal, tlcp.AlertCertificateRevoked)
	}
	return refusal
}

// wrapTLCP is tlcp.Config.WrapSession, which is asked for once the client is verified. A
// session that is resumed is not wrapped again, and so keeps its birth.
func (x *verification) wrapTLCP(cs tlcp.ConnectionState, session *tlcp.SessionState) ([]byte, error) {
	if x.conn.who == nil {
		return nil, errNotKept
	}
	l := life{born: x.keys.now(), until: x.conn.who.until}
	return wrapTLCP(x.keys, x.conn.site.ticketBinding(cs.ServerName), session, l)
}

// unwrapTLCP is tlcp.Config.UnwrapSession.
func (x *verification) unwrapTLCP(ticket []byte, cs tlcp.ConnectionState) (*tlcp.SessionState, error) {
	return unwrapTLCP(x.keys, x.conn.site.ticketBinding(cs.ServerName), ticket), nil
}

// leafChains are the chains of a TLCP client's leaves: the signing one, and the encryption
// one if it sent it.
type leafChains [][][]*x509.Certificate

func chainsOf(cs tlcp.ConnectionState) leafChains {
	return newLeafChains(cs.VerifiedChains, cs.EncryptionChains)
}

func newLeafChains(sign, enc [][]*smx509.Certificate) leafChains {
	all := leafChains{plainChains(sign)}
	if len(enc) > 0 {
		all = append(all, plainChains(enc))
	}
	return all
}

// verifyTLCP is verify for TLCP.
func (t trust) verifyTLCP(sent []*x509.Certificate, leaves leafChains, now time.Time) (*verified, error) {
	chain, until, err := t.allGood(leaves, now)
	if err != nil {
		return nil, err
	}
	return &verified{
		tlcp: true, roots: t.roots, lists: digestsOf(t.lists), sent: sent, until: until,
		cert: byteSequence(chain[0]), chain: intermediates(chain),
	}, nil
}

// allGood returns the first good chain of the signing certificate, and the time after which
// it, or that of the encryption certificate, is good no more. Both leaves must have one:
// whoever has the encryption key of an ECDHE suite reads what the client does.
func (t trust) allGood(leaves leafChains, now time.Time) (first []*x509.Certificate, until time.Time, err error) {
	for i, chains := range leaves {
		chain, err := t.good(chains, now)
		if err != nil {
			return nil, until, err
		}
		if end := t.endOf(chain); i == 0 || end.Before(until) {
			until = end
		}
		if i == 0 {
			first = chain
		}
	}
	return first, until, nil
}

// verifyAgainTLCP verifies a TLCP client anew, as a full handshake does.
func (t trust) verifyAgainTLCP(sent []*x509.Certificate, now time.Time) (*verified, error) {
	certs := make([]*smx509.Certificate, len(sent))
	for i, cert := range sent {
		certs[i] = (*smx509.Certificate)(cert)
	}
	sign, enc, err := tlcp.VerifyClient(certs, t.roots.poolSM2(), now)
	if err != nil {
		return nil, err
	}
	return t.verifyTLCP(sent, newLeafChains(sign, enc), now)
}

func plainX509(certs []*smx509.Certificate) []*x509.Certificate {
	plain := make([]*x509.Certificate, len(certs))
	for i, cert := range certs {
		plain[i] = cert.ToX509()
	}
	return plain
}

func plainChains(chains [][]*smx509.Certificate) [][]*x509.Certificate {
	plain := make([][]*x509.Certificate, len(chains))
	for i, chain := range chains {
		plain[i] = plainX509(chain)
	}
	return plain
}
