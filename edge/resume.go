package edge

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"slices"
	"strconv"
)

// TicketSecretSize is how many bytes NewTicketSecret makes.
const TicketSecretSize = 32

// NewTicketSecret makes a TicketSecret for a new cluster.
func NewTicketSecret() ([]byte, error) { return newTicketSecret(), nil }

func newTicketSecret() []byte {
	secret := make([]byte, TicketSecretSize)
	rand.Read(secret) // never fails, see crypto/rand
	return secret
}

// ticketKeys returns the keys for the sessions of a version under a policy and the
// revocation lists that clients are held to. The leaf is named beside the version's
// epoch: a restored store gives numbers out again.
func (e *Edge) ticketKeys(v *version, p policy, lists digests) *ticketKeys {
	leaf, roots := sha256.Sum256(v.leaf), digest(v.roots.ders)
	return newTicketKeys(e.cfg.TicketSecret, e.cfg.Now, "tls",
		[]byte(v.served.key.project), []byte(v.served.key.id), strconv.AppendInt(nil, int64(v.epoch()), 10),
		leaf[:], []byte{byte(p &^ stapled)}, roots[:], lists.bytes())
}

// mutualKeys are the ticket keys of an opened version for clients that are verified, as
// long as their lists are the same.
type mutualKeys struct {
	lists digests
	keys  *ticketKeys
}

// mutualKeys returns the ticket keys for verified clients, derived when lists change.
func (e *Edge) mutualKeys(d decision, t trust) *ticketKeys {
	held, p, lists := &d.key.mutual[d.site.policy()], d.site.policy(), digestsOf(t.lists)
	if m := held.Load(); m != nil && slices.Equal(m.lists, lists) {
		return m.keys
	}
	m := &mutualKeys{lists: lists}
	if d.version.isSM2() {
		m.keys = e.ticketKeysTLCP(d.version, p, lists)
	} else {
		m.keys = e.ticketKeys(d.version, p, lists)
	}
	held.Store(m)
	return m.keys
}

// noTicket is what a client gets when there is nothing to give: crypto/tls cannot leave
// the message out. It opens nowhere.
var noTicket = []byte{0}

// sealSession makes the ticket of a session.
func sealSession(keys *ticketKeys, binding []byte, session *tls.SessionState, l life) ([]byte, error) {
	state, err := session.Bytes()
	if err != nil {
		return nil, err
	}
	if len(state) > maxState { // a client with many certificates
		return noTicket, nil
	}
	return keys.seal(binding, state, l)
}

// openSession returns the session of a ticket, nil when it is not one for here and now.
func openSession(keys *ticketKeys, binding, ticket []byte) (*tls.SessionState, life) {
	state, l, ok := keys.open(binding, ticket)
	if !ok {
		return nil, life{}
	}
	session, err := tls.ParseSessionState(state)
	if err != nil {
		return nil, life{} // sealed by another version of Go
	}
	return session, l
}

// resumption keeps the sessions of one config in tickets. crypto/tls would resume a
// session under any config that shares the keys, across domains and policies; here
// whatever was not sealed for this very domain, name and config is a full handshake.
type resumption struct {
	edge *Edge
	keys *ticketKeys
}

// wrap is tls.Config.WrapSession.
func (r *resumption) wrap(cs tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
	binding := r.edge.ticketBinding(cs.ServerName)
	if binding == nil {
		return noTicket, nil
	}
	now := r.keys.now()
	return sealSession(r.keys, binding, session, life{born: now, until: now.Add(ticketAge)})
}

// unwrap is tls.Config.UnwrapSession. Its error would end the handshake: there is none.
func (r *resumption) unwrap(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	binding := r.edge.ticketBinding(cs.ServerName)
	if binding == nil {
		return nil, nil
	}
	session, _ := openSession(r.keys, binding, ticket)
	return session, nil
}

// ticketBinding ties a ticket to the domain that serves a name now, and to the name
// itself: a wildcard's names are not each other. It is nil when nobody serves it.
func (e *Edge) ticketBinding(name string) []byte {
	s := e.index.resolve(name)
	if s == nil {
		return nil
	}
	return s.ticketBinding(name)
}

func (s *site) ticketBinding(name string) []byte {
	b := make([]byte, 0, len(s.id)+1+len(name))
	return append(append(append(b, s.id...), '/'), name...)
}
