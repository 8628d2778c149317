package iam_test

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/iam"
)

// TestKeystoneFaults: whatever is wrong with Keystone, or between here and there, is a
// 500 and never "your token is bad", by which clients would throw a good token away.
func TestKeystoneFaults(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	says := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, text)
		}
	}
	project := `"project":{"id":"p","name":"p"},"roles":[{"id":"r","name":"admin"}]`
	faults := map[string]http.HandlerFunc{
		"500":                 func(w http.ResponseWriter, _ *http.Request) { problem(w, 500) },
		"503 of a gateway":    says(503, "<html>"),
		"403 by policy":       func(w http.ResponseWriter, _ *http.Request) { problem(w, 403) },
		"429":                 func(w http.ResponseWriter, _ *http.Request) { problem(w, 429) },
		"401 of a proxy":      says(401, "<html>who are you?"),
		"401 that says 404":   says(401, `{"error":{"code":404}}`),
		"404 of a web server": says(404, "<html>no such page"),
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		},
		"empty 200":               says(200, ""),
		"page":                    says(200, "<html>welcome"),
		"no token":                says(200, `{"error":{"code":401}}`),
		"null":                    says(200, `{"token":null}`),
		"another shape":           says(200, `{"token":{"user":[]}}`),
		"no user":                 says(200, `{"token":{"expires_at":"2026-01-01T01:00:00Z",`+project+`}}`),
		"no end":                  says(200, `{"token":{"user":{"id":"u"},`+project+`}}`),
		"end that is no time":     says(200, `{"token":{"expires_at":"soon","user":{"id":"u"},`+project+`}}`),
		"a project without an id": says(200, `{"token":{"expires_at":"2026-01-01T01:00:00Z","user":{"id":"u"},"project":{"name":"p"},"roles":[{"name":"admin"}]}}`),
		"huge":                    says(200, `{"token":{"x":"`+strings.Repeat("x", 2<<20)+`"}}`),
		"huge header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		},
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		},
		"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"slow":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"slow body": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"token":`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	}
	for _, self := range []bool{true, false} {
		w := newKeystoneWorld(t, func(c *iam.KeystoneConfig) {
			c.Timeout = 2 * time.Second
			if self {
				bySelf(c)
			}
		})
		w.works(t, "before", "good")
		for name, fault := range faults {
			w.clock.Advance(30 * time.Second)
			w.double.set(fault)
			w.fails(t, name, "good", lacre.CodeIAMUnavailable)
			w.double.set(nil)
			w.clock.Advance(time.Second) // if the breaker opened
			w.works(t, "after "+name, "good")
		}
	}
	if got := elsewhere.Load(); got != 0 {
		t.Errorf("a redirect was followed %d times, with tokens", got)
	}
}

// TestKeystoneIsWhoItSays: tokens and the password go to a server with a certificate of
// the roots given, and to no other.
func TestKeystoneIsWhoItSays(t *testing.T) {
	w := newKeystoneWorld(t)
	secure := httptest.NewUnstartedServer(w.double)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	defer secure.Close()
	with := func(roots *x509.CertPool) *keystoneWorld {
		return newKeystoneWorld(t, func(c *iam.KeystoneConfig) { c.URL, c.RootCAs = secure.URL, roots })
	}
	with(nil).fails(t, "by the system's roots", "good", lacre.CodeIAMUnavailable)
	with(x509.NewCertPool()).fails(t, "by no roots", "good", lacre.CodeIAMUnavailable)
	if got := w.double.asked.Load(); got != 0 {
		t.Errorf("a server that proved nothing got %d requests", got)
	}
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	with(roots).works(t, "by its own root", "good")
}

// Keystone may accept a token and yet not vouch for it: that of an application credential
// with access rules, which somebody would have to heed.
func TestKeystoneTokensWithAccessRules(t *testing.T) {
	w := newKeystoneWorld(t, bySelf)
	w.double.set(func(rw http.ResponseWriter, _ *http.Request) { problem(rw, 404) })
	w.fails(t, "good", "good", lacre.CodeTokenInvalid)
}

func TestKeystoneDown(t *testing.T) {
	w := newKeystoneWorld(t)
	w.works(t, "at first", "good")
	w.double.set(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for i := range 5 {
		w.fails(t, "a token not seen before", fmt.Sprintf("new%d", i), lacre.CodeIAMUnavailable)
	}
	before := w.double.asked.Load()
	for i := range 100 {
		w.fails(t, "while it is known to be down", fmt.Sprintf("newer%d", i), lacre.CodeIAMUnavailable)
	}
	if got := w.double.asked.Load() - before; got != 0 {
		t.Errorf("a keystone that is down was asked %d times more, want never", got)
	}
	w.clock.Advance(30*time.Second - 1)
	w.works(t, "a cached token within 30 s", "good")
	w.clock.Advance(1)
	w.fails(t, "a cached token after 30 s", "good", lacre.CodeIAMUnavailable)

	w.double.set(nil)
	w.fails(t, "back, within a second of the last failure", "good", lacre.CodeIAMUnavailable)
	w.clock.Advance(time.Second)
	w.works(t, "back, a second later", "good")
	for _, text := range []string{"keystone does not answer", "keystone answers again"} {
		if got := strings.Count(w.log.String(), text); got != 1 {
			t.Errorf("the log says %d times that %s, want once:\n%s", got, text, w.log)
		}
	}
}

// A Keystone that hangs holds few connections and no request for longer than the timeout.
func TestKeystoneHangs(t *testing.T) {
	w := newKeystoneWorld(t, func(c *iam.KeystoneConfig) { bySelf(c); c.Timeout = 300 * time.Millisecond })
	var now, most atomic.Int64
	w.double.set(func(_ http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-r.Context().Done()
	})
	var wg sync.WaitGroup
	for i := range 700 {
		wg.Go(func() { w.fails(t, "one of many", fmt.Sprintf("t%d", i), lacre.CodeIAMUnavailable) })
	}
	wg.Wait()
	if got := most.Load(); got < 1 || got > 40 { // 32, and those whose end the server has not seen yet
		t.Errorf("keystone had %d requests at once, want 1 to 40", got)
	}
}

func TestKeystoneSecretsStayOutOfLogsAndErrors(t *testing.T) {
	w := newKeystoneWorld(t)
	const token = "canary-token-4711"
	w.double.issue(token, "p-web", "member")
	var said strings.Builder
	hear := func() {
		_, err := w.present(token)
		fmt.Fprintf(&said, "%v %+v\n", err, err)
		w.clock.Advance(time.Minute)
	}
	hear()
	for _, status := range []int{200, 301, 401, 403, 404, 500, 503} {
		w.double.set(func(rw http.ResponseWriter, r *http.Request) { // which repeats all it gets
			rw.WriteHeader(status)
			r.Header.Write(rw)
		})
		hear()
	}
	w.double.Close()
	for range 4 {
		hear()
	}
	everything := said.String() + w.log.String()
	for _, secret := range []string{token, servicePassword, "service-token-"} {
		if strings.Contains(everything, secret) {
			t.Errorf("%q is in the log or an error:\n%s", secret, everything)
		}
	}
	if !strings.Contains(everything, "keystone does not answer") {
		t.Error("nothing was logged, so that nothing was looked at")
	}
}
