package edge_test

import (
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
	"lacre/tlcp"
)

// oneSessionTLCP is oneSession for TLCP.
type oneSessionTLCP struct{ session *tlcp.ClientSession }

func (s *oneSessionTLCP) Get(string) (*tlcp.ClientSession, bool) {
	return s.session, s.session != nil
}

func (s *oneSessionTLCP) Put(_ string, session *tlcp.ClientSession) {
	if session != nil {
		s.session = session
	}
}

func cachingTLCP(cache tlcp.ClientSessionCache) func(*tlcp.Config) {
	return func(c *tlcp.Config) { c.ClientSessionCache = cache }
}

// byID makes a client resume by session ID.
func byID(c *tlcp.Config) { c.SessionTicketsDisabled = true }

// asksTLCP is asks for TLCP.
func (w *world) asksTLCP(ca *testcert.CA, name string, edits ...func(*tlcp.Config)) (in, resumed bool, err error) {
	w.Helper()
	c, err := w.dialTLCP(ca, name, edits...)
	if err != nil {
		return false, false, err
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.0\r\nHost: "+name+"\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil || len(answer) == 0 {
		return false, false, err
	}
	return true, c.ConnectionState().DidResume, nil
}

// clientCA is an SM2 CA that clients are trusted by directly.
func clientCA(tb testing.TB, name string) *testcert.CA {
	return testcert.NewCA(tb, name, testcert.WithSM2())
}

// Lists of SM2 CAs hold TLCP clients, by either of their certificates, as those of others
// hold clients of TLS.
func TestRevocationOverTLCP(t *testing.T) {
	registry := prometheus.NewRegistry()
	w, own := newWorld(t, func(c *edge.Config) { c.Metrics = registry }), newSMCA(t)
	ca, other := clientCA(t, "clients"), clientCA(t, "others")
	sub := ca.Intermediate(t, "sub", testcert.WithSM2())
	good, bad, half := ca.Dual(t, []string{"good"}), ca.Dual(t, []string{"bad"}), ca.Dual(t, []string{"half"})
	below := sub.Dual(t, []string{"below"})
	elsewhere := other.Dual(t, []string{"elsewhere"}, testcert.WithSerial(bad.Sign.Cert.SerialNumber))
	cert := w.dual(own.Dual(t, sites), ca, other)
	w.domain(sites[0], []*lacre.Certificate{cert}, verifyClients)
	let := func(d *testcert.Dual, want bool, what string) {
		t.Helper()
		for _, suite := range []uint16{tlcp.ECC_SM4_GCM_SM3, tlcp.ECDHE_SM4_CBC_SM3} {
			in, _, err := w.asksTLCP(own, sites[0], onlySuite(suite), withPair(t, d))
			if in != want {
				t.Errorf("%s, %s: got let in %t (%v), want %t", what, tlcp.CipherSuiteName(suite), in, err, want)
			}
			if !want && !gotAlert(err, tlcp.AlertCertificateRevoked) {
				t.Errorf("%s: got %v, want alert certificate_revoked", what, err)
			}
		}
	}
	let(bad, true, "before there is a list")
	list := w.revoke(cert, ca, bad.Sign.Cert, half.Enc.Cert)
	let(bad, false, "the signing certificate on the list")
	let(half, false, "the encryption certificate on the list")
	let(good, true, "not on the list")
	let(below, true, "below a CA that is not on the list")
	let(elsewhere, true, "the same serial number of another CA")
	list.Lists = w.revocationLists(cert, []*testcert.CA{ca}, ca.CRL(t, []*x509.Certificate{sub.Cert})).Lists
	w.store(list)
	let(bad, true, "not on the list any more")
	let(below, false, "below a CA that is on the list")
	if got := metric(t, registry, "lacre_edge_clients_refused_total", "reason", "revoked"); got != 6 {
		t.Errorf("got %v refused for being revoked, want 6", got)
	}
	w.commit(lacre.Tx{Delete: []lacre.Record{list}})
	let(below, true, "after the list was deleted")
}

// A list of an SM2 CA that is stale fails closed, and only for its own clients.
func TestStaleListOverTLCP(t *testing.T) {
	clock := &shifting{}
	w, own := newWorld(t, clock.config), newSMCA(t)
	ca, other := clientCA(t, "clients"), clientCA(t, "others")
	cert := w.dual(own.Dual(t, sites), ca, other)
	w.domain(sites[0], []*lacre.Certificate{cert}, verifyClients)
	mine, theirs := withPair(t, ca.Dual(t, []string{"mine"})), withPair(t, other.Dual(t, []string{"theirs"}))
	w.revoke(cert, ca) // the next one is due in a day
	for _, resumption := range []func(*tlcp.Config){func(*tlcp.Config) {}, byID} {
		cache := &oneSessionTLCP{}
		clock.set(2 * time.Hour)
		if in, _, err := w.asksTLCP(own, sites[0], mine, resumption, cachingTLCP(cache)); !in {
			t.Fatalf("refused before the list is stale: %v", err)
		}
		clock.set(25 * time.Hour) // the session is 23 hours old
		for name, edits := range map[string][]func(*tlcp.Config){"full": {mine}, "resumed": {mine, resumption, cachingTLCP(cache)}} {
			if in, _, err := w.asksTLCP(own, sites[0], edits...); in || !gotAlert(err, tlcp.AlertBadCertificate) {
				t.Errorf("%s: let in %t although the list is stale, %v", name, in, err)
			}
		}
	}
	if in, _, err := w.asksTLCP(own, sites[0], theirs); !in {
		t.Errorf("a client of a CA without a list was refused: %v", err)
	}
}

// New lists end no session of TLS, and none of TLCP, but it is not resumed: the client
// shows its certificates to the lists of now.
func TestNewListIsAFullHandshakeOverTLCP(t *testing.T) {
	w, own := newWorld(t), newSMCA(t)
	ca := clientCA(t, "clients")
	cert := w.dual(own.Dual(t, sites), ca)
	w.domain(sites[0], []*lacre.Certificate{cert}, verifyClients)
	pair := withPair(t, ca.Dual(t, []string{"client"}))
	for _, resumption := range []func(*tlcp.Config){func(*tlcp.Config) {}, byID} {
		cache := &oneSessionTLCP{}
		for step, want := range []bool{false, true, false, true} {
			if step == 2 {
				list := w.revocationLists(cert, []*testcert.CA{ca}, ca.CRL(t, nil, testcert.CRLNumber(time.Now().UnixNano())))
				if stored, err := shared.Revocations(t.Context(), w.project, cert.ID); err == nil {
					list.Revision = stored.Revision
				}
				w.store(list)
			}
			if in, resumed, err := w.asksTLCP(own, sites[0], pair, resumption, cachingTLCP(cache)); !in || resumed != want {
				t.Errorf("step %d: got let in %t, resumed %t, %v; want resumed %t", step, in, resumed, err, want)
			}
		}
	}
}

// TestResumptionMatrixOverTLCP is {same, other name} x {trust roots unchanged, one added,
// one removed, swapped} x {client good, expired, its signing certificate revoked, its
// encryption certificate revoked} x {ticket, session ID} x {the node that made the
// session, another}. Of the 128 cells 3 may resume, and do: session IDs stay on their
// node. In no other is a client that must not be let in let in, nor a session resumed.
func TestResumptionMatrixOverTLCP(t *testing.T) {
	clock := &shifting{}
	w := newWorld(t, secret, clock.config)
	peer := w.node(secret, clock.config)
	m := &matrixTLCP{peer: peer, clock: clock, own: newSMCA(t), ca: clientCA(t, "clients")}
	other := clientCA(t, "others")
	roots := func(cas ...*testcert.CA) []*testcert.CA { return cas }
	changes := []struct {
		name          string
		before, after []*testcert.CA
	}{
		{"unchanged", roots(m.ca), roots(m.ca)}, {"added", roots(m.ca), roots(m.ca, other)},
		{"removed", roots(m.ca, other), roots(other)}, {"swapped", roots(m.ca), roots(other)},
	}
	cells, resumed := 0, 0
	for _, ticket := range []bool{true, false} {
		for _, change := range changes {
			for _, state := range []string{"good", "expired", "revoked", "encryption revoked"} {
				for _, sameName := range []bool{true, false} {
					for _, sameNode := range []bool{true, false} {
						authentic := state == "good" && (change.name == "unchanged" || change.name == "added")
						c := cell{sameName, change.before, change.after, state, sameNode, authentic,
							authentic && sameName && change.name == "unchanged" && (ticket || sameNode)}
						name := fmt.Sprintf("ticket %t, roots %s, client %s, same name %t, same node %t", ticket, change.name, state, sameName, sameNode)
						t.Run(name, func(t *testing.T) {
							cells++
							if m.resumes(w.in(t), c, ticket) {
								resumed++
							}
						})
					}
				}
			}
		}
	}
	if cells != 128 || resumed != 3 {
		t.Errorf("%d of %d cells resumed, want 3 of 128", resumed, cells)
	}
}

type matrixTLCP struct {
	peer    *world
	clock   *shifting
	own, ca *testcert.CA // of the server, of the clients
}

// resumes plays one cell and tells whether the session was resumed; see resumes96.
func (m *matrixTLCP) resumes(w *world, c cell, ticket bool) bool {
	m.clock.set(0)
	defer m.clock.set(0)
	now := time.Now()
	client := m.ca.Dual(w, []string{"client"}, testcert.WithValidity(now.Add(-time.Hour), now.Add(time.Hour)))
	server := m.own.Dual(w, []string{"*.example.com"})
	cert := w.dual(server, c.before...)
	w.revoke(cert, m.ca) // of nobody
	a := w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	b := w.domain("b.example.com", []*lacre.Certificate{cert}, verifyClients)
	defer func() { m.peer.applied(w.commit(lacre.Tx{Delete: []lacre.Record{a, b}})) }()

	how := func(*tlcp.Config) {}
	if !ticket {
		how = byID
	}
	cache := &oneSessionTLCP{}
	if in, _, err := w.asksTLCP(m.own, "a.example.com", how, withPair(w, client), cachingTLCP(cache)); !in || cache.session == nil {
		w.Fatalf("a good client was let in: %t (%v), and got a session: %t", in, err, cache.session != nil)
	}
	revision := b.Revision // the other node must have come this far
	if fmt.Sprint(c.before) != fmt.Sprint(c.after) {
		revision = w.rotateDual(cert, server, c.after...)
	}
	revoke := func(shown *testcert.Leaf) {
		list := w.revocationLists(cert, []*testcert.CA{m.ca}, m.ca.CRL(w, []*x509.Certificate{shown.Cert}, testcert.CRLNumber(2)))
		list.Revision = w.storedLists(cert).Revision
		revision = w.store(list)
	}
	switch c.state {
	case "expired":
		m.clock.set(2 * time.Hour)
	case "revoked":
		revoke(client.Sign)
	case "encryption revoked":
		revoke(client.Enc)
	}
	m.peer.applied(revision)
	node, name := w, "a.example.com"
	if !c.sameNode {
		node = m.peer.in(w.TB)
	}
	if !c.sameName {
		name = "b.example.com"
	}
	// The session alone first: what it is refused for must not use it up, but for a fatal
	// alert, after which the standard wants it forgotten.
	if c.may {
		if in, resumed, err := node.asksTLCP(m.own, name, how, cachingTLCP(&oneSessionTLCP{cache.session})); !in || !resumed {
			w.Errorf("the session alone: got let in %t, resumed %t (%v), want both", in, resumed, err)
		}
	} else if in, _, _ := node.asksTLCP(m.own, name, how, cachingTLCP(&oneSessionTLCP{cache.session})); in {
		w.Error("the session alone was let in")
	}
	in, resumed, err := node.asksTLCP(m.own, name, how, withPair(w, client), cachingTLCP(&oneSessionTLCP{cache.session}))
	if in != c.authentic || resumed != c.may {
		w.Errorf("got let in %t, resumed %t (%v), want %t and %t", in, resumed, err, c.authentic, c.may)
	}
	return resumed
}

// recordwise writes one record at a time, as if they came in packets of their own.
type recordwise struct{ net.Conn }

func (r recordwise) Write(b []byte) (n int, err error) {
	for n < len(b) {
		end := n + 5 + int(binary.BigEndian.Uint16(b[n+3:]))
		m, err := r.Conn.Write(b[n:end])
		if n += m; err != nil {
			return n, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return n, nil
}

// TestRefusalIsHeardOverTLCP: the rest of a client's flight comes after its certificate was
// refused, and is no reason for a reset.
func TestRefusalIsHeardOverTLCP(t *testing.T) {
	w, own, good, bad := newWorld(t), newSMCA(t), newSMCA(t), newSMCA(t)
	w.domain(sites[0], []*lacre.Certificate{w.dual(own.Dual(t, sites), good)}, verifyClients)
	cfg := &tlcp.Config{ServerName: sites[0], RootCAs: poolSM2(own)}
	withPair(t, bad.Dual(t, []string{"client"}))(cfg)
	for range 5 {
		raw, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlcp.Client(recordwise{raw}, cfg).Handshake(); err == nil || !strings.Contains(err.Error(), "the peer sent unknown_ca") {
			t.Errorf("got %v, want the alert unknown_ca", err)
		}
		raw.Close()
	}
}
