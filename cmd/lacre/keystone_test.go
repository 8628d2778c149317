package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lacre/internal/testcert"
)

// TestKeystone takes a lacre through the life of a real Keystone: users of all roles,
// a token revoked, a user disabled, Keystone killed and brought back.
func TestKeystone(t *testing.T) {
	k := newKeystone(t)
	project := k.create("project", object{"name": "web", "domain_id": "default"})
	k.member("lacre", "service", k.create("project", object{"name": "service", "domain_id": "default"}))
	for name, role := range map[string]string{"ada": "admin", "max": "member", "eve": "auditor"} {
		k.member(name, role, project)
	}
	rita := k.member("rita", "reader", project)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("lacre\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"--keystone-url", k.url + "/v3", "--keystone-cache", "10s"}
	p := start(t, dir, append(args, "--keystone-user", "lacre", "--keystone-password-file", password)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("lacre said:\n%s", &p.talk)
		}
	})
	w := visitKeystone(t, dir, project)
	ada, max, reader := k.token("ada", "ada", "web"), k.token("max", "max", "web"), k.token("rita", "rita", "web")

	w.token = ada
	w.creds.InstanceID = w.ask("POST", "/instances", object{"instance_name": "gateway"}, 200, 201).field("id")
	if w.creds.InstanceID == "" {
		t.Fatal("got no instance id")
	}
	s := w.publish("keystone.test", "", w.leaf("keystone.test", 1))
	w.wantServed(s.host, 1)
	path := "/certificates/" + s.id
	w.wantRefused("nonsense", path, 401, "APIG.1002")
	w.wantRefused("", path, 401, "APIG.1000")
	w.wantRefused(k.token("max", "max", ""), path, 401, "APIG.1003")
	w.wantRefused(k.token("eve", "eve", "web"), path, 403, "APIG.1005")
	w.wantRefused(k.admin, path, 403, "APIG.1005") // administrator of another project
	w.token = reader
	w.ask("GET", path, nil, 200)
	w.ask("PUT", path, s.upload(w.leaf(s.host, 2)), 403)
	w.token = max
	w.ask("PUT", path, s.upload(w.leaf(s.host, 2)), 200)
	w.ask("DELETE", path, nil, 403)
	w.wantServed(s.host, 2)
	w.identityIsElsewhere(k.url)

	k.call("DELETE", "/auth/tokens", k.admin, nil, "X-Subject-Token", max)
	k.call("PATCH", "/users/"+rita, k.admin, object{"user": object{"enabled": false}})
	w.eventuallyRefused("revoked", max, path, 401, "APIG.1002")
	w.eventuallyRefused("of a disabled user", reader, path, 401, "APIG.1002")

	unseen := k.token("ada", "ada", "web")
	again := k.token("ada", "ada", "web")
	w.token = again
	w.ask("GET", path, nil, 200)
	k.kill()
	w.ask("GET", path, nil, 200) // for 10 s from when it was seen first
	w.wantRefused(unseen, path, 500, "APIG.9004")
	w.eventuallyRefused("after its time in the cache", again, path, 500, "APIG.9004")
	w.wantServed(s.host, 2)
	k.start()
	w.eventuallyServed("after keystone came back", unseen, path)

	// Without a user of its own, and with a store that has seen the project before.
	p.stop()
	p = start(t, dir, args...)
	w.follow(dir)
	w.wantServed(s.host, 2)
	w.eventuallyServed("validated by itself", unseen, path)
	w.wantRefused("nonsense", path, 401, "APIG.1002")
	w.wantRefused(max, path, 401, "APIG.1002")
}

// visitKeystone is visitLacre where lacre made no credentials.
func visitKeystone(t *testing.T, dir, project string) *world {
	t.Helper()
	w := &world{t: t, http: &http.Client{Transport: &http.Transport{}, Timeout: patience}, ca: testcert.NewCA(t, "Throw-away CA")}
	t.Cleanup(w.http.CloseIdleConnections)
	if fileExists(filepath.Join(dir, credentialsFile)) {
		t.Error("lacre made credentials of its own beside Keystone")
	}
	w.at = endpointsOf(t, dir)
	w.creds.ProjectID = project
	return w
}

// get presents a token and returns the status and the error code.
func (w *world) get(token, path string) (int, string) {
	w.t.Helper()
	w.token = token
	a, err := w.project("GET", path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.status, a.field("error_code")
}

func (w *world) wantRefused(token, path string, status int, code string) {
	w.t.Helper()
	if gotStatus, gotCode := w.get(token, path); gotStatus != status || gotCode != code {
		w.t.Errorf("GET with token %.8q: got %d %s, want %d %s", token, gotStatus, gotCode, status, code)
	}
}

func (w *world) eventuallyRefused(what, token, path string, status int, code string) {
	w.t.Helper()
	eventually(w.t, "refusing a token "+what, func() bool {
		time.Sleep(100 * time.Millisecond)
		gotStatus, gotCode := w.get(token, path)
		if gotStatus != 200 && (gotStatus != status || gotCode != code) {
			w.t.Fatalf("token %s: got %d %s, want 200 and then %d %s", what, gotStatus, gotCode, status, code)
		}
		return gotStatus == status
	})
}

func (w *world) eventuallyServed(what, token, path string) {
	w.t.Helper()
	eventually(w.t, "accepting a token "+what, func() bool {
		time.Sleep(100 * time.Millisecond)
		status, code := w.get(token, path)
		if status == 401 {
			w.t.Fatalf("token %s: got 401 %s, want 500 or 200", what, code)
		}
		return status == 200
	})
}

func (w *world) identityIsElsewhere(url string) {
	w.t.Helper()
	a, err := w.send("POST", "/v3/auth/tokens", object{})
	if err != nil || a.status != 404 || !strings.Contains(string(a.body), url) {
		w.t.Errorf("identity call: got %+v, %v, want 404 that names %s", a, err, url)
	}
}

func TestKeystoneSettings(t *testing.T) {
	for _, args := range [][]string{
		{"--keystone-url", "http://127.0.0.1:5000/v3"}, {"--keystone-url", "https://keystone.test", "--keystone-cache", "1m"},
		{"--keystone-url", "http://keystone.test", "--keystone-insecure"},
		{"--keystone-url", "https://keystone.test", "--keystone-user", "u", "--keystone-password-file", "f"},
		{"--keystone-url", "https://keystone.test", "--keystone-roles", "certs=admin,a=viewer"},
	} {
		if _, err := configured(t, "", nil, append(args, "--data-dir", "d")...); err != nil {
			t.Errorf("%q: got %v, want it allowed", args, err)
		}
	}
	for _, args := range [][]string{
		{"--keystone-user", "u"}, {"--keystone-ca", "f"}, {"--keystone-insecure"},
		{"--keystone-url", "keystone.test:5000"}, {"--keystone-url", "http://keystone.test"},
		{"--keystone-url", "https://u:p@keystone.test"},
		{"--keystone-url", "https://keystone.test", "--keystone-user", "u"},
		{"--keystone-url", "https://keystone.test", "--keystone-password-file", "f"},
		{"--keystone-url", "https://keystone.test", "--keystone-cache", "61s"},
		{"--keystone-url", "https://keystone.test", "--keystone-cache", "0s"},
		{"--keystone-url", "https://keystone.test", "--keystone-roles", "admin"},
		{"--keystone-url", "https://keystone.test", "--keystone-roles", "admin=root"},
	} {
		_, err := configured(t, "", nil, append(args, "--data-dir", "d")...)
		if _, ok := errors.AsType[usageError](err); !ok {
			t.Errorf("%q: got %v, want wrong usage", args, err)
		}
	}
}
