package lacre_test

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/internal/testcert"
	"lacre/keypair"
)

func newSM2CA(t *testing.T) *testcert.CA { return testcert.NewCA(t, "SM2 CA", testcert.WithSM2()) }

// dualInput is the upload of both pairs.
func dualInput(name string, d *testcert.Dual) lacre.CertificateInput {
	in := input(name, d.Enc)
	in.Algorithm = keypair.SM2
	in.CertContentSign, in.PrivateKeySign = d.Sign.ChainPEM(), lacre.Secret(d.Sign.KeyPEM())
	return in
}

func ders(certs []*x509.Certificate) (out [][]byte) {
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out
}

func TestSM2CertificateIsOneVersion(t *testing.T) {
	w, ca := newWorld(t), newSM2CA(t)
	issuing := ca.Intermediate(t, "SM2 issuing", testcert.WithSM2())
	first, second := issuing.Dual(t, []string{"www.a.test"}), issuing.Dual(t, []string{"www.a.test"})
	in := dualInput("sm2_cert", first)
	in.TrustedRootCA = new(ca.PEM())
	c := w.create(in)
	if c.Facts.Algorithm != keypair.SM2 || c.Facts.SignatureAlgorithm != "SM2-SM3" || !c.HasTrustRoot {
		t.Errorf("got %+v", c.Facts)
	}
	w.holds(c, 1, first)
	in = dualInput("sm2_cert", second)
	in.Algorithm = "" // Terraform never sends it
	if c = w.modify(c.ID, in); c.Version != 2 || !c.HasTrustRoot {
		t.Errorf("got version %d, trust root %v; want 2 with the roots kept", c.Version, c.HasTrustRoot)
	}
	w.holds(c, 2, second)
	// A change of the signing pair alone is a new version; the same again is none.
	in.CertContentSign, in.PrivateKeySign = first.Sign.ChainPEM(), lacre.Secret(first.Sign.KeyPEM())
	if c = w.modify(c.ID, in); c.Version != 3 {
		t.Errorf("another signing pair: got version %d, want 3", c.Version)
	}
	w.holds(c, 3, &testcert.Dual{Enc: second.Enc, Sign: first.Sign})
	if c = w.modify(c.ID, in); c.Version != 3 {
		t.Errorf("the same again: got version %d, want 3", c.Version)
	}
}

// holds checks that a version holds both pairs, and that neither key opens for the other.
func (w *world) holds(c *lacre.Certificate, number int, d *testcert.Dual) {
	w.t.Helper()
	v := w.version(c, number)
	if !cmp.Equal(v.Chain, ders(d.Enc.Chain)) || !cmp.Equal(v.SignChain, ders(d.Sign.Chain)) {
		w.t.Errorf("version %d: got chains of %d and %d, want those uploaded", number, len(v.Chain), len(v.SignChain))
	}
	pairs, err := lacre.OpenSM2(w.t.Context(), sharedSealer, v)
	w.ok(err)
	if !pairs.EncryptionKey.Equal(d.Enc.Key) || !pairs.SigningKey.Equal(d.Sign.Key) ||
		!pairs.EncryptionLeaf.Equal(d.Enc.Cert) || !pairs.SigningLeaf.Equal(d.Sign.Cert) {
		w.t.Errorf("version %d: got other keys, want those uploaded", number)
	}
	mixed := *v
	mixed.SealedKey, mixed.SealedSignKey = v.SealedSignKey, v.SealedKey
	mixed.Chain, mixed.SignChain = v.SignChain, v.Chain
	if _, err := lacre.OpenSM2(w.t.Context(), sharedSealer, &mixed); err == nil {
		w.t.Error("a key opened in the place of the other")
	}
	old := *v
	old.Number++
	if _, err := lacre.OpenSM2(w.t.Context(), sharedSealer, &old); err == nil {
		w.t.Error("a key opened for another version")
	}
	if _, err := lacre.OpenKey(w.t.Context(), sharedSealer, v); err == nil {
		w.t.Error("an SM2 key opened as one for TLS")
	}
}

func TestSM2RefusesContent(t *testing.T) {
	w, ca := newWorld(t), newSM2CA(t)
	good := ca.Dual(t, []string{"www.a.test"})
	long := strings.Repeat("x", 8093)
	for name, test := range map[string]struct {
		edit  func(*lacre.CertificateInput)
		code  lacre.Code
		field string
	}{
		"no signing certificate":      {func(in *lacre.CertificateInput) { in.CertContentSign = "" }, lacre.CodeInvalidField, "cert_content_sign"},
		"no signing key":              {func(in *lacre.CertificateInput) { in.PrivateKeySign = "" }, lacre.CodeInvalidField, "private_key_sign"},
		"neither, not said to be SM2": {func(in *lacre.CertificateInput) { *in = input(in.Name, good.Enc) }, lacre.CodeInvalidField, "cert_content_sign"},
		"certificate too long":        {func(in *lacre.CertificateInput) { in.CertContentSign = long }, lacre.CodeInvalidField, "cert_content_sign"},
		"key too long":                {func(in *lacre.CertificateInput) { in.PrivateKeySign = lacre.Secret(long) }, lacre.CodeInvalidField, "private_key_sign"},
		"said to be RSA":              {func(in *lacre.CertificateInput) { in.Algorithm = keypair.RSA }, lacre.CodeInvalidField, "cert_content_sign"},
		"said to be ECC, one pair": {func(in *lacre.CertificateInput) {
			*in = input(in.Name, good.Enc)
			in.Algorithm = keypair.ECC
		}, lacre.CodeWrongAlgorithm, "cert_content"},
		"ECC said to be SM2": {func(in *lacre.CertificateInput) {
			leaf := w.ca.Leaf(t, []string{"www.a.test"})
			in.CertContent, in.PrivateKey = leaf.ChainPEM(), lacre.Secret(leaf.KeyPEM())
		}, lacre.CodeWrongAlgorithm, "cert_content"},
		"swapped": {func(in *lacre.CertificateInput) {
			*in = dualInput(in.Name, &testcert.Dual{Sign: good.Enc, Enc: good.Sign})
		}, lacre.CodeWrongUsage, "cert_content"},
		"trust roots of TLS": {func(in *lacre.CertificateInput) { in.TrustedRootCA = new(w.ca.PEM()) }, lacre.CodeWrongAlgorithm, "trusted_root_ca"},
	} {
		t.Run(name, func(t *testing.T) {
			in := dualInput("sm2_cert", good)
			test.edit(&in)
			for _, opt := range []lacre.WriteOptions{{}, {DryRun: true}} {
				_, err := w.tryCreate(in, opt)
				wantField(t, err, test.code, test.field)
			}
		})
	}
}

// The signing pair may have as many characters as the API page says, not one more.
func TestSM2SigningLength(t *testing.T) {
	w, ca := newWorld(t), newSM2CA(t)
	good := ca.Dual(t, []string{"www.a.test"})
	padded := func(text string, length int) string { return text + strings.Repeat("\n", length-len(text)) }
	for field, edit := range map[string]func(in *lacre.CertificateInput, length int){
		"cert_content_sign": func(in *lacre.CertificateInput, n int) { in.CertContentSign = padded(in.CertContentSign, n) },
		"private_key_sign": func(in *lacre.CertificateInput, n int) {
			in.PrivateKeySign = lacre.Secret(padded(string(in.PrivateKeySign), n))
		},
	} {
		in := dualInput("sm2_cert", good)
		edit(&in, 8092)
		_, err := w.tryCreate(in, lacre.WriteOptions{DryRun: true})
		w.ok(err)
		in = dualInput("sm2_cert", good)
		edit(&in, 8093)
		_, err = w.tryCreate(in, lacre.WriteOptions{DryRun: true})
		wantField(t, err, lacre.CodeInvalidField, field)
		if want := "expected at most 8092 characters, there are 8093"; !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", field, err, want)
		}
	}
}

// A domain may have a certificate of each algorithm type.
func TestDomainWithThreeAlgorithms(t *testing.T) {
	w := newWorld(t)
	d := w.home("www.a.test")
	rsa, ecc := w.create(w.uploadRSA("rsa_cert", "www.a.test")), w.create(w.upload("ecc_cert", "www.a.test"))
	sm2 := w.create(dualInput("sm2_cert", newSM2CA(t).Dual(t, []string{"www.a.test"})))
	for _, c := range []*lacre.Certificate{rsa, ecc, sm2} {
		w.attach(c, d, nil)
	}
	got := w.domainNow(d).Bindings
	want := []lacre.Binding{{CertificateID: rsa.ID, Algorithm: keypair.RSA}, {CertificateID: ecc.ID, Algorithm: keypair.ECC}, {CertificateID: sm2.ID, Algorithm: keypair.SM2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
	// A second one of a type is refused, and so is becoming one.
	again := w.create(dualInput("sm2_more", newSM2CA(t).Dual(t, []string{"www.a.test"})))
	_, err := w.tryAttach(again, d, nil)
	wantCode(t, err, lacre.CodeSameAlgorithm)
	_, err = w.tryModify(ecc.ID, dualInput("ecc_cert", newSM2CA(t).Dual(t, []string{"www.a.test"})))
	wantCode(t, err, lacre.CodeSameAlgorithm)
	// Coverage is that of both leaves.
	ca := newSM2CA(t)
	apart := &testcert.Dual{Enc: ca.Dual(t, []string{"www.a.test", "b.test"}).Enc, Sign: ca.Dual(t, []string{"b.test"}).Sign}
	_, err = w.tryModify(sm2.ID, dualInput("sm2_cert", apart))
	wantCode(t, err, lacre.CodeNotCovered)
}

// Trust roots that are kept must be of the new content's kind.
func TestTrustRootsDoNotCrossOver(t *testing.T) {
	w := newWorld(t)
	c := w.create(w.trusting(w.upload("web_cert", "www.a.test")))
	in := dualInput("web_cert", newSM2CA(t).Dual(t, []string{"www.a.test"}))
	_, err := w.tryModify(c.ID, in)
	wantField(t, err, lacre.CodeWrongAlgorithm, "trusted_root_ca")
	in.TrustedRootCA = new("")
	if next := w.modify(c.ID, in); next.HasTrustRoot || next.Facts.Algorithm != keypair.SM2 {
		t.Errorf("got %+v, want SM2 without trust roots", next)
	}
}
