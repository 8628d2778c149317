package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lacre"
	"lacre/api"
	"lacre/internal/testcert"
	"lacre/keyring"
	"lacre/store"
)

// start is when every test begins; the service's clock moves a second at each reading,
// so that what is made later is newer.
var start = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// shared is what all tests of a run use together: tests are told apart by project.
var shared struct {
	store  *store.Store
	sealer *keyring.Keyring
	log    trail // everything that was logged
	wire   trail // everything that was answered
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lacre-api")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	if shared.store, err = store.Embedded(ctx, store.EmbeddedConfig{Dir: filepath.Join(dir, "data"), ReserveBytes: 1}); err != nil {
		panic(err)
	}
	defer shared.store.Close()
	if shared.sealer, err = keyring.Unlock(ctx, "file:"+filepath.Join(dir, "master.key"), shared.store); err != nil {
		panic(err)
	}
	code := m.Run()
	if leaks := leaked(); len(leaks) > 0 {
		fmt.Println("FAIL: key material got out:", strings.Join(leaks, ", "))
		return 1
	}
	if wrong := unaccounted(); code == 0 && wholeRun() && len(wrong) > 0 {
		fmt.Println("FAIL: codes of the error table:\n" + strings.Join(wrong, "\n"))
		return 1
	}
	return code
}

// trail collects text from many goroutines.
type trail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *trail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(b)
}

func (t *trail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// world is a real service over a real store, a project of its own, and the API in front.
type world struct {
	*testing.T
	*client
	service  *lacre.Service
	log      *trail // what this world's API logged
	url      string
	project  string
	instance string
	ca       *testcert.CA
}

// edit changes what a world is made of.
type edit func(*api.Config, *lacre.Config)

func newWorld(t *testing.T, edits ...edit) *world {
	t.Helper()
	w := &world{T: t, log: &trail{}, project: lacre.NewID(), ca: testcert.NewCA(t, "Test CA")}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(w.log, &shared.log), &slog.HandlerOptions{Level: slog.LevelDebug}))
	var mu sync.Mutex
	now := start
	lc := lacre.Config{Store: shared.store, Sealer: shared.sealer, Log: log, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}}
	ac := api.Config{Auth: &gate{}, Log: log}
	for _, e := range edits {
		e(&ac, &lc)
	}
	w.service = lacre.NewService(lc)
	ac.Service = w.service
	server := httptest.NewServer(api.New(ac))
	t.Cleanup(server.Close)
	w.url = server.URL
	w.client = &client{
		t: t, base: server.URL + "/v2/" + w.project + "/apigw", token: "admin." + w.project,
		http: &http.Client{
			Transport:     &contract{t: t, next: server.Client().Transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if _, ours := ac.Auth.(*gate); ours {
		w.instance = w.post("/instances", obj{"instance_name": "default"}).ok(201).text("id")
	}
	return w
}

// gate is an Authenticator whose tokens say who they are: "<role>.<project>". Others
// provoke what a real one can do.
type gate struct {
	hold chan struct{} // "hold" tokens wait until it is closed,
	held chan struct{} // and say here that they do
	mu   sync.Mutex
	body string // what the last request's body was
}

func (g *gate) Authenticate(r *http.Request) (lacre.Caller, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return lacre.Caller{}, err
	}
	g.mu.Lock()
	g.body = string(body)
	g.mu.Unlock()
	token := r.Header.Get("X-Auth-Token")
	kind, rest, _ := strings.Cut(token, ".")
	switch kind {
	case "":
		return lacre.Caller{}, lacre.Errorf(lacre.CodeTokenMissing, "no X-Auth-Token")
	case "code":
		return lacre.Caller{}, &lacre.Error{Code: lacre.Code(rest), Field: "some_field", Message: "the reason", Err: errors.New("the cause")}
	case "store-down":
		return lacre.Caller{}, fmt.Errorf("looking up the user: %w", lacre.ErrUnavailable)
	case "bug":
		return lacre.Caller{}, errors.New("an unforeseen thing")
	case "panic":
		panic("at the disco with " + token)
	case "index":
		_ = body[len(body)]
	case "hold":
		g.held <- struct{}{}
		<-g.hold
		return lacre.Caller{}, lacre.Errorf(lacre.CodeTokenInvalid, "held")
	case "unscoped":
		return lacre.Caller{UserID: "u1", UserName: "una"}, nil
	case "admin", "operator", "viewer":
		return lacre.Caller{UserID: "u-" + kind, UserName: kind, ProjectID: rest, Role: lacre.Role(kind)}, nil
	}
	return lacre.Caller{}, lacre.Errorf(lacre.CodeTokenInvalid, "no such token")
}

// client sends requests to one product as one caller.
type client struct {
	t     *testing.T
	base  string
	token string
	http  *http.Client
}

// as is the client with another token.
func (c client) as(token string) *client {
	c.token = token
	return &c
}

// on is the client on another product, "apic" or "apigw".
func (c client) on(product string) *client {
	c.base = c.base[:strings.LastIndex(c.base, "/")+1] + product
	return &c
}

type obj = map[string]any

func (c *client) get(path string, header ...string) *answer {
	return c.send("GET", path, nil, header...)
}
func (c *client) delete(path string, header ...string) *answer {
	return c.send("DELETE", path, nil, header...)
}
func (c *client) post(path string, body any, header ...string) *answer {
	return c.send("POST", path, body, header...)
}
func (c *client) put(path string, body any, header ...string) *answer {
	return c.send("PUT", path, body, header...)
}

// send makes one request. A body that is a string is sent as it is, others as JSON; path
// is below the product's prefix unless it is a whole URL.
func (c *client) send(method, path string, body any, header ...string) *answer {
	c.t.Helper()
	var text io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		text = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		text = bytes.NewReader(append(raw, '\n'))
	}
	if !strings.HasPrefix(path, "http") {
		path = c.base + path
	}
	r, err := http.NewRequest(method, path, text)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		r.Header.Set("X-Auth-Token", c.token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return &answer{c.t, method + " " + path, resp, raw}
}

// answer is what came back, with the questions tests ask of it.
type answer struct {
	t    *testing.T
	what string
	*http.Response
	raw []byte
}

// ok demands a status, and a body exactly when there is to be one.
func (a *answer) ok(status int) *answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Fatalf("%s: got %d %s, want %d", a.what, a.StatusCode, a.raw, status)
	}
	if status == 204 && len(a.raw) != 0 {
		a.t.Fatalf("%s: got a body with 204: %s", a.what, a.raw)
	}
	return a
}

// refused demands an error with a status, a number and pieces of its message.
func (a *answer) refused(status int, number string, pieces ...string) {
	a.t.Helper()
	got := a.object()
	message, _ := got["error_msg"].(string)
	if a.StatusCode != status || got["error_code"] != number {
		a.t.Errorf("%s: got %d %v, want %d %s", a.what, a.StatusCode, got, status, number)
	}
	for _, p := range pieces {
		if !strings.Contains(message, p) {
			a.t.Errorf("%s: got message %q, want %q in it", a.what, message, p)
		}
	}
	if got["request_id"] != a.Header.Get("X-Request-Id") {
		a.t.Errorf("%s: got request_id %v, want that of the header %q", a.what, got["request_id"], a.Header.Get("X-Request-Id"))
	}
}

func (a *answer) object() obj {
	a.t.Helper()
	var o obj
	if err := json.Unmarshal(a.raw, &o); err != nil {
		a.t.Fatalf("%s: got %d %q, want a JSON object: %v", a.what, a.StatusCode, a.raw, err)
	}
	return o
}

func (a *answer) text(name string) string {
	a.t.Helper()
	s, ok := a.object()[name].(string)
	if !ok {
		a.t.Fatalf("%s: got %s, want a string %s", a.what, a.raw, name)
	}
	return s
}

// list is a member that is an array of objects.
func (a *answer) list(name string) []obj {
	a.t.Helper()
	items, ok := a.object()[name].([]any)
	if !ok {
		a.t.Fatalf("%s: got %s, want an array %s", a.what, a.raw, name)
	}
	out := make([]obj, len(items))
	for i := range items {
		out[i] = items[i].(obj)
	}
	return out
}

func notReady(c *api.Config, _ *lacre.Config) {
	c.Ready = func(context.Context) error { return errors.New("the store did not answer") }
}

func quote(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}
