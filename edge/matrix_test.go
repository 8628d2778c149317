package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
	"lacre/keypair"
)

// shifting is a clock that a test moves.
type shifting struct{ by atomic.Int64 }

func (s *shifting) now() time.Time        { return time.Now().Add(time.Duration(s.by.Load())) }
func (s *shifting) set(by time.Duration)  { s.by.Store(int64(by)) }
func (s *shifting) config(c *edge.Config) { c.Now = s.now }

// revocationLists are the lists of cas for c, not stored yet.
func (w *world) revocationLists(c *lacre.Certificate, cas []*testcert.CA, ders ...[]byte) *lacre.Revocations {
	w.Helper()
	var roots []*x509.Certificate
	for _, ca := range cas {
		roots = append(roots, ca.Cert)
	}
	lists, err := keypair.ParseCRLs(testcert.CRLPEM(ders...), roots, time.Now())
	if err != nil {
		w.Fatal(err)
	}
	r := &lacre.Revocations{ProjectID: w.project, CertificateID: c.ID, Updated: time.Now()}
	for _, l := range lists {
		r.Lists = append(r.Lists, lacre.RevocationList{Issuer: l.Issuer, IssuerID: l.IssuerID[:], Number: l.Number,
			ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, Revoked: l.Revoked, DER: l.Raw})
	}
	return r
}

// revoke stores a list of ca for c.
func (w *world) revoke(c *lacre.Certificate, ca *testcert.CA, revoked ...*x509.Certificate) *lacre.Revocations {
	w.Helper()
	r := w.revocationLists(c, []*testcert.CA{ca}, ca.CRL(w, revoked))
	w.store(r)
	return r
}

// as shows a client certificate, whatever authorities the server names.
func as(leaf *testcert.Leaf) func(*tls.Config) {
	cert := leaf.TLS()
	return func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
}

// asks makes one request over a connection of its own. It is let in when an answer
// comes: under TLS 1.3 a client believes that its handshake is done before the server
// has decided about it.
func (w *world) asks(name string, edits ...func(*tls.Config)) (in, resumed bool) {
	w.Helper()
	c, err := w.dial(name, append(edits, func(c *tls.Config) { c.InsecureSkipVerify = true })...)
	if err != nil {
		return false, false
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.0\r\nHost: "+name+"\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(c)
	if err != nil || len(answer) == 0 {
		return false, false
	}
	return true, c.ConnectionState().DidResume
}

func caching(cache tls.ClientSessionCache) func(*tls.Config) {
	return func(c *tls.Config) { c.ClientSessionCache = cache }
}

// cell is one cell of the matrix of resumption.
type cell struct {
	sameName       bool
	before, after  []*testcert.CA // trust roots
	state          string         // what has become of the client's certificate
	sameNode       bool
	authentic, may bool // the client may be let in at all; its session may be resumed
}

// TestResumptionMatrix is {same, other name} x {trust roots unchanged, one added, one
// removed, swapped} x {client certificate good, expired, revoked} x {TLS 1.2, 1.3} x
// {the node that made the session, another}. Of the 96 cells 4 may resume, and do; in no
// other is a client that must not be let in let in, nor a session resumed.
func TestResumptionMatrix(t *testing.T) {
	clock := &shifting{}
	w := newWorld(t, secret, clock.config)
	peer := w.node(secret, clock.config)
	ca, other := testcert.NewCA(t, "clients"), testcert.NewCA(t, "others")
	roots := func(cas ...*testcert.CA) []*testcert.CA { return cas }
	changes := []struct {
		name          string
		before, after []*testcert.CA
	}{
		{"unchanged", roots(ca), roots(ca)}, {"added", roots(ca), roots(ca, other)},
		{"removed", roots(ca, other), roots(other)}, {"swapped", roots(ca), roots(other)},
	}
	cells, resumed := 0, 0
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		for _, change := range changes {
			for _, state := range []string{"good", "expired", "revoked"} {
				for _, sameName := range []bool{true, false} {
					for _, sameNode := range []bool{true, false} {
						authentic := state == "good" && (change.name == "unchanged" || change.name == "added")
						c := cell{sameName, change.before, change.after, state, sameNode, authentic,
							authentic && sameName && change.name == "unchanged"}
						name := fmt.Sprintf("roots %s, client %s, same name %t, same node %t", change.name, state, sameName, sameNode)
						t.Run(name, func(t *testing.T) {
							cells++
							if w.in(t).resumes96(c, peer, clock, ca, version) {
								resumed++
							}
						})
					}
				}
			}
		}
	})
	if cells != 96 || resumed != 4 {
		t.Errorf("%d of %d cells resumed, want 4 of 96", resumed, cells)
	}
}

// in is the same world in a subtest.
func (w *world) in(tb testing.TB) *world {
	next := *w
	next.TB = tb
	return &next
}

// resumes96 plays one cell and tells whether the session was resumed.
func (w *world) resumes96(c cell, peer *world, clock *shifting, ca *testcert.CA, version func(*tls.Config)) bool {
	clock.set(0)
	defer clock.set(0)
	now := time.Now()
	client := ca.Leaf(w, []string{"client"}, testcert.WithValidity(now.Add(-time.Hour), now.Add(time.Hour)))
	leaf := w.leaf([]string{"*.example.com"})
	cert := w.certificate(leaf, c.before...)
	w.revoke(cert, ca) // of nobody
	a := w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	b := w.domain("b.example.com", []*lacre.Certificate{cert}, verifyClients)
	defer func() { peer.applied(w.commit(lacre.Tx{Delete: []lacre.Record{a, b}})) }()

	cache := &oneSession{}
	if in, _ := w.asks("a.example.com", version, as(client), caching(cache)); !in || cache.session == nil {
		w.Fatalf("a good client was let in: %t, and got a session: %t", in, cache.session != nil)
	}
	revision := b.Revision // the other node must have come this far
	if fmt.Sprint(c.before) != fmt.Sprint(c.after) {
		revision = w.rotate(cert, leaf, c.after...)
	}
	switch c.state {
	case "expired":
		clock.set(2 * time.Hour)
	case "revoked":
		list := w.revocationLists(cert, []*testcert.CA{ca}, ca.CRL(w, []*x509.Certificate{client.Cert}, testcert.CRLNumber(2)))
		list.Revision = w.storedLists(cert).Revision
		revision = w.store(list)
	}
	peer.applied(revision)
	node, name := w, "a.example.com"
	if !c.sameNode {
		node = peer.in(w.TB)
	}
	if !c.sameName {
		name = "b.example.com"
	}
	// The session alone, without the certificate it was made with, is a way in where it
	// may be resumed, and nowhere else.
	if in, resumed := node.asks(name, version, caching(&oneSession{cache.session})); in != c.may || resumed != c.may {
		w.Errorf("the session alone: got let in %t, resumed %t, want %t", in, resumed, c.may)
	}
	in, resumed := node.asks(name, version, as(client), caching(&oneSession{cache.session}))
	if in != c.authentic || resumed != c.may {
		w.Errorf("got let in %t, resumed %t, want %t and %t", in, resumed, c.authentic, c.may)
	}
	return resumed
}

func (w *world) storedLists(c *lacre.Certificate) *lacre.Revocations {
	w.Helper()
	r, err := shared.Revocations(w.Context(), w.project, c.ID)
	if err != nil {
		w.Fatal(err)
	}
	return r
}
