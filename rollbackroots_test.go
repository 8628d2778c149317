package lacre_test

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/internal/testcert"
)

// named is how a warning names a CA.
func named(ca *testcert.CA) string {
	return fmt.Sprintf("%s (sha256 %.12s)", ca.Cert.Subject, fmt.Sprintf("%x", sha256.Sum256(ca.Cert.Raw)))
}

func accepted(cas ...*testcert.CA) string {
	return "Client certificates of these CAs are accepted again: " + allNamed(cas) + "."
}

func refused(cas ...*testcert.CA) string {
	return "Client certificates of these CAs are not accepted any more: " + allNamed(cas) + "."
}

func unlisted(ca *testcert.CA) string {
	return "No revocation list of " + named(ca) + " is kept: clients that it has revoked are accepted."
}

func allNamed(cas []*testcert.CA) string {
	var names []string
	for _, ca := range cas {
		names = append(names, named(ca))
	}
	return strings.Join(names, ", ")
}

// moved is a certificate whose roots were from, and are to now.
func (w *world) moved(from, to []*testcert.CA) *lacre.Certificate {
	w.t.Helper()
	c := w.create(trustingAll(w.upload(unique("web_cert"), "www.a.test"), from...))
	return w.modify(c.ID, trustingAll(w.upload(c.Name, "www.a.test"), to...))
}

// wantWarnings rolls c back to version 1.
func (w *world) wantWarnings(c *lacre.Certificate, want ...string) {
	w.t.Helper()
	written, err := w.tryRollback(c.ID, 1)
	w.ok(err)
	if diff := cmp.Diff(want, written.Warnings); diff != "" {
		w.t.Errorf("the warnings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(w.version(c, 1).TrustRoots, w.version(c, 3).TrustRoots); diff != "" {
		w.t.Errorf("the trust roots (-version 1 +now):\n%s", diff)
	}
}

type cas = []*testcert.CA

// CAs come back as they were, and neither come nor go without a word.
func TestRollbackOfTrustRoots(t *testing.T) {
	w := newWorld(t)
	ca := func(cn string, opts ...testcert.Option) *testcert.CA { return testcert.NewCA(t, cn, opts...) }
	a, b, c := ca("a"), ca("b"), ca("c")
	t.Run("some are in both", func(t *testing.T) {
		w := w.in(t)
		w.wantWarnings(w.moved(cas{a, b}, cas{b, c}), accepted(a), unlisted(a), refused(c))
	})
	t.Run("two of one name", func(t *testing.T) {
		w, other := w.in(t), ca("a")
		w.wantWarnings(w.moved(cas{a}, cas{other}), accepted(a), unlisted(a), refused(other))
	})
	t.Run("a renewed one is neither new nor gone", func(t *testing.T) {
		w, key := w.in(t), testcert.RSAKey(2048, 0)
		old, renewed := ca("r", testcert.WithKey(key), testcert.WithSerial(big.NewInt(1))), ca("r", testcert.WithKey(key), testcert.WithSerial(big.NewInt(2)))
		w.wantWarnings(w.moved(cas{old}, cas{renewed}))
	})
	t.Run("the audit row tells", func(t *testing.T) {
		w := w.in(t)
		cert := w.moved(cas{a, b}, cas{b, c})
		w.rollback(cert.ID, 1)
		want := ", rolled back to version 1; accepted again: " + named(a) + "; not accepted any more: " + named(c)
		if got := w.audits()[0].Detail; !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want it to end in %q", got, want)
		}
		w.rollback(cert.ID, 3)
		if got := w.audits()[0].Detail; strings.Contains(got, "rolled back") {
			t.Errorf("got %q of what was current", got)
		}
	})
	t.Run("those that the current version had are not known", func(t *testing.T) {
		w := w.in(t)
		unknown := "Which CAs were accepted until now is not known: the current version is damaged."
		for _, from := range []cas{nil, {a}} {
			cert := w.moved(from, cas{b})
			w.damage(w.version(cert, 2))
			want := []string{unknown}
			if from != nil {
				want = append(want, accepted(a), unlisted(a))
			}
			w.wantWarnings(cert, want...)
			if got := w.audits()[0].Detail; !strings.Contains(got, "; which CAs were accepted before is not known") {
				t.Errorf("got %q in the audit", got)
			}
		}
		none := w.moved(nil, nil)
		w.damage(w.version(none, 2))
		w.wantWarnings(none)
		w.tap.onRead(nil)
	})
}

// Those that are roots now stay unchecked, as if they had been left out; others are
// refused as if they had been sent.
func TestRollbackToTrustRootsThatExpire(t *testing.T) {
	w := newWorld(t)
	soon := testcert.NewCA(t, "soon", testcert.WithValidity(time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	lasting, gone := w.moved(cas{soon}, cas{w.ca, soon}), w.moved(cas{soon}, cas{w.ca})
	in := trustingAll(w.upload("web_cert", "www.a.test"), soon, w.ca)
	turned := w.create(in)
	in.TrustedRootCA = trustingAll(in, w.ca, soon).TrustedRootCA
	w.modify(turned.ID, in)
	now := w.Now
	w.Now = func() time.Time { return now().Add(2 * time.Hour) }
	w.wantWarnings(lasting, refused(w.ca))
	w.wantUnchanged(func() {
		_, err := w.tryRollback(gone.ID, 1)
		wantField(t, err, lacre.CodeExpired, "version_id")
	})
	if got := w.rollback(turned.ID, 1).Version; got != 2 {
		t.Errorf("got version %d for the same roots in another order, want 2", got)
	}
}

// Whom a CA has revoked does not come back with it unless the warnings say so.
func TestRollbackAndRevocationLists(t *testing.T) {
	a, b := testcert.NewCA(t, "a"), testcert.NewCA(t, "b")
	alice := a.Leaf(t, []string{"alice"})
	setup := func(t *testing.T) (*world, *lacre.Certificate) {
		w := newWorld(t)
		c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), a))
		_, err := w.tryCRL(c, a.CRL(t, []*x509.Certificate{alice.Cert}, testcert.CRLValidity(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))))
		w.ok(err)
		w.modify(c.ID, trustingAll(w.upload("web_cert", "www.a.test"), b))
		_, err = w.tryCRL(c, b.CRL(t, nil))
		w.ok(err)
		return w, c
	}
	t.Run("they are in force again", func(t *testing.T) {
		w, c := setup(t)
		w.wantWarnings(c, accepted(a), refused(b))
		if !slices.ContainsFunc(w.crls(c), func(l lacre.ShownList) bool {
			return l.InForce && l.Issuer == a.Cert.Subject.String() && l.Revoked == 1
		}) {
			t.Error("the list that revokes alice is not in force")
		}
	})
	t.Run("they have ended", func(t *testing.T) {
		w, c := setup(t)
		now := w.Now
		w.Now = func() time.Time { return now().Add(2 * time.Hour) }
		due := w.crls(c)[slices.IndexFunc(w.crls(c), func(l lacre.ShownList) bool { return !l.InForce })].NextUpdate
		w.wantWarnings(c, accepted(a), "The revocation list of "+named(a)+" ended at "+due.UTC().Format(time.RFC3339)+": its clients are refused until it is renewed.", refused(b))
	})
	t.Run("they cannot be read", func(t *testing.T) {
		w, c := setup(t)
		w.damage(&lacre.Revocations{ProjectID: w.project, CertificateID: c.ID})
		w.wantWarnings(c, accepted(a), "The stored revocation lists are damaged: whom these CAs have revoked is not known.", refused(b))
	})
	t.Run("the store does not answer", func(t *testing.T) {
		w, c := setup(t)
		w.tap.onRead(func(r lacre.Record) error {
			if _, ok := r.(*lacre.Revocations); ok {
				return lacre.ErrUnavailable
			}
			return nil
		})
		_, err := w.tryRollback(c.ID, 1)
		wantCode(t, err, lacre.CodeUnavailable)
	})
}
