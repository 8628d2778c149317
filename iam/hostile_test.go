package iam_test

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lacre"
)

// A request that claims to be signed stands or falls by that: a good token beside a bad
// signature must not be what lets it in, nor the other way round.
func TestASignatureIsNotReplacedByAToken(t *testing.T) {
	w := newWorld(t)
	token := w.scopedToken(t)
	p := w.keyed(t, w.alice)
	for name, r := range map[string]string{"wrong secret": "SDK-HMAC-SHA256", "another algorithm": "SDK-HMAC-SM3", "derived": "V11-HMAC-SHA256"} {
		bad := unsigned(pair{p.access, "wrong"}.sign(w, "GET", w.certificates(), ""), "X-Auth-Token", token)
		replace(bad, "SDK-HMAC-SHA256", r)
		_, err := w.as(bad, w.one.ID)
		wantCode(t, name, err, lacre.CodeSignature)
	}
	twice := p.sign(w, "GET", w.certificates(), "")
	twice.Header.Add("Authorization", "Basic YTpi")
	_, err := w.as(twice, w.one.ID)
	wantCode(t, "two authorizations", err, lacre.CodeSignature)
	other := unsigned(httptest.NewRequest("GET", w.certificates(), nil), "Authorization", "Bearer "+token)
	_, err = w.as(other, w.one.ID)
	wantCode(t, "a token where it does not belong", err, lacre.CodeTokenMissing)
}

// The role counts that the project's account made, whatever others call theirs.
func TestRolesOfOneNameInTwoAccounts(t *testing.T) {
	w := newWorld(t)
	for account, permission := range map[string]lacre.Permission{"acct": lacre.CanGetCertificate, "other": lacre.CanDeleteCertificate} {
		_, err := w.CreateRole(t.Context(), lacre.Caller{}, account, "renewer", []lacre.Permission{permission})
		fatal(t, err)
	}
	w.grant(t, w.alice, w.one, "renewer")
	caller, err := w.as(w.keyed(t, w.alice).sign(w, "GET", w.certificates(), ""), w.one.ID)
	fatal(t, err)
	if !caller.Allows(lacre.CanGetCertificate) || caller.Allows(lacre.CanDeleteCertificate) {
		t.Errorf("caller = %+v, want the role of the project's own account", caller.Group)
	}
}

// Who grants a role while another deletes it: it is granted and there, or deleted and
// nobody's.
func TestGrantingAndDeletingARoleAtOnce(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		_, err := w.CreateRole(t.Context(), lacre.Caller{}, "acct", "fleeting", []lacre.Permission{lacre.CanGetCertificate})
		fatal(t, err)
		var both sync.WaitGroup
		var granted, deleted error
		both.Go(func() { granted = w.Grant(t.Context(), lacre.Caller{}, w.alice.ID, w.one.ID, "fleeting") })
		both.Go(func() { deleted = w.DeleteRole(t.Context(), lacre.Caller{}, "acct", "fleeting") })
		both.Wait()
		if (granted == nil) == (deleted == nil) {
			t.Fatalf("granting: %v, deleting: %v, want exactly one to succeed", granted, deleted)
		}
		has := current(t, w, w.alice.ID).Roles[w.one.ID] == "fleeting"
		if has != (granted == nil) {
			t.Fatalf("the user has the role: %t, granting: %v", has, granted)
		}
		w.grant(t, w.alice, w.one, lacre.RoleViewer)
		if deleted != nil {
			fatal(t, w.DeleteRole(t.Context(), lacre.Caller{}, "acct", "fleeting"))
		}
	}
}

// What was taken from an administrator is gone within a second, by whatever way in.
func TestAFormerAdministratorManagesNothing(t *testing.T) {
	o := newOffice(t)
	_, err := o.ChangeUser(t.Context(), lacre.Caller{}, o.alice.ID, promote)
	fatal(t, err)
	alice := o.keyed(t, o.alice)
	token := o.token(t, "")
	const text = `{"project":{"name":"south"}}`
	o.call(t, alice, "POST", "/v3/projects", text, 201, nil)
	o.call(t, o.boss, "PATCH", "/v3/users/"+o.alice.ID, `{"user":{"administrator":false}}`, 200, nil)
	o.clock.Advance(time.Second)
	o.call(t, alice, "POST", "/v3/projects", text, 403, nil)
	wantProblem(t, ask(o, home, "POST", "/v3/projects", text, "X-Auth-Token", token), 403)
	o.call(t, o.boss, "PATCH", "/v3/users/"+o.alice.ID, `{"user":{"enabled":false}}`, 200, nil)
	o.clock.Advance(time.Second)
	o.call(t, alice, "POST", "/v3/projects", text, 401, nil)
	wantProblem(t, ask(o, home, "POST", "/v3/projects", text, "X-Auth-Token", token), 401)
}

// A body beyond the limit is neither hashed nor counted as a guess.
func TestASignedBodyBeyondTheLimit(t *testing.T) {
	o := newOffice(t)
	huge := `{"project":{"name":"` + strings.Repeat("x", 70_000) + `"}}`
	for range 6 {
		o.call(t, o.boss, "POST", "/v3/projects", huge, 413, nil)
	}
	o.call(t, o.boss, "POST", "/v3/projects", `{"project":{"name":"south"}}`, 201, nil)
}

// Changes of keys and users say when the store does not answer, and do not half happen.
func TestAdministrationWithoutTheStore(t *testing.T) {
	o := newOffice(t)
	alice := o.keyed(t, o.alice)
	before := everybody(t, o)
	o.users.down.Store(true)
	off := true
	_, _, made := o.CreateAccessKey(t.Context(), lacre.Caller{}, o.alice.ID, "")
	_, changed := o.ChangeAccessKey(t.Context(), lacre.Caller{}, alice.access, &off, nil)
	for what, err := range map[string]error{
		"CreateAccessKey": made, "ChangeAccessKey": changed,
		"DeleteAccessKey": o.DeleteAccessKey(t.Context(), lacre.Caller{}, alice.access),
		"DeleteUser":      o.DeleteUser(t.Context(), lacre.Caller{}, o.alice.ID),
		"Grant":           o.Grant(t.Context(), lacre.Caller{}, o.alice.ID, o.one.ID, lacre.RoleAdmin),
		"Withdraw":        o.Withdraw(t.Context(), lacre.Caller{}, o.alice.ID, o.one.ID, lacre.RoleOperator),
	} {
		wantCode(t, what, err, lacre.CodeUnavailable)
	}
	o.users.down.Store(false)
	if after := everybody(t, o); len(after) != len(before) || o.alice.Roles[o.one.ID] != current(t, o.world, o.alice.ID).Roles[o.one.ID] {
		t.Error("a change that was refused happened")
	}

	// A write that happened and was reported lost is not repeated as another key.
	o.users.lose.Store(true)
	_, _, lost := o.CreateAccessKey(t.Context(), lacre.Caller{}, o.alice.ID, "")
	wantCode(t, "a lost answer", lost, lacre.CodeUnavailable)
	o.users.lose.Store(false)
	keys, err := o.store.AccessKeys(t.Context(), o.alice.ID)
	fatal(t, err)
	if len(keys) != 2 {
		t.Errorf("%d keys, want the old one and the one whose secret was lost with the answer", len(keys))
	}
}
