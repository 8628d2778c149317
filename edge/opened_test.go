package edge_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// party is a domain whose clients are verified, and one of its clients.
type party struct {
	cert   *lacre.Certificate
	client *http.Client
	shown  *x509.Certificate // by the client; over TLCP its signing one
	rotate func(roots ...*testcert.CA)
}

// partyTLS speaks HTTP/1.1 or HTTP/2 over TLS.
func (w *world) partyTLS(http2 bool, ca *testcert.CA, validity testcert.Option) party {
	w.Helper()
	cert := w.certificate(w.leaf(sites), ca)
	leaf := ca.Leaf(w, []string{"client"}, validity)
	return party{cert, w.client(http2, as(leaf)), leaf.Cert, func(roots ...*testcert.CA) { w.rotate(cert, w.leaf(sites), roots...) }}
}

func (w *world) partyTLCP(ca *testcert.CA, validity testcert.Option) party {
	w.Helper()
	own := newSMCA(w)
	cert := w.dual(own.Dual(w, sites), ca)
	pair := ca.Dual(w, []string{"client"}, validity)
	return party{cert, w.clientTLCP(own, withPair(w, pair)), pair.Sign.Cert, func(roots ...*testcert.CA) { w.rotateDual(cert, own.Dual(w, sites), roots...) }}
}

// TestOpenConnections: what a change of lists or trust roots means for the requests of a
// connection made before, with the default and with KeepConnections.
func TestOpenConnections(t *testing.T) {
	for _, test := range []struct {
		name      string
		change    func(w *world, clock *shifting, p party, ca, other *testcert.CA)
		end, keep bool // whether the next request is served
	}{
		{"nothing", func(*world, *shifting, party, *testcert.CA, *testcert.CA) {}, true, true},
		{"a list that names others", func(w *world, _ *shifting, p party, ca, _ *testcert.CA) { w.revoke(p.cert, ca) }, false, true},
		{"a list that names the client", func(w *world, _ *shifting, p party, ca, _ *testcert.CA) { w.revoke(p.cert, ca, p.shown) }, false, false},
		{"a trust root more", func(_ *world, _ *shifting, p party, ca, other *testcert.CA) { p.rotate(ca, other) }, false, true},
		{"another trust root", func(_ *world, _ *shifting, p party, _, other *testcert.CA) { p.rotate(other) }, false, false},
		{"the client's certificate has expired", func(_ *world, clock *shifting, _ party, _, _ *testcert.CA) { clock.set(2 * time.Hour) }, false, false},
		{"a new list, then expired", func(w *world, clock *shifting, p party, ca, _ *testcert.CA) {
			w.revoke(p.cert, ca)
			clock.set(2 * time.Hour)
		}, false, false},
	} {
		for _, keep := range []bool{false, true} {
			for _, protocol := range []string{"HTTP/1.1", "HTTP/2", "TLCP"} {
				t.Run(test.name+" "+protocol, func(t *testing.T) {
					clock := &shifting{}
					w := newWorld(t, clock.config, func(c *edge.Config) { c.KeepConnections = keep })
					now := time.Now()
					validity := testcert.WithValidity(now.Add(-time.Hour), now.Add(time.Hour))
					var opts []testcert.Option
					if protocol == "TLCP" {
						opts = append(opts, testcert.WithSM2())
					}
					ca, other := testcert.NewCA(t, "clients", opts...), testcert.NewCA(t, "others", opts...)
					var p party
					if protocol == "TLCP" {
						p = w.partyTLCP(ca, validity)
					} else {
						p = w.partyTLS(protocol == "HTTP/2", ca, validity)
					}
					w.domain("a.example.com", []*lacre.Certificate{p.cert}, verifyClients)
					if status, err := request(t, p.client, "https://a.example.com/"); status != 200 {
						t.Fatalf("before: got %d, %v, want 200", status, err)
					}
					test.change(w, clock, p, ca, other)
					want := map[bool]int{true: 200, false: http.StatusMisdirectedRequest}[keep && test.keep || !keep && test.end]
					for range 2 { // what was decided once stays so
						if status, err := request(t, p.client, "https://a.example.com/"); status != want {
							t.Errorf("after, keep %t: got %d, %v, want %d", keep, status, err, want)
						}
						if want != 200 {
							break // the connection has ended
						}
					}
				})
			}
		}
	}
}

// TestOpenConnectionsEndWithTheList: when it goes stale the next request of a connection
// made before is refused, unless the client was held to a later list meanwhile.
func TestOpenConnectionsEndWithTheList(t *testing.T) {
	now := time.Now()
	validity := testcert.WithValidity(now.Add(-time.Hour), now.AddDate(0, 0, 7))
	for name, of := range map[string]func(w *world) (*testcert.CA, party){
		"HTTP/1.1": func(w *world) (*testcert.CA, party) {
			ca := testcert.NewCA(t, "clients")
			return ca, w.partyTLS(false, ca, validity)
		},
		"HTTP/2": func(w *world) (*testcert.CA, party) {
			ca := testcert.NewCA(t, "clients")
			return ca, w.partyTLS(true, ca, validity)
		},
		"TLCP": func(w *world) (*testcert.CA, party) {
			ca := testcert.NewCA(t, "clients", testcert.WithSM2())
			return ca, w.partyTLCP(ca, validity)
		},
	} {
		for _, renewed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, renewed %t", name, renewed), func(t *testing.T) {
				clock := &shifting{}
				w := newWorld(t, clock.config, func(c *edge.Config) { c.KeepConnections = true })
				ca, p := of(w)
				list := w.revoke(p.cert, ca) // the next one is due in a day
				w.domain("a.example.com", []*lacre.Certificate{p.cert}, verifyClients)
				ask := func(after time.Duration, want int) {
					t.Helper()
					clock.set(after)
					if status, err := request(t, p.client, "https://a.example.com/"); status != want {
						t.Errorf("after %v: got %d, %v, want %d", after, status, err, want)
					}
				}
				ask(0, 200)
				ask(23*time.Hour, 200)
				if renewed {
					list.Lists = w.revocationLists(p.cert, []*testcert.CA{ca}, ca.CRL(t, nil, testcert.CRLValidity(now, now.AddDate(0, 0, 2)))).Lists
					w.store(list)
					ask(25*time.Hour, 200)
				}
				ask(49*time.Hour, http.StatusMisdirectedRequest)
			})
		}
	}
}

// TestRunningEndsWithTheList: no change is needed for that. A list that comes in time is
// what counts, be it due later or earlier.
func TestRunningEndsWithTheList(t *testing.T) {
	for _, test := range []struct {
		name          string
		first, second time.Duration // until the next list is due
		goesOn        bool
	}{
		{"none later", 2 * time.Second, 0, false},
		{"due later", 2 * time.Second, time.Hour, true},
		{"due earlier", time.Hour, 2 * time.Second, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *edge.Config) { c.KeepConnections = true })
			ca, now := testcert.NewCA(t, "clients"), time.Now()
			cert := w.certificate(w.leaf([]string{"a.example.com"}), ca)
			due := func(in time.Duration) *lacre.Revocations {
				return w.revocationLists(cert, []*testcert.CA{ca}, ca.CRL(t, nil, testcert.CRLValidity(now.Add(-time.Hour), now.Add(in))))
			}
			list := due(test.first)
			w.store(list)
			w.domain("a.example.com", []*lacre.Certificate{cert}, upstream(endless(t)), verifyClients)
			r := webSocket(t, w, as(ca.Leaf(t, []string{"client"})))
			if err := r.say(); err != nil {
				t.Fatal(err)
			}
			if test.second != 0 {
				list.Lists = due(test.second).Lists
				w.store(list)
			}
			if !test.goesOn {
				if got := r.ending(); !strings.Contains(got, "EOF") {
					t.Errorf("it ended with %q, want EOF", got)
				}
				return
			}
			time.Sleep(time.Until(now.Add(test.first + 2*time.Second)))
			if err := r.say(); err != nil {
				t.Errorf("it has ended: %v", err)
			}
		})
	}
}

// TestKeptConnectionsAreRevokedLater: a connection that was kept once is held to the
// next list as well.
func TestKeptConnectionsAreRevokedLater(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.KeepConnections = true })
	ca := testcert.NewCA(t, "clients")
	leaf := ca.Leaf(t, []string{"client"})
	cert := w.certificate(w.leaf([]string{"a.example.com"}), ca)
	w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	client := w.client(true, as(leaf))
	request(t, client, "https://a.example.com/")
	list := w.revoke(cert, ca)
	for range 2 {
		if status, err := request(t, client, "https://a.example.com/"); status != 200 {
			t.Fatalf("kept: got %d, %v, want 200", status, err)
		}
	}
	list.Lists = w.revocationLists(cert, []*testcert.CA{ca}, ca.CRL(t, []*x509.Certificate{leaf.Cert})).Lists
	w.store(list)
	if status, err := request(t, client, "https://a.example.com/"); status != http.StatusMisdirectedRequest {
		t.Errorf("revoked: got %d, %v, want 421", status, err)
	}
}

// TestAnotherChainIsGood: a client whose first chain has ended goes on by another, if
// connections are kept at all. A new connection of it is let in too.
func TestAnotherChainIsGood(t *testing.T) {
	for keep, want := range map[bool]int{false: http.StatusMisdirectedRequest, true: 200} {
		clock := &shifting{}
		w := newWorld(t, clock.config, func(c *edge.Config) { c.KeepConnections = keep })
		ca := testcert.NewCA(t, "clients")
		brief := renewedCA(t, ca, time.Now().Add(time.Hour))
		cert := w.certificate(w.leaf([]string{"a.example.com"}), brief, ca)
		w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
		client := w.client(true, as(ca.Leaf(t, []string{"client"})))
		if status, err := request(t, client, "https://a.example.com/"); status != 200 {
			t.Fatalf("keep %t, before: got %d, %v, want 200", keep, status, err)
		}
		clock.set(2 * time.Hour)
		if status, err := request(t, client, "https://a.example.com/"); status != want {
			t.Errorf("keep %t: got %d, %v, want %d", keep, status, err, want)
		}
		if in, _ := w.asks("a.example.com", as(ca.Leaf(t, []string{"client"}))); !in {
			t.Errorf("keep %t: a new connection was refused", keep)
		}
	}
}

// TestChainThatAdmits: upstreams are shown the chain to the trust root that counts now, also
// when trust has changed and come back.
func TestChainThatAdmits(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.KeepConnections = true })
	var shown string
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) { shown = r.Header.Get("Client-Cert-Chain") })
	one, two := testcert.NewCA(t, "one"), testcert.NewCA(t, "two")
	first := one.Intermediate(t, "sub")
	template := *first.Cert
	template.AuthorityKeyId = nil
	der, err := x509.CreateCertificate(rand.Reader, &template, two.Cert, first.Cert.PublicKey, two.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert := w.certificate(w.leaf([]string{"a.example.com"}), one)
	w.domain("a.example.com", []*lacre.Certificate{cert}, upstream(b.URL), verifyClients)
	leaf := first.Leaf(t, []string{"client"}).TLS()
	leaf.Certificate = [][]byte{leaf.Certificate[0], first.Cert.Raw, der}
	client := w.client(true, func(c *tls.Config) { c.Certificates = []tls.Certificate{leaf} })
	roots := []*testcert.CA{one, two, one}
	for i, want := range [][]byte{first.Cert.Raw, der, first.Cert.Raw} {
		if i > 0 {
			w.rotate(cert, w.leaf([]string{"a.example.com"}), roots[i])
		}
		if status, err := request(t, client, "https://a.example.com/"); status != 200 {
			t.Fatalf("under root %d: got %d, %v, want 200", i, status, err)
		}
		if want := ":" + base64.StdEncoding.EncodeToString(want) + ":"; shown != want {
			t.Errorf("under root %d: the upstream was shown another chain", i)
		}
	}
}

// renewedCA is ca under the same key and name with another end.
func renewedCA(t *testing.T, ca *testcert.CA, end time.Time) *testcert.CA {
	t.Helper()
	template := *ca.Cert
	template.SerialNumber, template.NotAfter = big.NewInt(2), end
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, ca.Cert.PublicKey, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testcert.CA{Cert: cert, Key: ca.Key, Chain: []*x509.Certificate{cert}}
}

// TestFarEnds: a client whose certificate never expires (RFC 5280 section 4.1.2.5) is not
// looked at again and again, as if it had.
func TestFarEnds(t *testing.T) {
	var asked atomic.Int64
	w := newWorld(t, func(c *edge.Config) {
		c.Now = func() time.Time { asked.Add(1); return time.Now() }
	})
	never := testcert.WithValidity(time.Now().Add(-time.Hour), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	ca := testcert.NewCA(t, "clients", never)
	cert := w.certificate(w.leaf([]string{"a.example.com"}), ca)
	w.domain("a.example.com", []*lacre.Certificate{cert}, upstream(endless(t)), verifyClients)
	r := webSocket(t, w, as(ca.Leaf(t, []string{"client"}, never)))
	if err := r.say(); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	time.Sleep(200 * time.Millisecond)
	if got := asked.Load() - before; got > 20 {
		t.Errorf("the time was asked for %d times in 200 ms of silence", got)
	}
}
