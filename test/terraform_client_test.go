package test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// terraform sends requests as the Terraform provider does through its own client library
// (not the SDK): recorded from terraform-provider-huaweicloud at a0345b8d of 2026-08-21.
type terraform struct {
	*testing.T
	*lacre
	token     string // "password" has one, "access key" signs instead
	accountID string
}

// request is one recorded request. A path begins below the project of API Gateway,
// unless it begins with /v3/.
type request struct {
	method, path string
	body         any               // nil: none
	header       map[string]string // what the resource adds
	ok           []int             // nil: the library's own of the method
}

// refusal is an answer with a status that the provider does not take for success.
type refusal struct {
	status int
	code   string // error_code
	answer string
}

func (e *refusal) Error() string { return fmt.Sprintf("%d %s", e.status, e.answer) }

// accepted are the statuses that the library takes for success.
var accepted = map[string][]int{
	"GET": {200}, "POST": {200, 201, 202}, "PUT": {200, 201, 202}, "DELETE": {200, 202, 204},
}

// send returns the answer's body, nil when there is none.
func (tf *terraform) send(in request) (fields, *refusal) {
	tf.Helper()
	resp := tf.roundTrip(in)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		tf.Fatalf("%s %s: %v", in.method, in.path, err)
	}
	ok := in.ok
	if ok == nil {
		ok = accepted[in.method]
	}
	if !slices.Contains(ok, resp.StatusCode) {
		var e struct {
			Code string `json:"error_code"`
		}
		json.Unmarshal(answer, &e) // another form of error has no code
		return nil, &refusal{resp.StatusCode, e.Code, string(answer)}
	}
	if resp.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	// The library's pager parses nothing of another type.
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		tf.Fatalf("%s %s: got Content-Type %q, want application/json", in.method, in.path, kind)
	}
	out := fields{}
	if err := json.Unmarshal(answer, &out); err != nil {
		tf.Fatalf("%s %s: %v", in.method, in.path, err)
	}
	return out, nil
}

// must sends a request that has to succeed.
func (tf *terraform) must(in request) fields {
	tf.Helper()
	out, refused := tf.send(in)
	if refused != nil {
		tf.Fatalf("%s %s: %v", in.method, in.path, refused)
	}
	return out
}

func (tf *terraform) roundTrip(in request) *http.Response {
	tf.Helper()
	var body []byte
	if in.body != nil {
		var text bytes.Buffer // ends in a line break, and escapes no HTML
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(in.body); err != nil {
			tf.Fatal(err)
		}
		body = text.Bytes()
	}
	path := in.path
	if !strings.HasPrefix(path, "/v3/") {
		path = "/v2/" + tf.ProjectID + "/apigw" + path
	}
	r, err := http.NewRequestWithContext(tf.Context(), in.method, tf.URL+path, bytes.NewReader(body))
	if err != nil {
		tf.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "terraform-provider-iac golangsdk/2.0.0")
	if in.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range in.header {
		r.Header.Set(name, value)
	}
	tf.authenticate(r, body)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		tf.Fatalf("%s %s: %v", in.method, in.path, err)
	}
	return resp
}

// authenticate adds a token, or signs. Headers set after the signature are not in it.
func (tf *terraform) authenticate(r *http.Request, body []byte) {
	if tf.token != "" {
		r.Header.Set("X-Auth-Token", tf.token)
	} else if r.URL.Path != "/v3/auth/tokens" {
		sign(r, body, tf.AccessKey, tf.SecretKey, time.Now())
		r.Header.Set("X-Project-Id", tf.ProjectID)
		if tf.accountID != "" {
			r.Header.Set("X-Domain-Id", tf.accountID)
		}
	}
}

// sign signs every header that is set, and neither the host nor what comes later.
func sign(r *http.Request, body []byte, accessKey, secretKey string, now time.Time) {
	date := now.UTC().Format("20060102T150405Z")
	r.Header.Set("X-Sdk-Date", date)
	var names []string
	for name := range r.Header {
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	var headers strings.Builder
	for _, name := range names {
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(r.Header.Get(name)))
	}
	r.URL.RawQuery = canonicalQuery(r.URL.Query()) // sent as signed: filters get their escapes here
	canonical := strings.Join([]string{
		r.Method, r.URL.EscapedPath() + "/", r.URL.RawQuery, headers.String(), strings.Join(names, ";"), hexSum(body),
	}, "\n")
	mac := hmac.New(sha256.New, []byte(secretKey))
	io.WriteString(mac, "SDK-HMAC-SHA256\n"+date+"\n"+hexSum([]byte(canonical)))
	r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access="+accessKey+", SignedHeaders="+strings.Join(names, ";")+
		", Signature="+hex.EncodeToString(mac.Sum(nil)))
}

func canonicalQuery(query url.Values) string {
	return strings.ReplaceAll(query.Encode(), "+", "%20")
}

func hexSum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// configure makes the calls of the provider's own start, which every command repeats.
func (tf *terraform) configure() {
	tf.Helper()
	if tf.token != "" {
		tf.token = ""
		tf.signIn()
		tf.expectOne("/v3/users?name="+tf.UserName, "users", tf.UserName)
	}
	tf.accountID = tf.expectOne("/v3/auth/domains", "domains", tf.AccountName)
	if id := tf.expectOne("/v3/projects?name="+firstProject, "projects", firstProject); id != tf.ProjectID {
		tf.Fatalf("got project %s, want %s", id, tf.ProjectID)
	}
}

// expectOne is the id of the only entry of a list, on its last page.
func (tf *terraform) expectOne(path, list, name string) string {
	tf.Helper()
	answer := tf.must(request{method: "GET", path: path})
	entries, _ := answer[list].([]any)
	if len(entries) != 1 || entries[0].(fields)["name"] != name {
		tf.Fatalf("%s: got %v, want one called %s", path, entries, name)
	}
	if next := answer["links"].(fields)["next"]; next != nil {
		tf.Fatalf("%s: got links.next %v, want null: the provider would go on asking", path, next)
	}
	return entries[0].(fields)["id"].(string)
}

// signIn gets a token by name and password, for the project of a name.
func (tf *terraform) signIn() {
	tf.Helper()
	account := fields{"name": tf.AccountName}
	resp := tf.roundTrip(request{method: "POST", path: "/v3/auth/tokens", body: fields{"auth": fields{
		"identity": fields{"methods": []string{"password"}, "password": fields{"user": fields{
			"name": tf.UserName, "password": tf.Password, "domain": account,
		}}},
		"scope": fields{"project": fields{"name": firstProject, "domain": account}},
	}}})
	defer resp.Body.Close()
	var answer struct {
		Token struct {
			ExpiresAt time.Time `json:"expires_at"`
			Project   struct {
				ID string `json:"id"`
			} `json:"project"`
			Catalog []any `json:"catalog"`
		} `json:"token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusCreated {
		tf.Fatalf("signing in: got %d and %v, want 201", resp.StatusCode, err)
	}
	got := answer.Token
	if got.Project.ID != tf.ProjectID || got.ExpiresAt.Before(time.Now()) || got.Catalog == nil {
		tf.Fatalf("got token %+v, want one of project %s with a catalog", got, tf.ProjectID)
	}
	tf.token = resp.Header.Get("X-Subject-Token")
}
