package api_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"lacre"
	"lacre/api"
	"lacre/iam"
)

// signing is a transport that signs with an access key, as the cloud's SDK does.
type signing struct {
	access, secret string
	now            func() time.Time
	next           http.RoundTripper
}

func (s signing) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	date := s.now().UTC().Format("20060102T150405Z")
	r.Header.Set("X-Sdk-Date", date)
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	request := fmt.Sprintf("%s\n%s/\n%s\nx-sdk-date:%s\n\nx-sdk-date\n%x", r.Method, r.URL.EscapedPath(), query, date, sha256.Sum256(body))
	mac := hmac.New(sha256.New, []byte(s.secret))
	fmt.Fprintf(mac, "SDK-HMAC-SHA256\n%s\n%x", date, sha256.Sum256([]byte(request)))
	r.Header.Set("Authorization", fmt.Sprintf("SDK-HMAC-SHA256 Access=%s, SignedHeaders=x-sdk-date, Signature=%x", s.access, mac.Sum(nil)))
	return s.next.RoundTrip(r)
}

// signed is the world's client with an access key in the place of a token.
func (w *world) signed(access, secret string, now func() time.Time) *client {
	c := *w.client.as("")
	c.http = &http.Client{Transport: signing{access, secret, now, w.http.Transport}}
	return &c
}

// One account's life over HTTP, everything signed and held against openapi.yaml: from
// its administrator's key to a colleague who may do one thing.
func TestSignedByAccessKeys(t *testing.T) {
	ctx := context.Background()
	key, err := iam.NewTokenKey()
	if err != nil {
		t.Fatal(err)
	}
	identity, err := iam.New(iam.Config{Users: shared.store, TokenKey: key, Sealer: shared.sealer})
	if err != nil {
		t.Fatal(err)
	}
	account := "account-" + lacre.NewID()
	ada, err := identity.CreateUser(ctx, lacre.Caller{}, account, "ada", "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.ChangeUser(ctx, lacre.Caller{}, ada.ID, iam.UserChange{Administrator: new(true)}); err != nil {
		t.Fatal(err)
	}
	k, secret, err := identity.CreateAccessKey(ctx, lacre.Caller{}, ada.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.IAM, c.Auth = identity, identity })
	w.http.Transport.(*contract).iam = true
	boss := w.signed(k.ID, string(secret), time.Now)
	const keys = "/v3.0/OS-CREDENTIAL/credentials"

	project := boss.post(w.url+"/v3/projects", obj{"project": obj{"name": "north"}}).ok(201).object()["project"].(obj)["id"].(string)
	olga := boss.post(w.url+"/v3/users", obj{"user": obj{"name": "olga", "password": "a long password"}}).ok(201).object()["user"].(obj)["id"].(string)
	boss.get(w.url + "/v3/users/" + olga).ok(200)
	boss.send("PATCH", w.url+"/v3/users/"+olga, obj{"user": obj{"enabled": true}}).ok(200)
	boss.post(w.url+"/v3/roles", obj{"role": obj{"name": "creator", "permissions": []string{"apig:certificate:create", "apig:certificate:get"}}}).ok(201)
	roles := w.url + "/v3/projects/" + project + "/users/" + olga + "/roles"
	boss.put(roles+"/creator", nil).ok(204)
	boss.get(roles).ok(200)
	boss.get(w.url + "/v3/roles").ok(200)
	boss.get(w.url + "/v3/audit?limit=2").ok(200)
	boss.delete(w.url + "/v3/roles/creator").ok(409)
	made := boss.post(w.url+keys, obj{"credential": obj{"user_id": olga, "description": "CI"}}).ok(201).object()["credential"].(obj)

	hers := w.signed(made["access"].(string), made["secret"].(string), time.Now)
	hers.base = w.url + "/v2/" + project + "/apigw"
	id := hers.post("/certificates", w.form("cert_signed", "www.a.test")).ok(200).text("id")
	hers.on("apic").get("/certificates/" + id + "?x=%E8%AF%81+a&flag").ok(200)
	hers.get("/certificates?instance_id").refused(403, "APIG.1005") // not among the role's permissions
	hers.get(w.url+"/v2/"+w.project+"/apigw/certificates/"+id, "X-Project-Id", project).refused(403, "APIG.1005")
	boss.get(hers.base+"/certificates/"+id).refused(403, "APIG.1005") // an administrator without a role
	hers.get(w.url + "/v3/projects?name=north").ok(200)
	hers.get(w.url + "/v3/auth/domains").ok(200)
	hers.get(w.url + keys).ok(200)
	hers.get(w.url + "/v3/audit").ok(403)
	hers.post(w.url+"/v3/users", obj{"user": obj{"name": "eve", "password": "a long password"}}).ok(403)

	spare := hers.post(w.url+keys, obj{"credential": obj{}}).ok(201).object()["credential"].(obj)
	locked := w.signed(spare["access"].(string), spare["secret"].(string), time.Now)
	locked.base = hers.base
	refusals(w, locked)
	path := w.url + keys + "/" + made["access"].(string)
	hers.get(path).ok(200)
	boss.put(path, obj{"credential": obj{"status": "inactive"}}).ok(200)
	hers.get("/certificates/"+id).refused(401, "APIGW.0301", "ak is inactive")
	hers.get(w.url + "/v3/projects").ok(401)
	boss.delete(path).ok(204)
	boss.delete(roles + "/creator").ok(204)
	boss.delete(w.url + "/v3/roles/creator").ok(204)
	w.as("").post(w.url+"/v3/users/"+olga+"/password", obj{"user": obj{"password": "x", "original_password": "y"}}).ok(401)
	boss.delete(w.url + "/v3/users/" + olga).ok(204)
	for _, secret := range []string{string(secret), made["secret"].(string), "a long password"} {
		if strings.Contains(shared.log.String(), secret) {
			t.Error("got a secret in the log")
		}
	}
}

// Every identity call of the document is served, and to nobody unknown.
func TestDocumentedIdentityCallsAreServed(t *testing.T) {
	key, err := iam.NewTokenKey()
	if err != nil {
		t.Fatal(err)
	}
	identity, err := iam.New(iam.Config{Users: shared.store, TokenKey: key, Sealer: shared.sealer})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.IAM, c.Auth = identity, identity })
	w.http.Transport.(*contract).iam = true
	calls := 0
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !strings.HasPrefix(path, "/v3") || method+path == "POST/v3/auth/tokens" {
				continue
			}
			calls++
			w.as("").send(method, w.url+regexp.MustCompile(`{\w+}`).ReplaceAllString(path, "x"), nil).ok(http.StatusUnauthorized)
		}
	}
	if calls < 20 {
		t.Errorf("got %d identity calls in the document, want all of them", calls)
	}
}

// refusals are the forms of 401 for signatures.
func refusals(w *world, good *client) {
	w.Helper()
	s := good.http.Transport.(signing)
	as := func(s signing) *client {
		c := *good
		c.http = &http.Client{Transport: s}
		return &c
	}
	forged, stranger, late := s, s, s
	forged.secret = "wrong"
	stranger.access = "NOSUCHKEY"
	late.now = func() time.Time { return time.Now().Add(-time.Hour) }
	as(stranger).get("/certificates").refused(401, "APIGW.0301", "Incorrect IAM authentication information: Get secretKey failed,ak:NOSUCHKEY,err:ak not exist")
	as(late).get("/certificates").refused(401, "APIGW.0301", "Incorrect IAM authentication information: signature expired, signature time:")
	good.get("/certificates", "X-Security-Token", "x").refused(401, "APIGW.0301", "temporary access keys")
	good.post("/certificates", obj{}, "X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD").refused(401, "APIGW.0301", "UNSIGNED-PAYLOAD")
	for range 5 {
		as(forged).get("/certificates").refused(401, "APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail")
	}
	other := stranger
	other.access = forged.access + "X"
	as(other).get("/certificates").refused(401, "APIGW.0301", "ak not exist") // the lock is that of one key
	as(forged).get("/certificates").refused(401, "APIGW.0301", "AK access failed to reach the limit,forbidden.")
}
