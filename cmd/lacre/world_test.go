package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lacre/internal/testcert"
)

// world is a running lacre as its users see it: the API with a token, and the edge.
type world struct {
	t     testing.TB
	http  *http.Client
	ca    *testcert.CA
	creds Credentials
	at    Endpoints
	token string
	heard func(*answer) // is shown every answer; may be nil
	// prefer is what requests say in Prefer; empty: nothing.
	prefer string
}

// visitLacre signs in to the lacre of a data directory.
func visitLacre(t testing.TB, dir string) *world {
	t.Helper()
	w := &world{t: t, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: patience}, ca: testcert.NewCA(t, "Throw-away CA")}
	t.Cleanup(w.http.CloseIdleConnections)
	readInto(t, filepath.Join(dir, credentialsFile), &w.creds)
	w.at = endpointsOf(t, dir)
	w.login()
	return w
}

func endpointsOf(t testing.TB, dir string) (e Endpoints) {
	t.Helper()
	readInto(t, filepath.Join(dir, endpointsFile), &e)
	return e
}

// answer is one answer of the API.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// field reads one member of the answer's body as text.
func (a *answer) field(name string) string {
	var members map[string]any
	if json.Unmarshal(a.body, &members) != nil || members[name] == nil {
		return ""
	}
	return fmt.Sprint(members[name])
}

// generation is how often a certificate has changed, which is what its ETag says.
func (a *answer) generation() int {
	n, _ := strconv.Atoi(strings.Trim(a.header.Get("ETag"), `"`))
	return n
}

// send calls a path of the API and returns whatever it answers, or the error of a
// connection that broke.
func (w *world) send(method, path string, body any) (*answer, error) {
	text, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequest(method, w.at.APIURL+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Auth-Token", w.token)
	req.Header.Set("X-Subject-Token", w.token)
	if w.prefer != "" {
		req.Header.Set("Prefer", w.prefer)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if w.heard != nil {
		w.heard(a)
	}
	return a, nil
}

// project is send below the project's path.
func (w *world) project(method, path string, body any) (*answer, error) {
	return w.send(method, "/v2/"+w.creds.ProjectID+"/apic"+path, body)
}

// ask is project for calls that must be answered with one of the given codes.
func (w *world) ask(method, path string, body any, want ...int) *answer {
	w.t.Helper()
	a, err := w.project(method, path, body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	for _, status := range want {
		if a.status == status {
			return a
		}
	}
	w.t.Fatalf("%s %s: got %d %s, want %v", method, path, a.status, a.body, want)
	return nil
}

func (w *world) login() {
	w.t.Helper()
	user := map[string]any{"name": w.creds.UserName, "password": w.creds.Password, "domain": map[string]any{"name": w.creds.DomainName}}
	a, err := w.send(http.MethodPost, "/v3/auth/tokens", map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": user}},
		"scope":    map[string]any{"project": map[string]any{"id": w.creds.ProjectID}},
	}})
	if err != nil || a.status != http.StatusCreated {
		w.t.Fatalf("signing in: got %v, %v", a, err)
	}
	w.token = a.header.Get("X-Subject-Token")
}

// site is a certificate bound to a domain of its own.
type site struct {
	host string
	id   string // of the certificate
	name string
}

// publish uploads leaf and binds it to a new domain with that upstream.
func (w *world) publish(host, upstream string, leaf *testcert.Leaf) site {
	w.t.Helper()
	s := site{host: host, name: "cert_" + strings.NewReplacer(".", "_", "-", "_").Replace(host)}
	s.id = w.ask("POST", "/certificates", s.upload(leaf), 200, 201).field("id")
	groups := "/instances/" + w.creds.InstanceID + "/api-groups"
	group := w.ask("POST", groups, map[string]any{"name": "group_" + s.name}, 200, 201).field("id")
	w.ask("POST", groups+"/"+group+"/domains", map[string]any{"url_domain": host, "upstream": upstream}, 200, 201)
	w.ask("POST", "/certificates/"+s.id+"/domains/attach", map[string]any{"domains": []any{map[string]any{"domain": host}}}, 200, 204)
	return s
}

// upload is the body of a create or modify request.
func (s site) upload(leaf *testcert.Leaf) map[string]any {
	return map[string]any{"name": s.name, "cert_content": leaf.ChainPEM(), "private_key": leaf.KeyPEM()}
}

// leaf makes the nth certificate for host: its serial number says which it is.
func (w *world) leaf(host string, n int) *testcert.Leaf {
	w.t.Helper()
	return w.ca.Leaf(w.t, []string{host}, testcert.WithSerial(big.NewInt(int64(n))))
}

// served makes a handshake for host and returns the leaf of it. That the handshake
// succeeds proves that the edge has the leaf's own key.
func (w *world) served(host string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{ServerName: host, RootCAs: w.ca.Pool()}}
	c, err := d.DialContext(ctx, "tcp", w.at.EdgeAddr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// wantServed fails the test unless host is served the nth leaf.
func (w *world) wantServed(host string, n int) {
	w.t.Helper()
	leaf, err := w.served(host)
	if err != nil {
		w.t.Errorf("handshake for %s: %v", host, err)
	} else if leaf.SerialNumber.Int64() != int64(n) {
		w.t.Errorf("handshake for %s: got leaf %v, want leaf %d", host, leaf.SerialNumber, n)
	}
}

// metric reads one metric without labels.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	a, err := w.send("GET", "/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(a.body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				w.t.Fatal(err)
			}
			return v
		}
	}
	w.t.Fatalf("there is no metric %s", name)
	return 0
}

// follow reads the addresses of a lacre that was started again.
func (w *world) follow(dir string) {
	w.t.Helper()
	w.http.CloseIdleConnections()
	w.at = endpointsOf(w.t, dir)
}

// within is a context for a part of a test.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
