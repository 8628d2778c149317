package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// lacreNode is a lacre process with its data directory and a way to talk to its API.
type lacreNode struct {
	binary string
	dir    string
	core   int
	*process

	access struct {
		Project  string `json:"project_id"`
		Instance string `json:"instance_id"`
		Account  string `json:"domain_name"`
		User     string `json:"user_name"`
		Password string `json:"password"`
	}
	at struct {
		API  string `json:"api_url"`
		Edge string `json:"edge_addr"`
	}
	token string
	ids   []string // certificates, by the number of their host

	client *http.Client
}

// perGroup is how many domains an API group takes by default.
const perGroup = 5

// seeders is how many groups are filled at once.
const seeders = 32

func newLacre(binary, dir string, core int) *lacreNode {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: seeders}}
	return &lacreNode{binary: binary, dir: dir, core: core, client: client}
}

// launch runs the node on ports chosen here, so that it can be talked to before it says
// that it is complete.
func (n *lacreNode) launch() error {
	var ports [2]int
	for i := range ports {
		port, err := freePort()
		if err != nil {
			return err
		}
		ports[i] = port
	}
	if err := os.Remove(n.announced()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	api := fmt.Sprintf("127.0.0.1:%d", ports[0])
	n.at.API, n.at.Edge = "http://"+api, fmt.Sprintf("127.0.0.1:%d", ports[1])
	var err error
	n.process, err = start(n.dir, "lacre", n.core, n.binary, "serve", "--data-dir", n.data(), "--api", api,
		"--edge", n.at.Edge, "--edge-http", "127.0.0.1:0", "--drain-time", "1s", "--groups-per-instance", "0")
	return err
}

// start launches the node and waits until it has announced that everything is loaded.
func (n *lacreNode) start() error {
	if err := n.launch(); err != nil {
		return err
	}
	return n.until(func() error { return readJSON(n.announced(), &n.at) })
}

// settle waits until a node has loaded everything and given back what that took, and signs
// in.
func (n *lacreNode) settle() error {
	if err := n.until(func() error { return readJSON(n.announced(), &n.at) }); err != nil {
		return err
	}
	time.Sleep(settling)
	return n.login()
}

// settling is how long a node that has loaded everything is left alone: a collection of all
// of its heap may take that long.
const settling = 5 * time.Second

func (n *lacreNode) announced() string { return filepath.Join(n.data(), "endpoints.json") }

func (n *lacreNode) data() string { return filepath.Join(n.dir, "lacre-data") }

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// login signs in as the administrator that the first start made.
func (n *lacreNode) login() error {
	if err := readJSON(filepath.Join(n.data(), "credentials.json"), &n.access); err != nil {
		return err
	}
	user := map[string]any{"name": n.access.User, "password": n.access.Password, "domain": map[string]any{"name": n.access.Account}}
	header, err := n.do(http.MethodPost, "/v3/auth/tokens", map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": user}},
		"scope":    map[string]any{"project": map[string]any{"id": n.access.Project}},
	}}, nil)
	if err != nil {
		return err
	}
	n.token = header.Get("X-Subject-Token")
	return nil
}

// do makes one request of the API.
func (n *lacreNode) do(method, path string, body, out any) (http.Header, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, n.at.API+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Auth-Token", n.token)
	resp, err := n.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: HTTP %s: %s", method, path, resp.Status, answer)
	}
	if out == nil {
		return resp.Header, nil
	}
	return resp.Header, json.Unmarshal(answer, out)
}

func (n *lacreNode) root() string { return "/v2/" + n.access.Project + "/apic" }

// seed stores every pair, with a domain that it is bound to. Groups are filled side by
// side.
func (n *lacreNode) seed(pairs []pair, upstreamURL string) error {
	if err := n.login(); err != nil {
		return err
	}
	n.ids = make([]string, len(pairs))
	places := make(chan struct{}, seeders)
	groups := (len(pairs) + perGroup - 1) / perGroup
	failures := make([]error, groups)
	var all sync.WaitGroup
	for g := range groups {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			failures[g] = n.seedGroup(g, pairs, upstreamURL)
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

func (n *lacreNode) seedGroup(g int, pairs []pair, upstreamURL string) error {
	path := n.root() + "/instances/" + n.access.Instance + "/api-groups"
	var group struct {
		ID string `json:"id"`
	}
	if _, err := n.do(http.MethodPost, path, map[string]any{"name": fmt.Sprintf("bench-%d", g)}, &group); err != nil {
		return err
	}
	path += "/" + group.ID + "/domains"
	for i := g * perGroup; i < min((g+1)*perGroup, len(pairs)); i++ {
		if err := n.seedHost(path, i, pairs[i], upstreamURL); err != nil {
			return err
		}
	}
	return nil
}

func (n *lacreNode) seedHost(path string, i int, p pair, upstreamURL string) error {
	var domain struct {
		ID string `json:"id"`
	}
	var bound struct {
		Certificate string `json:"ssl_id"`
	}
	if _, err := n.do(http.MethodPost, path, map[string]any{"url_domain": hostName(i), "upstream": upstreamURL}, &domain); err != nil {
		return err
	}
	_, err := n.do(http.MethodPost, path+"/"+domain.ID+"/certificate", n.form(i, p), &bound)
	n.ids[i] = bound.Certificate
	return err
}

// form is the body of creating and modifying a certificate (API page, table 3).
func (n *lacreNode) form(i int, p pair) map[string]any {
	return map[string]any{"name": certificateName(i), "cert_content": p.cert, "private_key": p.key,
		"type": "instance", "instance_id": n.access.Instance}
}

func certificateName(i int) string { return fmt.Sprintf("bench_%05d", i) }

// modification is the prepared PUT that gives host i the pair p.
func (n *lacreNode) modification(i int, p pair) ([]byte, error) {
	text, err := json.Marshal(n.form(i, p))
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("PUT %s/certificates/%s HTTP/1.1\r\nHost: bench\r\nX-Auth-Token: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", n.root(), n.ids[i], n.token, len(text))
	return append([]byte(head), text...), nil
}

// modify gives the certificate of host i the pair p.
func (n *lacreNode) modify(i int, p pair) error {
	_, err := n.do(http.MethodPut, n.root()+"/certificates/"+n.ids[i], n.form(i, p), nil)
	return err
}

// served makes one verified handshake for host i and checks that it is served p.
func served(address string, ca *authority, i int, p pair) error {
	conn, err := tls.Dial("tcp", address, ca.client(hostName(i)))
	if err != nil {
		return err
	}
	defer conn.Close()
	if !bytes.Equal(conn.ConnectionState().PeerCertificates[0].Raw, p.leaf) {
		return fmt.Errorf("%s is served another certificate", hostName(i))
	}
	return nil
}
