package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"lacre/tlcp"
)

// TestSM2Page types the first commands of docs/sm2.md into a shell and takes the
// certificates that OpenSSL makes by them up to a handshake.
func TestSM2Page(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("openssl", "version").Output(); err != nil || !strings.HasPrefix(string(out), "OpenSSL 3") {
		if os.Getenv("CI") == "true" {
			t.Fatal("OpenSSL 3 is not installed")
		}
		t.Skip("OpenSSL 3 is not installed")
	}
	page, err := os.ReadFile("../../docs/sm2.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```sh\n")
	script, _, found := strings.Cut(rest, "```")
	if !found || !strings.Contains(script, "openssl x509") {
		t.Fatal("the page does not begin with the commands for a CA")
	}
	pki := t.TempDir()
	shell := exec.Command("sh", "-e", "-c", script)
	shell.Dir = pki
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := func(name string) string {
		b, err := os.ReadFile(filepath.Join(pki, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}

	dir := t.TempDir()
	p := start(t, dir)
	w := visitLacre(t, dir)
	body := map[string]any{"name": "sm2_cert", "algorithm_type": "SM2", "cert_content": text("enc.pem"), "private_key": text("enc.key"),
		"cert_content_sign": text("sign.pem"), "private_key_sign": text("sign.key"), "trusted_root_ca": text("ca.pem")}
	id := w.ask("POST", "/certificates", body, 200).field("id")
	groups := "/instances/" + w.creds.InstanceID + "/api-groups"
	group := w.ask("POST", groups, map[string]any{"name": "sm2_group"}, 201).field("id")
	w.ask("POST", groups+"/"+group+"/domains", map[string]any{"url_domain": "www.example.test", "min_ssl_version": "TLSv1.2"}, 201)
	w.ask("POST", "/certificates/"+id+"/domains/attach", map[string]any{"domains": []any{map[string]any{
		"domain": "www.example.test", "verified_client_certificate_enabled": false}}}, 204)
	if err := handshakeTLCP(w.at.EdgeAddr, "www.example.test", text("ca.pem")); err != nil {
		t.Error(err)
	}
	p.stop()
}

func handshakeTLCP(address, name, ca string) error {
	roots := smx509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca)) {
		return fmt.Errorf("no CA in %q", ca)
	}
	raw, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	return tlcp.Client(raw, &tlcp.Config{ServerName: name, RootCAs: roots}).Handshake()
}
