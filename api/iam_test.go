package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"lacre"
	"lacre/api"
	"lacre/iam"
)

// One life with the real IAM: sign in, modify, sign out.
func TestSignedInByIAM(t *testing.T) {
	ctx := context.Background()
	clock := &stopped{now: time.Now()} // the store forgets revoked tokens by its own clock
	key, err := iam.NewTokenKey()
	if err != nil {
		t.Fatal(err)
	}
	identity, err := iam.New(iam.Config{Users: shared.store, TokenKey: key, Sealer: shared.sealer, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	account := "account-" + lacre.NewID()
	const password = "correct horse battery"
	user, err := identity.CreateUser(ctx, lacre.Caller{}, account, "olga", password)
	if err != nil {
		t.Fatal(err)
	}
	project, err := identity.CreateProject(ctx, lacre.Caller{}, account, "north")
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.Grant(ctx, lacre.Caller{}, user.ID, project.ID, lacre.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.IAM, c.Auth = identity, identity })
	w.base = w.url + "/v2/" + project.ID + "/apigw"
	w.http.Transport.(*contract).iam = true

	ask := func(password string, scope obj) *answer {
		return w.as("").post(w.url+"/v3/auth/tokens?nocatalog=true", obj{"auth": obj{
			"identity": obj{"methods": []string{"password"}, "password": obj{"user": obj{
				"name": "olga", "password": password, "domain": obj{"name": account},
			}}},
			"scope": scope,
		}}, "Content-Type", "application/json;charset=utf8")
	}
	if got := w.as("").get(w.url+"/v3/projects", "X-Request-Id", "of-the-client").Header.Values("X-Request-Id"); len(got) != 1 || got[0] != "of-the-client" {
		t.Errorf("got request ids %q from IAM, want the client's", got)
	}
	ask("wrong password", obj{"project": obj{"id": project.ID}}).ok(http.StatusUnauthorized)
	scoped := ask(password, obj{"project": obj{"name": "north"}}).ok(http.StatusCreated).Header.Get("X-Subject-Token")
	c := w.as(scoped)
	first := c.get("/instances").ok(200).list("instances")
	if len(first) != 1 || first[0]["instance_name"] != "default" {
		t.Fatalf("got instances %v, want the one that a project starts with", first)
	}
	instance := first[0]["id"].(string)
	id := c.post("/certificates", with(w.form("cert_signed", "www.a.test"), "type", "instance", "instance_id", instance)).ok(200).text("id")
	c.put("/certificates/"+id, w.form("cert_signed", "www.b.test")).ok(200)
	c.get(w.url + "/v3/projects?name=north").ok(200)
	c.get(w.url + "/v3/auth/domains").ok(200)
	c.get(w.url + "/v3/users?name=olga").ok(200)
	c.get(w.url+"/v3/auth/tokens", "X-Subject-Token", scoped).ok(200)

	page, err := shared.store.Audits(ctx, project.ID, lacre.AuditQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var found bool
	for _, a := range page.Audits {
		found = found || a.Resource == "certificate/"+id && a.UserName == "olga" && a.Source == "127.0.0.1" && len(a.RequestID) == 32
	}
	if !found {
		t.Errorf("got audit %v, want olga's changes with source and request id", page.Audits)
	}

	unscoped := ask(password, obj{"domain": obj{"name": account}}).ok(http.StatusCreated).Header.Get("X-Subject-Token")
	w.as(unscoped).get("/certificates/"+id).refused(401, "APIG.1003")
	w.as(strings.ToUpper(scoped)).get("/certificates/"+id).refused(401, "APIG.1002")
	w.as("").get("/certificates/"+id).refused(401, "APIG.1000")

	c.delete(w.url+"/v3/auth/tokens", "X-Subject-Token", scoped).ok(204)
	c.get("/certificates/"+id).refused(401, "APIG.1002")
	aging := ask(password, obj{"project": obj{"name": "north"}}).ok(http.StatusCreated).Header.Get("X-Subject-Token")
	clock.pass(25 * time.Hour)
	w.as(aging).get("/certificates/"+id).refused(401, "APIG.1001")
	w.as("").get("/certificates/"+id, "Authorization", "SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date, Signature=00").
		refused(401, "APIGW.0301", "Incorrect IAM authentication information")
	if strings.Contains(shared.log.String(), scoped) || strings.Contains(shared.log.String(), password) {
		t.Error("got a token or a password in the log")
	}
}
