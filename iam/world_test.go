package iam_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lacre"
	"lacre/iam"
	"lacre/keyring"
	"lacre/store"
)

// The hashes were made by the first version of this package: passwords that were stored
// once must open for ever.
const (
	alicePassword = "correct horse battery"
	aliceHash     = "$argon2id$v=19$m=19456,t=2,p=1$vxDQ8yHWzvlEaQeMFLegCA$tXZjHkkTDkS6GtH3scRMlYTgA5aq6/YA+tEOyQhvSY8"
	bobHash       = "$argon2id$v=19$m=19456,t=2,p=1$xRzPPWLmRdi/Es/qO2FvHw$g/2IUcbzhvAWjehtXeyuHsxXF5nqaYmqvRv51DA/Ttg"
	home          = "192.0.2.10:40000" // where requests come from unless a test says otherwise
)

// world is an IAM over a real store, with a user alice (operator in project one, no
// role in project two) and a user bob (viewer in project two).
type world struct {
	*iam.IAM
	store    *store.Store
	users    *faulty
	clock    *clock
	log      *safeBuffer
	key      []byte // of the tokens
	ring     *keyring.Keyring
	one, two *lacre.Project
	alice    *lacre.User
	bob      *lacre.User
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 250_000_000, time.UTC)}
	s := newStore(t, c)
	key, err := iam.NewTokenKey()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		store: s, users: &faulty{backing: s}, key: key, log: &safeBuffer{}, clock: c,
	}
	w.ring = newRing(t, s)
	w.IAM = w.node(t)
	w.one, w.two = w.project(t, "acct", "cn-north-4"), w.project(t, "other", "cn-north-4")
	w.alice = w.stored(t, w.one, "alice", aliceHash, lacre.RoleOperator)
	w.bob = w.stored(t, w.two, "bob", bobHash, lacre.RoleViewer)
	return w
}

func newStore(t *testing.T, c *clock) *store.Store {
	t.Helper()
	s, err := store.Embedded(t.Context(), store.EmbeddedConfig{Dir: t.TempDir(), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newRing(t *testing.T, s *store.Store) *keyring.Keyring {
	t.Helper()
	ring, err := keyring.Unlock(t.Context(), "file:"+filepath.Join(t.TempDir(), "master.key"), s)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// node returns another process over the same store.
func (w *world) node(t *testing.T) *iam.IAM {
	t.Helper()
	a, err := iam.New(iam.Config{
		Users: w.users, Sealer: w.ring, TokenKey: w.key, Now: w.clock.Now, Log: slog.New(slog.NewJSONHandler(w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) project(t *testing.T, account, name string) *lacre.Project {
	t.Helper()
	p, err := w.CreateProject(t.Context(), lacre.Caller{}, account, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) user(t *testing.T, account, name, password string) *lacre.User {
	t.Helper()
	u, err := w.CreateUser(t.Context(), lacre.Caller{}, account, name, password)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// stored puts a user of p's account with a role in p straight into the store, which saves
// the time of hashing.
func (w *world) stored(t *testing.T, p *lacre.Project, name, hashed string, role lacre.Role) *lacre.User {
	t.Helper()
	u := &lacre.User{
		ID: lacre.NewID(), AccountID: p.AccountID, AccountName: p.AccountName, Name: name,
		PasswordHash: hashed, Roles: map[string]lacre.Role{p.ID: role},
	}
	claim := &lacre.UserName{AccountName: p.AccountName, Name: name, UserID: u.ID}
	commit(t, w, lacre.Tx{Put: []lacre.Record{u, claim}})
	return u
}

func (w *world) grant(t *testing.T, u *lacre.User, p *lacre.Project, role lacre.Role) {
	t.Helper()
	if err := w.Grant(t.Context(), lacre.Caller{}, u.ID, p.ID, role); err != nil {
		t.Fatal(err)
	}
}

// body is a sign-in by user name, to which scope (JSON, may be empty) is added.
func body(account, name, password, scope string) string {
	if scope != "" {
		scope = `,"scope":` + scope
	}
	return `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"` + name + `","password":"` +
		password + `","domain":{"name":"` + account + `"}}}}` + scope + `}}`
}

// ask sends one request from a place; headers are pairs of name and value.
func ask(h http.Handler, source, method, target, text string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(text))
	r.RemoteAddr = source
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func signIn(h http.Handler, source, text string) *httptest.ResponseRecorder {
	return ask(h, source, "POST", "/v3/auth/tokens", text)
}

// token signs alice in with a scope and returns her token.
func (w *world) token(t *testing.T, scope string) string {
	t.Helper()
	return tokenOf(t, signIn(w, home, body("acct", "alice", alicePassword, scope)))
}

// scopedToken is alice's token for project one.
func (w *world) scopedToken(t *testing.T) string {
	t.Helper()
	return w.token(t, `{"project":{"id":"`+w.one.ID+`"}}`)
}

func tokenOf(t *testing.T, rec *httptest.ResponseRecorder) string {
	t.Helper()
	if rec.Code != http.StatusCreated {
		t.Fatalf("sign-in status = %d, want 201; body %s", rec.Code, rec.Body)
	}
	return rec.Header().Get("X-Subject-Token")
}

// authenticate presents a token to a node as the certificate API would.
func authenticate(a *iam.IAM, token string) (lacre.Caller, error) {
	r := httptest.NewRequest("GET", "/v2/p/apigw/certificates", nil)
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	return a.Authenticate(r)
}

func wantCode(t *testing.T, what string, err error, want lacre.Code) {
	t.Helper()
	if err == nil || lacre.CodeOf(err) != want {
		t.Errorf("%s: error = %v, want code %s", what, err, want)
	}
}

// wantProblem checks IAM's error form.
func wantProblem(t *testing.T, rec *httptest.ResponseRecorder, status int) {
	t.Helper()
	var got struct {
		Error struct {
			Code           int
			Message, Title string
		}
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatalf("error body %q is not JSON: %v", rec.Body, err)
	}
	if rec.Code != status || got.Error.Code != status {
		t.Errorf("status = %d, error.code = %d, want %d; body %s", rec.Code, got.Error.Code, status, rec.Body)
	}
	if got.Error.Title != http.StatusText(status) || got.Error.Message == "" {
		t.Errorf("title, message = %q, %q, want %q and a message", got.Error.Title, got.Error.Message, http.StatusText(status))
	}
	if len(rec.Header().Get("X-Request-Id")) != 32 {
		t.Errorf("X-Request-Id = %q, want 32 digits", rec.Header().Get("X-Request-Id"))
	}
	if rec.Header().Get("X-Subject-Token") != "" {
		t.Error("an error carries a token")
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func current(t *testing.T, w *world, userID string) *lacre.User {
	t.Helper()
	u, err := w.store.User(t.Context(), userID)
	fatal(t, err)
	return u
}

func commit(t *testing.T, w *world, tx lacre.Tx) {
	t.Helper()
	tx.Audit = lacre.Audit{Action: "test", Time: w.clock.Now()}
	_, err := w.store.Commit(t.Context(), tx)
	fatal(t, err)
}
