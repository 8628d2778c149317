package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	accounts "os/user"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
)

const keystoneAdminPassword = "bootstrap-password"

// keystone is a real OpenStack Keystone on this machine, with its database and its keys
// in a directory of the test.
type keystone struct {
	t     testing.TB
	conf  string
	url   string // without /v3
	port  string // "0" before the first start
	admin string // token
	cmd   *exec.Cmd
	talk  output
}

// newKeystone sets one up as its manual says, and starts it.
func newKeystone(t *testing.T) *keystone {
	t.Helper()
	if _, err := exec.LookPath("keystone-manage"); err != nil {
		cannot(t, "the Debian package python3-keystone is not installed", err)
	}
	dir := t.TempDir()
	k := &keystone{t: t, conf: filepath.Join(dir, "keystone.conf"), port: "0"}
	keys := filepath.Join(dir, "fernet")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	// A password hash of four rounds, the fewest there are, does not make the test wait.
	text := fmt.Sprintf("[DEFAULT]\nuse_stderr = true\n[database]\nconnection = sqlite:///%[1]s/keystone.db\n"+
		"[fernet_tokens]\nkey_repository = %[2]s\n[fernet_receipts]\nkey_repository = %[2]s\n"+
		"[identity]\npassword_hash_rounds = 4\n[cache]\nenabled = true\nbackend = dogpile.cache.memory\n", dir, keys)
	if err := os.WriteFile(k.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	me, err := accounts.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := accounts.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		// The lists that Keystone leaves half read lock its own writes out of SQLite's
		// default journal.
		k.run(exec.Command("python3", "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode=WAL')", dir+"/keystone.db"))
		k.manage("db_sync")
	})
	wg.Go(func() { k.manage("fernet_setup", "--keystone-user", me.Username, "--keystone-group", group.Name) })
	wg.Wait()
	k.manage("bootstrap")
	t.Cleanup(k.kill)
	k.start()
	k.admin = k.token("admin", keystoneAdminPassword, "admin")
	return k
}

func (k *keystone) manage(args ...string) {
	cmd := exec.Command("keystone-manage", append([]string{"--config-file", k.conf}, args...)...)
	cmd.Env = append(os.Environ(), "OS_BOOTSTRAP_PASSWORD="+keystoneAdminPassword)
	k.run(cmd)
}

func (k *keystone) run(cmd *exec.Cmd) {
	if out, err := cmd.CombinedOutput(); err != nil {
		k.t.Errorf("%s: %v\n%s", cmd, err, out)
	}
}

var availableAt = regexp.MustCompile(`Available at http://[^:]+:(\d+)/`)

// start starts the daemon, at the port it had before.
func (k *keystone) start() {
	k.t.Helper()
	if k.t.Failed() {
		k.t.FailNow() // a part of the setup
	}
	k.talk = output{}
	k.cmd = exec.Command("keystone-wsgi-public", "--host", "127.0.0.1", "--port", k.port, "--", "--config-file", k.conf)
	k.cmd.Stdout, k.cmd.Stderr = &k.talk, &k.talk
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	eventually(k.t, "keystone", func() bool {
		found := availableAt.FindStringSubmatch(k.talk.String())
		if found != nil {
			k.port = found[1]
		}
		return found != nil
	})
	k.url = "http://127.0.0.1:" + k.port
}

func (k *keystone) kill() {
	if k.cmd != nil {
		k.cmd.Process.Kill()
		k.cmd.Wait()
		k.cmd = nil
	}
}

type object = map[string]any

// call makes an identity call that must succeed, and returns its answer.
func (k *keystone) call(method, path, token string, body any, headers ...string) (*http.Response, object) {
	k.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			k.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, k.url+"/v3"+path, bytes.NewReader(text))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Auth-Token", token)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		k.t.Fatalf("keystone: %s %s: got %d %s, %v\n%s", method, path, resp.StatusCode, answer, err, &k.talk)
	}
	var said object
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &said); err != nil {
			k.t.Fatal(err)
		}
	}
	return resp, said
}

// token signs a user of the default domain in to a project, or to none.
func (k *keystone) token(name, password, project string) string {
	k.t.Helper()
	domain := object{"name": "Default"}
	auth := object{"identity": object{
		"methods": []string{"password"}, "password": object{"user": object{"name": name, "password": password, "domain": domain}},
	}}
	if project != "" {
		auth["scope"] = object{"project": object{"name": project, "domain": domain}}
	} else {
		auth["scope"] = "unscoped"
	}
	resp, _ := k.call("POST", "/auth/tokens", "", object{"auth": auth})
	return resp.Header.Get("X-Subject-Token")
}

// create makes a thing of a kind such as "project" and returns its id.
func (k *keystone) create(kind string, with object) string {
	k.t.Helper()
	_, said := k.call("POST", "/"+kind+"s", k.admin, object{kind: with})
	return said[kind].(object)["id"].(string)
}

// role returns the id of a role, which is created unless Keystone starts with it.
func (k *keystone) role(name string) string {
	k.t.Helper()
	_, said := k.call("GET", "/roles?name="+name, k.admin, nil)
	if found := said["roles"].([]any); len(found) > 0 {
		return found[0].(object)["id"].(string)
	}
	return k.create("role", object{"name": name})
}

// member makes a user, whose name is the password too, with a role in a project, and
// returns the id.
func (k *keystone) member(name, role, project string) string {
	k.t.Helper()
	id := k.create("user", object{"name": name, "password": name, "domain_id": "default"})
	k.call("PUT", "/projects/"+project+"/users/"+id+"/roles/"+k.role(role), k.admin, nil)
	return id
}
