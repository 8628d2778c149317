package tlcp

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// sealed are session hooks that only move the bytes: what they protect is not at stake
// here, what they see is.
func sealed(c *Config) *Config {
	c.WrapSession = func(cs ConnectionState, s *SessionState) ([]byte, error) {
		s.Extra = append(s.Extra, []byte("policy 1 "+cs.ServerName))
		b, err := s.Bytes()
		return append([]byte("sealed"), b...), err
	}
	c.UnwrapSession = func(identity []byte, cs ConnectionState) (*SessionState, error) {
		b, ok := bytes.CutPrefix(identity, []byte("sealed"))
		if !ok {
			return nil, nil
		}
		s, err := ParseSessionState(b)
		if err != nil || len(s.Extra) != 1 || string(s.Extra[0]) != "policy 1 "+cs.ServerName {
			return nil, nil
		}
		return s, nil
	}
	return c
}

// byBothWays runs f with sessions kept in tickets and in a cache.
func byBothWays(t *testing.T, f func(t *testing.T, sessions func(*Config) *Config)) {
	t.Helper()
	t.Run("ticket", func(t *testing.T) { t.Parallel(); f(t, sealed) })
	t.Run("id", func(t *testing.T) {
		t.Parallel()
		cache := NewSessionCache(10)
		f(t, func(c *Config) *Config { c.SessionCache = cache; return c })
	})
	t.Run("sealed id", func(t *testing.T) {
		t.Parallel()
		cache := NewSessionCache(10)
		f(t, func(c *Config) *Config {
			c.SessionCache, c.SessionTicketsDisabled = cache, true
			return sealed(c)
		})
	})
}

// A session is resumed in every suite, again and again, with the client's certificates.
func TestResume(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	server, client := ca.pair(t, testName), ca.pair(t, "client")
	byBothWays(t, func(t *testing.T, sessions func(*Config) *Config) {
		for _, suite := range defaultSuites {
			for _, auth := range []ClientAuth{NoClientCert, RequireAndVerifyClientCert} {
				if isECDHE(suite) && auth == NoClientCert {
					continue
				}
				cc := &Config{RootCAs: ca.pool, ServerName: testName, KeyPair: client, CipherSuites: []uint16{suite},
					ClientSessionCache: NewClientSessionCache(2)}
				sc := sessions(&Config{KeyPair: server, ClientAuth: auth, ClientCAs: ca.pool})
				for i := range 3 {
					c, s := mustShake(t, cc, sc)
					name := fmt.Sprint(CipherSuiteName(suite), auth, i)
					for _, state := range []ConnectionState{c.ConnectionState(), s.ConnectionState()} {
						if state.DidResume != (i > 0) || state.CipherSuite != suite {
							t.Errorf("%s: got resumed %v and %s, want %v", name, state.DidResume, CipherSuiteName(state.CipherSuite), i > 0)
						}
					}
					if got := len(s.ConnectionState().PeerCertificates); (got == 2) != (auth != NoClientCert) {
						t.Errorf("%s: got %d client certificates", name, got)
					}
					exchange(t, c, s, 1000)
				}
			}
		}
	})
}

// Whatever has changed since, a full handshake follows and not a failure.
func TestNoResume(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "root", nil), newAuthority(t, "other root", nil)
	pair, rotated, client := ca.pair(t, testName), ca.pair(t, testName), ca.pair(t, "client")
	both := smx509.NewCertPool()
	both.AddCert((*smx509.Certificate)(ca.cert))
	both.AddCert((*smx509.Certificate)(other.cert))
	for name, change := range map[string]func(cc, sc *Config){
		"rotated":         func(_, sc *Config) { sc.KeyPair = rotated },
		"suite disabled":  func(_, sc *Config) { sc.CipherSuites = []uint16{ECC_SM4_CBC_SM3} },
		"suite withdrawn": func(cc, _ *Config) { cc.CipherSuites = []uint16{ECC_SM4_CBC_SM3} },
		"expired":         func(_, sc *Config) { sc.Time = func() time.Time { return time.Now().Add(SessionLifetime) } },
		"clock set back":  func(_, sc *Config) { sc.Time = func() time.Time { return time.Now().Add(-time.Minute) } },
		"auth now wanted": func(_, sc *Config) { sc.ClientAuth, sc.ClientCAs = RequireAndVerifyClientCert, ca.pool },
		"sessions turned off": func(_, sc *Config) {
			sc.WrapSession, sc.UnwrapSession, sc.SessionCache = nil, nil, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			byBothWays(t, func(t *testing.T, sessions func(*Config) *Config) {
				cc := Config{RootCAs: both, ServerName: testName, KeyPair: client, ClientSessionCache: NewClientSessionCache(2)}
				sc := *sessions(&Config{KeyPair: pair})
				mustShake(t, &cc, &sc)
				if c, _ := mustShake(t, &cc, &sc); !c.ConnectionState().DidResume {
					t.Fatal("got a full handshake, want a resumption to start from")
				}
				change(&cc, &sc)
				if c, s := mustShake(t, &cc, &sc); c.ConnectionState().DidResume || s.ConnectionState().DidResume {
					t.Error("got a resumption, want a full handshake")
				}
			})
		})
	}
}

// Client certificates are verified again at each resumption, against the roots of now.
func TestResumeVerifiesAgain(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "root", nil), newAuthority(t, "other root", nil)
	server, client := ca.pair(t, testName), ca.pair(t, "client")
	byBothWays(t, func(t *testing.T, sessions func(*Config) *Config) {
		cc := &Config{RootCAs: ca.pool, ServerName: testName, KeyPair: client, ClientSessionCache: NewClientSessionCache(2)}
		sc := *sessions(&Config{KeyPair: server, ClientAuth: RequireAndVerifyClientCert, ClientCAs: ca.pool})
		mustShake(t, cc, &sc)
		stricter := sc
		stricter.ClientCAs = other.pool
		_, _, clientErr, _ := shake(t, cc, &stricter)
		wantAlert(t, "client", clientErr, AlertUnknownCA, true)
		noAuth := sc
		noAuth.ClientAuth = NoClientCert
		if c, _ := mustShake(t, cc, &noAuth); c.ConnectionState().DidResume {
			t.Error("got a resumed session with certificates nobody asks for, want a full handshake")
		}
	})
}

// A session does not move to another name, even one the same certificate covers.
func TestResumeOtherName(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	pair := ca.pair(t, testName)
	byBothWays(t, func(t *testing.T, sessions func(*Config) *Config) {
		cache := NewClientSessionCache(2)
		sc := sessions(&Config{KeyPair: pair})
		mustShake(t, &Config{RootCAs: ca.pool, ServerName: testName, ClientSessionCache: cache}, sc)
		session, ok := cache.Get(testName)
		if !ok {
			t.Fatal("got no session")
		}
		cache.Put("other.example.com", session)
		c, _ := mustShake(t, &Config{InsecureSkipVerify: true, ServerName: "other.example.com", ClientSessionCache: cache}, sc)
		if c.ConnectionState().DidResume {
			t.Error("got a resumption under another name, want a full handshake")
		}
	})
}

func TestSessionState(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	want := &SessionState{CipherSuite: ECC_SM4_GCM_SM3, CreatedAt: time.Unix(1_700_000_000, 0), ServerName: testName,
		PeerCertificates: []*smx509.Certificate{(*smx509.Certificate)(ca.cert)}, Extra: [][]byte{[]byte("a"), {}}}
	want.master[3], want.identity[4] = 1, 2
	b, err := want.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSessionState(b)
	if err != nil || got.master != want.master || got.identity != want.identity || !got.CreatedAt.Equal(want.CreatedAt) ||
		got.ServerName != testName || len(got.PeerCertificates) != 1 || len(got.Extra) != 2 || got.CipherSuite != want.CipherSuite {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for i := range b {
		if _, err := ParseSessionState(b[:i]); err == nil {
			t.Errorf("got no error for %d of %d bytes", i, len(b))
		}
	}
}

func TestSessionCacheIsBounded(t *testing.T) {
	t.Parallel()
	cache := NewSessionCache(2)
	for i := range 10 {
		cache.Put(fmt.Sprint(i), []byte{byte(i)})
		cache.Get("0")
	}
	_, first := cache.Get("0")
	_, middle := cache.Get("5")
	_, last := cache.Get("9")
	if !first || middle || !last {
		t.Errorf("got %v %v %v, want the two used last", first, middle, last)
	}
}
