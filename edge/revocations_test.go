package edge_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// TestRevocation: who is on a list of a trust root is refused, by itself or by a CA above
// it; nobody else is.
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	ca, other := testcert.NewCA(t, "clients"), testcert.NewCA(t, "others")
	sub := ca.Intermediate(t, "sub")
	good, bad := ca.Leaf(t, []string{"good"}), ca.Leaf(t, []string{"bad"})
	below := sub.Leaf(t, []string{"below"})
	elsewhere := other.Leaf(t, []string{"elsewhere"}, testcert.WithSerial(bad.Cert.SerialNumber))
	cert := w.certificate(w.leaf([]string{"*.example.com"}), ca, other)
	w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	let := func(leaf *testcert.Leaf, want bool, what string) {
		t.Helper()
		for _, version := range []func(*tls.Config){tls12, tls13} {
			if in, _ := w.asks("a.example.com", version, as(leaf)); in != want {
				t.Errorf("%s: got let in %t, want %t", what, in, want)
			}
		}
	}
	let(bad, true, "before there is a list")
	list := w.revoke(cert, ca, bad.Cert)
	let(bad, false, "on the list")
	let(good, true, "not on the list")
	let(below, true, "below a CA that is not on the list")
	let(elsewhere, true, "the same serial number of another CA")

	list.Lists = w.revocationLists(cert, []*testcert.CA{ca}, ca.CRL(t, []*x509.Certificate{sub.Cert})).Lists
	w.store(list)
	let(bad, true, "not on the list any more")
	let(below, false, "below a CA that is on the list")

	w.rotate(cert, w.leaf([]string{"*.example.com"}), other)
	let(good, false, "of a CA that is no trust root any more")
	let(elsewhere, true, "of a trust root without a list")
	w.rotate(cert, w.leaf([]string{"*.example.com"}), sub)
	let(below, false, "below a trust root that its own issuer has revoked")
	w.rotate(cert, w.leaf([]string{"*.example.com"}), ca)
	let(below, false, "the list is in force again with its trust root")
	let(good, true, "still not on the list")

	w.commit(lacre.Tx{Delete: []lacre.Record{list}})
	let(below, true, "after the list was deleted")
}

// TestRevocationCountsForTheWholeDomain: of two certificates, a list of one is enough.
func TestRevocationCountsForTheWholeDomain(t *testing.T) {
	w := newWorld(t)
	ca := testcert.NewCA(t, "clients")
	bad := ca.Leaf(t, []string{"bad"})
	ecc := w.certificate(w.leaf([]string{"a.example.com"}), ca)
	rsa := w.certificate(w.leaf([]string{"a.example.com"}, testcert.WithRSA(2048)), ca)
	w.domain("a.example.com", []*lacre.Certificate{ecc, rsa}, verifyClients)
	onlyRSA := func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	for what, cert := range map[string]*lacre.Certificate{"RSA": rsa, "ECC": ecc} {
		list := w.revoke(cert, ca, bad.Cert)
		for _, edit := range []func(*tls.Config){onlyRSA, tls13} {
			if in, _ := w.asks("a.example.com", edit, as(bad)); in {
				t.Errorf("revoked with the %s certificate only: let in with the other", what)
			}
		}
		w.commit(lacre.Tx{Delete: []lacre.Record{list}})
	}
	if in, _ := w.asks("a.example.com", onlyRSA, as(bad)); !in {
		t.Error("refused without any list")
	}
}

// TestStaleList: clients of its issuer are refused, those of other trust roots are not.
func TestStaleList(t *testing.T) {
	clock := &shifting{}
	registry := prometheus.NewRegistry()
	w := newWorld(t, clock.config, func(c *edge.Config) { c.Metrics = registry })
	ca, other := testcert.NewCA(t, "clients"), testcert.NewCA(t, "others")
	cert := w.certificate(w.leaf([]string{"a.example.com"}), ca, other)
	w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	mine, theirs := ca.Leaf(t, []string{"mine"}), other.Leaf(t, []string{"theirs"})
	w.revoke(cert, ca) // the next one is due in a day
	cache := &oneSession{}
	if in, _ := w.asks("a.example.com", as(mine), caching(cache)); !in {
		t.Fatal("refused before the list is stale")
	}
	clock.set(25 * time.Hour)
	if in, _ := w.asks("a.example.com", as(mine)); in {
		t.Error("let in although the list is stale")
	}
	clock.set(23*time.Hour + 59*time.Minute) // a list is due at a whole second, and a slow machine takes its time
	if in, resumed := w.asks("a.example.com", as(mine), caching(cache)); !in || !resumed {
		t.Errorf("just before: got let in %t, resumed %t, want both", in, resumed)
	}
	clock.set(25 * time.Hour)
	if in, _ := w.asks("a.example.com", as(theirs)); !in {
		t.Error("a client of a CA without a list was refused")
	}
	if got := metric(t, registry, `lacre_edge_clients_refused_total`, "reason", "crl_stale"); got != 1 {
		t.Errorf("got %v refused for a stale list, want 1", got)
	}
	due := metric(t, registry, "lacre_crl_next_update_timestamp_seconds", "certificate", cert.ID)
	if away := time.Until(time.Unix(int64(due), 0)); away < 23*time.Hour || away > 25*time.Hour {
		t.Errorf("got a list due in %v, want a day", away)
	}
}

// metric is the value of the one series with a label.
func metric(t *testing.T, r *prometheus.Registry, name, label, value string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == label && l.GetValue() == value {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	t.Fatalf("there is no %s with %s %s", name, label, value)
	return 0
}

// TestListsAreKnownBeforeAnybodyIsLetIn: after a start, when the flag is switched on, and
// when a certificate is bound.
func TestListsAreKnownBeforeAnybodyIsLetIn(t *testing.T) {
	w := newWorld(t)
	ca := testcert.NewCA(t, "clients")
	bad, good := ca.Leaf(t, []string{"bad"}), ca.Leaf(t, []string{"good"})
	cert := w.certificate(w.leaf([]string{"*.example.com"}), ca)
	d := w.domain("a.example.com", []*lacre.Certificate{cert})
	w.revoke(cert, ca, bad.Cert) // nobody verifies clients yet
	d.VerifyClient = true
	w.store(d)
	w.domain("b.example.com", []*lacre.Certificate{cert}, verifyClients)
	for name, node := range map[string]*world{"this node": w, "one that has just started": w.node()} {
		for _, host := range []string{"a.example.com", "b.example.com"} {
			if in, _ := node.asks(host, as(bad)); in {
				t.Errorf("%s, %s: a revoked client was let in", name, host)
			}
			if in, _ := node.asks(host, as(good)); !in {
				t.Errorf("%s, %s: a good client was refused", name, host)
			}
		}
	}
}

// TestDamagedLists: without any nobody is let in; the last good ones stay in force.
func TestDamagedLists(t *testing.T) {
	w, f := newFaultyWorld(t)
	ca := testcert.NewCA(t, "clients")
	good, bad := ca.Leaf(t, []string{"good"}), ca.Leaf(t, []string{"bad"})
	cert := w.certificate(w.leaf([]string{"*.example.com"}), ca)
	f.set(func() { f.crl = &lacre.UnreadableError{Record: &lacre.Revocations{}, Key: "test", Err: errFault} })
	d := w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	if in, _ := w.asks("a.example.com", as(good)); in {
		t.Error("let in although the lists cannot be read")
	}
	if s := w.edge.Status(); s.Damaged != 1 {
		t.Errorf("got %d damaged, want 1", s.Damaged)
	}
	f.set(func() { f.crl = nil })
	list := w.revoke(cert, ca, bad.Cert)
	if in, _ := w.asks("a.example.com", as(good)); !in {
		t.Error("refused after the lists could be read")
	}
	if s := w.edge.Status(); s.Damaged != 0 {
		t.Errorf("got %d damaged, want none", s.Damaged)
	}
	broken := *list
	broken.Lists = []lacre.RevocationList{{Issuer: "CN=x", IssuerID: make([]byte, 32), DER: []byte("no list")}}
	w.store(&broken)
	if in, _ := w.asks("a.example.com", as(bad)); in {
		t.Error("let in although only the newer lists are damaged")
	}
	if s := w.edge.Status(); s.Damaged != 1 {
		t.Errorf("got %d damaged, want 1", s.Damaged)
	}
	w.commit(lacre.Tx{Delete: []lacre.Record{d}})
	if s := w.edge.Status(); s.Damaged != 0 {
		t.Errorf("after the domain is gone: got %d damaged, want none", s.Damaged)
	}
}

// TestLostListIsRepaired: a change that the watch swallows is found by the compare, and
// what the compare read before a change does not undo it.
func TestLostListIsRepaired(t *testing.T) {
	w, f := newFaultyWorld(t, func(c *edge.Config) { c.Timeouts.Compare = 50 * time.Millisecond })
	ca := testcert.NewCA(t, "clients")
	bad := ca.Leaf(t, []string{"bad"})
	cert := w.certificate(w.leaf([]string{"a.example.com"}), ca)
	w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	f.set(func() {
		f.change = func(c lacre.Change) (lacre.Change, error) { return lacre.Change{Revision: c.Revision}, nil }
	})
	let := func() bool { // after a compare: on a busy machine the edge rests for long between two
		if err := w.edge.Compare(t.Context()); err != nil {
			t.Fatal(err)
		}
		in, _ := w.asks("a.example.com", as(bad))
		return in
	}
	list := w.revoke(cert, ca, bad.Cert)
	if let() {
		t.Error("the compare has not found the list")
	}
	w.commit(lacre.Tx{Delete: []lacre.Record{list}})
	if !let() {
		t.Error("the compare has not found that it is gone")
	}
}

// TestLongList: the largest list there may be is indexed, and found through.
func TestLongList(t *testing.T) {
	w := newWorld(t)
	ca := testcert.NewCA(t, "clients")
	good, last := ca.Leaf(t, []string{"good"}), ca.Leaf(t, []string{"last"})
	cert := w.certificate(w.leaf([]string{"a.example.com"}), ca)
	w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	many := func(l *x509.RevocationList) {
		for i := range 25_000 {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
				SerialNumber: new(big.Int).Lsh(big.NewInt(int64(i+1)), 100), RevocationTime: time.Now()})
		}
	}
	w.store(w.revocationLists(cert, []*testcert.CA{ca}, ca.CRL(t, []*x509.Certificate{last.Cert}, many)))
	if in, _ := w.asks("a.example.com", as(good)); !in {
		t.Error("a good client was refused")
	}
	if in, _ := w.asks("a.example.com", as(last)); in {
		t.Error("a revoked client was let in")
	}
}

func (f *faulty) LatestRevocations(ctx context.Context, projectID, id string) (*lacre.Revocations, int64, error) {
	f.mu.Lock()
	err := f.crl
	f.mu.Unlock()
	if err != nil {
		return nil, 0, err
	}
	return f.Feed.LatestRevocations(ctx, projectID, id)
}

// TestUnreadableChange: a change with lists that the store cannot read leaves the good
// ones in force.
func TestUnreadableChange(t *testing.T) {
	w, f := newFaultyWorld(t)
	ca := testcert.NewCA(t, "clients")
	bad := ca.Leaf(t, []string{"bad"})
	cert := w.certificate(w.leaf([]string{"a.example.com"}), ca)
	w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	list := w.revoke(cert, ca, bad.Cert)
	f.set(func() {
		f.change = func(c lacre.Change) (lacre.Change, error) {
			for _, r := range c.Put {
				if lists, ok := r.(*lacre.Revocations); ok {
					return lacre.Change{Revision: c.Revision, Unreadable: []*lacre.UnreadableError{{Record: lists, Key: "test", Err: errors.New("torn")}}}, nil
				}
			}
			return c, nil
		}
	})
	list.Lists = w.revocationLists(cert, []*testcert.CA{ca}, ca.CRL(t, nil)).Lists
	w.store(list)
	if in, _ := w.asks("a.example.com", as(bad)); in {
		t.Error("let in although the newer lists cannot be read")
	}
	if s := w.edge.Status(); s.Damaged != 1 || !strings.Contains(w.log.String(), "crl/"+cert.ID) {
		t.Errorf("got %d damaged, want the lists", s.Damaged)
	}
}
