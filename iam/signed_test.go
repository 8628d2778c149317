package iam_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lacre"
	"lacre/iam"
)

// pair is an access key in the hands of a client, which signs as the cloud's documents
// tell it to: written apart from the code under test.
type pair struct{ access, secret string }

// sign makes a request and signs its date and the headers given as pairs of name and value.
func (p pair) sign(w *world, method, target, text string, headers ...string) *http.Request {
	return p.signAt(w.clock.Now(), method, target, text, headers...)
}

func (p pair) signAt(at time.Time, method, target, text string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(text))
	r.RemoteAddr = home
	r.Header.Set("X-Sdk-Date", at.UTC().Format("20060102T150405Z"))
	names := []string{"x-sdk-date"}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		names = append(names, strings.ToLower(headers[i]))
	}
	p.seal(r, text, names)
	return r
}

func (p pair) seal(r *http.Request, text string, names []string) {
	slices.Sort(names)
	lines := []string{r.Method, strings.TrimRight(r.URL.EscapedPath(), "/") + "/", strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")}
	for _, name := range names {
		lines = append(lines, name+":"+r.Header.Get(name))
	}
	body := sha256.Sum256([]byte(text))
	lines = append(lines, "", strings.Join(names, ";"), hex.EncodeToString(body[:]))
	canonical := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	mac := hmac.New(sha256.New, []byte(p.secret))
	fmt.Fprintf(mac, "SDK-HMAC-SHA256\n%s\n%x", r.Header.Get("X-Sdk-Date"), canonical)
	r.Header.Set("Authorization", fmt.Sprintf("SDK-HMAC-SHA256 Access=%s, SignedHeaders=%s, Signature=%x", p.access, strings.Join(names, ";"), mac.Sum(nil)))
}

// keyed gives a user an access key.
func (w *world) keyed(t *testing.T, u *lacre.User) pair {
	t.Helper()
	k, secret, err := w.CreateAccessKey(t.Context(), lacre.Caller{}, u.ID, "test")
	fatal(t, err)
	return pair{k.ID, string(secret)}
}

// as presents a request to the certificate API's door, in a project.
func (w *world) as(r *http.Request, projectID string) (lacre.Caller, error) {
	return at(w.IAM, r, projectID)
}

func at(a *iam.IAM, r *http.Request, projectID string) (lacre.Caller, error) {
	r.SetPathValue("project_id", projectID)
	return a.Authenticate(r)
}

func (w *world) certificates() string { return "/v2/" + w.one.ID + "/apigw/certificates" }

func TestSignedRequests(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.alice)
	want := lacre.Caller{
		UserID: w.alice.ID, UserName: "alice", AccountID: w.alice.AccountID,
		ProjectID: w.one.ID, ProjectName: "cn-north-4", Role: lacre.RoleOperator,
	}
	for name, r := range map[string]*http.Request{
		"GET":              p.sign(w, "GET", w.certificates(), ""),
		"HEAD":             p.sign(w, "HEAD", w.certificates(), ""),
		"query":            p.sign(w, "GET", w.certificates()+"?name=%E8%AF%81+a&limit=100&instance_id", ""),
		"PUT with a body":  p.sign(w, "PUT", w.certificates()+"/x", `{"name":"é"}`+"\n", "Content-Type", "application/json", "User-Agent", "sdk"),
		"GET with a body":  p.sign(w, "GET", w.certificates(), "body"),
		"14:59 ago":        p.signAt(w.clock.Now().Add(-15*time.Minute+time.Second), "GET", w.certificates(), ""),
		"14:59 from now":   p.signAt(w.clock.Now().Add(15*time.Minute-time.Second), "GET", w.certificates(), ""),
		"unsigned project": unsigned(p.sign(w, "GET", w.certificates(), ""), "X-Project-Id", w.two.ID),
		"a useless token":  unsigned(p.sign(w, "GET", w.certificates(), ""), "X-Auth-Token", "nonsense"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := w.as(r, w.one.ID)
			if err != nil || got != want {
				t.Errorf("caller = %+v, %v, want %+v", got, err, want)
			}
			if again, err := w.as(r, w.one.ID); r.Header.Get("X-Auth-Token") == "" && (err != nil || again != want) {
				t.Errorf("the same request again = %+v, %v, want it taken: clients send equal ones", again, err)
			}
		})
	}
}

func TestTheBodyStaysForTheHandler(t *testing.T) {
	w := newWorld(t)
	r := w.keyed(t, w.alice).sign(w, "PUT", w.certificates(), "the body")
	if _, err := w.as(r, w.one.ID); err != nil {
		t.Fatal(err)
	}
	if left, err := io.ReadAll(r.Body); err != nil || string(left) != "the body" {
		t.Errorf("left of the body = %q, %v, want all of it", left, err)
	}
}

func unsigned(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}

// Whatever of a request is changed after signing, it is refused.
func TestTamperedRequests(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.alice)
	target := w.certificates() + "?name=a"
	for name, change := range map[string]func(*http.Request){
		"method":       func(r *http.Request) { r.Method = "DELETE" },
		"path":         func(r *http.Request) { r.URL.Path += "/x" },
		"query":        func(r *http.Request) { r.URL.RawQuery = "name=b" },
		"more query":   func(r *http.Request) { r.URL.RawQuery += "&name=b" },
		"no query":     func(r *http.Request) { r.URL.RawQuery = "" },
		"hidden query": func(r *http.Request) { r.URL.RawQuery += ";x=1" },
		"body":         func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("other")) },
		"no body":      func(r *http.Request) { r.Body = http.NoBody },
		"header":       func(r *http.Request) { r.Header.Set("User-Agent", "other") },
		"header twice": func(r *http.Request) { r.Header.Add("User-Agent", "other") },
		"no header":    func(r *http.Request) { r.Header.Del("User-Agent") },
		"date": func(r *http.Request) {
			r.Header.Set("X-Sdk-Date", w.clock.Now().Add(time.Minute).Format("20060102T150405Z"))
		},
		"body hash":     func(r *http.Request) { r.Header.Set("X-Sdk-Content-Sha256", strings.Repeat("0", 64)) },
		"no body hash":  func(r *http.Request) { r.Header.Set("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD") },
		"signed names":  func(r *http.Request) { replace(r, "user-agent;", "") },
		"signature":     func(r *http.Request) { replace(r, "Signature=", "Signature=0") },
		"encoded slash": func(r *http.Request) { r.URL, _ = url.Parse(strings.Replace(target, "/apigw/", "/apigw%2F", 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := p.sign(w, "PUT", target, "body", "User-Agent", "sdk")
			change(r)
			r.RemoteAddr = name // a place of its own, or the lock would answer
			caller, err := w.as(r, w.one.ID)
			wantCode(t, "Authenticate", err, lacre.CodeSignature)
			if caller != (lacre.Caller{}) {
				t.Errorf("caller = %+v beside an error, want none", caller)
			}
		})
	}
}

func replace(r *http.Request, old, new string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, new, 1))
}

func TestWhoMayNotSign(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.alice)
	get := func(p pair) *http.Request { return p.sign(w, "GET", w.certificates(), "") }
	const prefix = "Incorrect IAM authentication information: "
	for name, tt := range map[string]struct {
		r       *http.Request
		project string
		code    lacre.Code
		message string // the text is the contract
	}{
		"wrong secret": {get(pair{p.access, "wrong"}), w.one.ID, lacre.CodeSignature, prefix + "verify aksk signature fail"},
		"empty secret": {get(pair{p.access, ""}), w.one.ID, lacre.CodeSignature, prefix + "verify aksk signature fail"},
		"no such key": {get(pair{"NOSUCHKEY", p.secret}), w.one.ID, lacre.CodeKeyUnknown,
			prefix + "Get secretKey failed,ak:NOSUCHKEY,err:ak not exist"},
		"decoy's secret": {get(pair{"NOSUCHKEY2", strings.Repeat("A", 40)}), w.one.ID, lacre.CodeKeyUnknown,
			prefix + "Get secretKey failed,ak:NOSUCHKEY2,err:ak not exist"},
		"too old": {p.signAt(w.clock.Now().Add(-15*time.Minute-time.Second), "GET", w.certificates(), ""), w.one.ID, lacre.CodeSignatureExpired,
			prefix + "signature expired, signature time:20251231T234459Z,server time:20260101T000000Z"},
		"too new": {p.signAt(w.clock.Now().Add(15*time.Minute+time.Second), "GET", w.certificates(), ""), w.one.ID, lacre.CodeSignatureExpired,
			prefix + "signature expired, signature time:20260101T001501Z,server time:20260101T000000Z"},
		"no role there":   {get(p), w.two.ID, lacre.CodeForbidden, "the user has no role in the project"},
		"no such project": {get(p), "none", lacre.CodeForbidden, "the user has no role in the project"},
		"no project":      {get(p), "", lacre.CodeForbidden, "the user has no role in the project"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.as(tt.r, tt.project)
			wantCode(t, "Authenticate", err, tt.code)
			if e, ok := err.(*lacre.Error); !ok || e.Message != tt.message {
				t.Errorf("message = %v, want %q", err, tt.message)
			}
		})
	}
}

// What is switched off or gone is refused within a second, on every node.
func TestEndsOfAccessKeys(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *world, pair){
		"key disabled": func(t *testing.T, w *world, p pair) {
			off := true
			_, err := w.ChangeAccessKey(t.Context(), lacre.Caller{}, p.access, &off, nil)
			fatal(t, err)
		},
		"key deleted": func(t *testing.T, w *world, p pair) {
			fatal(t, w.DeleteAccessKey(t.Context(), lacre.Caller{}, p.access))
		},
		"user disabled": func(t *testing.T, w *world, p pair) { fatal(t, w.Disable(t.Context(), lacre.Caller{}, w.alice.ID)) },
		"user deleted": func(t *testing.T, w *world, p pair) {
			commit(t, w, lacre.Tx{Delete: []lacre.Record{current(t, w, w.alice.ID)}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.keyed(t, w.alice)
			other := w.node(t)
			for _, node := range []*iam.IAM{w.IAM, other} {
				if _, err := at(node, p.sign(w, "GET", w.certificates(), ""), w.one.ID); err != nil {
					t.Fatal(err)
				}
			}
			end(t, w, p)
			w.clock.Advance(time.Second)
			for _, node := range []*iam.IAM{w.IAM, other} {
				_, err := at(node, p.sign(w, "GET", w.certificates(), ""), w.one.ID)
				wantCode(t, "Authenticate", err, lacre.CodeKeyUnknown)
			}
			// To who has not the secret, a key that is off looks like any other.
			_, err := w.as(pair{p.access, "wrong"}.sign(w, "GET", w.certificates(), ""), w.one.ID)
			if name != "key deleted" {
				wantCode(t, "wrong secret", err, lacre.CodeSignature)
			}
		})
	}
}

func TestARoleThatIsTakenCountsWithinASecond(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.alice)
	w.grant(t, w.alice, w.two, lacre.RoleViewer)
	caller, err := w.as(p.sign(w, "GET", "/v2/"+w.two.ID+"/apigw/certificates", ""), w.two.ID)
	if err != nil || caller.Role != lacre.RoleViewer || caller.ProjectID != w.two.ID {
		t.Errorf("caller = %+v, %v, want a viewer of the project in the path", caller, err)
	}
	w.grant(t, w.alice, w.one, lacre.RoleAdmin)
	w.clock.Advance(time.Second)
	if caller, err := w.as(p.sign(w, "GET", w.certificates(), ""), w.one.ID); err != nil || caller.Role != lacre.RoleAdmin {
		t.Errorf("caller = %+v, %v, want an admin", caller, err)
	}
}

// Five wrong signatures lock one key for one place, for five minutes.
func TestWrongSignaturesLockTheKeyForTheirSource(t *testing.T) {
	w := newWorld(t)
	p, q := w.keyed(t, w.alice), w.keyed(t, w.bob)
	from := func(source string, p pair, projectID string) error {
		r := p.sign(w, "GET", w.certificates(), "")
		r.RemoteAddr = source
		_, err := w.as(r, projectID)
		return err
	}
	wrong := pair{p.access, "wrong"}
	for range 4 {
		wantCode(t, "wrong", from(home, wrong, w.one.ID), lacre.CodeSignature)
	}
	fatal(t, from(home, p, w.one.ID)) // forgives
	for range 5 {
		wantCode(t, "wrong", from(home, wrong, w.one.ID), lacre.CodeSignature)
	}
	asked := w.users.asked.Load()
	wantCode(t, "right while locked", from(home, p, w.one.ID), lacre.CodeKeyLocked)
	wantCode(t, "another port of it", from("192.0.2.10:50000", p, w.one.ID), lacre.CodeKeyLocked)
	if got := w.users.asked.Load(); got != asked {
		t.Errorf("a locked key asked the store %d times, want none", got-asked)
	}
	fatal(t, from("192.0.2.11:40000", p, w.one.ID))
	fatal(t, from(home, q, w.two.ID))
	w.clock.Advance(5*time.Minute - time.Second)
	wantCode(t, "a second too early", from(home, p, w.one.ID), lacre.CodeKeyLocked)
	w.clock.Advance(time.Second)
	fatal(t, from(home, p, w.one.ID))
	wantCode(t, "one more wrong", from(home, wrong, w.one.ID), lacre.CodeSignature)
	fatal(t, from(home, p, w.one.ID))
}

// A clock that is off and a body that is not signed are mistakes, not guesses.
func TestMistakesDoNotLock(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.alice)
	for range 6 {
		_, err := w.as(p.signAt(w.clock.Now().Add(-time.Hour), "GET", w.certificates(), ""), w.one.ID)
		wantCode(t, "old", err, lacre.CodeSignatureExpired)
		_, err = w.as(p.sign(w, "GET", w.certificates(), "", "X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD"), w.one.ID)
		wantCode(t, "unsigned body", err, lacre.CodeSignature)
	}
	_, err := w.as(p.sign(w, "GET", w.certificates(), ""), w.one.ID)
	fatal(t, err)
}

// A flood of requests, of made-up keys too, neither reaches the store nor pushes out what
// is remembered of real ones.
func TestSignedRequestsAskTheStoreOncePerSecond(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.alice)
	one := func() {
		_, err := w.as(p.sign(w, "GET", w.certificates(), ""), w.one.ID)
		fatal(t, err)
	}
	one()
	asked := w.users.asked.Load()
	for range 200 {
		one()
	}
	if got := w.users.asked.Load(); got != asked {
		t.Errorf("200 requests asked the store %d times, want none", got-asked)
	}
	for i := range 20 {
		_, err := w.as(pair{fmt.Sprintf("MADEUP%d", i), "x"}.sign(w, "GET", w.certificates(), ""), w.one.ID)
		wantCode(t, "made up", err, lacre.CodeKeyUnknown)
	}
	asked = w.users.asked.Load()
	one()
	if got := w.users.asked.Load(); got != asked {
		t.Errorf("after made-up keys a request asked the store %d times, want none", got-asked)
	}
	w.clock.Advance(time.Second)
	one()
	if got := w.users.asked.Load(); got == asked {
		t.Error("a second later the store was not asked, want it asked")
	}
}

func TestWithoutTheStoreNoSignatureIsTaken(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.alice)
	w.users.down.Store(true)
	for range 6 { // and it does not count as a failure
		_, err := w.as(p.sign(w, "GET", w.certificates(), ""), w.one.ID)
		wantCode(t, "store away", err, lacre.CodeUnavailable)
	}
	w.users.down.Store(false)
	_, err := w.as(p.sign(w, "GET", w.certificates(), ""), w.one.ID)
	fatal(t, err)
}

// A sealed secret is good for its own key and user only.
func TestASecretCannotBeMovedToAnotherUser(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.bob)
	k, err := w.store.AccessKey(t.Context(), p.access)
	fatal(t, err)
	k.UserID = w.alice.ID
	commit(t, w, lacre.Tx{Put: []lacre.Record{k}})
	_, err = w.as(p.sign(w, "GET", w.certificates(), ""), w.one.ID)
	if err == nil || lacre.CodeOf(err) != lacre.CodeInternal {
		t.Errorf("bob's key in alice's name: error = %v, want an internal one", err)
	}
}

func TestTheSecretIsSealedAndSaidOnce(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.alice)
	if len(p.access) != 20 || len(p.secret) != 40 || strings.ToUpper(p.access) != p.access {
		t.Errorf("key = %d and %d characters, want 20 and 40", len(p.access), len(p.secret))
	}
	k, err := w.store.AccessKey(t.Context(), p.access)
	fatal(t, err)
	if strings.Contains(string(k.SealedSecret), p.secret) || len(k.SealedSecret) < 40+16 {
		t.Errorf("the stored secret is %d bytes, want it sealed", len(k.SealedSecret))
	}
	w.as(pair{p.access, "wrong"}.sign(w, "GET", w.certificates(), ""), w.one.ID)
	if strings.Contains(w.log.String(), p.secret) {
		t.Error("the secret is in the log")
	}
}

// Two clients that ask for the last place at once do not both get it.
func TestKeysPerUser(t *testing.T) {
	w := newWorld(t)
	for range 9 {
		w.keyed(t, w.alice)
	}
	var got sync.Map
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			_, _, err := w.CreateAccessKey(t.Context(), lacre.Caller{}, w.alice.ID, "race")
			got.Store(i, err)
		})
	}
	all.Wait()
	keys, err := w.store.AccessKeys(t.Context(), w.alice.ID)
	fatal(t, err)
	if len(keys) != 10 {
		t.Errorf("%d keys after a race for the tenth, want 10", len(keys))
	}
	var made int
	got.Range(func(_, err any) bool {
		if err == nil {
			made++
		}
		return true
	})
	if made != 1 {
		t.Errorf("%d of 4 were told they have the tenth key, want 1", made)
	}
}

// The identity calls take a signature as well as a token.
func TestSignedIdentityCalls(t *testing.T) {
	w := newWorld(t)
	p := w.keyed(t, w.alice)
	for target, want := range map[string]string{
		"/v3/projects?name=cn-north-4": w.one.ID, "/v3/auth/domains": w.one.AccountID, "/v3/users?name=alice": w.alice.ID,
	} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, p.sign(w, "GET", target, ""))
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("GET %s = %d %s, want %s in it", target, rec.Code, rec.Body, want)
		}
		rec = httptest.NewRecorder()
		w.ServeHTTP(rec, pair{p.access, "wrong"}.sign(w, "GET", target, ""))
		wantProblem(t, rec, 401)
	}
}
