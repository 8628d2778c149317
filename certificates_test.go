package lacre_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lacre"
	"lacre/internal/testcert"
	"lacre/keypair"
)

func TestCreateCertificate(t *testing.T) {
	t.Run("OK", func(t *testing.T) {
		w := newWorld(t)
		leaf := w.ca.Leaf(t, []string{"www.a.test", "*.b.test"})
		got := w.create(input("web_cert", leaf))
		want := &lacre.Certificate{
			ProjectID: w.project, Name: "web_cert", Scope: lacre.ScopeGlobal,
			Version: 1, Oldest: 1, Generation: 1,
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(lacre.Certificate{}, "ID", "Facts", "Created", "Updated", "Revision")); diff != "" {
			t.Errorf("the certificate differs (-want +got):\n%s", diff)
		}
		if len(got.ID) != 32 || strings.Trim(got.ID, "0123456789abcdef") != "" {
			t.Errorf("got id %q, want 32 lower-case hexadecimal digits", got.ID)
		}
		if got.Facts.Algorithm != keypair.ECC || !cmp.Equal(got.Facts.SANs, []string{"www.a.test", "*.b.test"}) {
			t.Errorf("got facts %+v, want those of the leaf", got.Facts)
		}
		if diff := cmp.Diff(got, w.show(got.ID)); diff != "" {
			t.Errorf("show differs from create (-create +show):\n%s", diff)
		}
	})
	t.Run("the version holds leaf, chain and key of the upload", func(t *testing.T) {
		w := newWorld(t)
		leaf := w.ca.Intermediate(t, "Issuing CA").Leaf(t, []string{"www.a.test"})
		c := w.create(w.trusting(input("web_cert", leaf)))
		v := w.version(c, 1)
		want := [][]byte{leaf.Chain[0].Raw, leaf.Chain[1].Raw}
		if !cmp.Equal(want, v.Chain) || !cmp.Equal([][]byte{w.ca.Cert.Raw}, v.TrustRoots) {
			t.Errorf("got a chain of %d and %d trust roots, want those uploaded", len(v.Chain), len(v.TrustRoots))
		}
		key, err := lacre.OpenKey(t.Context(), sharedSealer, v)
		w.ok(err)
		if !sameKey(key.Public(), leaf.Cert.PublicKey) {
			t.Error("got another key, want that of the upload")
		}
	})
	t.Run("an instance's own", func(t *testing.T) {
		w := newWorld(t)
		i := w.instance()
		c := w.create(confined(w.upload("web_cert", "www.a.test"), i))
		if c.Scope != lacre.ScopeInstance || c.InstanceID != i.ID {
			t.Errorf("got scope %q of instance %q, want %q of %q", c.Scope, c.InstanceID, lacre.ScopeInstance, i.ID)
		}
	})
	t.Run("global ignores the instance clients send along", func(t *testing.T) {
		w := newWorld(t)
		in := w.upload("web_cert", "www.a.test")
		in.Scope, in.InstanceID = lacre.ScopeGlobal, "common"
		if c := w.create(in); c.InstanceID != "" {
			t.Errorf("got instance %q, want none", c.InstanceID)
		}
	})
	t.Run("an empty trust root is none", func(t *testing.T) {
		w := newWorld(t)
		in := w.upload("web_cert", "www.a.test")
		in.TrustedRootCA = new(" \n")
		if c := w.create(in); c.HasTrustRoot {
			t.Error("got a trust root, want none")
		}
	})
	t.Run("ErrNameTaken in the same scope only", func(t *testing.T) {
		w := newWorld(t)
		one, two := w.instance(), w.instance()
		in := w.upload("web_cert", "www.a.test")
		w.create(in)
		w.create(confined(in, one))
		w.create(confined(in, two))
		for _, again := range []lacre.CertificateInput{in, confined(in, two)} {
			_, err := w.tryCreate(again)
			wantField(t, err, lacre.CodeCertificateNameTaken, "name")
		}
	})
	t.Run("ErrInstanceMissing", func(t *testing.T) {
		w := newWorld(t)
		in := w.upload("web_cert", "www.a.test")
		in.Scope = lacre.ScopeInstance
		_, err := w.tryCreate(in)
		wantField(t, err, lacre.CodeMissing, "instance_id")
		in.InstanceID = lacre.NewID()
		_, err = w.tryCreate(in)
		wantCode(t, err, lacre.CodeInstanceNotFound)
	})
	t.Run("a refused one leaves nothing", func(t *testing.T) {
		w := newWorld(t)
		w.create(w.upload("web_cert", "www.a.test"))
		w.wantUnchanged(func() {
			_, err := w.tryCreate(w.upload("web_cert", "www.b.test"))
			wantCode(t, err, lacre.CodeCertificateNameTaken)
		})
	})
}

// What keypair refuses keeps its meaning, and its field.
func TestCreateCertificateRefusesContent(t *testing.T) {
	w := newWorld(t)
	good, other := w.ca.Leaf(t, []string{"www.a.test"}), w.ca.Leaf(t, []string{"www.a.test"})
	now := time.Now()
	expired := w.ca.Leaf(t, []string{"www.a.test"}, testcert.WithValidity(now.AddDate(0, -2, 0), now.AddDate(0, -1, 0)))
	bare := w.ca.Leaf(t, []string{"www.a.test"}, testcert.WithoutSAN())
	foreign := testcert.NewCA(t, "Test CA") // the same name, another key
	tests := map[string]struct {
		edit  func(*lacre.CertificateInput)
		code  lacre.Code
		field string
	}{
		"key mismatch":    {func(in *lacre.CertificateInput) { in.PrivateKey = lacre.Secret(other.KeyPEM()) }, lacre.CodeKeyMismatch, "private_key"},
		"expired":         {func(in *lacre.CertificateInput) { *in = input(in.Name, expired) }, lacre.CodeExpired, "cert_content"},
		"no SAN":          {func(in *lacre.CertificateInput) { *in = input(in.Name, bare) }, lacre.CodeNoSAN, "cert_content"},
		"broken chain":    {func(in *lacre.CertificateInput) { in.CertContent += foreign.PEM() }, lacre.CodeBrokenChain, "cert_content"},
		"not PEM":         {func(in *lacre.CertificateInput) { in.CertContent = "hello" }, lacre.CodeInvalidPair, "cert_content"},
		"key not PEM":     {func(in *lacre.CertificateInput) { in.PrivateKey = "hello" }, lacre.CodeInvalidPair, "private_key"},
		"root not PEM":    {func(in *lacre.CertificateInput) { in.TrustedRootCA = new("hello") }, lacre.CodeInvalidPair, "trusted_root_ca"},
		"root no CA":      {func(in *lacre.CertificateInput) { in.TrustedRootCA = new(other.CertPEM()) }, lacre.CodeInvalidPair, "trusted_root_ca"},
		"other algorithm": {func(in *lacre.CertificateInput) { in.Algorithm = keypair.RSA }, lacre.CodeWrongAlgorithm, "algorithm_type"},
		"no algorithm":    {func(in *lacre.CertificateInput) { in.Algorithm = "DSA" }, lacre.CodeInvalidField, "algorithm_type"},
		"a signing pair":  {func(in *lacre.CertificateInput) { in.CertContentSign = good.CertPEM() }, lacre.CodeInvalidField, "cert_content_sign"},
		"a signing key":   {func(in *lacre.CertificateInput) { in.PrivateKeySign = "x" }, lacre.CodeInvalidField, "private_key_sign"},
		"scope":           {func(in *lacre.CertificateInput) { in.Scope = "planet" }, lacre.CodeInvalidField, "type"},
		"no name":         {func(in *lacre.CertificateInput) { in.Name = "" }, lacre.CodeInvalidField, "name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := input("web_cert", good)
			test.edit(&in)
			for _, opt := range []lacre.WriteOptions{{}, {DryRun: true}} {
				_, err := w.tryCreate(in, opt)
				wantField(t, err, test.code, test.field)
			}
		})
	}
	if rows := w.audits(); len(rows) != 0 {
		t.Errorf("got %d audit rows of refused calls, want none", len(rows))
	}
}

func TestCertificateNames(t *testing.T) {
	w := newWorld(t)
	in := w.upload("", "www.a.test")
	for name, good := range map[string]bool{
		"abcd": true, "abc": false, "a_1_": true, "证书网站": true, "证书_网站_1": true, "_abc": false, "1abc": false,
		"a-bcd": false, "a bcd": false, "abcd\n": false, "abcdé": false,
		strings.Repeat("a", 50): true, strings.Repeat("a", 51): false,
		strings.Repeat("证", 50): true, strings.Repeat("证", 51): false,
	} {
		in.Name = name
		_, err := w.tryCreate(in)
		if good && err != nil {
			t.Errorf("%q: got error %v, want none", name, err)
		}
		if !good {
			wantField(t, err, lacre.CodeInvalidField, "name")
		}
	}
}

func TestRefuseAfter2038(t *testing.T) {
	end := time.Date(2038, time.January, 19, 3, 14, 7, 0, time.UTC)
	upload := func(w *world, notAfter time.Time) lacre.CertificateInput {
		return input(unique("cert"), w.ca.Leaf(w.t, []string{"www.a.test"}, testcert.WithValidity(time.Now().Add(-time.Hour), notAfter)))
	}
	strict := newWorld(t, func(c *lacre.Config) { c.RefuseAfter2038 = true })
	strict.create(upload(strict, end))
	_, err := strict.tryCreate(upload(strict, end.Add(time.Second)))
	wantField(t, err, lacre.CodeAfter2038, "cert_content")
	lenient := newWorld(t)
	lenient.create(upload(lenient, end.Add(time.Second)))
}

func TestDeleteCertificate(t *testing.T) {
	t.Parallel()
	t.Run("OK, with every version and the name", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("web_cert", "www.a.test"))
		w.modify(c.ID, w.upload("web_cert", "www.a.test"))
		w.ok(w.tryDelete(c.ID))
		if got := w.tap.stored(t); len(got) != 0 {
			t.Errorf("got records %v left, want none", got)
		}
		_, err := w.tryShow(c.ID)
		wantCode(t, err, lacre.CodeCertificateNotFound)
		w.create(w.upload("web_cert", "www.a.test"))
	})
	t.Run("ErrNotFound", func(t *testing.T) {
		w := newWorld(t)
		wantCode(t, w.tryDelete(lacre.NewID()), lacre.CodeCertificateNotFound)
	})
	t.Run("ErrInUse names the domains", func(t *testing.T) {
		w := newWorld(t)
		c, d := w.create(w.upload("web_cert", "*.a.test")), w.home("www.a.test")
		w.attach(c, d, nil)
		w.wantUnchanged(func() {
			err := w.tryDelete(c.ID)
			wantCode(t, err, lacre.CodeInUse)
			if e, ok := errors.AsType[*lacre.Error](err); !ok || e.Message != "The SSL certificate is bound to: www.a.test" {
				t.Errorf("got %v, want the message of the API with the domain", err)
			}
		})
		w.detach(c, d)
		w.ok(w.tryDelete(c.ID))
	})
	t.Run("ErrPrecondition", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("web_cert", "www.a.test"))
		w.wantUnchanged(func() {
			wantCode(t, w.tryDelete(c.ID, lacre.WriteOptions{IfGeneration: new(c.Generation + 1)}), lacre.CodePrecondition)
		})
		w.ok(w.tryDelete(c.ID, lacre.WriteOptions{IfGeneration: new(c.Generation)}))
	})
	t.Run("dry", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("web_cert", "www.a.test"))
		w.wantUnchanged(func() { w.ok(w.tryDelete(c.ID, lacre.WriteOptions{DryRun: true})) })
	})
}

func TestDryRunOfCreate(t *testing.T) {
	t.Run("says what would be, and makes no data key", func(t *testing.T) {
		w := newWorld(t)
		in := w.trusting(w.upload("web_cert", "www.a.test"))
		written, err := w.tryCreate(in, lacre.WriteOptions{DryRun: true})
		w.ok(err)
		if c := written.Certificate; c.Version != 1 || !c.HasTrustRoot || c.Facts.CommonName != "www.a.test" {
			t.Errorf("got %+v, want the certificate as it would be", c)
		}
		if got := w.list(lacre.CertificateFilter{}); len(got) != 0 {
			t.Errorf("got %d certificates, want none", len(got))
		}
		if dataKey, err := sharedStore.DataKey(t.Context(), w.project); err != nil || dataKey != nil {
			t.Errorf("got a data key of %d bytes, error %v, want none", len(dataKey), err)
		}
		w.create(in)
	})
	t.Run("ErrNameTaken", func(t *testing.T) {
		w := newWorld(t)
		w.create(w.upload("web_cert", "www.a.test"))
		_, err := w.tryCreate(w.upload("web_cert", "www.a.test"), lacre.WriteOptions{DryRun: true})
		wantField(t, err, lacre.CodeCertificateNameTaken, "name")
	})
}
