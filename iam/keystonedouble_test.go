package iam_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/iam"
	"lacre/store"
)

const servicePassword = "canary-service-Password"

// keystoneDouble answers as Keystone 22 does. The faults of it that a real one cannot be
// made to show are what it is for; see TestKeystone of cmd/lacre for a real one.
type keystoneDouble struct {
	*httptest.Server
	asked    atomic.Int64 // requests
	signedIn atomic.Int64
	mu       sync.Mutex
	tokens   map[string]string // what is said about each, as JSON
	services map[string]bool   // tokens of the service user
	fault    http.HandlerFunc  // answers instead, when not nil
}

func newKeystoneDouble(t *testing.T) *keystoneDouble {
	t.Helper()
	d := &keystoneDouble{tokens: map[string]string{}, services: map[string]bool{}}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *keystoneDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.asked.Add(1)
	d.mu.Lock()
	fault := d.fault
	d.mu.Unlock()
	switch {
	case fault != nil:
		fault(w, r)
	case r.URL.Path != "/v3/auth/tokens":
		http.NotFound(w, r)
	case r.Method == http.MethodPost:
		d.signIn(w, r)
	default:
		d.show(w, r)
	}
}

func problem(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"code":%d,"message":"m","title":"t"}}`, status)
}

func (d *keystoneDouble) signIn(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Auth struct {
			Identity struct {
				Password struct {
					User struct {
						Name, Password string
						Domain         struct{ Name string }
					}
				}
			}
			Scope struct {
				Project struct {
					Name   string
					Domain struct{ Name string }
				}
			}
		}
	}
	err := json.NewDecoder(r.Body).Decode(&q)
	user, project := q.Auth.Identity.Password.User, q.Auth.Scope.Project
	if err != nil || user.Name != "lacre" || user.Password != servicePassword || user.Domain.Name != "Default" ||
		project.Name != "service" || project.Domain.Name != "Default" {
		problem(w, http.StatusUnauthorized)
		return
	}
	text := fmt.Sprintf("service-token-%d", d.signedIn.Add(1))
	d.mu.Lock()
	d.services[text] = true
	d.mu.Unlock()
	w.Header().Set("X-Subject-Token", text)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, `{"token":{"expires_at":"2026-01-01T01:00:00.000000Z","user":{"id":"s","name":"lacre"}}}`)
}

func (d *keystoneDouble) show(w http.ResponseWriter, r *http.Request) {
	asker, subject := r.Header.Get("X-Auth-Token"), r.Header.Get("X-Subject-Token")
	d.mu.Lock()
	defer d.mu.Unlock()
	said, known := d.tokens[subject]
	switch {
	case !d.services[asker] && d.tokens[asker] == "":
		problem(w, http.StatusUnauthorized)
	case !known:
		problem(w, http.StatusNotFound)
	default:
		fmt.Fprintf(w, `{"token":%s}`, said)
	}
}

func (d *keystoneDouble) set(fault http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// issue makes a token that ends in an hour, with these roles in a project.
func (d *keystoneDouble) issue(text, project string, roles ...string) {
	list := make([]map[string]string, len(roles))
	for i, role := range roles {
		list[i] = map[string]string{"id": "id-of-" + role, "name": role}
	}
	said, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	d.say(text, `{"expires_at":"2026-01-01T01:00:00.000000Z","user":{"id":"u-ann","name":"ann","domain":{"id":"d-staff","name":"staff"}},
		"project":{"id":"`+project+`","name":"web","domain":{"id":"d-web","name":"Web"}},"roles":`+string(said)+`}`)
}

// say makes a token about which Keystone says what is given.
func (d *keystoneDouble) say(text, said string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tokens[text] = said
}

func (d *keystoneDouble) revoke(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.tokens, text)
	delete(d.services, text)
}

// keystoneWorld is a Keystone, which validates by a service user, and who asks it.
type keystoneWorld struct {
	*iam.Keystone
	double *keystoneDouble
	store  *store.Store
	users  *faulty
	clock  *clock
	log    *safeBuffer
}

func newKeystoneWorld(t *testing.T, change ...func(*iam.KeystoneConfig)) *keystoneWorld {
	t.Helper()
	w := &keystoneWorld{
		double: newKeystoneDouble(t), clock: &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, log: &safeBuffer{},
	}
	w.store = newStore(t, w.clock)
	w.users = &faulty{backing: w.store}
	cfg := iam.KeystoneConfig{
		URL: w.double.URL + "/v3", User: "lacre", Password: servicePassword, Projects: w.users,
		Now: w.clock.Now, Log: slog.New(slog.NewJSONHandler(w.log, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if w.Keystone, err = iam.NewKeystone(cfg); err != nil {
		t.Fatal(err)
	}
	w.double.issue("good", "p-web", "member")
	return w
}

// bySelf lets every token validate itself.
func bySelf(c *iam.KeystoneConfig) { c.User, c.Password = "", "" }

func (w *keystoneWorld) present(token string) (lacre.Caller, error) {
	r := httptest.NewRequest("GET", "/v2/p-web/apic/certificates", nil)
	if token != "" {
		r.Header["X-Auth-Token"] = []string{token} // as it is
	}
	return w.Authenticate(r)
}

func (w *keystoneWorld) works(t *testing.T, what, token string) {
	t.Helper()
	if _, err := w.present(token); err != nil {
		t.Errorf("%s: error = %v, want nil", what, err)
	}
}

func (w *keystoneWorld) fails(t *testing.T, what, token string, want lacre.Code) {
	t.Helper()
	_, err := w.present(token)
	wantCode(t, what, err, want)
}
