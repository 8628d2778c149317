package iam_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

// Every way of signing in that the API page and the official clients use.
func TestSignIn(t *testing.T) {
	w := newWorld(t)
	w.grant(t, w.alice, w.two, lacre.RoleViewer)
	byID := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"` + w.alice.ID + `","password":"` + alicePassword + `"}}}`
	byDomainID := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"alice","password":"` + alicePassword +
		`","domain":{"id":"` + w.alice.AccountID + `"}}}}`
	inOne := func(s string) string { return strings.ReplaceAll(s, "ONE", w.one.ID) }
	tests := []struct{ name, body, project, domain string }{
		{"the page's example", body("acct", "alice", alicePassword, `{"project":{"name":"cn-north-4"}}`), w.one.ID, ""},
		{"project by id", body("acct", "alice", alicePassword, inOne(`{"project":{"id":"ONE"}}`)), w.one.ID, ""},
		{"project by id and name: the id wins", body("acct", "alice", alicePassword, inOne(`{"project":{"id":"ONE","name":"x"}}`)), w.one.ID, ""},
		{"golangsdk: project with its domain by name", body("acct", "alice", alicePassword, `{"project":{"name":"cn-north-4","domain":{"name":"acct"}}}`), w.one.ID, ""},
		{"golangsdk: project with its domain by id", body("acct", "alice", alicePassword, `{"project":{"name":"cn-north-4","domain":{"id":"`+w.alice.AccountID+`"}}}`), w.one.ID, ""},
		{"project of another account", body("acct", "alice", alicePassword, `{"project":{"name":"cn-north-4","domain":{"name":"other"}}}`), w.two.ID, ""},
		{"domain scope by name", body("acct", "alice", alicePassword, `{"domain":{"name":"acct"}}`), "", w.alice.AccountID},
		{"domain scope by id", body("acct", "alice", alicePassword, `{"domain":{"id":"`+w.alice.AccountID+`"}}`), "", w.alice.AccountID},
		{"no scope", body("acct", "alice", alicePassword, ""), "", ""},
		{"null scope", body("acct", "alice", alicePassword, "null"), "", ""},
		{"user by id", byID + `}}`, "", ""},
		{"user by id, project by id", byID + inOne(`,"scope":{"project":{"id":"ONE"}}}}`), w.one.ID, ""},
		{"user's domain by id", byDomainID + inOne(`,"scope":{"project":{"id":"ONE"}}}}`), w.one.ID, ""},
		{"unknown fields", strings.Replace(byID, `{"auth":{`, `{"x":1,"auth":{"y":[],`, 1) + `}}`, "", ""},
		{"a newline after", byID + "}}\n", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := signIn(w, home, tt.body)
			token := tokenOf(t, rec)
			var got struct {
				Token struct{ Project, Domain struct{ ID string } }
			}
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Token.Project.ID != tt.project || got.Token.Domain.ID != tt.domain {
				t.Errorf("scope = project %q, domain %q, want %q, %q", got.Token.Project.ID, got.Token.Domain.ID, tt.project, tt.domain)
			}
			caller, err := authenticate(w.IAM, token)
			if tt.project == "" {
				wantCode(t, "Authenticate without a project", err, lacre.CodeNoProject)
			} else if err != nil || caller.ProjectID != tt.project || caller.UserID != w.alice.ID {
				t.Errorf("Authenticate = %+v, %v, want alice in %s", caller, err, tt.project)
			}
		})
	}
}

func TestTheAnswerToASignIn(t *testing.T) {
	w := newWorld(t)
	rec := ask(w, home, "POST", "/v3/auth/tokens?nocatalog=true", body("acct", "alice", alicePassword, `{"project":{"name":"cn-north-4"}}`),
		"Content-Type", "application/json;charset=utf8")
	var got any
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	domain := map[string]any{"id": w.alice.AccountID, "name": "acct"}
	want := map[string]any{"token": map[string]any{
		"methods": []any{"password"}, "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2026-01-02T00:00:00.000000Z",
		"user":    map[string]any{"id": w.alice.ID, "name": "alice", "domain": domain},
		"project": map[string]any{"id": w.one.ID, "name": "cn-north-4", "domain": domain},
		"roles":   []any{map[string]any{"id": "operator", "name": "operator"}},
		"catalog": []any{},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if got, want := rec.Header().Get("Content-Type"), "application/json;charset=UTF-8"; got != want {
		t.Errorf("Content-Type = %q, want %q", got, want)
	}
	if got := rec.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q, want no-store", got)
	}
	if len(rec.Header().Get("X-Request-Id")) != 32 {
		t.Errorf("X-Request-Id = %q, want 32 digits", rec.Header().Get("X-Request-Id"))
	}
}

func TestRefusedSignIns(t *testing.T) {
	w := newWorld(t)
	one := `{"project":{"id":"` + w.one.ID + `"}}`
	two := `{"project":{"id":"` + w.two.ID + `"}}`
	tests := []struct {
		name, body string
		want       int
	}{
		{"wrong password", body("acct", "alice", "wrong password", one), 401},
		{"password of another user", body("acct", "alice", "bobs password", one), 401},
		{"unknown user", body("acct", "mallory", alicePassword, one), 401},
		{"user of another account", body("other", "alice", alicePassword, one), 401},
		{"unknown account", body("nowhere", "alice", alicePassword, one), 401},
		{"user name in other case", body("acct", "Alice", alicePassword, one), 401},
		{"project without a role", body("acct", "alice", alicePassword, two), 401},
		{"unknown project id", body("acct", "alice", alicePassword, `{"project":{"id":"none"}}`), 401},
		{"unknown project name", body("acct", "alice", alicePassword, `{"project":{"name":"none"}}`), 401},
		{"project in a foreign domain id", body("acct", "alice", alicePassword, `{"project":{"name":"cn-north-4","domain":{"id":"`+w.bob.AccountID+`"}}}`), 401},
		{"another account as scope", body("acct", "alice", alicePassword, `{"domain":{"name":"other"}}`), 401},
		{"user id that is a path", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"../x","password":"p"}}}}}`, 401},

		{"empty", ``, 400},
		{"not JSON", `{"auth":`, 400},
		{"two values", body("acct", "alice", alicePassword, "") + body("acct", "alice", alicePassword, ""), 400},
		{"an array", `[]`, 400},
		{"null", `null`, 400},
		{"wrong types", `{"auth":{"identity":{"methods":"password"}}}`, 400},
		{"number as password", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"x","password":12345678}}}}}`, 400},
		{"no identity", `{"auth":{}}`, 400},
		{"no method", `{"auth":{"identity":{"methods":[]}}}`, 400},
		{"two methods", strings.Replace(body("acct", "alice", alicePassword, ""), `["password"]`, `["password","totp"]`, 1), 400},
		{"assume_role", strings.Replace(body("acct", "alice", alicePassword, ""), `["password"]`, `["assume_role"]`, 1), 400},
		{"no domain of the user", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"alice","password":"p"}}}}}`, 400},
		{"no password", body("acct", "alice", "", one), 400},
		{"no token", `{"auth":{"identity":{"methods":["token"],"token":{}}}}`, 400},
		{"project and domain", body("acct", "alice", alicePassword, `{"project":{"id":"x"},"domain":{"id":"y"}}`), 400},
		{"empty project", body("acct", "alice", alicePassword, `{"project":{}}`), 400},
		{"empty domain", body("acct", "alice", alicePassword, `{"domain":{}}`), 400},
		{"too large", body("acct", "alice", strings.Repeat("x", 64<<10), one), 413},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := "198.51.100." + string(rune('1'+i%9)) + ":1" // no lock-out among them
			w.clock.Advance(2 * 3600e9)
			wantProblem(t, signIn(w, source, tt.body), tt.want)
		})
	}
}

// What is wrong with a sign-in is for the log; the sender learns nothing from it.
func TestRefusalsLookTheSame(t *testing.T) {
	w := newWorld(t)
	disabled := w.user(t, "acct", "gone", alicePassword)
	if err := w.Disable(t.Context(), lacre.Caller{}, disabled.ID); err != nil {
		t.Fatal(err)
	}
	want := signIn(w, home, body("acct", "alice", "wrong password", "")).Body.String()
	for _, text := range []string{
		body("acct", "mallory", "wrong password", ""), body("acct", "gone", alicePassword, ""), body("acct", "gone", "wrong password", ""),
	} {
		if got := signIn(w, home, text).Body.String(); got != want {
			t.Errorf("answer to %s = %s, want %s", text, got, want)
		}
	}
}

func TestUnknownCalls(t *testing.T) {
	w := newWorld(t)
	for _, call := range []string{"PUT /v3/auth/tokens", "GET /v3/groups", "GET /v3/", "GET /", "PUT /v3/users", "GET /v3.0/OS-CREDENTIAL", "GET /v3/projects/"} {
		method, path, _ := strings.Cut(call, " ")
		wantProblem(t, ask(w, home, method, path, ""), http.StatusNotFound)
	}
}

func TestSignInWithoutTheStore(t *testing.T) {
	w := newWorld(t)
	w.users.down.Store(true)
	for range 10 { // faults of the store are not the user's failures
		wantProblem(t, signIn(w, home, body("acct", "alice", alicePassword, "")), http.StatusInternalServerError)
	}
	w.users.down.Store(false)
	w.token(t, "")
}
