package lacre_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/internal/testcert"
	"lacre/keypair"
)

func TestModifyCertificate(t *testing.T) {
	t.Run("OK: new content is a new version of the same certificate", func(t *testing.T) {
		w := newWorld(t)
		before := w.create(w.upload("web_cert", "www.a.test"))
		leaf := w.ca.Leaf(t, []string{"www.b.test"})
		after := w.modify(before.ID, input("web_cert", leaf))
		if after.Version != 2 || after.Generation != 2 || after.Oldest != 1 {
			t.Errorf("got version %d, generation %d, oldest %d, want 2, 2, 1", after.Version, after.Generation, after.Oldest)
		}
		if !after.Created.Equal(before.Created) || !after.Updated.After(before.Updated) {
			t.Errorf("got created %v updated %v, want %v and later than %v", after.Created, after.Updated, before.Created, before.Updated)
		}
		if after.Facts.CommonName != "www.b.test" {
			t.Errorf("got the facts of %q, want those of the new leaf", after.Facts.CommonName)
		}
		if diff := cmp.Diff(after, w.show(before.ID)); diff != "" {
			t.Errorf("show differs from modify (-modify +show):\n%s", diff)
		}
		key, err := lacre.OpenKey(t.Context(), sharedSealer, w.version(after, 2))
		w.ok(err)
		if !sameKey(key.Public(), leaf.Cert.PublicKey) {
			t.Error("got another key, want the new one")
		}
	})
	t.Run("identical content moves the generation and keeps the version", func(t *testing.T) {
		w := newWorld(t)
		in := w.trusting(w.upload("web_cert", "www.a.test"))
		c := w.create(in)
		v := w.version(c, 1)
		for _, roots := range []*string{in.TrustedRootCA, nil} {
			in.TrustedRootCA = roots
			next := w.modify(c.ID, in)
			if next.Version != 1 || next.Generation != c.Generation+1 || !next.Updated.After(c.Updated) {
				t.Errorf("got version %d, generation %d, want 1, %d, and a later update", next.Version, next.Generation, c.Generation+1)
			}
			c = next
		}
		if diff := cmp.Diff(v, w.version(c, 1)); diff != "" {
			t.Errorf("the version changed (-before +after):\n%s", diff)
		}
	})
	t.Run("a rename alone keeps the version", func(t *testing.T) {
		w := newWorld(t)
		in := w.upload("web_cert", "www.a.test")
		c := w.create(in)
		in.Name = "new_name"
		if next := w.modify(c.ID, in); next.Version != 1 || next.Name != "new_name" {
			t.Errorf("got version %d called %q, want 1 called new_name", next.Version, next.Name)
		}
	})
	t.Run("another chain or key for the same leaf name is a new version", func(t *testing.T) {
		w := newWorld(t)
		sub := w.ca.Intermediate(t, "Issuing CA")
		leaf := sub.Leaf(t, []string{"www.a.test"})
		in := input("web_cert", leaf)
		c := w.create(in)
		in.CertContent = leaf.CertPEM()
		if next := w.modify(c.ID, in); next.Version != 2 {
			t.Errorf("without its intermediate: got version %d, want 2", next.Version)
		}
	})
	t.Run("ErrNotFound before the upload is read", func(t *testing.T) {
		w := newWorld(t)
		_, err := w.tryModify(lacre.NewID(), lacre.CertificateInput{})
		wantCode(t, err, lacre.CodeCertificateNotFound)
	})
}

func TestModifyScope(t *testing.T) {
	w := newWorld(t)
	here, there := w.instance(), w.instance()
	global, own := w.create(w.upload("web_cert", "www.a.test")), w.create(confined(w.upload("web_cert", "www.a.test"), here))
	tests := map[string]struct {
		certificate *lacre.Certificate
		scope       lacre.Scope
		instance    string
		field       string // empty: accepted
	}{
		"global, as it was shown":             {global, lacre.ScopeGlobal, "common", ""},
		"global, scope left out":              {global, "", "common", ""},
		"global, any instance is ignored":     {global, lacre.ScopeGlobal, there.ID, ""},
		"global to instance":                  {global, lacre.ScopeInstance, here.ID, "type"},
		"unknown scope":                       {global, "planet", "", "type"},
		"an instance's own, as it was shown":  {own, lacre.ScopeInstance, here.ID, ""},
		"an instance's own, both left out":    {own, "", "", ""},
		"an instance's own to global":         {own, lacre.ScopeGlobal, "common", "type"},
		"an instance's own, scope left out":   {own, "", "common", "instance_id"},
		"an instance's own to another's":      {own, lacre.ScopeInstance, there.ID, "instance_id"},
		"an instance's own to an unknown one": {own, lacre.ScopeInstance, lacre.NewID(), "instance_id"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			in := w.upload("web_cert", "www.a.test")
			in.Scope, in.InstanceID = test.scope, test.instance
			next, err := w.tryModify(test.certificate.ID, in)
			if test.field != "" {
				wantField(t, err, lacre.CodeImmutable, test.field)
				return
			}
			w.ok(err)
			if c := next.Certificate; c.Scope != test.certificate.Scope || c.InstanceID != test.certificate.InstanceID {
				t.Errorf("got scope %q of %q, want them unchanged", c.Scope, c.InstanceID)
			}
		})
	}
}

func TestModifyTrustRoots(t *testing.T) {
	w := newWorld(t)
	c := w.create(w.trusting(w.upload("web_cert", "www.a.test")))
	roots := func() [][]byte { return w.version(c, c.Version).TrustRoots }
	other := testcert.NewCA(t, "Other CA")

	c = w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	if got := roots(); !c.HasTrustRoot || !cmp.Equal(got, [][]byte{w.ca.Cert.Raw}) {
		t.Errorf("absent: got %d roots, want the stored one kept", len(got))
	}
	in := w.upload("web_cert", "www.a.test")
	in.TrustedRootCA = new(other.PEM() + w.ca.PEM())
	c = w.modify(c.ID, in)
	if got := roots(); !c.HasTrustRoot || !cmp.Equal(got, [][]byte{other.Cert.Raw, w.ca.Cert.Raw}) {
		t.Errorf("PEM: got %d roots, want the two sent", len(got))
	}
	in.TrustedRootCA = new("")
	c = w.modify(c.ID, in)
	if got := roots(); c.HasTrustRoot || len(got) != 0 {
		t.Errorf("empty: got %d roots, want none", len(got))
	}
	if c.Version != 4 {
		t.Errorf("got version %d, want 4: roots are part of a version", c.Version)
	}
	in.TrustedRootCA = nil
	if c = w.modify(c.ID, in); c.HasTrustRoot || c.Version != 4 {
		t.Errorf("absent again: got trust root %v, version %d, want none, 4", c.HasTrustRoot, c.Version)
	}
}

func TestModifyName(t *testing.T) {
	t.Run("the old name is free at once", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("old_name", "www.a.test"))
		w.modify(c.ID, w.upload("new_name", "www.a.test"))
		w.create(w.upload("old_name", "www.a.test"))
		_, err := w.tryCreate(w.upload("new_name", "www.a.test"))
		wantField(t, err, lacre.CodeCertificateNameTaken, "name")
	})
	t.Run("ErrNameTaken", func(t *testing.T) {
		w := newWorld(t)
		w.create(w.upload("taken_name", "www.a.test"))
		c := w.create(w.upload("own_name", "www.a.test"))
		w.wantUnchanged(func() {
			for _, opt := range []lacre.WriteOptions{{}, {DryRun: true}} {
				_, err := w.tryModify(c.ID, w.upload("taken_name", "www.a.test"), opt)
				wantField(t, err, lacre.CodeCertificateNameTaken, "name")
			}
		})
	})
	t.Run("a name of the other scope is free", func(t *testing.T) {
		w := newWorld(t)
		w.create(w.upload("their_name", "www.a.test"))
		c := w.create(confined(w.upload("own_name", "www.a.test"), w.instance()))
		w.modify(c.ID, w.upload("their_name", "www.a.test"))
	})
	t.Run("ErrInvalid", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("own_name", "www.a.test"))
		_, err := w.tryModify(c.ID, w.upload("", "www.a.test"))
		wantField(t, err, lacre.CodeInvalidField, "name")
	})
}

func TestModifyPrecondition(t *testing.T) {
	w := newWorld(t)
	in := w.upload("web_cert", "www.a.test")
	c := w.create(in)
	seen := lacre.WriteOptions{IfGeneration: new(c.Generation)}
	_, err := w.tryModify(c.ID, in, seen)
	w.ok(err)
	w.wantUnchanged(func() {
		_, err := w.tryModify(c.ID, in, seen)
		wantCode(t, err, lacre.CodePrecondition)
	})
}

func TestDryRunOfModify(t *testing.T) {
	w := newWorld(t, func(c *lacre.Config) { c.History = 2 })
	c := w.create(w.upload("web_cert", "www.a.test"))
	w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	w.attach(c, w.home("www.a.test"), nil)
	w.wantUnchanged(func() {
		written, err := w.tryModify(c.ID, w.trusting(w.uploadRSA("new_name", "www.a.test")), lacre.WriteOptions{DryRun: true})
		w.ok(err)
		got := written.Certificate
		if got.Name != "new_name" || got.Version != 3 || got.Generation != 3 || got.Facts.Algorithm != keypair.RSA || !got.HasTrustRoot {
			t.Errorf("got %+v, want the certificate as it would be", got)
		}
		_, err = w.tryModify(c.ID, w.upload("new_name", "www.b.test"), lacre.WriteOptions{DryRun: true})
		wantField(t, err, lacre.CodeNotCovered, "cert_content")
	})
}

func TestHistory(t *testing.T) {
	t.Parallel()
	t.Run("superseded versions are really deleted", func(t *testing.T) {
		w := newWorld(t, func(c *lacre.Config) { c.History = 3 })
		c := w.create(w.upload("web_cert", "www.a.test"))
		for n := 2; n <= 6; n++ {
			c = w.modify(c.ID, w.upload("web_cert", "www.a.test"))
			if want := max(1, n-2); c.Version != n || c.Oldest != want {
				t.Errorf("got version %d, oldest %d, want %d, %d", c.Version, c.Oldest, n, want)
			}
		}
		for n := 1; n <= 6; n++ {
			_, err := sharedStore.Version(t.Context(), w.project, c.ID, n)
			if kept := n >= 4; kept && err != nil || !kept && !errors.Is(err, lacre.ErrNotStored) {
				t.Errorf("version %d: got error %v, want kept: %v", n, err, kept)
			}
		}
	})
	t.Run("a shorter history takes effect at the next change", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("web_cert", "www.a.test"))
		for range 4 {
			w.modify(c.ID, w.upload("web_cert", "www.a.test"))
		}
		w.History = 1
		if c = w.modify(c.ID, w.upload("web_cert", "www.a.test")); c.Oldest != 6 {
			t.Errorf("got oldest version %d, want 6", c.Oldest)
		}
		w.ok(w.tryDelete(c.ID))
		if got := w.tap.stored(t); len(got) != 0 {
			t.Errorf("got records %v left, want none", got)
		}
	})
	t.Run("the longest one still fits one transaction", func(t *testing.T) {
		w := newWorld(t, func(c *lacre.Config) { c.History = 1_000_000 })
		in := w.upload("web_cert", "www.a.test")
		c := w.create(in)
		for n := range 60 { // alternating roots: cheap new versions
			in.TrustedRootCA = new("")
			if n%2 == 0 {
				in = w.trusting(in)
			}
			c = w.modify(c.ID, in)
		}
		if c.Version != 61 || c.Oldest != 12 {
			t.Errorf("got versions %d to %d, want 12 to 61", c.Oldest, c.Version)
		}
		w.ok(w.tryDelete(c.ID))
	})
}

// Decision 9: what is bound stays covered. Decision 16: the algorithm may change as long
// as no domain ends up with two certificates of one type.
func TestModifyWhileBound(t *testing.T) {
	t.Run("ErrNotCovered", func(t *testing.T) {
		w := newWorld(t)
		c, g := w.create(w.upload("web_cert", "*.a.test")), w.group(w.instance())
		for _, host := range []string{"www.a.test", "api.a.test"} {
			w.attach(c, w.domain(g, host), nil)
		}
		w.wantUnchanged(func() {
			_, err := w.tryModify(c.ID, w.upload("web_cert", "api.a.test", "www.b.test"))
			wantField(t, err, lacre.CodeNotCovered, "cert_content")
		})
		w.modify(c.ID, w.upload("web_cert", "api.a.test", "www.a.test"))
	})
	t.Run("another algorithm moves the bindings along", func(t *testing.T) {
		w := newWorld(t)
		c, d := w.create(w.upload("web_cert", "www.a.test")), w.home("www.a.test")
		w.attach(c, d, nil)
		w.modify(c.ID, w.uploadRSA("web_cert", "www.a.test"))
		want := []lacre.Binding{{CertificateID: c.ID, Algorithm: keypair.RSA}}
		if diff := cmp.Diff(want, w.domainNow(d).Bindings); diff != "" {
			t.Errorf("the bindings differ (-want +got):\n%s", diff)
		}
	})
	t.Run("ErrSameAlgorithm", func(t *testing.T) {
		w := newWorld(t)
		ecc, rsa, d := w.create(w.upload("ecc_cert", "www.a.test")), w.create(w.uploadRSA("rsa_cert", "www.a.test")), w.home("www.a.test")
		w.attach(ecc, d, nil)
		w.attach(rsa, d, nil)
		w.wantUnchanged(func() {
			_, err := w.tryModify(ecc.ID, w.uploadRSA("ecc_cert", "www.a.test"))
			wantField(t, err, lacre.CodeSameAlgorithm, "cert_content")
		})
		w.detach(rsa, d)
		w.modify(ecc.ID, w.uploadRSA("ecc_cert", "www.a.test"))
	})
	t.Run("binding and unbinding leave the generation alone", func(t *testing.T) {
		w := newWorld(t)
		c, d := w.create(w.upload("web_cert", "www.a.test")), w.home("www.a.test")
		w.attach(c, d, nil)
		if got := w.show(c.ID); got.Bound != 1 || got.Generation != 1 || !got.Updated.Equal(c.Updated) {
			t.Errorf("got bound %d, generation %d, updated %v, want 1, 1, %v", got.Bound, got.Generation, got.Updated, c.Updated)
		}
	})
}

// Another node can trim the version that this node is about to compare with.
func TestModifyOvertakenByAnotherNode(t *testing.T) {
	w := newWorld(t, func(c *lacre.Config) { c.History = 1 })
	in := w.trusting(w.upload("web_cert", "www.a.test"))
	c := w.create(in)
	elsewhere := lacre.NewService(lacre.Config{Store: sharedStore, Sealer: sharedSealer, History: 1})
	times := 0
	w.tap.onRead(func(r lacre.Record) error {
		if _, ok := r.(*lacre.Version); !ok || times > 0 {
			return nil
		}
		times++
		_, err := elsewhere.ModifyCertificate(context.Background(), w.admin, w.project, c.ID, w.upload("their_name", "www.a.test"), lacre.WriteOptions{})
		return err
	})
	in.Name, in.TrustedRootCA = "our_name", nil
	next := w.modify(c.ID, in)
	if next.Version != 3 || next.Generation != 3 || next.Name != "our_name" || !next.HasTrustRoot {
		t.Errorf("got version %d, generation %d, name %q, trust root %v, want 3, 3, our_name, true", next.Version, next.Generation, next.Name, next.HasTrustRoot)
	}
	w.create(w.upload("their_name", "www.a.test"))
}
