package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// compatibility is the page that these tests hold true.
func compatibility(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block is the only fenced block of a language in the page.
func block(t *testing.T, language string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```"+language+"\n(.*?)```\n").FindAllStringSubmatch(compatibility(t), -1)
	if len(found) != 1 {
		t.Fatalf("got %d blocks of %s in docs/compatibility.md, want one", len(found), language)
	}
	return found[0][1]
}

// TestDocumentedCalls calls everything in the table of calls, with ids of nothing: what
// answers has to be the operation, not the lack of one.
func TestDocumentedCalls(t *testing.T) {
	t.Parallel()
	tf := &terraform{T: t, lacre: start(t)}
	rows := regexp.MustCompile("(?m)^\\| `([A-Z]+) \\{P\\}([^`]+)` \\| (\\w+)( \\(apig\\))? \\|").FindAllStringSubmatch(compatibility(t), -1)
	if len(rows) != 28 {
		t.Errorf("got %d calls in the table, want 28", len(rows))
	}
	for _, row := range rows {
		method, path, operation, apigOnly := row[1], row[2], row[3], row[4] != ""
		for _, product := range []string{apigw, apic} {
			if has := reflect.ValueOf(tf.client(t, product)).MethodByName(operation).IsValid(); !has && (product == apigw || !apigOnly) {
				t.Errorf("the %s service of the SDK has no operation %s", product, operation)
			}
		}
		in := request{method: method, path: regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, unknown)}
		if method == "POST" || method == "PUT" {
			in.body = fields{}
		}
		_, refused := tf.send(in)
		known := refused == nil || regexp.MustCompile(`^APIG\.(20|30)`).MatchString(refused.code)
		if !known {
			t.Errorf("%s %s: got %v, want an answer about its parameters", method, path, refused)
		}
	}
	if _, refused := tf.send(request{method: "GET", path: "/no-such-call"}); refused == nil || refused.code != "APIGW.0101" {
		t.Errorf("an undocumented call: got %v, want APIGW.0101, or the checks above show nothing", refused)
	}
}

// TestDocumentedDifferences finds each number explained once and in order, and some call
// that has it.
func TestDocumentedDifferences(t *testing.T) {
	page := compatibility(t)
	explained := regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(page, -1)
	used := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `[A-Z]+ .* \\| \\d+ \\| (.*) \\|$").FindAllStringSubmatch(page, -1) {
		for _, part := range strings.Split(row[1], ", ") {
			var first, last int
			if n, _ := fmt.Sscanf(part, "%d-%d", &first, &last); n == 0 {
				continue // "same"
			}
			for n := first; n <= max(first, last); n++ {
				used[fmt.Sprint(n)] = true
			}
		}
	}
	for i, row := range explained {
		if want := fmt.Sprint(i + 1); row[1] != want || !used[want] {
			t.Errorf("got difference %s (of some call: %t), want %s of some call", row[1], used[want], want)
		}
	}
	if len(used) != len(explained) || len(used) == 0 {
		t.Errorf("got %d differences of calls, and %d explained", len(used), len(explained))
	}
}

// TestDocumentedProvider starts as the provider does with the endpoints of the page.
func TestDocumentedProvider(t *testing.T) {
	t.Parallel()
	l := start(t)
	settings := map[string]string{}
	for _, s := range regexp.MustCompile(`(\w+) *= *(?:"([^"]*)"|true)`).FindAllStringSubmatch(block(t, "hcl"), -1) {
		settings[s[1]] = strings.Replace(s[2], "http://127.0.0.1:8080", l.URL, 1)
	}
	// What makes the provider skip the discovery of versions, and join paths.
	if got, want := settings["auth_url"], settings["iam"]+"v3"; got != want || !strings.HasSuffix(settings["apig"], "/") {
		t.Errorf("got auth_url %q and apig %q, want %q and a final slash", got, settings["apig"], want)
	}
	if settings["region"] != firstProject {
		t.Errorf("got region %q, want %q", settings["region"], firstProject)
	}
	for _, skip := range []string{"skip_check_website_type", "skip_check_upgrade"} {
		if _, ok := settings[skip]; !ok {
			t.Errorf("got no %s: the provider would call the cloud", skip)
		}
	}
	l.URL = strings.TrimSuffix(settings["iam"], "/")
	tf := &terraform{T: t, lacre: l}
	tf.configure()
	l.URL = strings.TrimSuffix(settings["apig"], "/")
	if got := tf.must(request{method: "GET", path: "/instances/" + l.InstanceID}); got["id"] != l.InstanceID {
		t.Errorf("got %v, want instance %s", got, l.InstanceID)
	}
}

// TestDocumentedExample runs the program of the page.
func TestDocumentedExample(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("example/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if block(t, "go") != string(source) {
		t.Error("docs/compatibility.md does not have test/example/main.go as it is")
	}
	l := start(t)
	ca := newAuthority(t)
	s := &service{T: t, lacre: l, client: l.client(t, apigw)}
	id := s.id(s.createCertificate(form("web_cert", ca.issue(t, "www.a.test"))))

	renewed := ca.issue(t, "www.a.test")
	dir := t.TempDir()
	for name, text := range map[string]string{"cert.pem": renewed.content, "key.pem": renewed.key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	example := exec.Command("go", "run", "./example", id, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	example.Env = append(os.Environ(), "LACRE_URL="+l.URL, "HUAWEICLOUD_SDK_AK="+l.AccessKey,
		"HUAWEICLOUD_SDK_SK="+l.SecretKey, "HUAWEICLOUD_SDK_PROJECT_ID="+l.ProjectID)
	out, err := example.CombinedOutput()
	want := "web_cert is valid until " + renewed.leaf.NotAfter.Format("2006-01-02T15:04:05Z") + "\n"
	if err != nil || string(out) != want {
		t.Errorf("got %q and %v, want %q", out, err, want)
	}
	shown := s.ok("ShowDetailsOfCertificateV2", fields{"certificate_id": id})
	if got, want := shown["serial_number"], renewed.leaf.SerialNumber.String(); got != want {
		t.Errorf("got serial %v, want %s", got, want)
	}
}
