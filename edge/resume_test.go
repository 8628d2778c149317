package edge_test

import (
	"bytes"
	"crypto/tls"
	"io"
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

// TestClientAuthenticationIsNeverResumed: not onto a domain that demands client
// certificates from one that does not, nor onto itself.
func TestClientAuthenticationIsNeverResumed(t *testing.T) {
	w := newWorld(t)
	clients := testcert.NewCA(t, "clients")
	me := clients.Leaf(t, []string{"me"}).TLS()
	mine := func(c *tls.Config) { c.Certificates = []tls.Certificate{me} }
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		cert := w.certificate(w.leaf([]string{"*.example.com"}), clients)
		open := w.domain("open.example.com", []*lacre.Certificate{cert})
		closed := w.domain("closed.example.com", []*lacre.Certificate{cert}, func(d *lacre.Domain) { d.VerifyClient = true })
		defer w.commit(lacre.Tx{Delete: []lacre.Record{open, closed}})

		cache := &oneSession{}
		w.resumes("open.example.com", cache, version)
		c, err := w.dial("closed.example.com", version, func(c *tls.Config) {
			c.ClientSessionCache, c.InsecureSkipVerify = cache, true
		})
		if err == nil { // TLS 1.3: the client learns it from its first read
			_, err = c.Read(make([]byte, 1))
		}
		if err == nil || isAlert(err, 0) {
			t.Errorf("without a client certificate: got %v, want a refusal", err)
		}
		if w.resumes("closed.example.com", cache, version, mine) {
			t.Error("resumed a session of a domain without client authentication")
		}
		cache = &oneSession{}
		w.resumes("closed.example.com", cache, version, mine)
		if cache.session != nil {
			t.Error("a domain with client authentication gave out a ticket")
		}
	})
}
