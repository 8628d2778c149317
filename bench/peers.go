package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// peer is an edge that reads certificates from files.
type peer struct {
	setup
	about string
	argv  []string
	*process
}

func (p *peer) version() string { return p.about }
func (p *peer) proc() *process  { return p.process }

func (p *peer) run(name string) (err error) {
	p.process, err = start(p.dir, name, serverCore, p.argv...)
	return err
}

// nginx has a server block for each host, as its manual says, and is told of a new pair
// by a reload.
type nginx struct{ peer }

func newNginx(dir, binary string, pairs []pair, upstream string) (edge, error) {
	s, err := newSetup(dir, "nginx", pairs, upstream)
	if err != nil {
		return nil, err
	}
	n := &nginx{peer{setup: s}}
	about, err := exec.Command(binary, "-v").CombinedOutput()
	if err != nil {
		return nil, err
	}
	n.about = strings.TrimPrefix(firstLine(about), "nginx version: ")
	if err := n.write(n.writePair); err != nil {
		return nil, err
	}
	path, err := n.config("nginx.conf", n.text())
	n.argv = []string{binary, "-e", filepath.Join(s.dir, "error.log"), "-c", path}
	return n, err
}

func (n *nginx) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, `daemon off;
user root;
worker_processes 1;
pid %[1]s/nginx.pid;
events { worker_connections 12000; }
http {
  access_log off;
  keepalive_requests 1000000;
  server_names_hash_max_size 65536;
  server_names_hash_bucket_size 128;
  ssl_protocols TLSv1.2 TLSv1.3;
  upstream tiny { server %[2]s; keepalive 64; keepalive_requests 1000000; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
`, n.dir, n.upstream)
	for i := range n.pairs {
		fmt.Fprintf(&b, "  server { listen 127.0.0.1:%d ssl; server_name %s; ssl_certificate %s; ssl_certificate_key %s; location / { proxy_pass http://tiny; } }\n",
			n.port, hostName(i), n.file(i, ".crt"), n.file(i, ".key"))
	}
	return b.String() + "}\n"
}

func (n *nginx) name() string { return "nginx" }
func (n *nginx) start() error { return n.run("nginx") }

func (n *nginx) rotate(i int, p pair) error {
	if err := n.writePair(i, p); err != nil {
		return err
	}
	return n.cmd.Process.Signal(syscall.SIGHUP)
}

// haproxy reads a directory of certificates, and is told of a new pair over its runtime
// API.
type haproxy struct{ peer }

func newHAProxy(dir, binary string, pairs []pair, upstream string) (edge, error) {
	s, err := newSetup(dir, "haproxy", pairs, upstream)
	if err != nil {
		return nil, err
	}
	h := &haproxy{peer{setup: s}}
	about, err := exec.Command(binary, "-v").CombinedOutput()
	if err != nil {
		return nil, err
	}
	h.about = firstLine(about)
	err = h.write(func(i int, p pair) error { return os.WriteFile(h.file(i, ".pem"), []byte(p.cert+p.key), 0o600) })
	if err != nil {
		return nil, err
	}
	path, err := h.config("haproxy.cfg", fmt.Sprintf(`global
  nbthread 1
  maxconn 10500
  no strict-limits
  stats socket %[1]s/admin.sock level admin
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend tls
  bind 127.0.0.1:%[2]d ssl crt %[1]s/certs/ strict-sni
  default_backend tiny
backend tiny
  server one %[3]s
`, h.dir, h.port, h.upstream))
	h.argv = []string{binary, "-db", "-f", path}
	return h, err
}

func (h *haproxy) name() string { return "haproxy" }
func (h *haproxy) start() error { return h.run("haproxy") }

func (h *haproxy) rotate(i int, p pair) error {
	file := h.file(i, ".pem")
	for _, step := range []struct{ command, want string }{
		{"set ssl cert " + file + " <<\n" + p.cert + p.key + "\n", "ransaction"}, // created or updated
		{"commit ssl cert " + file + "\n", "Success"},
	} {
		answer, err := h.tell(step.command)
		if err != nil {
			return err
		}
		if !strings.Contains(answer, step.want) {
			return fmt.Errorf("haproxy answers %q", answer)
		}
	}
	return nil
}

func (h *haproxy) tell(command string) (string, error) {
	conn, err := net.Dial("unix", filepath.Join(h.dir, "admin.sock"))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, command); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// caddy is given its certificates as files in a JSON configuration, and is told of a new
// pair by loading that configuration again, which is what `caddy reload --force` does.
type caddy struct {
	peer
	admin int
	text  []byte
}

func newCaddy(dir, binary string, pairs []pair, upstream string) (edge, error) {
	s, err := newSetup(dir, "caddy", pairs, upstream)
	if err != nil {
		return nil, err
	}
	c := &caddy{peer: peer{setup: s}}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	c.about = "caddy " + info.Main.Version + " built with " + info.GoVersion
	if c.admin, err = freePort(); err != nil {
		return nil, err
	}
	if err := c.write(c.writePair); err != nil {
		return nil, err
	}
	if c.text, err = json.Marshal(c.configuration()); err != nil {
		return nil, err
	}
	path, err := c.config("caddy.json", string(c.text))
	c.argv = []string{"env", "XDG_DATA_HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir, binary, "run", "--config", path}
	return c, err
}

func (c *caddy) configuration() any {
	type object = map[string]any
	files := make([]object, len(c.pairs))
	for i := range c.pairs {
		files[i] = object{"certificate": c.file(i, ".crt"), "key": c.file(i, ".key")}
	}
	proxy := object{"handler": "reverse_proxy", "upstreams": []object{{"dial": c.upstream}}}
	server := object{
		"listen": []string{c.address()}, "automatic_https": object{"disable": true},
		"tls_connection_policies": []object{{}}, "routes": []object{{"handle": []object{proxy}}},
	}
	return object{
		"admin":   object{"listen": fmt.Sprintf("127.0.0.1:%d", c.admin)},
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
		"apps": object{
			"http": object{"servers": object{"edge": server}},
			"tls":  object{"certificates": object{"load_files": files}},
		},
	}
}

func (c *caddy) name() string { return "caddy" }
func (c *caddy) start() error { return c.run("caddy") }

func (c *caddy) rotate(i int, p pair) error {
	if err := c.writePair(i, p); err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/load", c.admin), bytes.NewReader(c.text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cache-Control", "must-revalidate") // reload although the text is the same
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New("caddy answers " + resp.Status + ": " + firstLine(text))
	}
	return err
}
