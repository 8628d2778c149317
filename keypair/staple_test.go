package keypair_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"lacre/internal/testcert"
	"lacre/keypair"
)

// issued is a leaf below an intermediate, read as an upload.
func issued(t *testing.T, opts ...testcert.Option) (*testcert.CA, *testcert.Leaf, *keypair.Pair) {
	t.Helper()
	ca := testcert.NewCA(t, "Root").Intermediate(t, "Intermediate")
	leaf := ca.Leaf(t, []string{"www.a.test"}, opts...)
	pair, err := keypair.Parse(leaf.ChainPEM(), leaf.KeyPEM(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca, leaf, pair
}

func TestCheckStaple(t *testing.T) {
	ca, leaf, pair := issued(t)
	other := testcert.NewCA(t, "Root").Intermediate(t, "Intermediate") // same names, other keys
	signing := testcert.WithExtKeyUsage(x509.ExtKeyUsageOCSPSigning)
	now := time.Now()
	delegate := ca.Leaf(t, []string{"ocsp.a.test"}, signing)
	customer := ca.Leaf(t, []string{"www.b.test"})
	late := ca.Leaf(t, []string{"ocsp.a.test"}, signing, testcert.WithValidity(now.Add(-48*time.Hour), now.Add(-time.Hour)))
	foreign := other.Leaf(t, []string{"ocsp.a.test"}, signing)
	by := func(l *testcert.Leaf, edits ...func(*ocsp.Response)) []byte {
		return ca.StapleBy(t, leaf, l.Cert, l.Key, edits...)
	}
	good := ca.Staple(t, leaf)
	broken := append([]byte{}, good...)
	broken[len(broken)-1] ^= 1
	for _, c := range []struct {
		name string
		der  []byte
		want string // part of the error; empty: none
	}{
		{"the issuer's", good, ""},
		{"a named responder's", by(delegate), ""},
		{"SHA-256 in the certificate id", ca.Staple(t, leaf, func(r *ocsp.Response) { r.IssuerHash = 5 }), ""},
		{"revoked", ca.Staple(t, leaf, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now }), "revoked"},
		{"unknown", ca.Staple(t, leaf, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), "does not know"},
		{"ended", ca.Staple(t, leaf, func(r *ocsp.Response) { r.NextUpdate = now.Add(-time.Second) }), "ended at"},
		{"without an end", ca.Staple(t, leaf, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), ""},
		{"from the future", ca.Staple(t, leaf, func(r *ocsp.Response) { r.ThisUpdate = now.Add(time.Hour) }), "begins only"},
		{"of another leaf", ca.Staple(t, customer), "no response matching"},
		{"another customer's signature", by(customer), "not named for OCSP signing"},
		{"an expired responder's", by(late), "not valid now"},
		{"another CA's of the same name", other.Staple(t, leaf), "bad OCSP signature"},
		{"another CA's responder", by(foreign), "bad OCSP signature"},
		{"a bit flipped", broken, "expected a DER-encoded"},
		{"cut", good[:len(good)-3], "expected a DER-encoded"},
		{"followed by something", append(append([]byte{}, good...), 0), "trailing data"},
		{"try later", []byte{0x30, 3, 0x0a, 1, 3}, "try later"},
		{"nothing", nil, "expected a DER-encoded"},
		{"too long", make([]byte, 16<<10+1), "at most 16384 bytes"},
	} {
		ends, err := pair.CheckStaple(c.der, now)
		if c.name == "without an end" {
			// CreateResponse writes the zero time as year 1: it has long ended.
			c.want = "ended at"
			if err != nil && strings.Contains(err.Error(), "does not say") {
				continue
			}
		}
		if c.want == "" && (err != nil || ends.Before(now) || ends.After(now.Add(49*time.Hour))) {
			t.Errorf("%s: got %v, %v, want it accepted until two days from now", c.name, ends, err)
		}
		if c.want == "" {
			continue
		}
		refused, ok := errors.AsType[*keypair.Error](err)
		if !ok || refused.Field != "ocsp_staple" || !strings.Contains(refused.Detail, c.want) {
			t.Errorf("%s: got %v, want an error about ocsp_staple with %q", c.name, err, c.want)
		}
	}
}

// TestStapleIssuer: who the issuer is when the chain does not say.
func TestStapleIssuer(t *testing.T) {
	root := testcert.NewCA(t, "Root")
	leaf := root.Leaf(t, []string{"www.a.test"})
	staple := root.Staple(t, leaf)
	alone, err := keypair.Parse(leaf.CertPEM(), leaf.KeyPEM(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone.CheckStaple(staple, time.Now()); err == nil || !strings.Contains(err.Error(), "add the certificate of the leaf's issuer") {
		t.Errorf("without the issuer: got %v, want it asked for", err)
	}
	withRoot, err := keypair.Parse(leaf.CertPEM()+root.PEM(), leaf.KeyPEM(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := withRoot.CheckStaple(staple, time.Now()); err != nil || len(withRoot.Chain) != 1 {
		t.Errorf("with the root, which is dropped from the chain: got %v", err)
	}
}

func TestMustStaple(t *testing.T) {
	root := testcert.NewCA(t, "Root")
	if keypair.MustStaple(root.Leaf(t, []string{"www.a.test"}).Cert) {
		t.Error("a plain leaf demands stapling")
	}
	if !keypair.MustStaple(root.Leaf(t, []string{"www.a.test"}, testcert.MustStaple()).Cert) {
		t.Error("a leaf with status_request does not demand stapling")
	}
}
