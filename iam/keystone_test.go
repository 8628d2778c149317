package iam_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/iam"
)

func TestKeystoneCaller(t *testing.T) {
	for name, change := range map[string]func(*iam.KeystoneConfig){"by a service user": func(*iam.KeystoneConfig) {}, "by itself": bySelf} {
		t.Run(name, func(t *testing.T) {
			w := newKeystoneWorld(t, change)
			got, err := w.present("good")
			if err != nil {
				t.Fatal(err)
			}
			want := lacre.Caller{
				UserID: "u-ann", UserName: "ann", AccountID: "d-staff", ProjectID: "p-web", ProjectName: "web", Role: lacre.RoleOperator,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("caller (-want +got):\n%s", diff)
			}
			w.fails(t, "unknown token", "unknown", lacre.CodeTokenInvalid)
		})
	}
}

func TestKeystoneRoles(t *testing.T) {
	own := map[string]lacre.Role{"certs": lacre.RoleAdmin, "reader": lacre.RoleViewer, "auditor": lacre.RoleViewer}
	for _, tt := range []struct {
		roles map[string]lacre.Role // nil: the default
		has   []string
		want  lacre.Role // empty: refused
	}{
		{nil, []string{"reader"}, lacre.RoleViewer},
		{nil, []string{"reader", "member"}, lacre.RoleOperator},
		{nil, []string{"admin", "member", "reader"}, lacre.RoleAdmin},
		{nil, []string{"reader", "unheard-of", "admin"}, lacre.RoleAdmin},
		{nil, []string{"unheard-of", "Admin", ""}, ""},
		{nil, nil, ""},
		{own, []string{"auditor", "member"}, lacre.RoleViewer},
		{own, []string{"certs", "reader"}, lacre.RoleAdmin},
		{own, []string{"admin", "member"}, ""},
	} {
		w := newKeystoneWorld(t, func(c *iam.KeystoneConfig) { c.Roles = tt.roles })
		w.double.issue("t", "p-web", tt.has...)
		got, err := w.present("t")
		if tt.want == "" {
			wantCode(t, fmt.Sprint(tt.has), err, lacre.CodeForbidden)
		} else if err != nil || got.Role != tt.want {
			t.Errorf("%v: got role %q, %v, want %q", tt.has, got.Role, err, tt.want)
		}
	}
}

func TestKeystoneTokensWithoutAPlace(t *testing.T) {
	w := newKeystoneWorld(t)
	user := `"user":{"id":"u","name":"ann","domain":{"id":"d","name":"D"}}`
	roles := `,"roles":[{"id":"r","name":"admin"}]`
	w.double.say("unscoped", `{"expires_at":"2026-01-01T01:00:00Z",`+user+`}`)
	w.double.say("domain", `{"expires_at":"2026-01-01T01:00:00Z",`+user+roles+`,"domain":{"id":"d","name":"D"}}`)
	w.double.say("system", `{"expires_at":"2026-01-01T01:00:00Z",`+user+roles+`,"system":{"all":true}}`)
	w.double.say("expired", `{"expires_at":"2026-01-01T00:00:00Z",`+user+roles+`,"project":{"id":"p","name":"p"}}`)
	for token, want := range map[string]lacre.Code{
		"unscoped": lacre.CodeNoProject, "domain": lacre.CodeNoProject, "system": lacre.CodeNoProject,
		"expired": lacre.CodeTokenExpired, "": lacre.CodeTokenMissing,
	} {
		w.fails(t, token, token, want)
	}
}

// What cannot be a token is refused here: it must neither reach Keystone nor become
// another header field on the way.
func TestKeystoneIsNotAskedAboutNonsense(t *testing.T) {
	w := newKeystoneWorld(t)
	for _, text := range []string{
		"good\r\nX-Auth-Token: other", "good\n", " good", "go od", "good\x00", "gööd", "good\x7f", strings.Repeat("a", 8193),
	} {
		w.fails(t, fmt.Sprintf("%.20q", text), text, lacre.CodeTokenInvalid)
	}
	if got := w.double.asked.Load(); got != 0 {
		t.Errorf("keystone was asked %d times, want never", got)
	}
}

func TestKeystoneCacheEnds(t *testing.T) {
	w := newKeystoneWorld(t)
	w.works(t, "at first", "good")
	w.double.revoke("good")
	w.clock.Advance(30*time.Second - 1)
	w.works(t, "just before 30 s", "good")
	w.clock.Advance(1)
	w.fails(t, "at 30 s", "good", lacre.CodeTokenInvalid)

	w.double.issue("good", "p-web", "member")
	w.clock.Advance(5*time.Second - 1)
	w.fails(t, "the refusal within 5 s", "good", lacre.CodeTokenInvalid)
	w.clock.Advance(1)
	w.works(t, "5 s after the refusal", "good")
}

func TestKeystoneTokensDoNotOutliveThemselvesInTheCache(t *testing.T) {
	w := newKeystoneWorld(t)
	w.clock.Advance(time.Hour - time.Second)
	w.works(t, "a second before the end", "good")
	w.clock.Advance(time.Second)
	w.fails(t, "at the end", "good", lacre.CodeTokenExpired)
}

func TestKeystoneClockSetBack(t *testing.T) {
	w := newKeystoneWorld(t)
	w.works(t, "at first", "good")
	w.double.revoke("good")
	w.clock.Advance(-time.Hour)
	w.fails(t, "after the clock was set back", "good", lacre.CodeTokenInvalid)
}

func TestKeystoneIsAskedOnceForOneToken(t *testing.T) {
	w := newKeystoneWorld(t, bySelf)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { w.works(t, "one of many", "good") })
	}
	wg.Wait()
	if got := w.double.asked.Load(); got != 1 {
		t.Errorf("50 requests with one token asked keystone %d times, want once", got)
	}
}

// A request that is given up leaves its validation to those who wait for the same token.
func TestKeystoneRequestsGivenUp(t *testing.T) {
	w := newKeystoneWorld(t, bySelf)
	arrived, finish := make(chan struct{}), make(chan struct{})
	w.double.set(func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		w.double.show(rw, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.Header.Set("X-Auth-Token", "good")
		_, err := w.Authenticate(r)
		first <- err
	}()
	<-arrived
	cancel()
	err := <-first
	wantCode(t, "the request given up", err, lacre.CodeIAMUnavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled inside", err)
	}
	close(finish)
	w.works(t, "the next", "good")
	if got := w.double.asked.Load(); got != 1 {
		t.Errorf("keystone was asked %d times, want once", got)
	}
}

func TestKeystoneServicePass(t *testing.T) {
	w := newKeystoneWorld(t)
	for i := range 3 {
		token := fmt.Sprintf("t%d", i)
		w.double.issue(token, "p-web", "reader")
		w.works(t, token, token)
	}
	if got := w.double.signedIn.Load(); got != 1 {
		t.Errorf("three validations signed in %d times, want once", got)
	}
	w.double.revoke("service-token-1")
	w.fails(t, "unknown, after the service token was revoked", "unknown", lacre.CodeTokenInvalid)
	w.works(t, "good", "good")
	if got := w.double.signedIn.Load(); got != 2 {
		t.Errorf("signed in %d times after the token was revoked, want once more", got)
	}
	w.clock.Advance(59 * time.Minute) // the token ends in a minute, which is too soon
	w.fails(t, "unknown, an hour later", "unknown", lacre.CodeTokenInvalid)
	if got := w.double.signedIn.Load(); got != 3 {
		t.Errorf("signed in %d times at the end of the token, want once more", got)
	}
}

// Not to be let in is our operator's mistake, and no reason to try passwords in a hurry.
func TestKeystoneRefusesTheServiceUser(t *testing.T) {
	w := newKeystoneWorld(t, func(c *iam.KeystoneConfig) { c.Password = "wrong-canary" })
	for i := range 10 {
		w.fails(t, "with a wrong password", fmt.Sprintf("t%d", i), lacre.CodeIAMUnavailable)
	}
	if got := w.double.asked.Load(); got != 1 {
		t.Errorf("keystone got %d sign-ins within a second, want one", got)
	}
	w.clock.Advance(time.Second)
	w.fails(t, "a second later", "good", lacre.CodeIAMUnavailable)
	if got := w.double.asked.Load(); got != 2 {
		t.Errorf("keystone got %d sign-ins in the next second, want one more", got)
	}
}

func TestKeystoneThatKeepsRefusingItsOwnPass(t *testing.T) {
	w := newKeystoneWorld(t)
	w.double.set(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.double.signIn(rw, r)
			return
		}
		problem(rw, http.StatusUnauthorized)
	})
	w.fails(t, "good", "good", lacre.CodeIAMUnavailable)
	if got := w.double.signedIn.Load(); got != 2 {
		t.Errorf("signed in %d times, want twice", got)
	}
}

func TestKeystoneProjectsGetARecord(t *testing.T) {
	w := newKeystoneWorld(t)
	w.double.issue("reader", "p-read", "reader")
	w.double.issue("admin", "p-admin", "admin")
	w.works(t, "reader", "reader")
	w.works(t, "operator", "good")
	w.works(t, "admin", "admin")
	w.clock.Advance(30 * time.Second)
	w.works(t, "admin, again", "admin")
	projects, err := w.store.Projects(t.Context())
	fatal(t, err)
	if len(projects) != 1 {
		t.Fatalf("got %d projects, want that of the admin", len(projects))
	}
	got := *projects[0]
	want := lacre.Project{
		ID: "p-admin", Name: "web", AccountID: "d-web", AccountName: "Web",
		Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Revision: got.Revision,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("project (-want +got):\n%s", diff)
	}
}

// Without its record the domains of a project could get lost to edges that start later.
func TestKeystoneAdminsNeedTheStore(t *testing.T) {
	w := newKeystoneWorld(t)
	w.double.issue("admin", "p-admin", "admin")
	w.users.down.Store(true)
	w.fails(t, "admin without the store", "admin", lacre.CodeUnavailable)
	w.works(t, "operator without the store", "good")
	w.users.down.Store(false)
	w.users.lose.Store(true)
	w.fails(t, "admin, the write reported as lost", "admin", lacre.CodeUnavailable)
	w.users.lose.Store(false)
	w.works(t, "admin with the store", "admin")
}

// overtaken is a store in which another node writes every project first.
type overtaken struct{ iam.KeystoneProjects }

func (o overtaken) Commit(ctx context.Context, tx lacre.Tx) (int64, error) {
	return 0, errors.Join(&lacre.ConflictError{Record: tx.Put[0]})
}

func TestKeystoneProjectsOfAnotherNode(t *testing.T) {
	w := newKeystoneWorld(t, func(c *iam.KeystoneConfig) { c.Projects = overtaken{c.Projects} })
	w.double.issue("admin", "p-admin", "admin")
	w.works(t, "admin", "admin")
}

func TestKeystoneIdentityCalls(t *testing.T) {
	w := newKeystoneWorld(t)
	rec := ask(w, home, "POST", "/v3/auth/tokens", body("acct", "alice", alicePassword, ""))
	if rec.Code != http.StatusNotFound || !strings.Contains(rec.Body.String(), w.double.URL) || rec.Header().Get("Location") != "" {
		t.Errorf("got %d %s, want 404 that names %s, and no redirect", rec.Code, rec.Body, w.double.URL)
	}
}

func TestKeystoneConfigRefusals(t *testing.T) {
	for name, change := range map[string]func(*iam.KeystoneConfig){
		"no URL":               func(c *iam.KeystoneConfig) { c.URL = "" },
		"no host":              func(c *iam.KeystoneConfig) { c.URL = "https:///v3" },
		"another scheme":       func(c *iam.KeystoneConfig) { c.URL = "ldap://keystone" },
		"a password in it":     func(c *iam.KeystoneConfig) { c.URL = "https://u:secret@keystone" },
		"a query":              func(c *iam.KeystoneConfig) { c.URL = "https://keystone?x=y" },
		"no store":             func(c *iam.KeystoneConfig) { c.Projects = nil },
		"half a user":          func(c *iam.KeystoneConfig) { c.Password = "" },
		"a long cache":         func(c *iam.KeystoneConfig) { c.Cache = time.Minute + 1 },
		"a role of tomorrow":   func(c *iam.KeystoneConfig) { c.Roles = map[string]lacre.Role{"admin": "owner"} },
		"a role without name":  func(c *iam.KeystoneConfig) { c.Roles = map[string]lacre.Role{"": lacre.RoleAdmin} },
		"a timeout before now": func(c *iam.KeystoneConfig) { c.Timeout = -1 },
	} {
		cfg := iam.KeystoneConfig{URL: "https://keystone/", User: "u", Password: "secret", Projects: overtaken{}}
		if _, err := iam.NewKeystone(cfg); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if _, err := iam.NewKeystone(cfg); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want a refusal without the password", name, err)
		}
	}
}
