package keypair_test

import (
	"strings"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

// slowest is a generous bound on one upload, which takes some tens of milliseconds at
// worst: fuzzing runs instrumented, in parallel and on shared machines. What bounds the
// work itself are the limits, which have tests of their own.
//
// Fuzz with -fuzzminimizetime=5x: by default Go spends up to a minute on making one
// interesting certificate shorter and tries next to nothing new.
const slowest = 2 * time.Second

func FuzzParse(f *testing.F) {
	now := time.Now()
	ca := testcert.NewCA(f, "root").Intermediate(f, "issuing")
	ec := ca.Leaf(f, hosts)
	rsa := ca.Leaf(f, hosts, testcert.WithRSA(2048))
	self := testcert.SelfSigned(f, []string{"192.0.2.7"})
	f.Add(ec.ChainPEM(), ec.KeyPEM())
	f.Add(pemOf(ec.Chain[1], ec.Cert, ec.Cert), ec.KeySEC1PEM())
	f.Add(rsa.ChainPEM(), rsa.KeyPEM())
	f.Add(strings.ReplaceAll(rsa.CertPEM(), "\n", `\r\n`), "'"+rsa.KeyPKCS1PEM()+"'")
	f.Add(trusted(self.CertPEM()), ecParameters+strings.ReplaceAll(self.KeyPEM(), "\n", " "))
	f.Add(self.CertPEM()+self.KeyPEM(), wrap("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nMAA="))
	f.Add(string(self.Cert.Raw), b64(decode(self.KeyPEM())))
	f.Fuzz(func(t *testing.T, cert, key string) {
		start := time.Now()
		pair, err := keypair.Parse(cert, key, now)
		if took := time.Since(start); took > slowest {
			t.Errorf("took %v, want less than %v", took, slowest)
		}
		if err != nil {
			refused := err.(*keypair.Error)
			reason(t, err, refused.Field)
			return
		}
		checkProperties(t, pair)
		again, err := keypair.Parse(pemOf(pair.Chain...), testcert.KeyPEM(pair.Key), now)
		if err != nil || len(again.Chain) != len(pair.Chain) {
			t.Errorf("an accepted pair written out again: %v", err)
		}
	})
}

func FuzzTrustRoots(f *testing.F) {
	now := time.Now()
	a, b := testcert.NewCA(f, "a"), testcert.NewCA(f, "b", testcert.WithRSA(2048))
	f.Add(a.PEM() + b.PEM() + a.PEM())
	f.Add(strings.ReplaceAll(a.PEM(), "\n", `\n`))
	f.Add(trusted(b.PEM()))
	f.Add(a.Leaf(f, hosts).ChainPEM())
	f.Add(a.PEM() + testcert.KeyPEM(a.Key))
	f.Fuzz(func(t *testing.T, text string) {
		start := time.Now()
		roots, err := keypair.ParseTrustRoots(text, now)
		if took := time.Since(start); took > slowest {
			t.Errorf("took %v, want less than %v", took, slowest)
		}
		if err != nil {
			reason(t, err, "trusted_root_ca")
			return
		}
		if len(roots) < 1 || len(roots) > 12 {
			t.Errorf("got %d roots, want 1 to 12", len(roots))
		}
		for _, root := range roots {
			if !root.IsCA || now.After(root.NotAfter) {
				t.Errorf("accepted %v, which is no CA or expired", root.Subject)
			}
		}
	})
}

func FuzzCanonicalHost(f *testing.F) {
	for _, name := range []string{"www.a.test", "*.B.test.", "bücher.test", "xn--bcher-kva.test", "192.0.2.7",
		"[::1]", "例え。テスト", "a_b.-c.test", "\u200d.test", "xn--abc-.test", strings.Repeat("a.", 127)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		host, err := keypair.CanonicalHost(name)
		if err != nil {
			if host != "" {
				t.Errorf("got %q beside an error, want nothing", host)
			}
			return
		}
		if len(host) < 1 || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.*") != "" {
			t.Errorf("CanonicalHost(%+q) = %q, which is not canonical", name, host)
		}
		for _, same := range []string{host, host + ".", strings.ToUpper(host)} {
			if again, err := keypair.CanonicalHost(same); err != nil || again != host {
				t.Errorf("CanonicalHost(%q) = %q, %v; want %q", same, again, err, host)
			}
		}
		if facts := (keypair.Facts{SANs: []string{host}}); !facts.Covers(host) {
			t.Errorf("a leaf for %q does not cover it", host)
		}
	})
}
