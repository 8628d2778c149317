package edge_test

import (
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
	"lacre/tlcp"
)

// resumesTLCP makes two handshakes with a cache and tells whether the second resumed.
func (w *world) resumesTLCP(ca *testcert.CA, name string, between func(), edits ...func(*tlcp.Config)) bool {
	w.Helper()
	cache := tlcp.NewClientSessionCache(4)
	edits = append(edits, func(c *tlcp.Config) { c.ClientSessionCache = cache })
	w.connectTLCP(ca, name, edits...).Close()
	between()
	c, err := w.dialTLCP(ca, name, edits...)
	if err != nil {
		return false // not let in at all
	}
	defer c.Close()
	return c.ConnectionState().DidResume
}

// TLCP sessions are resumed under the same rules as those of TLS.
func TestResumptionOverTLCP(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	d := ca.Dual(t, []string{"a.example.com", "b.example.com"})
	shared := w.dual(d)
	w.domain("a.example.com", []*lacre.Certificate{shared})
	nothing := func() {}
	if !w.resumesTLCP(ca, "a.example.com", nothing) {
		t.Error("a session was not resumed")
	}
	if w.resumesTLCP(ca, "a.example.com", func() { w.rotateDual(shared, ca.Dual(t, []string{"a.example.com", "b.example.com"})) }) {
		t.Error("a session was resumed after a rotation")
	}
	moved := w.domain("b.example.com", []*lacre.Certificate{shared})
	if w.resumesTLCP(ca, "b.example.com", func() {
		w.commit(lacre.Tx{Delete: []lacre.Record{moved}})
		w.domain("b.example.com", []*lacre.Certificate{shared})
	}) {
		t.Error("a session was resumed for another domain of the name")
	}
}

// A verified client resumes, in every suite, as long as it would be let in anew; whatever
// has changed about that is a full handshake, which then decides.
func TestResumptionOfVerifiedClientsOverTLCP(t *testing.T) {
	const host = "auth.example.com"
	ca, clients, others := newSMCA(t), newSMCA(t), newSMCA(t)
	pair := withPair(t, clients.Dual(t, []string{"me"}))
	for _, suite := range []uint16{tlcp.ECC_SM4_GCM_SM3, tlcp.ECC_SM4_CBC_SM3, tlcp.ECDHE_SM4_GCM_SM3, tlcp.ECDHE_SM4_CBC_SM3} {
		var ahead atomic.Int64
		w := newWorld(t, func(c *edge.Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } })
		c := w.dual(ca.Dual(t, []string{host}), clients)
		d := w.domain(host, []*lacre.Certificate{c}, verifyClients)
		mine := []func(*tlcp.Config){pair, onlySuite(suite)}
		for _, test := range []struct {
			name    string
			between func()
			want    bool
		}{
			{"nothing", func() {}, true},
			{"a trust root was added", func() { w.rotateDual(c, ca.Dual(t, []string{host}), clients, others) }, false},
			{"a trust root was taken away", func() { w.rotateDual(c, ca.Dual(t, []string{host}), clients) }, false},
			{"a day", func() { ahead.Store(int64(25 * time.Hour)) }, false},
			{"the flag went and came", func() {
				d.VerifyClient = false
				w.store(d)
				d.VerifyClient = true
				w.store(d)
			}, true},
			{"the client's root was swapped", func() { w.rotateDual(c, ca.Dual(t, []string{host}), others) }, false},
		} {
			ahead.Store(0)
			if got := w.resumesTLCP(ca, host, test.between, mine...); got != test.want {
				t.Errorf("%s, %s in between: got resumed %t, want %t", tlcp.CipherSuiteName(suite), test.name, got, test.want)
			}
		}
	}
}

// A session made before client certificates were demanded is no way around them.
func TestUnverifiedSessionsEndOverTLCP(t *testing.T) {
	w, ca, clients := newWorld(t), newSMCA(t), newSMCA(t)
	d := w.domain(sites[0], []*lacre.Certificate{w.dual(ca.Dual(t, sites), clients)})
	if w.resumesTLCP(ca, sites[0], func() { d.VerifyClient = true; w.store(d) }) {
		t.Error("a session without a client certificate was resumed")
	}
}
