package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"lacre/api"
)

// contract is a transport that holds every exchange of these tests against
// openapi.yaml: what the API accepts and whatever it answers is as documented.
type contract struct {
	t    *testing.T
	next http.RoundTripper
	iam  bool // /v3/ is served by the real IAM
}

var described = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil
	return legacy.NewRouter(doc)
})

func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	remember(sent)
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(got))
	witness(r, got)
	fmt.Fprintf(&shared.wire, "%v %s\n", resp.Header, got)
	if strings.HasPrefix(r.URL.Path, "/v3") && !c.iam {
		return resp, nil // served by what a test put there
	}
	if err := c.check(r, sent, resp, got); err != nil {
		c.t.Errorf("%s %s answered %d, against openapi.yaml: %v", r.Method, r.URL.Path, resp.StatusCode, err)
	}
	return resp, nil
}

func (c *contract) check(r *http.Request, sent []byte, resp *http.Response, got []byte) error {
	router, err := described()
	if err != nil {
		return err
	}
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(sent))
	route, params, err := router.FindRoute(again)
	// The router looks at decoded paths and overlooks a final slash; the API does not.
	if err != nil || r.URL.RawPath != "" || strings.HasSuffix(r.URL.Path, "/") {
		if resp.StatusCode >= 400 && bytes.HasPrefix(got, []byte(`{"error_code":"`)) || r.Method == "HEAD" {
			return nil
		}
		return fmt.Errorf("the document has no such operation, the answer is %s", got)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: again, PathParams: params, Route: route, QueryParams: r.URL.Query(),
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true,
			IncludeResponseStatus: true, ExcludeRequestBody: len(sent) == 0,
		},
	}
	if resp.StatusCode < 400 {
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
			return fmt.Errorf("accepted an undocumented request: %w", err)
		}
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header,
		Body: io.NopCloser(bytes.NewReader(got)), Options: in.Options,
	})
}

// canaries are lines of private keys that were sent.
var canaries = struct {
	sync.Mutex
	lines map[string]bool
}{lines: map[string]bool{}}

// remember keeps the lines of the private keys in a request.
func remember(sent []byte) {
	var body struct {
		Key     string `json:"private_key"`
		SignKey string `json:"private_key_sign"`
	}
	if json.Unmarshal(sent, &body) != nil {
		return
	}
	canaries.Lock()
	defer canaries.Unlock()
	for line := range strings.Lines(body.Key + "\n" + body.SignKey) {
		if line = strings.TrimSpace(line); len(line) >= 40 {
			canaries.lines[line] = true
		}
	}
}

// leaked says where private keys of this run can be read.
func leaked() []string {
	canaries.Lock()
	defer canaries.Unlock()
	var places []string
	for place, text := range map[string]string{"the log": shared.log.String(), "an answer": shared.wire.String()} {
		for line := range canaries.lines {
			if strings.Contains(text, line) {
				places = append(places, place)
				break
			}
		}
	}
	return places
}

func TestLeakedFindsWhatItLooksFor(t *testing.T) {
	const line = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0000"
	remember([]byte(`{"private_key":"-----BEGIN PRIVATE KEY-----\n` + line + `\n"}`))
	if got := leaked(); len(got) != 0 {
		t.Fatalf("got %v before anything leaked, want none", got)
	}
	shared.log.Write([]byte("oops " + line + "\n"))
	if got := leaked(); len(got) != 1 || got[0] != "the log" {
		t.Errorf("got %v, want the log", got)
	}
	canaries.Lock()
	delete(canaries.lines, line) // it was no key
	canaries.Unlock()
}

// The contract must notice what it is there to notice.
func TestTheContractRefuses(t *testing.T) {
	w := newWorld(t)
	id := w.certificate(w.form("cert_contract", "www.a.test"))
	good := w.get("/certificates/" + id).ok(200)
	c := &contract{t: t}
	check := func(status int, header http.Header, body string) error {
		return c.check(good.Request, nil, &http.Response{StatusCode: status, Header: header}, []byte(body))
	}
	if err := check(200, good.Header, string(good.raw)); err != nil {
		t.Fatalf("got %v for an answer as it should be", err)
	}
	edited := func(changes ...any) string { return quote(with(good.object(), changes...)) }
	for what, body := range map[string]string{
		"an undocumented member": edited("private_key", "x"),
		"a missing member":       edited("instance_id", nil),
		"a wrong type":           edited("version", "3"),
		"a null list":            strings.Replace(string(good.raw), `"state":[]`, `"state":null`, 1),
		"fractions of a second":  edited("not_after", "2027-02-20T08:00:00.5Z"),
		"a time with an offset":  edited("create_time", "2027-02-20T08:00:00+08:00"),
	} {
		if check(200, good.Header, body) == nil {
			t.Errorf("got no complaint about %s", what)
		}
	}
	if check(204, good.Header, "") == nil {
		t.Error("got no complaint about an undocumented status")
	}
	bare := good.Header.Clone()
	bare.Del("X-Request-Id")
	if check(200, bare, string(good.raw)) == nil {
		t.Error("got no complaint about a missing request id")
	}
	if check(404, good.Header, `{"error_code":"404","error_msg":"x","request_id":"y"}`) == nil {
		t.Error("got no complaint about an error code that is none")
	}
}
