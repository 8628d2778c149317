package iam_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

func exchange(token, scope string) string {
	if scope != "" {
		scope = `,"scope":` + scope
	}
	return `{"auth":{"identity":{"methods":["token"],"token":{"id":"` + token + `"}}` + scope + `}}`
}

// Terraform's token option exchanges the token it was given, with a scope and without.
func TestExchangingAToken(t *testing.T) {
	w := newWorld(t)
	unscoped := w.token(t, "")
	w.clock.Advance(time.Hour)

	rec := signIn(w, home, exchange(unscoped, `{"project":{"name":"cn-north-4"}}`))
	scoped := tokenOf(t, rec)
	if caller, err := authenticate(w.IAM, scoped); err != nil || caller.ProjectID != w.one.ID {
		t.Errorf("exchanged token = %+v, %v, want project %s", caller, err, w.one.ID)
	}
	var got struct {
		Token struct {
			Methods []string `json:"methods"`
			Issued  string   `json:"issued_at"`
			Expires string   `json:"expires_at"`
		} `json:"token"`
	}
	fatal(t, json.Unmarshal(rec.Body.Bytes(), &got))
	if diff := cmp.Diff([]string{"token", "password"}, got.Token.Methods); diff != "" {
		t.Errorf("methods (-want +got):\n%s", diff)
	}
	if got.Token.Issued != "2026-01-01T01:00:00.000000Z" || got.Token.Expires != "2026-01-02T00:00:00.000000Z" {
		t.Errorf("issued, expires = %s, %s, want now and the end of the given token", got.Token.Issued, got.Token.Expires)
	}

	back := tokenOf(t, signIn(w, home, exchange(scoped, "")))
	_, err := authenticate(w.IAM, back)
	wantCode(t, "exchanged for no scope", err, lacre.CodeNoProject)
	w.clock.Advance(23 * time.Hour)
	_, err = authenticate(w.IAM, scoped)
	wantCode(t, "exchanged token after the first one's 24 h", err, lacre.CodeTokenExpired)
}

func TestRefusedExchanges(t *testing.T) {
	w := newWorld(t)
	token := w.token(t, "")
	wantProblem(t, signIn(w, home, exchange(token, `{"project":{"id":"`+w.two.ID+`"}}`)), 401)
	wantProblem(t, signIn(w, home, exchange(token[1:], "")), 401)
	w.users.down.Store(true)
	w.clock.Advance(time.Second)
	wantProblem(t, signIn(w, home, exchange(token, "")), 500)
	w.users.down.Store(false)
	w.clock.Advance(24 * time.Hour)
	wantProblem(t, signIn(w, home, exchange(token, "")), 401)
}

func TestLookingAtAToken(t *testing.T) {
	w := newWorld(t)
	issued := signIn(w, home, body("acct", "alice", alicePassword, `{"project":{"name":"cn-north-4"}}`))
	token := tokenOf(t, issued)
	rec := ask(w, home, "GET", "/v3/auth/tokens", "", "X-Auth-Token", w.token(t, ""), "X-Subject-Token", token)
	if rec.Code != http.StatusOK || rec.Body.String() != issued.Body.String() {
		t.Errorf("GET = %d %s, want 200 and what the sign-in said: %s", rec.Code, rec.Body, issued.Body)
	}
	if rec.Header().Get("X-Subject-Token") != token {
		t.Error("GET does not repeat the token in X-Subject-Token")
	}
}

func TestOnlyItsUserMayLookAtAndRevokeAToken(t *testing.T) {
	w := newWorld(t)
	alices := w.scopedToken(t)
	bobs := tokenOf(t, signIn(w, home, body("other", "bob", "bobs password", "")))
	for _, method := range []string{"GET", "DELETE"} {
		call := func(caller, subject string) int {
			rec := ask(w, home, method, "/v3/auth/tokens", "", "X-Auth-Token", caller, "X-Subject-Token", subject)
			wantProblem(t, rec, rec.Code)
			return rec.Code
		}
		for _, tt := range []struct {
			name, caller, subject string
			want                  int
		}{
			{"another's", bobs, alices, 403}, {"no caller", "", alices, 401}, {"bad caller", "x", alices, 401},
			{"no subject", alices, "", 404}, {"bad subject", alices, "x", 404},
		} {
			if got := call(tt.caller, tt.subject); got != tt.want {
				t.Errorf("%s of %s: status = %d, want %d", method, tt.name, got, tt.want)
			}
		}
	}
	if _, err := authenticate(w.IAM, alices); err != nil {
		t.Errorf("after refused calls: error = %v, want nil", err)
	}
}

func TestARevokedTokenEndsAtOnceWhereItWasRevoked(t *testing.T) {
	w := newWorld(t)
	token, other := w.scopedToken(t), w.scopedToken(t)
	if _, err := authenticate(w.IAM, token); err != nil {
		t.Fatal(err)
	}
	w.users.down.Store(true)
	wantProblem(t, ask(w, home, "DELETE", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", token), 500)
	w.users.down.Store(false)
	rec := ask(w, home, "DELETE", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", token)
	if rec.Code != http.StatusNoContent || rec.Body.Len() != 0 {
		t.Errorf("DELETE = %d %q, want 204 and no body", rec.Code, rec.Body)
	}
	_, err := authenticate(w.IAM, token)
	wantCode(t, "the revoked token", err, lacre.CodeTokenInvalid)
	if _, err := authenticate(w.IAM, other); err != nil {
		t.Errorf("another token of the user: error = %v, want nil", err)
	}
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	w.grant(t, w.alice, w.project(t, "acct", "cn-east-3"), lacre.RoleViewer)
	token := w.token(t, "")
	links := map[string]any{"self": "", "next": nil, "previous": nil}
	self := map[string]any{"self": ""}
	project := map[string]any{
		"id": w.one.ID, "name": "cn-north-4", "domain_id": w.one.AccountID, "parent_id": w.one.AccountID,
		"enabled": true, "is_domain": false, "description": "", "links": self,
	}
	account := map[string]any{"id": w.alice.AccountID, "name": "acct", "enabled": true, "description": "", "links": self}
	user := map[string]any{"id": w.alice.ID, "name": "alice", "domain_id": w.alice.AccountID, "enabled": true, "links": self}
	tests := []struct {
		target string
		want   map[string]any
	}{
		{"/v3/projects?name=cn-north-4", map[string]any{"projects": []any{project}, "links": links}},
		{"/v3/projects?name=none", map[string]any{"projects": []any{}, "links": links}},
		{"/v3/auth/domains", map[string]any{"domains": []any{account}, "links": links}},
		{"/v3/users?name=alice", map[string]any{"users": []any{user}, "links": links}},
		{"/v3/users?name=bob", map[string]any{"users": []any{}, "links": links}},
		{"/v3/users", map[string]any{"users": []any{user}, "links": links}},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			rec := ask(w, home, "GET", tt.target, "", "X-Auth-Token", token)
			var got map[string]any
			fatal(t, json.Unmarshal(rec.Body.Bytes(), &got))
			if diff := cmp.Diff(tt.want, got); diff != "" || rec.Code != http.StatusOK {
				t.Errorf("status %d, answer (-want +got):\n%s", rec.Code, diff)
			}
			wantProblem(t, ask(w, home, "GET", tt.target, ""), 401)
		})
	}
	var got struct{ Projects []struct{ Name string } }
	fatal(t, json.Unmarshal(ask(w, home, "GET", "/v3/projects", "", "X-Auth-Token", token).Body.Bytes(), &got))
	if len(got.Projects) != 2 || got.Projects[0].Name != "cn-east-3" || got.Projects[1].Name != "cn-north-4" {
		t.Errorf("projects = %v, want cn-east-3 and cn-north-4 and nobody else's", got.Projects)
	}
}
