package edge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"lacre"
	"lacre/keypair"
	"lacre/tlcp"
)

// maxSessions bounds the TLCP sessions that clients without tickets can resume by ID, of
// about a kilobyte each.
const maxSessions = 8192

// signing is the signing pair of an SM2 version.
type signing struct {
	leaf      []byte // DER
	sealedKey []byte
	chain     *bundle // what follows the leaf
}

// newSigning is nil for versions of other algorithms.
func newSigning(v *lacre.Version, bundles *bundles) *signing {
	if v.Facts.Algorithm != keypair.SM2 {
		return nil
	}
	return &signing{bytes.Clone(v.SignChain[0]), bytes.Clone(v.SealedSignKey), bundles.intern(v.SignChain[1:])}
}

// differs tells whether v has another signing pair.
func (s *signing) differs(v *lacre.Version) bool {
	if s == nil || len(v.SignChain) == 0 {
		return (s == nil) != (len(v.SignChain) == 0)
	}
	return !bytes.Equal(s.leaf, v.SignChain[0]) || !bytes.Equal(s.sealedKey, v.SealedSignKey)
}

func (v *version) isSM2() bool { return v.signing != nil }

// openedSM2 is an SM2 version ready for handshakes.
type openedSM2 struct {
	pair    *tlcp.KeyPair
	configs [policies]atomic.Pointer[tlcp.Config]
}

// unsealSM2 is unseal for SM2: both keys.
func (k *keys) unsealSM2(ctx context.Context, v *version) (*opened, error) {
	keys, err := lacre.OpenSM2(ctx, k.sealer, v.record())
	if err != nil {
		return nil, err
	}
	chain := func(leaf []byte, rest *bundle) [][]byte { return append([][]byte{leaf}, rest.ders...) }
	pair, err := tlcp.NewKeyPair(chain(v.signing.leaf, v.signing.chain), keys.SigningKey,
		chain(v.leaf, v.chain), keys.EncryptionKey)
	if err != nil {
		return nil, err
	}
	o := &opened{sm2: &openedSM2{pair: pair}}
	o.used.Store(true)
	return o, nil
}

// baseTLCP is the config every TLCP connection starts with.
func (e *Edge) baseTLCP() *tlcp.Config {
	return &tlcp.Config{GetConfigForClient: e.configForTLCP, Time: e.cfg.Now}
}

// mismatchTLS makes crypto/tls answer handshake_failure: it shares no key exchange with
// anybody. In TLS 1.2 that is found out once there is a certificate; this one's key never
// signs.
func (e *Edge) mismatchTLS() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return &tls.Config{
		MinVersion: e.cfg.MinTLS, CipherSuites: suites, NextProtos: protocols, SessionTicketsDisabled: true,
		CurvePreferences: []tls.CurveID{math.MaxUint16},
		Certificates:     []tls.Certificate{{Certificate: [][]byte{{}}, PrivateKey: key}},
	}
}

// handshakeTLCP goes on with a connection that turned out to be TLCP, under the deadline
// that handshake has set.
func (e *Edge) handshakeTLCP(c *conn, h *handoff, start time.Time) {
	secured := tlcp.Server(c, e.tlcp)
	err := secured.Handshake()
	result := outcomeOf(c, err, secured.ConnectionState().DidResume)
	e.metrics.handshake(result, tlcp.Version, time.Since(start))
	if err != nil {
		e.sampled.debug(e.log, "TLCP handshake failed", "result", result, "err", err, "remote", c.RemoteAddr())
		if result == clientAuth {
			c.linger()
		}
		_ = secured.Close()
		return
	}
	_ = c.SetDeadline(time.Time{}) // fails only if closed; so does the next read
	h.give(answeringTLCP{secured})
}

// configForTLCP is configFor for a TLCP hello. A client without SNI is refused as one of
// TLS is unless there is a TLCPDefault; so is a domain whose certificates are all for TLS.
func (e *Edge) configForTLCP(hello *tlcp.ClientHelloInfo) (*tlcp.Config, error) {
	c := hello.Conn.(*conn)
	d := e.decideTLCP(e.nameTLCP(hello.ServerName))
	c.handshaken, c.refused = handshaken{site: d.site}, d.refused
	if d.refused == succeeded && d.site.verifyClient {
		return e.verifyingTLCP(c, d), nil
	}
	return e.configOfTLCP(d)
}

// nameTLCP is the name that a client of TLCP asks for.
func (e *Edge) nameTLCP(sent string) string { return cmp.Or(sent, e.cfg.TLCPDefault) }

// configOfTLCP is configOf for TLCP; the error is the alert of a refusal.
func (e *Edge) configOfTLCP(d decision) (*tlcp.Config, error) {
	switch d.refused {
	case succeeded:
		return e.configTLCP(d.version, d.key.sm2, d.site.policy()), nil
	case unrecognizedName:
		return nil, tlcp.AlertUnrecognizedName
	}
	return nil, tlcp.AlertHandshakeFailure
}

// decideTLCP is decide for TLCP.
func (e *Edge) decideTLCP(name string) decision {
	return e.decideTLCPFor(e.find(context.Background(), name), nil)
}

// decideTLCPFor is decideFor for TLCP: there is one pair, and nothing to weigh.
func (e *Edge) decideTLCPFor(s *site, weighed func(candidate)) decision {
	if s == nil || s.noHTTPS {
		return decision{refused: unrecognizedName}
	}
	for _, slot := range s.speaking(true) {
		c := e.candidate(slot)
		if weighed != nil {
			weighed(c)
		}
		if c.key != nil && c.key.sm2 != nil {
			return decision{site: s, version: c.version, key: c.key}
		}
	}
	if s.forTLS == len(s.slots) && len(s.slots) > 0 {
		return decision{refused: handshakeFailure}
	}
	return decision{refused: noCertificate}
}

// configTLCP returns the shared config of an opened version for a policy.
func (e *Edge) configTLCP(v *version, o *openedSM2, p policy) *tlcp.Config {
	if c := o.configs[p].Load(); c != nil {
		return c
	}
	c := e.newConfigTLCP(v, o, p)
	if o.configs[p].CompareAndSwap(nil, c) {
		return c
	}
	return o.configs[p].Load()
}

// newConfigTLCP is newConfig for TLCP. net/http speaks HTTP/2 over *tls.Conn only, so
// HTTP/1.1 is all there is.
func (e *Edge) newConfigTLCP(v *version, o *openedSM2, p policy) *tlcp.Config {
	c := &tlcp.Config{KeyPair: o.pair, NextProtos: []string{"http/1.1"}, Time: e.cfg.Now}
	if p&verifyClient != 0 {
		// Without trust roots the pool is empty and every client is refused. Only the
		// config of a connection resumes, see verifyingTLCP.
		c.ClientAuth, c.ClientCAs = tlcp.RequireAndVerifyClientCert, v.roots.poolSM2()
		return c
	}
	r := &resumptionTLCP{edge: e, keys: e.ticketKeysTLCP(v, p, nil)}
	c.WrapSession, c.UnwrapSession, c.SessionCache = r.wrap, r.unwrap, e.sessions
	return c
}

// aboveTLS stands for the version of TLCP where one of TLS is compared: a domain's lowest
// TLS version is no word about it.
const aboveTLS = math.MaxUint16

// versionOf is the TLS version of a request's connection.
func versionOf(c *conn, state *tls.ConnectionState) uint16 {
	if c.tlcp {
		return aboveTLS
	}
	return state.Version
}

// ticketKeysTLCP is ticketKeys for TLCP; what it seals never opens for TLS.
func (e *Edge) ticketKeysTLCP(v *version, p policy, lists digests) *ticketKeys {
	leaf, sign, roots := sha256.Sum256(v.leaf), sha256.Sum256(v.signing.leaf), digest(v.roots.ders)
	return newTicketKeys(e.cfg.TicketSecret, e.cfg.Now, "tlcp",
		[]byte(v.served.key.project), []byte(v.served.key.id), strconv.AppendInt(nil, int64(v.number), 10),
		leaf[:], sign[:], []byte{byte(p)}, roots[:], lists.bytes())
}

// resumptionTLCP is resumption for TLCP. Sessions kept by ID are wrapped like tickets, so
// that the same rules hold for both.
type resumptionTLCP struct {
	edge *Edge
	keys *ticketKeys
}

// wrap is tlcp.Config.WrapSession.
func (r *resumptionTLCP) wrap(cs tlcp.ConnectionState, session *tlcp.SessionState) ([]byte, error) {
	now := r.keys.now()
	return wrapTLCP(r.keys, r.binding(cs), session, life{born: now, until: now.Add(ticketAge)})
}

// unwrap is tlcp.Config.UnwrapSession. Its error would end the handshake: there is none.
func (r *resumptionTLCP) unwrap(ticket []byte, cs tlcp.ConnectionState) (*tlcp.SessionState, error) {
	return unwrapTLCP(r.keys, r.binding(cs), ticket), nil
}

func (r *resumptionTLCP) binding(cs tlcp.ConnectionState) []byte {
	return r.edge.ticketBinding(r.edge.nameTLCP(cs.ServerName))
}

// errNotKept makes tlcp go on without a session.
var errNotKept = errors.New("edge: the session is not kept")

// wrapTLCP is sealSession for TLCP.
func wrapTLCP(keys *ticketKeys, binding []byte, session *tlcp.SessionState, l life) ([]byte, error) {
	if binding == nil {
		return nil, errNotKept // nobody serves the name any more
	}
	state, err := session.Bytes()
	if err != nil {
		return nil, err
	}
	defer clear(state)
	if len(state) > maxState { // a client with many certificates
		return nil, errNotKept
	}
	return keys.seal(binding, state, l)
}

// unwrapTLCP is openSession for TLCP.
func unwrapTLCP(keys *ticketKeys, binding, ticket []byte) *tlcp.SessionState {
	if binding == nil {
		return nil
	}
	state, _, ok := keys.open(binding, ticket)
	if !ok {
		return nil
	}
	session, err := tlcp.ParseSessionState(state)
	if err != nil {
		return nil // sealed by another version of this program
	}
	return session
}
