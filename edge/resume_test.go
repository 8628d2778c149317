package edge_test

import (
	"crypto/tls"
	"io"
	"testing"
	"time"

	"lacre"
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
