package lacre_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lacre"
	"lacre/internal/testcert"
	"lacre/keypair"
)

// content is a version without what makes it this one of its certificate.
func content(v *lacre.Version) *lacre.Version {
	next := *v
	next.Number, next.Epoch, next.Revision, next.Created, next.SealedKey, next.SealedSignKey = 0, 0, 0, time.Time{}, nil, nil
	return &next
}

// wantRolledBack checks that the current version of c is a new one with all that version
// number holds, its key sealed anew, and that the history is as it was.
func (w *world) wantRolledBack(c *lacre.Certificate, number, current int, key crypto.PublicKey) {
	w.t.Helper()
	if c.Version != current {
		w.t.Fatalf("got version %d, want %d", c.Version, current)
	}
	old, now := w.version(c, number), w.version(c, current)
	if diff := cmp.Diff(content(old), content(now), cmpopts.EquateEmpty()); diff != "" {
		w.t.Errorf("version %d differs from version %d (-old +new):\n%s", current, number, diff)
	}
	if diff := cmp.Diff(now.Facts, c.Facts); diff != "" || c.HasTrustRoot != (len(now.TrustRoots) > 0) {
		w.t.Errorf("the certificate does not show version %d:\n%s", current, diff)
	}
	if now.Facts.Algorithm == keypair.SM2 {
		return // see holds
	}
	got, err := lacre.OpenKey(w.t.Context(), sharedSealer, now)
	w.ok(err)
	if !sameKey(got.Public(), key) {
		w.t.Error("got another key, want that of the version")
	}
}

func TestRollback(t *testing.T) {
	t.Run("RSA and ECC, with a chain and trust roots, in both directions", func(t *testing.T) {
		w := newWorld(t)
		ecc, rsa := w.ca.Intermediate(t, "Issuing CA").Leaf(t, []string{"www.a.test"}), w.ca.Leaf(t, []string{"www.a.test"}, testcert.WithRSA(2048))
		c := w.create(w.trusting(input("web_cert", ecc)))
		bare := input("new_name", rsa)
		bare.TrustedRootCA = new("")
		c = w.modify(c.ID, bare)
		before := w.version(c, 1)
		c = w.rollback(c.ID, 1)
		w.wantRolledBack(c, 1, 3, ecc.Cert.PublicKey)
		if c.Name != "new_name" || c.Generation != 3 || c.Oldest != 1 {
			t.Errorf("got name %q, generation %d, oldest %d, want new_name, 3, 1", c.Name, c.Generation, c.Oldest)
		}
		if diff := cmp.Diff(before, w.version(c, 1)); diff != "" {
			t.Errorf("the old version changed (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(c, w.show(c.ID)); diff != "" {
			t.Errorf("show differs from the rollback (-rollback +show):\n%s", diff)
		}
		w.wantRolledBack(w.rollback(c.ID, 2), 2, 4, rsa.Cert.PublicKey)
	})
	t.Run("SM2: both pairs, with a chain that only one of them was sent with", func(t *testing.T) {
		w := newWorld(t)
		ca := newSM2CA(t)
		for n := range 6 { // so long that it would not be taken as cert_content_sign
			ca = ca.Intermediate(t, "Issuing CA "+string(rune('a'+n)), testcert.WithSM2(), testcert.With(wordy))
		}
		old, next := ca.Dual(t, []string{"www.a.test"}), newSM2CA(t).Dual(t, []string{"www.a.test"})
		in := dualInput("sm2_cert", old)
		in.CertContentSign = old.Sign.CertPEM()
		c := w.create(in)
		w.modify(c.ID, dualInput("sm2_cert", next))
		c = w.rollback(c.ID, 1)
		w.wantRolledBack(c, 1, 3, nil)
		w.holds(c, 3, old)
		c = w.rollback(c.ID, 2)
		w.holds(c, 4, next)
	})
	t.Run("the oldest one, which falls out of the history", func(t *testing.T) {
		w := newWorld(t, func(c *lacre.Config) { c.History = 2 })
		leaf := w.ca.Leaf(t, []string{"www.a.test"})
		c := w.create(input("web_cert", leaf))
		w.modify(c.ID, w.upload("web_cert", "www.a.test"))
		c = w.rollback(c.ID, 1)
		if key, err := lacre.OpenKey(t.Context(), sharedSealer, w.version(c, 3)); err != nil || !sameKey(key.Public(), leaf.Cert.PublicKey) || c.Oldest != 2 {
			t.Errorf("got oldest %d, error %v, want 2 and the key", c.Oldest, err)
		}
	})
	t.Run("what is current makes no new version", func(t *testing.T) {
		w := newWorld(t)
		in := w.trusting(w.upload("web_cert", "www.a.test"))
		c := w.create(in)
		w.modify(c.ID, w.upload("web_cert", "www.a.test"))
		w.modify(c.ID, in)
		for _, number := range []int{3, 1} {
			if got := w.rollback(c.ID, number); got.Version != 3 || got.Facts.Fingerprint != c.Facts.Fingerprint {
				t.Errorf("to version %d: got version %d, want 3", number, got.Version)
			}
		}
	})
	t.Run("a damaged current version is repaired", func(t *testing.T) {
		w := newWorld(t)
		leaf := w.ca.Leaf(t, []string{"www.a.test"})
		c := w.create(input("web_cert", leaf))
		w.modify(c.ID, w.trusting(w.upload("web_cert", "www.a.test")))
		w.damage(&lacre.Version{ProjectID: w.project, CertificateID: c.ID, Number: 2})
		w.wantRolledBack(w.rollback(c.ID, 1), 1, 3, leaf.Cert.PublicKey)
	})
	t.Run("what is missing from the chain is known since the upload", func(t *testing.T) {
		w := newWorld(t)
		early := time.Now().Add(time.Hour)
		leaf := w.ca.Leaf(t, []string{"www.a.test"}, testcert.WithValidity(early, early.Add(time.Hour)),
			testcert.With(func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.test/ca.crt"} }))
		in := input("web_cert", leaf)
		in.CertContent += w.ca.PEM() // the root, which is dropped
		c := w.create(in)
		w.modify(c.ID, w.upload("web_cert", "www.a.test"))
		written, err := w.tryRollback(c.ID, 1)
		if w.ok(err); len(written.Warnings) != 1 || !strings.Contains(written.Warnings[0], "not valid before "+leaf.Cert.NotBefore.UTC().Format(time.RFC3339)) {
			t.Errorf("got warnings %q, want that it is not valid yet", written.Warnings)
		}
	})
	t.Run("revocation lists stay", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.trusting(w.upload("web_cert", "www.a.test")))
		_, err := w.tryCRL(c, w.ca.CRL(t, nil))
		w.ok(err)
		w.modify(c.ID, w.upload("web_cert", "www.a.test"))
		w.rollback(c.ID, 1)
		lists, err := w.ShowCRL(t.Context(), w.admin, w.project, c.ID)
		if w.ok(err); len(lists) != 1 || !lists[0].InForce {
			t.Errorf("got %d revocation lists, want the one in force", len(lists))
		}
	})
}

func wordy(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{strings.Repeat("x", 300)} }

func TestRollbackToNoVersion(t *testing.T) {
	w := newWorld(t, func(c *lacre.Config) { c.History = 3 })
	c := w.create(w.upload("web_cert", "www.a.test"))
	for range 4 {
		w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	}
	w.wantUnchanged(func() {
		for _, number := range []int{-1, 0, 2, 6} {
			_, err := w.tryRollback(c.ID, number)
			wantField(t, err, lacre.CodeInvalidField, "version_id")
			if want := "expected one of the versions kept, 3 to 5"; !strings.Contains(err.Error(), want) {
				t.Errorf("version %d: got %v, want %q", number, err, want)
			}
		}
		_, err := w.tryRollback(lacre.NewID(), 1)
		wantCode(t, err, lacre.CodeCertificateNotFound)
	})
}

func TestRollbackWhileBound(t *testing.T) {
	t.Run("ErrNotCovered", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("web_cert", "www.a.test"))
		w.modify(c.ID, w.upload("web_cert", "*.a.test"))
		w.attach(c, w.home("api.a.test"), nil)
		w.wantUnchanged(func() {
			for _, opt := range []lacre.WriteOptions{{}, {DryRun: true}} {
				_, err := w.tryRollback(c.ID, 1, opt)
				wantField(t, err, lacre.CodeNotCovered, "version_id")
			}
		})
	})
	t.Run("another algorithm moves the bindings along, or is refused", func(t *testing.T) {
		w := newWorld(t)
		c, d := w.create(w.upload("web_cert", "www.a.test")), w.home("www.a.test")
		w.modify(c.ID, w.uploadRSA("web_cert", "www.a.test"))
		w.attach(c, d, nil)
		other := w.create(w.upload("ecc_cert", "www.a.test"))
		w.attach(other, d, nil)
		w.wantUnchanged(func() {
			_, err := w.tryRollback(c.ID, 1)
			wantField(t, err, lacre.CodeSameAlgorithm, "version_id")
		})
		w.detach(other, d)
		w.rollback(c.ID, 1)
		if got := w.domainNow(d).Bindings[0].Algorithm; got != keypair.ECC {
			t.Errorf("got %s bound, want ECC", got)
		}
	})
	t.Run("a domain that verifies keeps its trust roots", func(t *testing.T) {
		w := newWorld(t)
		c, d := w.create(w.upload("web_cert", "www.a.test")), w.home("www.a.test")
		w.modify(c.ID, w.trusting(w.upload("web_cert", "www.a.test")))
		w.attach(c, d, on)
		w.wantUnchanged(func() {
			_, err := w.tryRollback(c.ID, 1)
			wantField(t, err, lacre.CodeInvalidField, "version_id")
			if want := "trusted_root_ca of version 1: www.a.test verifies client certificates"; !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	})
}

// key is the public key of a version's leaf.
func (w *world) key(c *lacre.Certificate, number int) crypto.PublicKey {
	w.t.Helper()
	leaf, err := keypair.ParseCertificate(w.version(c, number).Chain[0])
	w.ok(err)
	return leaf.PublicKey
}

func TestRollbackConditionAndDryRun(t *testing.T) {
	w := newWorld(t, func(c *lacre.Config) { c.History = 2 })
	c := w.create(w.upload("web_cert", "www.a.test"))
	w.modify(c.ID, w.uploadRSA("web_cert", "www.a.test"))
	w.wantUnchanged(func() {
		_, err := w.tryRollback(c.ID, 1, lacre.WriteOptions{IfGeneration: new(c.Generation)})
		wantCode(t, err, lacre.CodePrecondition)
		written, err := w.tryRollback(c.ID, 1, lacre.WriteOptions{IfGeneration: new(c.Generation + 1), DryRun: true})
		w.ok(err)
		if got := written.Certificate; got.Version != 3 || got.Generation != 3 || got.Oldest != 2 || !cmp.Equal(got.Facts, c.Facts) {
			t.Errorf("got %+v, want the certificate as it would be", got)
		}
	})
}

// A modification of another node in the middle of a rollback is not lost: the rollback is
// made on top of it.
func TestRollbackOvertakenByAnotherNode(t *testing.T) {
	w := newWorld(t)
	c := w.create(w.trusting(w.upload("web_cert", "www.a.test")))
	w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	elsewhere := lacre.NewService(lacre.Config{Store: sharedStore, Sealer: sharedSealer})
	theirs := w.upload("their_name", "www.a.test")
	w.tap.onCommit(func(ctx context.Context, tx lacre.Tx) (int64, error) {
		w.tap.onCommit(nil)
		_, err := elsewhere.ModifyCertificate(ctx, w.admin, w.project, c.ID, theirs, lacre.WriteOptions{})
		w.ok(err)
		return sharedStore.Commit(ctx, tx)
	})
	c = w.rollback(c.ID, 1)
	w.wantRolledBack(c, 1, 4, w.key(c, 1))
	if c.Name != "their_name" || c.Generation != 4 {
		t.Errorf("got name %q, generation %d, want their_name, 4", c.Name, c.Generation)
	}
}
