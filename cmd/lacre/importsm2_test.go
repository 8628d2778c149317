package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"lacre/internal/testcert"
)

// TestImportSM2: the SM2 pairs of an nginx with TLCP are served over TLCP afterwards, beside
// the ECC one of the same server block, and importing them again changes nothing.
func TestImportSM2(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	const host = "sm2.import.test"
	ca := testcert.NewCA(t, "SM2 root", testcert.WithSM2())
	d, ecc, dir := ca.Dual(t, []string{host}), w.leaf(host, 7), t.TempDir()
	for name, text := range map[string]string{
		"enc.crt": d.Enc.ChainPEM(), "enc.key": d.Enc.KeyPEM(), "sign.crt": d.Sign.ChainPEM(), "sign.key": d.Sign.KeyPEM(),
		"ecc.crt": ecc.ChainPEM(), "ecc.key": ecc.KeyPEM(), "ca.pem": ca.PEM(),
		"nginx.conf": `http { server { listen 443 ssl; enable_ntls on; server_name ` + host + `;
			ssl_sign_certificate sign.crt; ssl_sign_certificate_key sign.key; ssl_enc_certificate enc.crt; ssl_enc_certificate_key enc.key;
			ssl_certificate ecc.crt; ssl_certificate_key ecc.key; } }`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := imported(t, exitDone, nil, filepath.Join(dir, "nginx.conf"), "--data-dir", n.cfg.DataDir, "--bind")
	if got[resultImported] != 2 {
		t.Errorf("got %v, want two imported", got)
	}
	w.wantServed(host, 7)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"tlcp", "connect", w.at.EdgeAddr, "--sni", host, "--ca", filepath.Join(dir, "ca.pem")}, nil, &stdout, &stderr); code != exitDone {
		t.Errorf("TLCP: got exit code %d: %s", code, &stderr)
	}
	updated := regexp.MustCompile(`"update_time":"[^"]*"`) // every modification is one
	version := func() string {
		return updated.ReplaceAllString(string(w.ask("GET", "/certificates?instance_id=&algorithm_type=SM2", nil, 200).body), "")
	}
	before := version()
	imported(t, exitDone, nil, filepath.Join(dir, "nginx.conf"), "--data-dir", n.cfg.DataDir, "--bind")
	if after := version(); after != before {
		t.Errorf("importing again changed\n%s\nto\n%s", before, after)
	}
}
