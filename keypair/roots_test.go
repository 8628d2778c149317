package keypair_test

import (
	"crypto/x509"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

func TestParseTrustRoots(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	a, b := testcert.NewCA(t, "a"), testcert.NewCA(t, "b", testcert.WithRSA(2048))
	below := a.Intermediate(t, "below")
	early := testcert.NewCA(t, "early", testcert.WithValidity(time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)))
	expired := testcert.NewCA(t, "expired", testcert.WithValidity(past.Add(-time.Hour), past))
	for name, c := range map[string]struct {
		text string
		want []*x509.Certificate
		why  keypair.Reason
	}{
		"one":           {a.PEM(), []*x509.Certificate{a.Cert}, ""},
		"bundle":        {b.PEM() + "# comment\r\n" + a.PEM(), []*x509.Certificate{b.Cert, a.Cert}, ""},
		"duplicates":    {a.PEM() + b.PEM() + a.PEM(), []*x509.Certificate{a.Cert, b.Cert}, ""},
		"intermediate":  {below.PEM(), []*x509.Certificate{below.Cert}, ""},
		"not valid yet": {early.PEM(), []*x509.Certificate{early.Cert}, ""},
		"no key usage":  {testcert.NewCA(t, "c", testcert.WithKeyUsage(0)).PEM(), nil, ""},
		"expired":       {a.PEM() + expired.PEM(), nil, keypair.Expired},
		"not a CA":      {testcert.NewCA(t, "c", testcert.NotCA()).PEM(), nil, keypair.Invalid},
		"may not sign":  {testcert.NewCA(t, "c", testcert.WithKeyUsage(x509.KeyUsageCRLSign)).PEM(), nil, keypair.Invalid},
		"leaf":          {a.Leaf(t, hosts).CertPEM(), nil, keypair.Invalid},
		"weak key":      {testcert.NewCA(t, "c", testcert.WithRSA(1024)).PEM(), nil, keypair.Invalid},
		"with a key":    {a.PEM() + testcert.KeyPEM(a.Key), nil, keypair.Invalid},
		"damaged":       {wrap("CERTIFICATE", "MAA="), nil, keypair.Invalid},
		"empty":         {"", nil, keypair.Invalid},
		"DER":           {string(a.Cert.Raw), nil, keypair.Invalid},
		"as many as go": {b.PEM() + manyRoots(a, 63), []*x509.Certificate{b.Cert, a.Cert}, ""},
		"too many":      {manyRoots(a, 65), nil, keypair.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			roots, err := keypair.ParseTrustRoots(c.text, time.Now())
			if got := reason(t, err, "trusted_root_ca"); got != c.why {
				t.Fatalf("got reason %q (%v), want %q", got, err, c.why)
			}
			if c.want != nil && pemOf(roots...) != pemOf(c.want...) {
				t.Errorf("got %d roots, want %d others", len(roots), len(c.want))
			}
		})
	}
}

func manyRoots(ca *testcert.CA, n int) string {
	certs := make([]*x509.Certificate, n)
	for i := range certs {
		certs[i] = ca.Cert
	}
	return pemOf(certs...)
}
