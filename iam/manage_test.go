package iam_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/iam"
)

// office is a world with an administrator of alice's account, who has the given key.
type office struct {
	*world
	ada  *lacre.User
	boss pair
}

func newOffice(t *testing.T) *office {
	t.Helper()
	w := newWorld(t)
	ada := w.stored(t, w.one, "ada", aliceHash, lacre.RoleViewer)
	_, err := w.ChangeUser(t.Context(), lacre.Caller{}, ada.ID, promote)
	fatal(t, err)
	return &office{w, ada, w.keyed(t, ada)}
}

// promote makes an administrator.
var promote = iam.UserChange{Administrator: new(true)}

// call sends a signed request and wants a status; into gets the answer unless it is nil.
func (o *office) call(t *testing.T, p pair, method, target, text string, status int, into any) {
	t.Helper()
	rec := httptest.NewRecorder()
	o.ServeHTTP(rec, p.sign(o.world, method, target, text))
	if rec.Code != status {
		t.Fatalf("%s %s = %d %s, want %d", method, target, rec.Code, rec.Body, status)
	}
	if status >= 400 {
		wantProblem(t, rec, status)
	}
	if into != nil {
		fatal(t, json.Unmarshal(rec.Body.Bytes(), into))
	}
}

type userBody struct {
	User struct {
		ID, Name               string
		Enabled, Administrator bool
	}
}

func TestLifeOfAUser(t *testing.T) {
	o := newOffice(t)
	var made userBody
	o.call(t, o.boss, "POST", "/v3/users", `{"user":{"name":"carl","password":"first password"}}`, 201, &made)
	if !made.User.Enabled || made.User.Administrator || made.User.Name != "carl" {
		t.Errorf("made %+v, want carl, enabled, no administrator", made.User)
	}
	path := "/v3/users/" + made.User.ID
	scope := `{"project":{"id":"` + o.one.ID + `"}}`
	wantProblem(t, signIn(o, home, body("acct", "carl", "first password", scope)), 401) // no role yet
	o.call(t, o.boss, "PUT", "/v3/projects/"+o.one.ID+"/users/"+made.User.ID+"/roles/operator", "", 204, nil)
	token := tokenOf(t, signIn(o, home, body("acct", "carl", "first password", scope)))

	o.call(t, o.boss, "PATCH", path, `{"user":{"password":"second password"}}`, 200, nil)
	o.clock.Advance(time.Second)
	_, err := authenticate(o.IAM, token)
	wantCode(t, "a token of the old password", err, lacre.CodeTokenInvalid)
	tokenOf(t, signIn(o, home, body("acct", "carl", "second password", scope)))

	o.call(t, o.boss, "PATCH", path, `{"user":{"enabled":false}}`, 200, &made)
	if made.User.Enabled {
		t.Error("the answer says enabled, want disabled")
	}
	wantProblem(t, signIn(o, home, body("acct", "carl", "second password", scope)), 401)
	o.call(t, o.boss, "PATCH", path, `{"user":{"enabled":true}}`, 200, nil)
	k, secret, err := o.CreateAccessKey(t.Context(), lacre.Caller{}, made.User.ID, "")
	fatal(t, err)
	carl := pair{k.ID, string(secret)}
	o.call(t, carl, "GET", path, "", 200, nil)

	o.call(t, o.boss, "DELETE", path, "", 204, nil)
	o.clock.Advance(time.Second)
	o.call(t, carl, "GET", path, "", 401, nil)
	o.call(t, o.boss, "GET", path, "", 404, nil)
	if _, err := o.store.AccessKey(t.Context(), k.ID); err == nil {
		t.Error("a deleted user's key is still there")
	}
	o.call(t, o.boss, "POST", "/v3/users", `{"user":{"name":"carl","password":"first password"}}`, 201, nil)
}

func TestOwnPassword(t *testing.T) {
	o := newOffice(t)
	alice := o.keyed(t, o.alice)
	path := "/v3/users/" + o.alice.ID + "/password"
	o.call(t, alice, "POST", path, `{"user":{"password":"new password","original_password":"wrong one"}}`, 401, nil)
	o.call(t, alice, "POST", path, `{"user":{"original_password":"`+alicePassword+`"}}`, 400, nil)
	o.call(t, alice, "POST", path, `{"user":{"password":"short","original_password":"`+alicePassword+`"}}`, 400, nil)
	o.call(t, alice, "POST", "/v3/users/"+o.ada.ID+"/password", `{"user":{"password":"new password","original_password":"`+alicePassword+`"}}`, 403, nil)
	o.call(t, alice, "POST", path, `{"user":{"password":"new password","original_password":"`+alicePassword+`"}}`, 204, nil)
	tokenOf(t, signIn(o, home, body("acct", "alice", "new password", "")))
}

func TestRolesOfAnAccount(t *testing.T) {
	o := newOffice(t)
	alice := o.keyed(t, o.alice)
	o.call(t, o.boss, "POST", "/v3/roles", `{"role":{"name":"renewer","permissions":["apig:certificate:update","apig:certificate:get","apig:certificate:get"]}}`, 201, nil)
	o.call(t, o.boss, "POST", "/v3/roles", `{"role":{"name":"renewer","permissions":["apig:certificate:get"]}}`, 409, nil)
	for _, bad := range []string{
		`{"role":{"name":"admin","permissions":["apig:certificate:get"]}}`, `{"role":{"name":"a/b","permissions":["apig:certificate:get"]}}`,
		`{"role":{"name":"","permissions":["apig:certificate:get"]}}`, `{"role":{"name":"x","permissions":[]}}`,
		`{"role":{"name":"x","permissions":["apig:*:*"]}}`, `{"role":{"name":"x","permissions":["iam:users:update"]}}`, `{"role":[]}`,
	} {
		o.call(t, o.boss, "POST", "/v3/roles", bad, 400, nil)
	}
	granted := "/v3/projects/" + o.one.ID + "/users/" + o.alice.ID + "/roles"
	o.call(t, o.boss, "PUT", granted+"/renewer", "", 204, nil)
	o.call(t, o.boss, "PUT", granted+"/unknown", "", 400, nil)
	o.clock.Advance(time.Second)
	caller, err := o.as(alice.sign(o.world, "GET", o.certificates(), ""), o.one.ID)
	fatal(t, err)
	for p, want := range map[lacre.Permission]bool{lacre.CanModifyCertificate: true, lacre.CanGetCertificate: true, lacre.CanDeleteCertificate: false, "": false} {
		if got := caller.Allows(p); got != want {
			t.Errorf("renewer allows %q: %t, want %t", p, got, want)
		}
	}
	// A token for the project is had and shows the role, like a built-in one.
	rec := signIn(o, home, body("acct", "alice", alicePassword, `{"project":{"name":"cn-north-4"}}`))
	if caller, err := authenticate(o.IAM, tokenOf(t, rec)); err != nil || !caller.Allows(lacre.CanModifyCertificate) || !strings.Contains(rec.Body.String(), `"renewer"`) {
		t.Errorf("by token: %+v, %v, want the role", caller, err)
	}
	var listed struct {
		Roles []struct {
			Name        string
			Permissions []string
		}
	}
	o.call(t, o.boss, "GET", granted, "", 200, &listed)
	if diff := cmp.Diff([]string{"apig:certificate:get", "apig:certificate:update"}, listed.Roles[0].Permissions); diff != "" || len(listed.Roles) != 1 {
		t.Errorf("granted roles (-want +got):\n%s", diff)
	}
	o.call(t, alice, "GET", "/v3/roles", "", 200, &listed)
	if len(listed.Roles) != 4 {
		t.Errorf("%d roles, want three built in and one made", len(listed.Roles))
	}
	o.call(t, o.boss, "DELETE", "/v3/roles/renewer", "", 409, nil)
	o.call(t, o.boss, "DELETE", granted+"/operator", "", 404, nil)
	o.call(t, o.boss, "DELETE", granted+"/renewer", "", 204, nil)
	o.call(t, o.boss, "DELETE", "/v3/roles/renewer", "", 204, nil)
	o.call(t, o.boss, "DELETE", "/v3/roles/renewer", "", 404, nil)
	o.call(t, o.boss, "DELETE", "/v3/roles/viewer", "", 404, nil)
	o.clock.Advance(time.Second)
	_, err = o.as(alice.sign(o.world, "GET", o.certificates(), ""), o.one.ID)
	wantCode(t, "after the role was taken", err, lacre.CodeForbidden)
}

func TestProjects(t *testing.T) {
	o := newOffice(t)
	var made struct{ Project struct{ ID, Name string } }
	o.call(t, o.boss, "POST", "/v3/projects", `{"project":{"name":"south"}}`, 201, &made)
	o.call(t, o.boss, "POST", "/v3/projects", `{"project":{"name":"south"}}`, 409, nil)
	o.call(t, o.boss, "POST", "/v3/projects", `{"project":{"name":"x","domain_id":"`+o.two.AccountID+`"}}`, 403, nil)
	var listed struct{ Projects []struct{ ID, Name string } }
	names := func(p pair) (names string) {
		o.call(t, p, "GET", "/v3/projects", "", 200, &listed)
		for _, p := range listed.Projects {
			names += p.Name + " "
		}
		return names
	}
	if got := names(o.boss); got != "cn-north-4 south " {
		t.Errorf("the administrator sees %q, want all of the account and nothing else", got)
	}
	if got := names(o.keyed(t, o.alice)); got != "cn-north-4 " {
		t.Errorf("alice sees %q, want what she has a role in", got)
	}
}

// What only administrators may do, as anybody else, and upon anybody elsewhere.
func TestNobodyElseMayAdminister(t *testing.T) {
	o := newOffice(t)
	alice := o.keyed(t, o.alice)
	bobs := o.keyed(t, o.bob)
	before := everybody(t, o)
	const promotion = `{"user":{"administrator":true,"password":"new password","enabled":false}}`
	for _, c := range []struct{ method, target, text string }{
		{"POST", "/v3/users", `{"user":{"name":"eve","password":"a password","administrator":true}}`},
		{"PATCH", "/v3/users/" + o.alice.ID, promotion},
		{"PATCH", "/v3/users/" + o.ada.ID, promotion},
		{"DELETE", "/v3/users/" + o.ada.ID, ""},
		{"DELETE", "/v3/users/" + o.alice.ID, ""},
		{"POST", "/v3/projects", `{"project":{"name":"mine"}}`},
		{"POST", "/v3/roles", `{"role":{"name":"all","permissions":["apig:certificate:delete"]}}`},
		{"DELETE", "/v3/roles/viewer", ""},
		{"PUT", "/v3/projects/" + o.one.ID + "/users/" + o.alice.ID + "/roles/admin", ""},
		{"GET", "/v3/projects/" + o.one.ID + "/users/" + o.alice.ID + "/roles", ""},
		{"DELETE", "/v3/projects/" + o.one.ID + "/users/" + o.ada.ID + "/roles/viewer", ""},
		{"POST", "/v3.0/OS-CREDENTIAL/credentials", `{"credential":{"user_id":"` + o.ada.ID + `"}}`},
		{"GET", "/v3.0/OS-CREDENTIAL/credentials?user_id=" + o.ada.ID, ""},
	} {
		o.call(t, alice, c.method, c.target, c.text, 403, nil)
	}
	for _, c := range []struct{ method, target, text string }{
		{"GET", "/v3/users/" + o.bob.ID, ""},
		{"PATCH", "/v3/users/" + o.bob.ID, promotion},
		{"DELETE", "/v3/users/" + o.bob.ID, ""},
		{"PUT", "/v3/projects/" + o.two.ID + "/users/" + o.ada.ID + "/roles/admin", ""},
		{"PUT", "/v3/projects/" + o.one.ID + "/users/" + o.bob.ID + "/roles/admin", ""},
		{"POST", "/v3.0/OS-CREDENTIAL/credentials", `{"credential":{"user_id":"` + o.bob.ID + `"}}`},
		{"GET", "/v3.0/OS-CREDENTIAL/credentials?user_id=" + o.bob.ID, ""},
		{"GET", "/v3.0/OS-CREDENTIAL/credentials/" + bobs.access, ""},
		{"PUT", "/v3.0/OS-CREDENTIAL/credentials/" + bobs.access, `{"credential":{"status":"inactive"}}`},
		{"DELETE", "/v3.0/OS-CREDENTIAL/credentials/" + bobs.access, ""},
	} {
		o.call(t, o.boss, c.method, c.target, c.text, 404, nil)
	}
	o.call(t, alice, "GET", "/v3.0/OS-CREDENTIAL/credentials/"+o.boss.access, "", 404, nil)
	o.call(t, alice, "DELETE", "/v3.0/OS-CREDENTIAL/credentials/"+o.boss.access, "", 404, nil)
	o.call(t, alice, "GET", "/v3/users/"+o.ada.ID, "", 404, nil)
	wantProblem(t, ask(o, home, "POST", "/v3/users", `{"user":{"name":"eve","password":"a password"}}`), 401)
	if diff := cmp.Diff(before, everybody(t, o)); diff != "" {
		t.Errorf("refused calls changed something (-before +after):\n%s", diff)
	}
}

// everybody is all users with their keys.
func everybody(t *testing.T, o *office) map[string]any {
	t.Helper()
	users, err := o.store.Users(t.Context())
	fatal(t, err)
	all := map[string]any{}
	for _, u := range users {
		all[u.Name] = u
		keys, err := o.store.AccessKeys(t.Context(), u.ID)
		fatal(t, err)
		all[u.Name+"'s keys"] = keys
	}
	return all
}

func TestTheLastAdministratorStays(t *testing.T) {
	o := newOffice(t)
	path := "/v3/users/" + o.ada.ID
	for _, text := range []string{`{"user":{"enabled":false}}`, `{"user":{"administrator":false}}`} {
		o.call(t, o.boss, "PATCH", path, text, 409, nil)
	}
	o.call(t, o.boss, "DELETE", path, "", 409, nil)
	o.call(t, o.boss, "PATCH", "/v3/users/"+o.alice.ID, `{"user":{"administrator":true}}`, 200, nil)
	o.call(t, o.boss, "PATCH", "/v3/users/"+o.alice.ID, `{"user":{"enabled":false}}`, 200, nil)
	o.call(t, o.boss, "DELETE", path, "", 409, nil) // a disabled one does not count
	o.call(t, o.boss, "PATCH", "/v3/users/"+o.alice.ID, `{"user":{"enabled":true}}`, 200, nil)

	// The two take each other away at once.
	var both sync.WaitGroup
	for _, id := range []string{o.alice.ID, o.ada.ID} {
		both.Go(func() { o.DeleteUser(t.Context(), lacre.Caller{}, id) })
	}
	both.Wait()
	users, err := o.store.Users(t.Context())
	fatal(t, err)
	var left int
	for _, u := range users {
		if u.Administrator && !u.Disabled {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d administrators are left, want 1", left)
	}
}

func TestLifeOfACredential(t *testing.T) {
	o := newOffice(t)
	alice := o.keyed(t, o.alice)
	const path = "/v3.0/OS-CREDENTIAL/credentials"
	type credential struct {
		Access, Secret, Status, Description string
		User                                string `json:"user_id"`
		Created                             string `json:"create_time"`
	}
	var one struct{ Credential credential }
	o.call(t, alice, "POST", path, `{"credential":{"description":"laptop"}}`, 201, &one)
	made := pair{one.Credential.Access, one.Credential.Secret}
	want := credential{
		Access: made.access, Secret: made.secret, Status: "active", Description: "laptop", User: o.alice.ID, Created: "2026-01-01T00:00:00.250000Z",
	}
	if diff := cmp.Diff(want, one.Credential); diff != "" || len(made.secret) != 40 {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	o.call(t, made, "GET", path+"/"+made.access, "", 200, nil)
	one.Credential = credential{}
	o.call(t, o.boss, "PUT", path+"/"+made.access, `{"credential":{"status":"inactive"}}`, 200, &one)
	want.Status, want.Secret = "inactive", ""
	if diff := cmp.Diff(want, one.Credential); diff != "" {
		t.Errorf("deactivated (-want +got):\n%s", diff)
	}
	o.call(t, made, "GET", path, "", 401, nil)
	o.call(t, alice, "PUT", path+"/"+made.access, `{"credential":{"status":"active","description":""}}`, 200, &one)
	o.call(t, alice, "PUT", path+"/"+made.access, `{"credential":{"status":"asleep"}}`, 400, nil)
	o.call(t, alice, "POST", path, `{"credential":{"description":"`+strings.Repeat("x", 256)+`"}}`, 400, nil)
	o.call(t, made, "GET", path, "", 200, nil)
	var list struct{ Credentials []credential }
	o.call(t, o.boss, "GET", path+"?user_id="+o.alice.ID, "", 200, &list)
	if len(list.Credentials) != 2 || list.Credentials[0].Secret+list.Credentials[1].Secret != "" {
		t.Errorf("got %+v, want two keys and no secret", list.Credentials)
	}
	o.call(t, alice, "DELETE", path+"/"+made.access, "", 204, nil)
	o.call(t, made, "GET", path, "", 401, nil)
	o.call(t, alice, "GET", path+"/"+made.access, "", 404, nil)
	for range 9 {
		o.call(t, alice, "POST", path, `{"credential":{}}`, 201, nil)
	}
	o.call(t, alice, "POST", path, `{"credential":{}}`, 409, nil)
}

func TestAdministrationIsAudited(t *testing.T) {
	o := newOffice(t)
	o.clock.Advance(time.Second)
	o.call(t, o.boss, "PATCH", "/v3/users/"+o.alice.ID, `{"user":{"password":"canary password"}}`, 200, nil)
	page, err := o.store.Audits(t.Context(), "", lacre.AuditQuery{AccountID: o.ada.AccountID, Limit: 1})
	fatal(t, err)
	got := page.Audits[0]
	if got.Action != "iam:users:setPassword" || got.UserName != "ada" || got.Source != "192.0.2.10" || got.Resource != "user/"+o.alice.ID || len(got.RequestID) != 32 {
		t.Errorf("audit = %+v, want who, from where and upon whom", got)
	}
	if strings.Contains(got.Detail+o.log.String(), "canary") {
		t.Error("the password is in the audit or the log")
	}
}

func TestBadBodiesOfAdministration(t *testing.T) {
	o := newOffice(t)
	for _, target := range []string{"/v3/users", "/v3/projects", "/v3/roles"} {
		for _, text := range []string{"", "{", "[]", `{}{}`, `{"user":{"name":"x"}}`} {
			o.call(t, o.boss, "POST", target, text, 400, nil)
		}
		o.call(t, o.boss, "POST", target, `{"x":"`+string(bytes.Repeat([]byte("x"), 70_000))+`"}`, 413, nil)
	}
	o.call(t, o.boss, "PATCH", "/v3/users/"+o.alice.ID, `{"user":{}}`, 400, nil)
	o.call(t, o.boss, "PATCH", "/v3/users/"+o.alice.ID, `{"user":{"name":"other","enabled":true}}`, 400, nil)
}
