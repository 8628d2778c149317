package main

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lacre/internal/testcert"
)

// life is a whole life of a lacre, with everything that came out of it.
type life struct {
	*world
	secrets canaries
	heard   [][]byte // answers, header and body
	talk    []string // of each process
	copied  bool     // a copy of the store was searched, too
}

// TestCanary leads a whole life, with logs at their most talkative, and then looks for
// every secret in everything that came out and everything that was written.
func TestCanary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := &life{secrets: canaries{}}
	for _, format := range []string{"json", "text"} {
		p := start(t, dir, "--log-level", "debug", "--log-format", format)
		l.world = visitLacre(t, dir)
		l.secrets["token of the "+format+" run"] = []byte(l.token)
		l.world.heard = func(a *answer) {
			var text bytes.Buffer
			a.header.Write(&text)
			l.heard = append(l.heard, append(text.Bytes(), a.body...))
		}
		l.lead(t, format)
		l.copies()
		if _, err := backUpTo(t.Context(), dir, filepath.Join(dir, format+".backup")); err != nil {
			t.Fatal(err)
		}
		p.stop()
		l.talk = append(l.talk, p.talk.String())
	}
	l.secrets["admin password"], l.secrets["admin secret key"] = []byte(l.creds.Password), []byte(l.creds.SecretKey)
	l.changeMasterKey(t, dir)
	l.masterKey(t, dir, "master")
	l.masterKey(t, dir, "new")

	for i, text := range l.talk {
		wantNone(t, fmt.Sprintf("output of run %d", i+1), l.secrets.found([]byte(text)))
	}
	for _, text := range l.heard {
		wantNone(t, "an answer", l.secrets.found(text))
	}
	files := l.search(t, dir)
	if !l.copied {
		t.Error("there is no copy of the store to search")
	}
	if len(l.heard) < 40 || files < 6 {
		t.Errorf("searched %d answers and %d files: that is no whole life", len(l.heard), files)
	}
	t.Logf("%d forms of secrets, %d answers, %d files", len(l.secrets), len(l.heard), files)
}

func wantNone(t *testing.T, where string, found []string) {
	t.Helper()
	if len(found) > 0 {
		t.Errorf("%s: got %q, want no secret", where, found)
	}
}

// changeMasterKey leads the life of a change: starts that are refused, and one that is not.
func (l *life) changeMasterKey(t *testing.T, dir string) {
	t.Helper()
	newMasterKey(t, dir, "new.key")
	old, next := "file:"+filepath.Join(dir, "master.key"), "file:"+filepath.Join(dir, "new.key")
	refused := launch(t, dir, "--log-level", "debug", "--master-key", next)
	if code := refused.exit(); code != exitFailed {
		t.Errorf("a start with the new key alone: got exit code %d, want %d", code, exitFailed)
	}
	p := start(t, dir, "--log-level", "debug", "--master-key", next, "--other-master-key", old)
	l.world.follow(dir)
	l.wantChanged()
	l.copies()
	p.stop()
	p.says("all that is stored is under the master key")
	l.talk = append(l.talk, refused.talk.String(), p.talk.String())
}

// masterKey takes a master key, as it is and as it was decoded.
func (l *life) masterKey(t *testing.T, dir, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	l.secrets.add(name+" key", key)
}

// search looks into every file below dir. The administrator's secrets may be in
// credentials.json and a master key in its file: that they are found there shows that the search works.
func (l *life) search(t *testing.T, dir string) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		l.copied = l.copied || d.Name() == "copy.db" && len(text) > 0
		allowed := map[string]string{credentialsFile: "admin", "master.key": "master key", "new.key": "new key"}[d.Name()]
		if allowed == "" {
			wantNone(t, path, l.secrets.found(text))
			return nil
		}
		wantNone(t, path, l.secrets.without(allowed).found(text))
		if len(l.secrets.found(text)) == 0 {
			t.Errorf("%s: the search does not find the %s that is there", path, allowed)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// lead does whatever has to do with keys, well and badly.
func (l *life) lead(t *testing.T, run string) {
	host := run + ".canary.test"
	backend := httptest.NewServer(http.NotFoundHandler())
	defer backend.Close()
	hosts := []string{host}
	rsaLeaf := l.ca.Leaf(t, hosts, testcert.WithKey(testcert.RSAKey(2048, len(run)%2)))
	p256, p384 := l.ca.Leaf(t, hosts), l.ca.Leaf(t, hosts, testcert.WithECC(elliptic.P384()))
	keys := []struct {
		name string
		leaf *testcert.Leaf
		text string
	}{
		{"PKCS#1", rsaLeaf, rsaLeaf.KeyPKCS1PEM()}, {"PKCS#8 RSA", rsaLeaf, rsaLeaf.KeyPEM()},
		{"SEC1", p256, p256.KeySEC1PEM()}, {"PKCS#8 ECC", p384, p384.KeyPEM()},
	}
	for i, k := range keys {
		what := run + " " + k.name
		l.secrets.key(t, what, k.leaf, k.text)
		body := map[string]any{"name": fmt.Sprintf("canary_%s_%d", run, i), "cert_content": k.leaf.ChainPEM(), "private_key": k.text}
		id := l.ask("POST", "/certificates", body, 200, 201).field("id")
		l.ask("PUT", "/certificates/"+id, body, 200)
		l.ask("GET", "/certificates/"+id, nil, 200)
		l.misuse(t, id, body, k.leaf, keys[(i+2)%len(keys)].text)
	}
	l.leadSM2(t, run, hosts)
	leaf := l.ca.Leaf(t, hosts)
	l.secrets.key(t, run+" served", leaf, leaf.KeyPEM())
	s := l.publish(host, backend.URL, leaf)
	if _, err := l.served(host); err != nil { // opens the key
		t.Errorf("handshake for %s: %v", host, err)
	}
	l.ask("PUT", "/certificates/"+s.id, s.upload(leaf), 200)
	next := l.ca.Leaf(t, hosts)
	l.secrets.key(t, run+" next", next, next.KeyPEM())
	l.ask("PUT", "/certificates/"+s.id, s.upload(next), 200)
	l.rollBack(s.id)
	l.ask("GET", "/certificates?instance_id=", nil, 200)
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/openapi.yaml", "/nowhere"} {
		l.try(t, http.MethodGet, path, nil)
	}
	token := l.token
	l.try(t, http.MethodGet, "/v3/auth/tokens/none", nil)
	l.try(t, http.MethodPost, "/v3/auth/tokens", []byte(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","password":"`+l.creds.Password+`"`))
	l.token = token + "x" // an altered token is as good as a secret
	l.try(t, http.MethodGet, "/v2/"+l.creds.ProjectID+"/apic/certificates?instance_id=", nil)
	l.token = token
	l.try(t, http.MethodDelete, "/v3/auth/tokens", nil)
}

// leadSM2 does the same with the two keys of an SM2 certificate, each in the place of the
// other, too.
func (l *life) leadSM2(t *testing.T, run string, hosts []string) {
	ca := testcert.NewCA(t, "Throw-away SM2 CA", testcert.WithSM2())
	d := ca.Dual(t, hosts)
	l.secrets.key(t, run+" SM2 encryption", d.Enc, d.Enc.KeyPEM())
	l.secrets.key(t, run+" SM2 signing", d.Sign, d.Sign.KeySEC1PEM())
	body := map[string]any{"name": "canary_sm2_" + run, "cert_content": d.Enc.ChainPEM(), "private_key": d.Enc.KeyPEM(),
		"cert_content_sign": d.Sign.ChainPEM(), "private_key_sign": d.Sign.KeySEC1PEM()}
	id := l.ask("POST", "/certificates", body, 200, 201).field("id")
	l.ask("PUT", "/certificates/"+id, body, 200)
	l.ask("GET", "/certificates/"+id, nil, 200)
	trusting := maps.Clone(body)
	trusting["trusted_root_ca"] = ca.PEM()
	l.ask("PUT", "/certificates/"+id, trusting, 200)
	l.rollBack(id)
	l.misuse(t, id, body, d.Enc, d.Sign.KeySEC1PEM())
	turned := maps.Clone(body)
	turned["private_key"], turned["private_key_sign"] = body["private_key_sign"], body["private_key"]
	l.try(t, http.MethodPut, "/v2/"+l.creds.ProjectID+"/apic/certificates/"+id, turned)
	turned["cert_content_sign"] = turned["private_key_sign"]
	l.try(t, http.MethodPut, "/v2/"+l.creds.ProjectID+"/apic/certificates/"+id, turned)
}

// rollBack makes the first version of a certificate current again, which opens its keys.
func (l *life) rollBack(id string) {
	l.t.Helper()
	l.ask("POST", "/certificates/"+id+"/rollback", map[string]any{"version_id": 1}, 200)
	l.ask("POST", "/certificates/"+id+"/rollback", map[string]any{"version_id": 99}, 400)
	l.ask("GET", "/certificates/"+id+"/versions", nil, 200)
}

// misuse uploads a key in the ways that go wrong.
func (l *life) misuse(t *testing.T, id string, good map[string]any, leaf *testcert.Leaf, otherKey string) {
	key := good["private_key"].(string)
	with := func(field string, value any) map[string]any {
		body := maps.Clone(good)
		body[field] = value
		return body
	}
	swapped := with("cert_content", key)
	swapped["private_key"] = leaf.ChainPEM()
	for _, body := range []any{
		with("private_key", otherKey),             // of another leaf
		with("private_key", key[:len(key)/2]),     // cut short
		with("private_key", key+key),              // twice
		with("cert_content", leaf.ChainPEM()+key), // in the wrong field as well
		swapped,                            // the one for the other
		with("name", key),                  // in the name
		with("type", key),                  // in a field with few values
		with("algorithm_type", key),        // in another
		with("private_key", []string{key}), // of the wrong type
		with("trusted_root_ca", key),       // as trust roots
		with(key, "x"),                     // as the name of a field
		[]byte(`{"private_key":"` + strings.ReplaceAll(key, "\n", `\n`)), // JSON that ends early
	} {
		l.try(t, http.MethodPut, "/v2/"+l.creds.ProjectID+"/apic/certificates/"+id, body)
		l.try(t, http.MethodPost, "/v2/"+l.creds.ProjectID+"/apic/certificates", body)
	}
}

// try sends what may well be refused.
func (l *life) try(t *testing.T, method, path string, body any) {
	t.Helper()
	a, err := l.send(method, path, body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	} else if a.status >= 500 {
		t.Errorf("%s %s: got %d %s, want no internal error", method, path, a.status, a.body)
	}
}
