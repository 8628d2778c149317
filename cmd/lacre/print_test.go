package main

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/smx509"

	"lacre/tlcp"
)

// hostile clears a screen, ends a line and turns the direction of writing around.
const (
	hostile  = "a\x1b[2J\n\u202ez"
	harmless = "a\ufffd[2J\ufffd\ufffdz"
)

// What others chose to be called does nothing to the terminal of who reads it, whatever the
// command: the API here says it wherever it can say anything.
func TestCommandTables(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text, _ := json.Marshal(hostile) // of text, which never fails
		_, _ = io.WriteString(w, strings.ReplaceAll(hostileAnswer, "$", string(text)))
	}))
	t.Cleanup(api.Close)
	id := strings.Repeat("0", 32)
	for command, cells := range map[string]int{
		"audit --limit 1": 6, "explain www.a.test": 22,
		"iam audit --limit 1": 6, "cert list": 5, "cert show " + id: 5, "cert versions " + id: 4, "cert rollout " + id: 5, "cert crl show " + id: 4,
		"iam user list": 2, "iam project list": 2, "iam role list": 2, "iam key list": 4,
	} {
		args := append(strings.Fields(command), "--api-url", api.URL, "--project-id", "p")
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, []string{"LACRE_TOKEN=t"}, &out, &errs); code != exitDone {
			t.Errorf("%s: got exit code %d\n%s", command, code, &errs)
		}
		wantHarmless(t, command, out.String(), cells)
	}
}

const hostileAnswer = `{
	"id": "00000000000000000000000000000000", "name": $, "type": $, "algorithm_type": $, "san": [$], "serial_number": $,
	"audits": [{"time": $, "action": $, "resource": $, "user_name": $, "source": $, "detail": $}],
	"certs": [{"id": $, "name": $, "type": $, "algorithm_type": $, "san": [$], "serial_number": $}],
	"versions": [{"algorithm_type": $, "san": [$], "serial_number": $, "ocsp_next_update": $}],
	"fingerprint": $, "nodes": [{"name": $, "state": $, "proof": $, "reason": $}],
	"crls": [{"issuer": $, "crl_number": $, "this_update": $, "next_update": $}],
	"users": [{"id": $, "name": $}], "projects": [{"id": $, "name": $}], "roles": [{"name": $, "permissions": [$]}],
	"credentials": [{"access": $, "status": $, "create_time": $, "description": $}],
	"handshake": {"result": $, "reason": $, "version": $, "cipher_suite": $}, "rule": {"match": $, "host": $, "domain_id": $},
	"policy": {"min_ssl_version": $, "upstream": $}, "request": {"result": $, "reason": $},
	"certificate": {"id": $, "fingerprint": $, "algorithm_type": $, "not_after": $, "ocsp_next_update": $},
	"losers": [{"certificate_id": $, "reason": $}, {"domain": {"match": $, "host": $, "domain_id": $}, "reason": $}]}`

func wantHarmless(t *testing.T, command, out string, cells int) {
	t.Helper()
	if strings.ContainsAny(out, "\x1b\u202e") || strings.Contains(out, "J\n") {
		t.Errorf("%s: %q speaks to the terminal", command, out)
	}
	if got := strings.Count(out, harmless); got != cells {
		t.Errorf("%s: got %d pieces of text that others chose, want %d\n%s", command, got, cells, out)
	}
}

// An API that refuses says why in its own words, and warns in them.
func TestCommandErrors(t *testing.T) {
	words, _ := json.Marshal(hostile) // of text, which never fails
	for what, test := range map[string]struct{ answer, want string }{
		"an API's": {`{"error_code": $, "error_msg": $}`, harmless + " " + harmless + " (HTTP 400, request r\ufffd)"},
		"IAM's":    {`{"error": {"message": $}}`, harmless + " (HTTP 400, request r\ufffd)"},
	} {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Request-Id", "r\u202e")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, strings.ReplaceAll(test.answer, "$", string(words)))
		}))
		t.Cleanup(api.Close)
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"cert", "list", "--api-url", api.URL, "--project-id", "p"}, []string{"LACRE_TOKEN=t"}, &out, &errs)
		if want := "lacre: " + test.want + "\n"; code != exitFailed || errs.String() != want {
			t.Errorf("%s: got %d, %q, want %q", what, code, &errs, want)
		}
	}
}

func TestCommandWarnings(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Lacre-Warning", "b\u202e")
		_, _ = io.WriteString(w, `{}`)
	}))
	t.Cleanup(api.Close)
	var out, errs bytes.Buffer
	run(t.Context(), []string{"cert", "list", "--api-url", api.URL, "--project-id", "p"}, []string{"LACRE_TOKEN=t"}, &out, &errs)
	if want := "warning: b\ufffd\n"; errs.String() != want {
		t.Errorf("got %q, want %q", &errs, want)
	}
}

// Whatever an error quotes, such as the name of a file or of a server's certificate: its lines stay, and
// only the first begins where ours do.
func TestErrorsOfLines(t *testing.T) {
	var out, errs bytes.Buffer
	run(t.Context(), []string{"restore", hostile, "--data-dir", filepath.Join(t.TempDir(), "d")}, nil, &out, &errs)
	if want := "lacre: restoring a\ufffd[2J\n  \ufffdz into "; !strings.HasPrefix(errs.String(), want) || strings.ContainsAny(errs.String(), "\x1b\u202e") {
		t.Errorf("got %q, want %q first and no control characters", &errs, want)
	}
	for text, want := range map[string]string{
		"one":                          "one",
		"a\x1b[2J\nhint: do\tthat\r\n": "a\ufffd[2J\n  hint: do\ufffdthat\ufffd",
		"first\nsecond":                "first\n  second",
	} {
		if got := printableLines(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// A TLCP server chooses what its certificates say, and the protocol.
func TestTLCPTable(t *testing.T) {
	cert := &smx509.Certificate{DNSNames: []string{hostile}, Subject: pkix.Name{CommonName: hostile}, Issuer: pkix.Name{CommonName: hostile}}
	var out bytes.Buffer
	if err := printTLCP(&out, tlcp.ConnectionState{NegotiatedProtocol: hostile, PeerCertificates: []*smx509.Certificate{cert}}, ""); err != nil {
		t.Fatal(err)
	}
	wantHarmless(t, "tlcp connect", out.String(), 4)
}

// Tables stay tables: neither a tab nor a line's end in a cell makes another one.
func TestWriteTable(t *testing.T) {
	var out bytes.Buffer
	err := writeTable(&out, "USER\tDETAIL", []string{"ana\x1b[2J", "CN=a\tb\nc\r\a\u202e 证书"}, []string{"bo", ""})
	want := "USER     DETAIL\n" + "ana\ufffd[2J  CN=a\ufffdb\ufffdc\ufffd\ufffd\ufffd 证书\n" + "bo       \n"
	if err != nil || out.String() != want {
		t.Errorf("got %q, %v, want %q", out.String(), err, want)
	}
}
