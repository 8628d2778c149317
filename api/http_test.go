package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"lacre"
	"lacre/api"
)

func TestRequestIDs(t *testing.T) {
	w := newWorld(t)
	fresh := regexp.MustCompile(`^[0-9a-f]{32}$`)
	for _, kept := range []string{"abc", "A-b_9", strings.Repeat("x", 64)} {
		if got := w.get("/instances", "X-Request-Id", kept).Header.Get("X-Request-Id"); got != kept {
			t.Errorf("got request id %q, want the client's %q", got, kept)
		}
	}
	for _, replaced := range []string{"", "a b", "a;b", "é", strings.Repeat("x", 65), `"><script>`} {
		if got := w.get("/instances", "X-Request-Id", replaced).Header.Get("X-Request-Id"); !fresh.MatchString(got) {
			t.Errorf("got request id %q for %q, want a new one", got, replaced)
		}
	}
	a, b := w.get("/nowhere").Header.Get("X-Request-Id"), w.get("/nowhere").Header.Get("X-Request-Id")
	if a == b {
		t.Errorf("got request id %s twice", a)
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	w := newWorld(t)
	for _, a := range []*answer{
		w.get("/instances"), w.get("/nowhere"), w.as("").get("/instances"), w.as("").get(w.url + "/healthz"),
		w.as("panic").get("/instances"), w.delete("/instances/" + w.instance),
	} {
		if a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: got header %v, want nosniff, no-store and a request id", a.what, a.Header)
		}
		if len(a.raw) > 0 && a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got Content-Type %q, want application/json", a.what, a.Header.Get("Content-Type"))
		}
	}
}

// There are no redirects, no 405 and no second spelling of a path.
func TestWhatDoesNotExist(t *testing.T) {
	w := newWorld(t)
	id := w.certificate(w.form("cert_path", "www.a.test"))
	rows := []struct{ method, path string }{
		{"GET", "/certificates/"},
		{"GET", "/certificates/" + id + "/"},
		{"GET", "//certificates/" + id},
		{"GET", "/./certificates/" + id},
		{"GET", "/x/../certificates/" + id},
		{"GET", "/Certificates/" + id},
		{"GET", "/certificates/" + id + "/versions/none"},
		{"PATCH", "/certificates/" + id},
		{"POST", "/certificates/" + id},
		{"PUT", "/certificates"},
		{"DELETE", "/certificates"},
		{"OPTIONS", "/certificates"},
		{"TRACE", "/certificates"},
		{"PROPFIND", "/certificates"},
		{"GET", "/certificates/" + id + "/domains/attach"},
		{"PUT", "/instances/" + w.instance + "/env-variables"},
		{"POST", "/instances/" + w.instance + "/apis"},
		{"GET", w.url + "/"},
		{"GET", w.url + "/v2"},
		{"GET", w.url + "/v2/" + w.project + "/other/certificates"},
		{"GET", w.url + "/v1/" + w.project + "/apigw/certificates"},
		{"POST", w.url + "/healthz"},
		{"GET", w.url + "/healthz/"},
		{"GET", w.url + "//healthz"},
		{"GET", w.url + "/v3"},
		{"POST", w.url + "/v3/auth/tokens"}, // without IAM
	}
	for _, row := range rows {
		w.send(row.method, row.path, nil).refused(404, "APIGW.0101", "The API does not exist")
	}
	head := w.send("HEAD", "/certificates/"+id, nil)
	if head.StatusCode != 200 || len(head.raw) != 0 || head.Header.Get("ETag") == "" {
		t.Errorf("HEAD: got %d %q %v, want the header of GET", head.StatusCode, head.raw, head.Header)
	}
}

// What is too long to be looked at is refused in the form of all other errors. A long
// header is also refused to IAM, before it is asked.
func TestLongTargetsAndHeaders(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("a", 32<<10)
	w.get("/nowhere?name="+long[:31<<10]).refused(404, "APIGW.0101")
	w.get("/nowhere?name="+long).refused(414, "APIGW.0201", "Request URI too large.")
	w.get("/nowhere", "X-Some", long[:31<<10]).refused(404, "APIGW.0101")
	w.get("/nowhere", "X-Some", long).refused(431, "APIGW.0201", "Request headers too large.")
	w.get(w.url+"/v3/auth/tokens", "X-Subject-Token", long).refused(431, "APIGW.0201")
}

// Ids that are none name things that do not exist, whatever they would do elsewhere.
func TestSmuggledIDs(t *testing.T) {
	w := newWorld(t)
	id := w.certificate(w.form("cert_smug", "www.a.test"))
	groups := "/instances/" + w.instance + "/api-groups"
	form := w.form("cert_smug", "www.a.test")
	for _, bad := range []string{
		"%2e%2e%2f" + id, "..%2F" + id, id + "%2F", "%2F" + id, id + "%00", "%00", "%20", "a%20b", "%C3%A9",
		id + "%3Fx=1", id + ";x=1", strings.Repeat("a", 65), id + "%0D%0AX:1", "*", "%25", "$(id)", "'%20or%201=1--",
	} {
		w.get("/certificates/"+bad).refused(404, "APIG.3021")
		w.put("/certificates/"+bad, form).refused(404, "APIG.3021")
		w.delete("/certificates/"+bad).refused(404, "APIG.3021")
		w.get("/certificates/"+bad+"/attached-domains").refused(404, "APIG.3021")
		w.get("/instances/"+bad).refused(404, "APIG.3030")
		w.get("/instances/"+bad+"/api-groups").refused(404, "APIG.3030")
		w.get(groups+"/"+bad).refused(404, "APIG.3001")
		w.delete(groups+"/"+bad+"/domains/x").refused(404, "APIG.3001")
	}
	group := w.group("shop")
	w.delete(group+"/domains/..%2Fx").refused(404, "APIG.3020")
	w.get(w.url+"/v2/..%2F"+w.project+"/apigw/certificates?instance_id=").refused(403, "APIG.1005")
	for _, bad := range []string{"../x", "a/b", "", strings.Repeat("i", 9000), "\x00", "é"} {
		w.post("/certificates", with(form, "name", "cert_smug2", "type", "instance", "instance_id", bad)).refused404or400()
		w.post("/certificates/"+id+"/domains/attach", obj{"domains": []obj{{"domain": "www.a.test", "instance_ids": []string{bad}}}}).refused404or400()
	}
	w.get("/certificates/" + id).ok(200)
}

func (a *answer) refused404or400() {
	a.t.Helper()
	if a.StatusCode != 404 && a.StatusCode != 400 {
		a.t.Errorf("%s: got %d %s, want a refusal", a.what, a.StatusCode, a.raw)
	}
}

func TestBodySize(t *testing.T) {
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.MaxBody = 1000 })
	big := `{"instance_name":"big","x":"` + strings.Repeat("a", 2000) + `"}`
	w.post("/instances", big).refused(413, "APIGW.0201", "Request entity too large.", "1000 bytes")
	w.as("").post("/instances", big).refused(413, "APIGW.0201") // whoever sends it
	if !w.post("/instances", big).Close {
		t.Error("got the connection kept, want it closed rather than the rest of the body read")
	}
	w.send("GET", "/instances", big).refused(413, "APIGW.0201")
	exact := `{"instance_name":"exact"}`
	exact += strings.Repeat(" ", 1000-len(exact))
	w.post("/instances", exact).ok(201)
	w.post("/instances", exact+" ").refused(413, "APIGW.0201")
}

func TestCompressedBodiesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.post("/instances", obj{"instance_name": "zip"}, "Content-Encoding", "gzip").refused(400, "APIG.2000", "Content-Encoding")
	w.post("/instances", obj{"instance_name": "plain"}, "Content-Encoding", "identity").ok(201)
}

func TestTheAuthenticatorSeesTheWholeBody(t *testing.T) {
	g := &gate{}
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.Auth = g })
	body := "{\"instance_name\": \"signed\"}\n"
	w.post("/instances", body).ok(201) // and so did the handler
	if g.body != body {
		t.Errorf("got body %q at the Authenticator, want the bytes that were sent %q", g.body, body)
	}
}

func TestSlowBodiesAreGivenUp(t *testing.T) {
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.BodyTime = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v2/%s/apigw/instances HTTP/1.1\r\nHost: x\r\nX-Auth-Token: admin.%s\r\nContent-Length: 100\r\n\r\n{", w.project, w.project)
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("got %v, want an answer before the rest of the body", err)
	}
	if resp.StatusCode != 400 {
		t.Errorf("got %d, want 400", resp.StatusCode)
	}
}

func TestTheBodyDeadlineDoesNotOutliveTheBody(t *testing.T) {
	g := &gate{hold: make(chan struct{}), held: make(chan struct{}, 1)}
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.Auth, c.BodyTime = g, 50*time.Millisecond })
	time.AfterFunc(200*time.Millisecond, func() { close(g.hold) })
	w.as("hold").post("/instances", obj{"instance_name": "slow"}).refused(401, "APIG.1002")
	if strings.Contains(w.log.String(), "context canceled") {
		t.Errorf("the deadline of the body ended the request:\n%s", w.log)
	}
}

func TestMoreRequestsThanPlaces(t *testing.T) {
	g := &gate{hold: make(chan struct{}), held: make(chan struct{})}
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) {
		c.Auth, c.MaxConcurrent, c.QueueTime = g, 2, 50*time.Millisecond
	})
	var held sync.WaitGroup
	for range 2 {
		held.Go(func() { w.as("hold").get("/instances").refused(401, "APIG.1002") })
		<-g.held
	}
	a := w.get("/instances")
	a.refused(500, "APIG.9008", "Too many requests")
	if a.Header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
	w.as("").get(w.url + "/healthz").ok(200) // never queued
	close(g.hold)
	held.Wait()
	w.get("/instances").ok(200)
	if strings.Contains(w.log.String(), "level=ERROR") {
		t.Errorf("got a failure in the log for a full house:\n%s", w.log)
	}
}

func TestPanics(t *testing.T) {
	w := newWorld(t)
	w.as("panic.secret-token").get("/instances", "X-Request-Id", "boom").refused(500, "APIG.9999", "System error")
	log := w.log.String()
	if !strings.Contains(log, "world_test.go") || !strings.Contains(log, "request_id=boom") {
		t.Errorf("got no stack or request id in the log:\n%s", log)
	}
	if strings.Contains(log, "secret-token") {
		t.Errorf("got the panic's text in the log, which can hold anything:\n%s", log)
	}
	w.as("index").get("/instances").refused(500, "APIG.9999")
	if !strings.Contains(w.log.String(), "index out of range") {
		t.Errorf("got no runtime error in the log:\n%s", w.log)
	}
	w.get("/instances").ok(200)
}

func TestAccessLog(t *testing.T) {
	w := newWorld(t)
	id := w.certificate(w.form("cert_log", "www.a.test"))
	w.as("operator."+w.project).get("/certificates/"+id+"?note=s3cr3t-query", "X-Request-Id", "line-1", "X-Forwarded-For", "6.6.6.6").ok(200)
	var line string
	for l := range strings.Lines(w.log.String()) {
		if strings.Contains(l, "request_id=line-1") && strings.Contains(l, "msg=request") {
			line = l
		}
	}
	for _, piece := range []string{
		"level=INFO", "method=GET", "route=/v2/{project_id}/apigw/certificates/{certificate_id}", "status=200",
		"project=" + w.project, "user=operator", "source=127.0.0.1", "took=", "bytes=",
	} {
		if !strings.Contains(line, piece) {
			t.Errorf("got log line %q, want %q in it", line, piece)
		}
	}
	for _, secret := range []string{"s3cr3t-query", "operator." + w.project, "6.6.6.6"} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("got %q in the log", secret)
		}
	}
	w.as("").get(w.url+"/healthz", "X-Request-Id", "probe-1").ok(200)
	for l := range strings.Lines(w.log.String()) {
		if strings.Contains(l, "probe-1") && !strings.Contains(l, "level=DEBUG") {
			t.Errorf("got %q for a probe, want it at debug level", l)
		}
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	id := w.certificate(w.form("cert_count", "www.a.test"))
	w.put("/certificates/"+id, w.form("cert_count", "www.a.test")).ok(200)
	w.put("/certificates/"+id+"?dry_run=true", w.form("cert_count", "www.a.test")).ok(200)
	w.put("/certificates/"+id, w.form("bad", "www.a.test")).refused(400, "APIG.2011")
	w.post("/certificates/"+id+"/rollback", obj{"version_id": 1}).ok(200) // is a modification, too
	w.send("BREW", "/no/such/thing", nil).refused(404, "APIGW.0101")
	text := string(w.as("").get(w.url + "/metrics").ok(200).raw)
	const put = `route="/v2/{project_id}/apigw/certificates/{certificate_id}"`
	for _, line := range []string{
		`lacre_api_requests_total{code="200",method="PUT",` + put + `} 2`,
		`lacre_api_requests_total{code="400",method="PUT",` + put + `} 1`,
		`lacre_api_requests_total{code="404",method="other",route="unmatched"} 1`,
		`lacre_api_request_seconds_count{` + put + `} 3`,
		`lacre_certificate_modifications_total{result="ok"} 2`,
		`lacre_certificate_modifications_total{result="invalid-field"} 1`,
		`lacre_certificate_modification_seconds_count 2`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("got no line %q in the metrics:\n%s", line, text)
		}
	}
}

func TestIAMIsServedBelowV3(t *testing.T) {
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) {
		c.MaxBody = 10
		c.IAM = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			tooLarge, _ := errors.AsType[*http.MaxBytesError](err)
			w.Header().Set("X-Request-Id", "iam-1")
			fmt.Fprintf(w, "%s %s %t", r.Method, r.URL.Path, tooLarge != nil)
		})
		c.Auth = nil // not asked
	})
	for path, want := range map[string]string{"/v3": "/v3", "/v3/": "/v3/", "/v3/auth/tokens": "/v3/auth/tokens"} {
		a := w.as("").post(w.url+path, "123").ok(200)
		if got := string(a.raw); got != "POST "+want+" false" {
			t.Errorf("%s: got %q, want it passed on", path, got)
		}
	}
	if got := string(w.as("").post(w.url+"/v3/x", "12345678901").raw); !strings.HasSuffix(got, " true") {
		t.Errorf("got %q, want a limited body", got)
	}
	if !strings.Contains(w.log.String(), "request_id=iam-1") {
		t.Errorf("got no access log under the id that was answered:\n%s", w.log)
	}
}

func TestReadyzHasADeadline(t *testing.T) {
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) {
		c.Ready = func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); !ok {
				return errors.New("no deadline")
			}
			return nil
		}
	})
	w.as("").get(w.url + "/readyz").ok(200)
}

func TestWarningsAreFitForAHeader(t *testing.T) {
	for text, want := range map[string]string{
		"put in order: 2 of 3":     "put in order: 2 of 3",
		"证书":                       "%E8%AF%81%E4%B9%A6",
		"a\r\nSet-Cookie: x=1\x00": "a%0D%0ASet-Cookie: x=1%00",
		"100%":                     "100%25",
		"\x7f\t~":                  "%7F%09~",
	} {
		got := api.HeaderText(text)
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		if back, err := url.PathUnescape(got); err != nil || back != text {
			t.Errorf("%q: got %q, %v back, want the same", text, back, err)
		}
	}
}
