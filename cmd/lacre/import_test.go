package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lacre/internal/testcert"
)

// pairs writes n combined files, each with a leaf of its own for one host.
func pairs(t testing.TB, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ca := testcert.NewCA(t, "Throw-away CA")
	for i := range n {
		leaf := ca.Leaf(t, []string{fmt.Sprintf("site%d.import.test", i)})
		path := filepath.Join(dir, fmt.Sprintf("site%d.pem", i))
		if err := os.WriteFile(path, []byte(leaf.ChainPEM()+leaf.KeyPEM()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// imported runs lacre import in this process and returns how many rows there are of each
// result, and what went to stderr.
func imported(t testing.TB, want int, env []string, args ...string) (map[string]int, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"import", "-o", "json"}, args...), env, &stdout, &stderr)
	if code != want {
		t.Fatalf("import: got exit code %d, want %d\n%s", code, want, &stderr)
	}
	if bytes.Contains(stdout.Bytes(), []byte("PRIVATE KEY")) || bytes.Contains(stderr.Bytes(), []byte("PRIVATE KEY")) {
		t.Fatal("there is a private key in what import says")
	}
	return results(t, stdout.Bytes()), stderr.String()
}

func results(t testing.TB, report []byte) map[string]int {
	t.Helper()
	var rows []*importRow
	if err := json.Unmarshal(report, &rows); err != nil {
		t.Fatalf("reading the report: %v\n%s", err, report)
	}
	return count(rows)
}

func (w *world) certificates() int {
	w.t.Helper()
	var list struct{ Total int }
	if err := json.Unmarshal(w.ask("GET", "/certificates?instance_id=&limit=1", nil, 200).body, &list); err != nil {
		w.t.Fatal(err)
	}
	return list.Total
}

// TestImportAfterAKill kills an import in the middle, twice. The run after that brings
// what is missing, and what it all comes to is what one run would have done.
func TestImportAfterAKill(t *testing.T) {
	const total = 200
	p := start(t, t.TempDir())
	w := visitLacre(t, p.dir)
	dir := pairs(t, total)
	for _, least := range []int{20, 80} {
		cmd := exec.Command("lacre", "import", dir, "--data-dir", p.dir, "--bind", "--parallel", "2")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a part of the import", func() bool { return w.certificates() >= least })
		cmd.Process.Kill()
		cmd.Wait()
	}
	got, _ := imported(t, exitDone, nil, dir, "--data-dir", p.dir, "--bind")
	if got[resultImported] == 0 || got[resultUnchanged] < 80 || got[resultImported]+got[resultUnchanged] != total || w.certificates() != total {
		t.Errorf("got %v and %d certificates, want those imported that were missing of %d", got, w.certificates(), total)
	}
	if got, _ = imported(t, exitDone, nil, dir, "--data-dir", p.dir, "--bind"); got[resultUnchanged] != total {
		t.Errorf("again: got %v, want all unchanged", got)
	}
	var groups struct{ Total int }
	json.Unmarshal(w.ask("GET", "/instances/"+w.creds.InstanceID+"/api-groups?limit=1", nil, 200).body, &groups)
	if groups.Total != total/5 { // the quota of domains in a group
		t.Errorf("got %d groups, want %d", groups.Total, total/5)
	}
	for _, i := range []int{0, total / 2, total - 1} {
		if leaf, err := w.servedAny(fmt.Sprintf("site%d.import.test", i)); err != nil {
			t.Errorf("site %d is not served: %v (%v)", i, err, leaf)
		}
	}
}

// BenchmarkImport imports b.N certificates into a lacre of its own.
func BenchmarkImport(b *testing.B) {
	p := start(b, b.TempDir())
	dir := pairs(b, b.N)
	b.ResetTimer()
	if got, _ := imported(b, exitDone, nil, dir, "--data-dir", p.dir); got[resultImported] != b.N {
		b.Fatalf("got %v, want %d imported", got, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "certs/s")
}

// front is an address before the API where a test can get in the way.
func front(t *testing.T, api string, in func(rw http.ResponseWriter, r *http.Request) (done bool)) string {
	t.Helper()
	to, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !in(rw, r) {
			proxy.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestImportIsPatient: what the API throttles is asked for again when it says so.
func TestImportIsPatient(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	var refused atomic.Int64
	api := front(t, endpointsOf(t, n.cfg.DataDir).APIURL, func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/certificates") || refused.Add(1) > 4 {
			return false
		}
		rw.Header().Set("Retry-After", "1")
		rw.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(rw, `{"error_code":"APIG.9008","error_msg":"Too many requests. Try again later."}`)
		return true
	})
	start := time.Now()
	got, _ := imported(t, exitDone, nil, pairs(t, 5), "--data-dir", n.cfg.DataDir, "--api-url", api)
	if took := time.Since(start); got[resultImported] != 5 || took < time.Second {
		t.Errorf("got %v in %v, want 5 imported after a second", got, took)
	}
}

// TestImportEndsWithTheAPI: when the API goes away the import stops instead of failing
// with every file, says what is left, and goes on when it is run again.
func TestImportEndsWithTheAPI(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	var posts atomic.Int64
	api := front(t, endpointsOf(t, n.cfg.DataDir).APIURL, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/certificates") && posts.Add(1) > 10 {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	dir := pairs(t, 40)
	got, talk := imported(t, exitFailed, nil, dir, "--data-dir", n.cfg.DataDir, "--api-url", api, "--parallel", "2")
	if got[resultImported] != 10 || got[resultLeft] != 30 {
		t.Errorf("got %v, want 10 imported and 30 left", got)
	}
	if !strings.Contains(talk, "hint: run it again") {
		t.Errorf("got %q, want a hint that it goes on", talk)
	}
	if got, _ := imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir); got[resultImported] != 30 || got[resultUnchanged] != 10 {
		t.Errorf("again: got %v, want 30 imported and 10 unchanged", got)
	}
}

// TestImportThatEndsWhileBinding says which names are not bound, and how many are.
func TestImportThatEndsWhileBinding(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	var posts atomic.Int64
	api := front(t, endpointsOf(t, n.cfg.DataDir).APIURL, func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/domains") && posts.Add(1) > 3 {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	dir := pairs(t, 10)
	got, talk := imported(t, exitFailed, nil, dir, "--data-dir", n.cfg.DataDir, "--bind", "--api-url", api, "--parallel", "1")
	if got[resultImported] != 10 || got[resultLeft] != 7 || !strings.Contains(talk, "3 names bound") {
		t.Errorf("got %v, want 10 imported and the names of 7 left\n%s", got, talk)
	}
	got, talk = imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir, "--bind")
	if got[resultUnchanged] != 10 || got[resultLeft] != 0 || !strings.Contains(talk, "10 names bound") {
		t.Errorf("again: got %v, want 10 unchanged and their names bound\n%s", got, talk)
	}
}

// TestImportReplacesNothingByWhatIsOlder: a file that was left behind does not undo a
// renewal that came through the API.
func TestImportReplacesNothingByWhatIsOlder(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	dir := t.TempDir()
	now := time.Now().Truncate(time.Second)
	leaf := func(age time.Duration) *testcert.Leaf {
		return w.ca.Leaf(t, []string{"old.import.test"}, testcert.WithValidity(now.Add(-age), now.Add(24*time.Hour-age)))
	}
	put := func(name string, l *testcert.Leaf) {
		os.WriteFile(filepath.Join(dir, name), []byte(l.ChainPEM()+l.KeyPEM()), 0o600)
	}
	put("a.pem", leaf(3*time.Hour))
	imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir, "--bind")
	put("a.pem", leaf(time.Hour))
	if got, _ := imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir); got[resultUpdated] != 1 {
		t.Errorf("newer: got %v, want it updated", got)
	}
	put("a.pem", leaf(2*time.Hour))
	if got, _ := imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir, "--dry-run"); got[resultSkipped] != 1 {
		t.Errorf("older: got %v, want it skipped", got)
	}
	served, err := w.servedAny("old.import.test")
	if err != nil || !served.NotBefore.Equal(now.Add(-time.Hour)) {
		t.Errorf("got %v, %v, want the newest served", served, err)
	}
}

// TestImportBindsIntoOneInstance: which of several is asked before anything is uploaded.
func TestImportBindsIntoOneInstance(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	w.ask("POST", "/instances", map[string]any{"instance_name": "another"}, 200, 201)
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"import", pairs(t, 1), "--data-dir", n.cfg.DataDir, "--bind"}, nil, &stdout, &stderr)
	if code != exitUsage || stdout.Len() > 0 || !strings.Contains(stderr.String(), "--instance-id: the project has not just one instance") || w.certificates() > 0 {
		t.Errorf("got exit code %d and %d certificates\n%s%s", code, w.certificates(), &stdout, &stderr)
	}
}

// TestImportNeverSwitchesVerificationOff: a domain that verifies clients keeps doing so,
// whatever the files say.
func TestImportNeverSwitchesVerificationOff(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	dir := t.TempDir()
	leaf := w.leaf("secure.import.test", 1)
	for name, text := range map[string]string{
		"s.pem": leaf.ChainPEM() + leaf.KeyPEM(), "ca.pem": w.ca.PEM(),
		"nginx.conf": `http {
			server { listen 8443 ssl; server_name secure.import.test; ssl_certificate s.pem; ssl_certificate_key s.pem; }
			server { listen 443 ssl; server_name secure.import.test; ssl_certificate s.pem; ssl_certificate_key s.pem;
			ssl_client_certificate ca.pem; ssl_verify_client on; } }`,
	} {
		os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)
	}
	imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir, "--bind")
	verifies := func() bool {
		a := w.ask("GET", "/instances/"+w.creds.InstanceID+"/api-groups", nil, 200)
		return bytes.Contains(a.body, []byte(`"verified_client_certificate_enabled":true`))
	}
	if !verifies() {
		t.Fatal("the domain does not verify clients, although nginx did")
	}
	// The same certificate without a configuration, and so without verification.
	imported(t, exitFailed, nil, filepath.Join(dir, "s.pem"), "--data-dir", n.cfg.DataDir, "--bind")
	if !verifies() {
		t.Error("importing the file alone switched verification off")
	}
	// And once the configuration does not want it any more: that is said.
	os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(`http {
		server { listen 443 ssl; server_name secure.import.test; ssl_certificate s.pem; ssl_certificate_key s.pem; } }`), 0o600)
	var stdout, stderr bytes.Buffer
	run(t.Context(), []string{"import", dir, "--data-dir", n.cfg.DataDir, "--bind"}, nil, &stdout, &stderr)
	if !verifies() || !strings.Contains(stdout.String(), "the clients of secure.import.test are verified, as its domain says") {
		t.Errorf("got a report that does not say that clients are still verified:\n%s%s", &stdout, &stderr)
	}
}

// servedAny is served for a leaf of whatever CA.
func (w *world) servedAny(host string) (*x509.Certificate, error) {
	c, err := tls.Dial("tcp", w.at.EdgeAddr, &tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	return leaf, leaf.VerifyHostname(host)
}

// What files are called does not speak to the terminal that the report is shown at.
func TestImportReportIsPrintable(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "x\x1b]0;y\a.pem"), []byte("none"), 0o600)
	var stdout, stderr bytes.Buffer
	run(t.Context(), []string{"import", dir, "--data-dir", n.cfg.DataDir}, nil, &stdout, &stderr)
	if got := stdout.String(); strings.ContainsAny(got, "\x1b\a") || !strings.Contains(got, "]0;y") {
		t.Errorf("got %q, want the name without control characters", got)
	}
}

// TestVerdict: an import that ended early says that it can go on when it can.
func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		cause error
		again bool
	}{
		{errors.New("connection reset"), true},
		{&refused{status: 503}, true},
		{&refused{status: 500, retryAfter: time.Second}, true},
		{&refused{status: 401}, false},
		{&refused{status: 404}, false},
		{usagef("no such instance"), false},
	} {
		if _, hint := errors.AsType[hinted](verdict(test.cause, nil)); hint != test.again {
			t.Errorf("%v: got a hint %t, want %t", test.cause, hint, test.again)
		}
	}
}

// TestBoundNames: a name with two certificates is one name.
func TestBoundNames(t *testing.T) {
	rows := []*importRow{{Hosts: []string{"a.test", "b.test"}, algorithm: "RSA"}, {Hosts: []string{"a.test"}, algorithm: "ECC"}, {Hosts: []string{"c.test"}}}
	if got := boundNames(rows); got != 2 {
		t.Errorf("got %d, want 2", got)
	}
}
