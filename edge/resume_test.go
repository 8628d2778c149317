package edge_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// oneSession is a client cache that offers its session whatever the server's name is:
// the client of an attacker.
type oneSession struct{ session *tls.ClientSessionState }

func (s *oneSession) Get(string) (*tls.ClientSessionState, bool) { return s.session, s.session != nil }
func (s *oneSession) Put(_ string, session *tls.ClientSessionState) {
	if session != nil {
		s.session = session
	}
}

// resumes connects with a cached session and tells whether it was resumed. It reads
// until the ticket has come: TLS 1.3 sends it after the handshake.
func (w *world) resumes(name string, cache tls.ClientSessionCache, edits ...func(*tls.Config)) bool {
	w.Helper()
	c, err := w.dial(name, append(edits, func(c *tls.Config) {
		c.ClientSessionCache, c.InsecureSkipVerify = cache, true
	})...)
	if err != nil {
		w.Fatalf("handshake for %q: %v", name, err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.0\r\nHost: "+name+"\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(c); err != nil {
		w.Fatal(err)
	}
	return c.ConnectionState().DidResume
}

// TestResumption: a session is resumed onto the very certificate version, policy and
// name it was made under, and nowhere else.
func TestResumption(t *testing.T) {
	w := newWorld(t)
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		shared := w.certificate(w.leaf([]string{"a.example.com", "b.example.com", "c.example.com"}))
		a := w.domain("a.example.com", []*lacre.Certificate{shared})
		b := w.domain("b.example.com", []*lacre.Certificate{shared})
		other, _ := w.site("other.example.com")
		defer w.commit(lacre.Tx{Delete: []lacre.Record{a, b, other}})
		session := func(name string) *oneSession {
			cache := &oneSession{}
			if w.resumes(name, cache, version) {
				t.Fatalf("a first handshake with %s was resumed", name)
			}
			return cache
		}
		if !w.resumes("a.example.com", session("a.example.com"), version) {
			t.Error("same name: not resumed")
		}
		if w.resumes("b.example.com", session("a.example.com"), version) {
			t.Error("resumed on another domain with the same certificate")
		}
		if w.resumes("other.example.com", session("a.example.com"), version) {
			t.Error("resumed on another domain with another certificate")
		}
		cache := session("a.example.com")
		w.rotate(shared, w.leaf([]string{"a.example.com"}))
		if w.resumes("a.example.com", cache, version) {
			t.Error("resumed onto the certificate of before the rotation")
		}
		if !w.resumes("a.example.com", cache, version) {
			t.Error("after the rotation: not resumed with a new session")
		}
	})
}

// node starts another edge over the store of w, as another process would.
func (w *world) node(configure ...func(*edge.Config)) *world {
	w.Helper()
	other := *w
	cfg := edge.Config{Feed: shared, Sealer: w.box, Instance: w.inst, AllowLoopback: true}
	for _, change := range configure {
		change(&cfg)
	}
	other.edge = startEdge(w.TB, cfg, &other)
	<-other.edge.Ready()
	return &other
}

func secret(c *edge.Config)      { c.TicketSecret = bytes.Repeat([]byte("secret"), 6) }
func otherSecret(c *edge.Config) { c.TicketSecret = bytes.Repeat([]byte("geheim"), 6) }

// TestResumptionOnOtherNodes: nodes with the cluster's secret resume each other's
// sessions, also after a restart; others do not.
func TestResumptionOnOtherNodes(t *testing.T) {
	w := newWorld(t, secret)
	w.site("a.example.com")
	peer, stranger, loner := w.node(secret), w.node(otherSecret), w.node()
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		session := func() *oneSession {
			cache := &oneSession{}
			w.resumes("a.example.com", cache, version)
			return cache
		}
		if !peer.resumes("a.example.com", session(), version) {
			t.Error("a node with the same secret did not resume")
		}
		if stranger.resumes("a.example.com", session(), version) {
			t.Error("a node with another secret resumed")
		}
		if loner.resumes("a.example.com", session(), version) {
			t.Error("a node without a secret resumed")
		}
	})
}

// TestTicketSecretIsLong: a short one is refused, not stretched.
func TestTicketSecretIsLong(t *testing.T) {
	if _, err := edge.New(edge.Config{Feed: shared, Sealer: &strongbox{}, TicketSecret: []byte("short")}); err == nil {
		t.Error("a ticket secret of five bytes was taken")
	}
}

// TestResumptionEndsWithTime: tickets have an age, by the clock of the edge.
func TestResumptionEndsWithTime(t *testing.T) {
	var ahead atomic.Int64
	w := newWorld(t, func(c *edge.Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } })
	w.domain("a.example.com", []*lacre.Certificate{w.certificate(w.leaf([]string{"a.example.com"}))})
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		for _, test := range []struct {
			after time.Duration
			want  bool
		}{{0, true}, {23 * time.Hour, true}, {25 * time.Hour, false}, {-4 * time.Minute, true}, {-time.Hour, false}} {
			ahead.Store(0)
			cache := &oneSession{}
			w.resumes("a.example.com", cache, version)
			ahead.Store(int64(test.after))
			if got := w.resumes("a.example.com", cache, version); got != test.want {
				t.Errorf("%v later: got resumed %t, want %t", test.after, got, test.want)
			}
		}
	})
}

// TestNoResumptionOfAnotherDomain: not of one that had the name and the certificate
// before, was deleted and made again.
func TestNoResumptionOfAnotherDomain(t *testing.T) {
	w := newWorld(t)
	cert := w.certificate(w.leaf([]string{"a.example.com"}))
	d := w.domain("a.example.com", []*lacre.Certificate{cert})
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		cache := &oneSession{}
		w.resumes("a.example.com", cache, version)
		w.commit(lacre.Tx{Delete: []lacre.Record{d}})
		d = w.domain("a.example.com", []*lacre.Certificate{cert})
		if w.resumes("a.example.com", cache, version) {
			t.Error("resumed a session of the domain that was deleted")
		}
		if !w.resumes("a.example.com", cache, version) {
			t.Error("the new domain's own session did not resume")
		}
	})
}

func TestNoResumptionAcrossPolicies(t *testing.T) {
	w := newWorld(t)
	d, _ := w.site("a.example.com")
	cache := &oneSession{}
	w.resumes("a.example.com", cache, tls13)
	d.MinTLS = "TLSv1.3"
	w.store(d)
	if w.resumes("a.example.com", cache, tls13) {
		t.Error("resumed although the domain's policy changed")
	}
}

// TestNoResumptionWithoutDomain: a ticket must not replace the certificate that a
// host without a domain has not got.
func TestNoResumptionWithoutDomain(t *testing.T) {
	w := newWorld(t)
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		d, _ := w.site("a.example.com")
		cache := &oneSession{}
		w.resumes("a.example.com", cache, version)
		w.commit(lacre.Tx{Delete: []lacre.Record{d}})
		for _, name := range []string{"a.example.com", "unknown.test"} {
			_, err := w.dial(name, version, func(c *tls.Config) {
				c.ClientSessionCache, c.InsecureSkipVerify = cache, true
			})
			if !isAlert(err, 112) {
				t.Errorf("%s: got %v, want alert unrecognized_name", name, err)
			}
		}
	})
}

// mutual is a world with one domain that verifies clients, and a client.
func mutual(t *testing.T, configure ...func(*edge.Config)) (w *world, d *lacre.Domain, cert *lacre.Certificate, ca *testcert.CA, client func(*tls.Config)) {
	w = newWorld(t, configure...)
	ca = testcert.NewCA(t, "clients")
	cert = w.certificate(w.leaf([]string{"*.example.com"}), ca)
	d = w.domain("a.example.com", []*lacre.Certificate{cert}, verifyClients)
	return w, d, cert, ca, as(ca.Leaf(t, []string{"client"}))
}

// TestClientAuthenticationIsNeverResumedFromElsewhere: not a session made before client
// certificates were demanded, or under another version, domain, name, flag or cluster.
func TestClientAuthenticationIsNeverResumedFromElsewhere(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(*lacre.Domain)
		change func(w *world, d *lacre.Domain, c *lacre.Certificate, ca *testcert.CA) (node *world, host string)
	}{
		{"the flag is switched on", func(d *lacre.Domain) { d.VerifyClient = false },
			func(w *world, d *lacre.Domain, _ *lacre.Certificate, _ *testcert.CA) (*world, string) {
				d.VerifyClient = true
				w.store(d)
				return w, d.Host
			}},
		{"the flag is switched off", verifyClients,
			func(w *world, d *lacre.Domain, _ *lacre.Certificate, _ *testcert.CA) (*world, string) {
				d.VerifyClient = false
				w.store(d)
				return w, d.Host
			}},
		{"the certificate is rotated", verifyClients,
			func(w *world, d *lacre.Domain, c *lacre.Certificate, ca *testcert.CA) (*world, string) {
				w.rotate(c, w.leaf([]string{"*.example.com"}), ca)
				return w, d.Host
			}},
		{"the domain is made again", verifyClients,
			func(w *world, d *lacre.Domain, c *lacre.Certificate, _ *testcert.CA) (*world, string) {
				w.commit(lacre.Tx{Delete: []lacre.Record{d}})
				w.domain(d.Host, []*lacre.Certificate{c}, verifyClients)
				return w, d.Host
			}},
		{"another name of the same wildcard domain", func(d *lacre.Domain) { verifyClients(d); d.Host = "*.example.net" },
			func(w *world, _ *lacre.Domain, _ *lacre.Certificate, _ *testcert.CA) (*world, string) {
				return w, "b.example.net"
			}},
		{"a domain with other trust roots", verifyClients,
			func(w *world, _ *lacre.Domain, _ *lacre.Certificate, ca *testcert.CA) (*world, string) {
				c := w.certificate(w.leaf([]string{"b.example.com"}), ca, testcert.NewCA(w, "others"))
				w.domain("b.example.com", []*lacre.Certificate{c}, verifyClients)
				return w, "b.example.com"
			}},
		{"a node with another secret", verifyClients,
			func(w *world, d *lacre.Domain, _ *lacre.Certificate, _ *testcert.CA) (*world, string) {
				return w.node(otherSecret), d.Host
			}},
		{"the list is deleted and another with the same number comes", verifyClients,
			func(w *world, d *lacre.Domain, c *lacre.Certificate, ca *testcert.CA) (*world, string) {
				w.commit(lacre.Tx{Delete: []lacre.Record{w.storedLists(c)}})
				w.revoke(c, ca)
				return w, d.Host
			}},
		{"nothing", verifyClients,
			func(w *world, d *lacre.Domain, _ *lacre.Certificate, _ *testcert.CA) (*world, string) {
				return w, d.Host
			}},
	} {
		eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
			w, _, cert, ca, client := mutual(t, secret)
			w.revoke(cert, ca)
			d := w.domain("a.example.org", []*lacre.Certificate{cert}, test.before)
			name := strings.Replace(d.Host, "*", "a", 1)
			cache := &oneSession{}
			if in, _ := w.asks(name, version, client, caching(cache)); !in || cache.session == nil {
				t.Fatalf("%s: got let in %t and a session %t before", test.name, in, cache.session != nil)
			}
			node, host := test.change(w, d, cert, ca)
			if in, resumed := node.asks(host, version, client, caching(cache)); !in || resumed != (test.name == "nothing") {
				t.Errorf("%s: got let in %t, resumed %t", test.name, in, resumed)
			}
		})
	}
}

// TestVerifiedSessionsAgeFromTheCertificate: however often a session is taken up again,
// a day after the client has shown its certificate it has to show it anew.
func TestVerifiedSessionsAgeFromTheCertificate(t *testing.T) {
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		clock := &shifting{}
		w, _, _, _, client := mutual(t, clock.config)
		cache := &oneSession{}
		for _, step := range []struct {
			at   time.Duration
			want bool
		}{{0, false}, {10 * time.Hour, true}, {20 * time.Hour, true}, {23 * time.Hour, true}, {25 * time.Hour, false}, {26 * time.Hour, true}} {
			clock.set(step.at)
			if in, resumed := w.asks("a.example.com", version, client, caching(cache)); !in || resumed != step.want {
				t.Errorf("after %v: got let in %t, resumed %t, want %t", step.at, in, resumed, step.want)
			}
		}
	})
}

// TestLongClientChains get no session, and are let in.
func TestLongClientChains(t *testing.T) {
	w, _, _, ca, _ := mutual(t)
	long := func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{strings.Repeat("long ", 1500)} }
	sub := ca.Intermediate(t, "sub", testcert.With(long))
	leaf := as(sub.Leaf(t, []string{"client"}, testcert.With(long)))
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		cache := &oneSession{}
		for range 2 {
			if in, resumed := w.asks("a.example.com", version, leaf, caching(cache)); !in || resumed {
				t.Errorf("got let in %t, resumed %t, want a full handshake", in, resumed)
			}
		}
	})
}
