package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lacre/internal/testcert"
)

// TestImportRevocationLists: what nginx held clients to they are held to afterwards. A list
// that the API refuses keeps the name from being bound.
func TestImportRevocationLists(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	clients := testcert.NewCA(t, "clients")
	good, bad := clients.Leaf(t, []string{"good"}), clients.Leaf(t, []string{"bad"})
	dir := t.TempDir()
	write := func(files map[string]string) {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	held, unheld := w.leaf("held.import.test", 1), w.leaf("unheld.import.test", 2)
	write(map[string]string{
		"held.pem": held.ChainPEM() + held.KeyPEM(), "unheld.pem": unheld.ChainPEM() + unheld.KeyPEM(), "clients.pem": clients.PEM(),
		"clients.crl": string(clients.CRL(t, []*x509.Certificate{bad.Cert})), // one in DER
		"others.crl":  testcert.CRLPEM(testcert.NewCA(t, "others").CRL(t, nil)),
		"nginx.conf": `http { ssl_client_certificate clients.pem; ssl_verify_client on;
			server { server_name held.import.test; ssl_certificate held.pem; ssl_certificate_key held.pem; ssl_crl clients.crl; }
			server { server_name unheld.import.test; ssl_certificate unheld.pem; ssl_certificate_key unheld.pem; ssl_crl others.crl; } }`,
	})
	imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir, "--dry-run")
	got, _ := imported(t, exitFailed, nil, dir, "--data-dir", n.cfg.DataDir, "--bind")
	if got[resultImported] != 1 || got[resultRefused] != 1 {
		t.Errorf("got %v, want the one imported and the other refused", got)
	}
	if _, err := w.servedAny("unheld.import.test"); err == nil {
		t.Error("a name is served whose revocation list was refused")
	}
	if err := w.letsIn("held.import.test", good); err != nil {
		t.Errorf("a good client: %v", err)
	}
	if err := w.letsIn("held.import.test", bad); err == nil {
		t.Error("a revoked client was let in")
	}
	write(map[string]string{"clients.crl": testcert.CRLPEM(clients.CRL(t, nil, testcert.CRLNumber(9)))})
	imported(t, exitFailed, nil, dir, "--data-dir", n.cfg.DataDir, "--bind")
	if err := w.letsIn("held.import.test", bad); err != nil {
		t.Errorf("a client that the next list does not name: %v", err)
	}
}

// TestImportSendsListsOfOlderPairs: a leaf that the API has a newer one of keeps no revocation
// list from coming through.
func TestImportSendsListsOfOlderPairs(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	clients := testcert.NewCA(t, "clients")
	bad := clients.Leaf(t, []string{"bad"})
	dir, now := t.TempDir(), time.Now().Truncate(time.Second)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put := func(age time.Duration, list []byte) {
		leaf := w.ca.Leaf(t, []string{"held.import.test"}, testcert.WithValidity(now.Add(-age), now.Add(24*time.Hour)))
		write("held.pem", leaf.ChainPEM()+leaf.KeyPEM())
		write("clients.crl", testcert.CRLPEM(list))
	}
	write("clients.pem", clients.PEM())
	write("nginx.conf", `http { server { server_name held.import.test; ssl_certificate held.pem; ssl_certificate_key held.pem;
		ssl_client_certificate clients.pem; ssl_verify_client on; ssl_crl clients.crl; } }`)
	put(time.Hour, clients.CRL(t, nil))
	imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir, "--bind")
	if err := w.letsIn("held.import.test", bad); err != nil {
		t.Fatalf("before it is revoked: %v", err)
	}
	put(2*time.Hour, clients.CRL(t, []*x509.Certificate{bad.Cert}, testcert.CRLNumber(2)))
	if got, _ := imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir, "--bind", "--dry-run"); got[resultSkipped] != 1 {
		t.Errorf("got %v, want the older leaf skipped", got)
	}
	if err := w.letsIn("held.import.test", bad); err != nil {
		t.Errorf("a dry run has revoked a client: %v", err)
	}
	imported(t, exitDone, nil, dir, "--data-dir", n.cfg.DataDir, "--bind")
	if err := w.letsIn("held.import.test", bad); err == nil {
		t.Error("a revoked client was let in")
	}
	// A list that the API refuses is a failure; its own stays, and so does what is bound.
	put(2*time.Hour, clients.CRL(t, nil))
	got, talk := imported(t, exitFailed, nil, dir, "--data-dir", n.cfg.DataDir, "--bind")
	if got[resultRefused] != 1 || !strings.Contains(talk, "1 names bound") {
		t.Errorf("got %v, want the list refused and the name bound still\n%s", got, talk)
	}
	if err := w.letsIn("held.import.test", bad); err == nil {
		t.Error("a revoked client was let in after an older list")
	}
}

// TestImportBindsNothingWithoutItsLists: where the API has no list at all and refuses those of
// the files, a newer leaf is no reason to serve clients that they name.
func TestImportBindsNothingWithoutItsLists(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	clients := testcert.NewCA(t, "clients")
	bad := clients.Leaf(t, []string{"bad"})
	dir, now := t.TempDir(), time.Now().Truncate(time.Second)
	lists := testcert.CRLPEM(clients.CRL(t, []*x509.Certificate{bad.Cert}), testcert.NewCA(t, "others").CRL(t, nil))
	for _, age := range []time.Duration{time.Hour, 2 * time.Hour} { // imported, then older
		leaf := w.ca.Leaf(t, []string{"held.import.test"}, testcert.WithValidity(now.Add(-age), now.Add(24*time.Hour)))
		for name, text := range map[string]string{
			"held.pem": leaf.ChainPEM() + leaf.KeyPEM(), "clients.pem": clients.PEM(), "clients.crl": lists,
			"nginx.conf": `http { server { server_name held.import.test; ssl_certificate held.pem; ssl_certificate_key held.pem;
				ssl_client_certificate clients.pem; ssl_verify_client on; ssl_crl clients.crl; } }`,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, talk := imported(t, exitFailed, nil, dir, "--data-dir", n.cfg.DataDir, "--bind"); got[resultRefused] != 1 || !strings.Contains(talk, "0 names bound") {
			t.Errorf("%v old: got %v, want it refused and not bound\n%s", age, got, talk)
		}
		if err := w.letsIn("held.import.test", bad); err == nil {
			t.Errorf("%v old: a client is let in whose lists were refused", age)
		}
	}
}

// letsIn makes a handshake with a client certificate; that it was accepted is known when the
// server goes on.
func (w *world) letsIn(host string, client *testcert.Leaf) error {
	c, err := tls.Dial("tcp", w.at.EdgeAddr, &tls.Config{ServerName: host, RootCAs: w.ca.Pool(), Certificates: []tls.Certificate{client.TLS()}})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err = c.Write([]byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")); err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	return err
}
