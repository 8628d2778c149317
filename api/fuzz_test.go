package api_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lacre"
	"lacre/api"
)

// fuzzed sends one request straight into a handler and refuses answers that say the
// fault is ours, or that are not what they claim to be.
func fuzzed(t *testing.T, h http.Handler, method, target string, body string, header ...string) {
	r, err := http.NewRequestWithContext(context.Background(), method, "http://lacre.test/", strings.NewReader(body))
	if err != nil {
		t.Skip()
	}
	u, err := r.URL.Parse(target)
	if err != nil {
		t.Skip() // no server would let it in
	}
	r.URL, r.RemoteAddr = u, "127.0.0.1:1"
	r.Header.Set("X-Auth-Token", "admin.p1")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code >= 500 || rec.Code >= 300 && rec.Code < 400 {
		t.Fatalf("%s %q with %q: got %d %s", method, target, body, rec.Code, rec.Body)
	}
	got := rec.Body.String()
	if rec.Code >= 400 && (!strings.HasPrefix(got, `{"error_code":"`) || rec.Header().Get("Content-Type") != "application/json") {
		t.Fatalf("%s %q with %q: got %d %q, want an error in JSON", method, target, body, rec.Code, got)
	}
	for name, values := range rec.Header() {
		if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
			t.Fatalf("%s %q with %q: got header %s %q", method, target, body, name, values)
		}
	}
}

func fuzzHandler() http.Handler {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	return api.New(api.Config{
		Service: lacre.NewService(lacre.Config{Store: shared.store, Sealer: shared.sealer, Log: log}),
		Auth:    &gate{}, Log: log,
	})
}

func FuzzCertificateBody(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `"x"`, `{"name":null}`, `{"name":"a","name":{}}`, `{"name":"cert_demo","cert_content":"x","private_key":"y"}`,
		`{"name":"cert_demo","cert_content":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----","private_key":"'-----BEGIN PRIVATE KEY-----\\nAA==\\n-----END PRIVATE KEY-----'","type":"instance","instance_id":"../x"}`,
		`{"name":"\ud800","cert_content":"\u0000","private_key":"","trusted_root_ca":"","algorithm_type":"SM2","cert_content_sign":"a","private_key_sign":"b"}`,
		`{"name":1e999,"type":[[[[]]]]}`, "{\"name\":\"\xff\"}", `{"name":"a"}{`, strings.Repeat(`{"a":`, 5000),
	} {
		f.Add(seed)
	}
	h := fuzzHandler()
	f.Fuzz(func(t *testing.T, body string) {
		fuzzed(t, h, "POST", "/v2/p1/apigw/certificates?dry_run=true", body)
		fuzzed(t, h, "PUT", "/v2/p1/apic/certificates/none", body)
	})
}

func FuzzOtherBodies(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"domains":[{}]}`, `{"domains":[{"domain":"*.a.test","instance_ids":["x",null],"verified_client_certificate_enabled":null}]}`,
		`{"certificate_ids":["x"]}`, `{"name":"ok","remark":null}`, `{"url_domain":"a.test","ingress_http_port":1e3,"upstream":"http://[::1"}`,
		`{"sl_domain_access_enabled":0}`, `{"domains":{"domain":1}}`,
	} {
		f.Add(seed)
	}
	h := fuzzHandler()
	f.Fuzz(func(t *testing.T, body string) {
		const group = "/v2/p1/apigw/instances/i1/api-groups"
		fuzzed(t, h, "POST", "/v2/p1/apigw/certificates/none/domains/attach", body)
		fuzzed(t, h, "POST", "/v2/p1/apigw/certificates/none/domains/detach", body)
		fuzzed(t, h, "POST", group+"/g1/domains/d1/certificates/attach", body)
		fuzzed(t, h, "POST", group+"/g1/domains", body)
		fuzzed(t, h, "PUT", group+"/g1/domains/d1", body)
		fuzzed(t, h, "POST", group, body)
		fuzzed(t, h, "PUT", group+"/g1/sl-domain-access-settings", body)
	})
}

func FuzzRequestLine(f *testing.F) {
	f.Add("GET", "/v2/p1/apigw/certificates?instance_id", `"1"`)
	f.Add("GET", "/v2/p1/apigw/certificates/..%2f..?x=%zz", `W/"1", *`)
	f.Add("DELETE", "/v2/p1/apic/certificates/%00", `"`)
	f.Add("PUT", "/v2/%2e%2e/apigw/instances//x", `"9223372036854775808"`)
	f.Add("HEAD", "/healthz/../v2", ",")
	f.Add("GET", "/v2/p1/apigw/instances/i/api-groups?limit=-1&offset=9223372036854775807", "")
	h := fuzzHandler()
	f.Fuzz(func(t *testing.T, method, target, match string) {
		if method == "HEAD" || method == "GET" && (strings.Contains(target, "openapi") || strings.Contains(target, "metrics")) {
			method = "DELETE" // errors without JSON are right for these
		}
		fuzzed(t, h, method, target, "{}", "If-Match", match, "X-Request-Id", match)
	})
}
