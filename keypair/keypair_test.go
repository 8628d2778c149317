package keypair_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre/internal/testcert"
	"lacre/keypair"
)

// hosts is what most leaves here are for.
var hosts = []string{"www.a.test", "*.b.test"}

func TestParseReadsEveryKeyForm(t *testing.T) {
	ca := testcert.NewCA(t, "root").Intermediate(t, "issuing")
	rsa := ca.Leaf(t, hosts, testcert.WithRSA(2048))
	p256 := ca.Leaf(t, hosts)
	p384 := ca.Leaf(t, hosts, testcert.WithECC(elliptic.P384()))
	p521 := ca.Leaf(t, hosts, testcert.WithECC(elliptic.P521()))
	for name, c := range map[string]struct {
		leaf *testcert.Leaf
		key  string
		want keypair.Algorithm
	}{
		"RSA PKCS#8":     {rsa, rsa.KeyPEM(), keypair.RSA},
		"RSA PKCS#1":     {rsa, rsa.KeyPKCS1PEM(), keypair.RSA},
		"P-256 PKCS#8":   {p256, p256.KeyPEM(), keypair.ECC},
		"P-256 SEC 1":    {p256, p256.KeySEC1PEM(), keypair.ECC},
		"P-384 SEC 1":    {p384, p384.KeySEC1PEM(), keypair.ECC},
		"P-521 PKCS#8":   {p521, p521.KeyPEM(), keypair.ECC},
		"wrong label":    {rsa, strings.ReplaceAll(rsa.KeyPKCS1PEM(), "RSA PRIVATE", "PRIVATE"), keypair.RSA},
		"wrong EC label": {p256, strings.ReplaceAll(p256.KeyPEM(), "PRIVATE", "EC PRIVATE"), keypair.ECC},
	} {
		t.Run(name, func(t *testing.T) {
			pair := parse(t, c.leaf.ChainPEM(), c.key)
			if pair.Facts.Algorithm != c.want {
				t.Errorf("got algorithm %s, want %s", pair.Facts.Algorithm, c.want)
			}
			checkPair(t, pair, c.leaf)
			if len(pair.Warnings) > 0 {
				t.Errorf("got warnings %q, want none", pair.Warnings)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	serial, _ := new(big.Int).SetString("219450666855693268010130472645821723203", 10)
	ca := testcert.NewCA(t, "A CA", testcert.WithRSA(2048), testcert.WithSubject(pkix.Name{CommonName: "A CA"}))
	leaf := ca.Leaf(t, []string{"WWW.a.test", "192.0.2.7", "*.b.test", "2001:db8::1"},
		testcert.WithSerial(serial), testcert.WithValidity(from, to),
		testcert.WithSubject(pkix.Name{
			CommonName: "www.a.test", Organization: []string{"A", "B"}, OrganizationalUnit: []string{"U"},
			Locality: []string{"L"}, Province: []string{"P"}, Country: []string{"DE"},
		}))
	pair, err := keypair.Parse(leaf.CertPEM(), leaf.KeyPEM(), from)
	if err != nil {
		t.Fatal(err)
	}
	want := keypair.Facts{
		Algorithm: keypair.ECC, CommonName: "www.a.test",
		SANs:         []string{"WWW.a.test", "*.b.test", "192.0.2.7", "2001:db8::1"},
		Organization: []string{"A", "B"}, OrganizationalUnit: []string{"U"}, Locality: []string{"L"},
		State: []string{"P"}, Country: []string{"DE"}, Issuer: []string{"A CA"},
		SerialNumber:       "219450666855693268010130472645821723203",
		SignatureAlgorithm: "SHA256-RSA", X509Version: 3, NotBefore: from, NotAfter: to,
		Fingerprint: fingerprint(leaf.Cert),
	}
	if diff := cmp.Diff(want, pair.Facts); diff != "" {
		t.Errorf("facts differ (-want +got):\n%s", diff)
	}
}

func TestFactsOfABareLeafHaveNoNilLists(t *testing.T) {
	leaf := testcert.NewCA(t, "root").Leaf(t, []string{"192.0.2.7"}, testcert.WithSubject(pkix.Name{}))
	got := parse(t, leaf.CertPEM(), leaf.KeyPEM()).Facts
	want := got
	want.SANs, want.Issuer = []string{"192.0.2.7"}, []string{"Throw-away"}
	want.Organization, want.OrganizationalUnit = []string{}, []string{}
	want.Locality, want.State, want.Country = []string{}, []string{}, []string{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts differ (-want +got):\n%s", diff)
	}
}

func TestValidity(t *testing.T) {
	from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	leaf := testcert.SelfSigned(t, hosts, testcert.WithValidity(from, to))
	for name, c := range map[string]struct {
		now      time.Time
		want     keypair.Reason
		warnings int
	}{
		"before it begins": {from.Add(-time.Second), "", 1},
		"first second":     {from, "", 0},
		"last second":      {to, "", 0},
		"after it ended":   {to.Add(time.Second), keypair.Expired, 0},
	} {
		pair, err := keypair.Parse(leaf.CertPEM(), leaf.KeyPEM(), c.now)
		if got := reason(t, err, "cert_content"); got != c.want {
			t.Errorf("%s: got reason %q, want %q", name, got, c.want)
		} else if err == nil && len(pair.Warnings) != c.warnings {
			t.Errorf("%s: got warnings %q, want %d", name, pair.Warnings, c.warnings)
		}
	}
}

func TestKeyOfAnotherLeafIsAMismatch(t *testing.T) {
	ca := testcert.NewCA(t, "root").Intermediate(t, "issuing")
	leaf, other := ca.Leaf(t, hosts), ca.Leaf(t, hosts)
	rsa := ca.Leaf(t, hosts, testcert.WithRSA(2048))
	otherRSA := ca.Leaf(t, hosts, testcert.WithKey(testcert.RSAKey(2048, 1)))
	for name, c := range map[string][2]string{
		"leaf alone":   {leaf.CertPEM(), other.KeyPEM()},
		"chain":        {leaf.ChainPEM(), other.KeyPEM()},
		"RSA":          {rsa.ChainPEM(), otherRSA.KeyPEM()},
		"RSA for ECC":  {leaf.ChainPEM(), rsa.KeyPEM()},
		"wrong leaf's": {rsa.ChainPEM(), leaf.KeyPEM()},
	} {
		_, err := keypair.Parse(c[0], c[1], time.Now())
		if got := reason(t, err, "private_key"); got != keypair.KeyMismatch {
			t.Errorf("%s: got reason %q (%v), want %q", name, got, err, keypair.KeyMismatch)
		}
	}
}

// parse fails the test unless the pair is accepted now.
func parse(t *testing.T, cert, key string) *keypair.Pair {
	t.Helper()
	pair, err := keypair.Parse(cert, key, time.Now())
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return pair
}

// checkPair compares a pair with the leaf it was made from.
func checkPair(t *testing.T, pair *keypair.Pair, leaf *testcert.Leaf) {
	t.Helper()
	if len(pair.Chain) != len(leaf.Chain) {
		t.Fatalf("got a chain of %d, want %d", len(pair.Chain), len(leaf.Chain))
	}
	for i, cert := range leaf.Chain {
		if !pair.Chain[i].Equal(cert) {
			t.Errorf("chain[%d]: got %v, want %v", i, pair.Chain[i].Subject, cert.Subject)
		}
	}
	checkProperties(t, pair)
}

// checkProperties holds for whatever Parse accepts.
func checkProperties(t *testing.T, pair *keypair.Pair) {
	t.Helper()
	leaf := pair.Chain[0]
	if !leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(pair.Key.Public()) {
		t.Error("the key is not the leaf's")
	}
	for i, cert := range pair.Chain[1:] {
		if err := pair.Chain[i].CheckSignatureFrom(cert); err != nil {
			t.Errorf("chain[%d] is not signed by chain[%d]: %v", i, i+1, err)
		}
	}
	if len(pair.Chain) > 10 {
		t.Errorf("got a chain of %d, want at most 10", len(pair.Chain))
	}
	if n := len(pair.Facts.SANs); n < 1 || n > 1000 {
		t.Errorf("got %d SANs, want 1 to 1000", n)
	}
	if pair.Facts.Fingerprint != fingerprint(leaf) {
		t.Errorf("got fingerprint %s of another certificate", pair.Facts.Fingerprint)
	}
}

// reason returns why err refuses an upload, "" for nil, and checks the rest of it.
func reason(t *testing.T, err error, field string) keypair.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	refused, ok := errors.AsType[*keypair.Error](err)
	if !ok {
		t.Fatalf("got error %T, want *keypair.Error", err)
	}
	if refused.Field != field || refused.Detail == "" {
		t.Errorf("got field %q, detail %q; want field %q and a detail", refused.Field, refused.Detail, field)
	}
	return refused.Reason
}

func pemOf(certs ...*x509.Certificate) string { return testcert.CertPEM(certs...) }
