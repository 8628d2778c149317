package lacre_test

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"lacre"
	"lacre/internal/testcert"
)

func (w *world) tryCRL(c *lacre.Certificate, ders ...[]byte) ([]lacre.ShownList, error) {
	lists, _, err := w.PutCRL(w.t.Context(), w.admin, w.project, c.ID, testcert.CRLPEM(ders...))
	return lists, err
}

func (w *world) crls(c *lacre.Certificate) []lacre.ShownList {
	w.t.Helper()
	lists, err := w.ShowCRL(w.t.Context(), w.admin, w.project, c.ID)
	w.ok(err)
	return lists
}

// trustingAll is in with these CAs as trust roots.
func trustingAll(in lacre.CertificateInput, cas ...*testcert.CA) lacre.CertificateInput {
	text := ""
	for _, ca := range cas {
		text += ca.PEM()
	}
	in.TrustedRootCA = &text
	return in
}

func TestRevocationLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := testcert.NewCA(t, "a"), testcert.NewCA(t, "b")
	leaf := a.Leaf(t, []string{"client"})
	c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), a, b))
	if got := w.crls(c); len(got) != 0 {
		t.Fatalf("got %d lists before any came, want none", len(got))
	}

	lists, err := w.tryCRL(c, a.CRL(t, []*x509.Certificate{leaf.Cert}, testcert.CRLNumber(7)))
	w.ok(err)
	if len(lists) != 1 || lists[0].Revoked != 1 || lists[0].Number != "7" || lists[0].Issuer != "CN=a,O=Throw-away" ||
		!lists[0].InForce || len(lists[0].Digest) != 64 {
		t.Errorf("got %+v, want the list", lists)
	}
	// That of another root leaves it alone.
	lists, err = w.tryCRL(c, b.CRL(t, nil))
	w.ok(err)
	if len(lists) != 2 || len(w.crls(c)) != 2 {
		t.Errorf("got %d lists, want those of both roots", len(lists))
	}
	// What is there already changes nothing.
	before := w.audits()
	again := a.CRL(t, []*x509.Certificate{leaf.Cert}, testcert.CRLNumber(8))
	for range 2 {
		_, err = w.tryCRL(c, again)
		w.ok(err)
	}
	if got := len(w.audits()) - len(before); got != 1 {
		t.Errorf("the same list twice: got %d changes, want 1", got)
	}
	// Modifying keeps the lists, also those that are of no trust root for a while.
	w.modify(c.ID, trustingAll(w.upload("web_cert", "www.a.test"), b))
	inForce := map[string]bool{}
	for _, l := range w.crls(c) {
		inForce[l.Issuer] = l.InForce
	}
	if len(inForce) != 2 || inForce["CN=a,O=Throw-away"] || !inForce["CN=b,O=Throw-away"] {
		t.Errorf("got in force %v, want b only of the two", inForce)
	}
	if _, err := w.tryCRL(c, a.CRL(t, nil, testcert.CRLNumber(9))); err == nil {
		t.Error("took a list of a CA that is no trust root any more")
	}

	_, err = w.DeleteCRL(t.Context(), w.admin, w.project, c.ID)
	w.ok(err)
	_, err = w.DeleteCRL(t.Context(), w.admin, w.project, c.ID)
	w.ok(err)
	if got := w.crls(c); len(got) != 0 {
		t.Errorf("got %d lists after deleting them, want none", len(got))
	}
}

// TestListsOfFormerRootsStay: a list of another trust root does not let the revoked
// clients of one come back with it.
func TestListsOfFormerRootsStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := testcert.NewCA(t, "a"), testcert.NewCA(t, "b")
	sub := a.Intermediate(t, "sub")
	c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), a))
	_, err := w.tryCRL(c, a.CRL(t, nil))
	w.ok(err)
	for _, step := range []struct {
		root   *testcert.CA
		aCount bool
	}{{b, false}, {sub, true}, {a, true}} { // of an intermediate CA the edge asks the list above it
		w.modify(c.ID, trustingAll(w.upload("web_cert", "www.a.test"), step.root))
		_, err = w.tryCRL(c, step.root.CRL(t, nil))
		w.ok(err)
		for _, l := range w.crls(c) {
			if want := l.Issuer == step.root.Cert.Subject.String() || l.Issuer == a.Cert.Subject.String() && step.aCount; l.InForce != want {
				t.Errorf("trusting %s, the list of %s: got in force %t, want %t", step.root.Cert.Subject, l.Issuer, l.InForce, want)
			}
		}
	}
	if got := len(w.crls(c)); got != 3 {
		t.Errorf("got %d lists, want all three", got)
	}
}

// longCRL is a list of that age with so many entries, of some 38 bytes each.
func longCRL(t *testing.T, ca *testcert.CA, ago time.Duration, entries int) []byte {
	now := time.Now()
	return ca.CRL(t, nil, testcert.CRLValidity(now.Add(-ago), now.Add(time.Hour)), func(l *x509.RevocationList) {
		for n := range entries {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: new(big.Int).Lsh(big.NewInt(int64(n+1)), 130), RevocationTime: now})
		}
	})
}

// TestListsOfFormerRootsMakeRoom: those that are not in force, the oldest first, and only
// as many as there is no room for.
func TestListsOfFormerRootsMakeRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := func(ca *testcert.CA, ago time.Duration) []byte { // a bit more than a third of what there may be
		return longCRL(t, ca, ago, 10_000)
	}
	a, b, d := testcert.NewCA(t, "a"), testcert.NewCA(t, "b"), testcert.NewCA(t, "d")
	c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), a, b))
	_, err := w.tryCRL(c, long(a, time.Minute))
	w.ok(err)
	_, err = w.tryCRL(c, long(b, time.Hour))
	w.ok(err)
	w.modify(c.ID, trustingAll(w.upload("web_cert", "www.a.test"), d))
	lists, warnings, err := w.PutCRL(t.Context(), w.admin, w.project, c.ID, testcert.CRLPEM(long(d, 2*time.Hour)))
	w.ok(err)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "no trust roots now were dropped (1): CN=b,O=Throw-away. At most 64 lists are kept, and 1048576 bytes") {
		t.Errorf("got warnings %q, want that of b's list", warnings)
	}
	for _, l := range lists {
		if l.Issuer == "CN=b,O=Throw-away" {
			t.Error("the older list of a former root was kept")
		}
	}
	if len(lists) != 2 {
		t.Errorf("got %d lists, want those of a and d", len(lists))
	}
	w.modify(c.ID, trustingAll(w.upload("web_cert", "www.a.test"), a, b, d))
	w.wantUnchanged(func() {
		_, err = w.tryCRL(c, long(b, time.Minute))
		wantField(t, err, lacre.CodeInvalidField, "crl")
	})
}

// TestListsOfFormerRootsAreFew: each is named in the audit row of every upload. More are kept if
// they are in force.
func TestListsOfFormerRootsAreFew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), testcert.NewCA(t, "first")))
	upload := func(der []byte) ([]lacre.ShownList, string) {
		t.Helper()
		lists, warnings, err := w.PutCRL(t.Context(), w.admin, w.project, c.ID, testcert.CRLPEM(der))
		w.ok(err)
		if len(warnings) > 1 {
			t.Errorf("got warnings %q, want one", warnings)
		}
		return lists, strings.Join(warnings, "; ")
	}
	var all []*testcert.CA
	for range 70 {
		all = append(all, testcert.NewCA(t, "former"+strings.Repeat(" long", 40)))
	}
	n := 0
	for some := range slices.Chunk(all, 10) { // as many as may be trusted at once
		w.modify(c.ID, trustingAll(w.upload("web_cert", "www.a.test"), some...))
		for _, ca := range some {
			n++
			lists, warned := upload(ca.CRL(t, nil))
			if want := n > 64; len(lists) != min(n, 64) || want != strings.Contains(warned, "dropped (1): CN=former long long") {
				t.Errorf("got %d lists of %d, warned %q", len(lists), n, warned)
			}
		}
	}
	if got := countInForce(w.crls(c)); got != 10 {
		t.Errorf("got %d lists in force, want those of the ten roots", got)
	}

	sub := all[0].Intermediate(t, "sub") // clients of it are held to any list of that name
	w.modify(c.ID, trustingAll(w.upload("web_cert", "www.a.test"), sub))
	if lists, warned := upload(sub.CRL(t, nil)); len(lists) != 65 || countInForce(lists) != 65 || warned != "" {
		t.Errorf("got %d lists, %d of them in force, warned %q, want 65 in force", len(lists), countInForce(lists), warned)
	}
	last := testcert.NewCA(t, "last")
	w.modify(c.ID, trustingAll(w.upload("web_cert", "www.a.test"), last))
	lists, warned := upload(longCRL(t, last, time.Minute, 27_600))
	if dropped := 66 - len(lists); dropped < 20 || !strings.Contains(warned, fmt.Sprintf("(%d)", dropped)) || len(warned) > 1500 {
		t.Errorf("got %d lists, warned %q, want that it names some of many", len(lists), warned)
	}
}

func countInForce(lists []lacre.ShownList) (n int) {
	for _, l := range lists {
		if l.InForce {
			n++
		}
	}
	return n
}

// TestRevocationListsDoNotGoBack: neither by number nor by date, until they are deleted.
func TestRevocationListsDoNotGoBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := testcert.NewCA(t, "a")
	c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), a))
	now := time.Now()
	at := func(ago time.Duration) func(*x509.RevocationList) {
		return testcert.CRLValidity(now.Add(-ago), now.Add(time.Hour))
	}
	unnumbered := func(ago time.Duration) []byte { return withoutNumber(t, a, now.Add(-ago)) }
	current := a.CRL(t, nil, testcert.CRLNumber(100), at(time.Hour))
	_, err := w.tryCRL(c, current)
	w.ok(err)
	for name, old := range map[string][]byte{
		"a smaller number":                 a.CRL(t, nil, testcert.CRLNumber(99), at(time.Hour)),
		"a smaller number, shorter":        a.CRL(t, nil, testcert.CRLNumber(9), at(time.Minute)),
		"an earlier date":                  a.CRL(t, nil, testcert.CRLNumber(101), at(2*time.Hour)),
		"an earlier date without a number": unnumbered(2 * time.Hour),
	} {
		_, err := w.tryCRL(c, old)
		wantField(t, err, lacre.CodeInvalidField, "crl")
		if err != nil && !strings.Contains(err.Error(), "older") {
			t.Errorf("%s: got %v, want it to say that it is older", name, err)
		}
	}
	for _, next := range [][]byte{current, a.CRL(t, nil, testcert.CRLNumber(100), at(30*time.Minute)), unnumbered(20 * time.Minute)} {
		_, err := w.tryCRL(c, next)
		w.ok(err)
	}
	_, err = w.DeleteCRL(t.Context(), w.admin, w.project, c.ID)
	w.ok(err)
	_, err = w.tryCRL(c, current)
	w.ok(err)
}

// withoutNumber is a list as OpenSSL makes it without a serial file for lists.
func withoutNumber(t *testing.T, ca *testcert.CA, at time.Time) []byte {
	t.Helper()
	//lint:ignore SA1019 the other function insists on a number
	der, err := ca.Cert.CreateCRL(rand.Reader, ca.Key, nil, at, at.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestRevocationListsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := testcert.NewCA(t, "a")
	bare := w.create(w.upload("bare_cert", "www.a.test"))
	_, err := w.tryCRL(bare, a.CRL(t, nil))
	wantField(t, err, lacre.CodeInvalidField, "crl")
	c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), a))
	for _, text := range []string{"", "nonsense", a.PEM(), testcert.KeyPEM(a.Key), testcert.CRLPEM(w.ca.CRL(t, nil))} {
		_, _, err := w.PutCRL(t.Context(), w.admin, w.project, c.ID, text)
		wantField(t, err, lacre.CodeInvalidField, "crl")
	}
	if got := w.crls(c); len(got) != 0 {
		t.Errorf("got %d lists, want none", len(got))
	}
	_, err = w.tryCRL(&lacre.Certificate{ID: lacre.NewID()}, a.CRL(t, nil))
	wantCode(t, err, lacre.CodeCertificateNotFound)
}

// TestRevocationListsOfSM2: those of SM2 CAs are taken for the trust roots of an SM2
// certificate, and of no other CA of that name.
func TestRevocationListsOfSM2(t *testing.T) {
	t.Parallel()
	w, ca, clients := newWorld(t), newSM2CA(t), testcert.NewCA(t, "clients", testcert.WithSM2())
	c := w.create(trustingAll(dualInput("sm2_cert", ca.Dual(t, []string{"www.a.test"})), clients))
	gone := clients.Dual(t, []string{"gone"})
	lists, err := w.tryCRL(c, clients.CRL(t, []*x509.Certificate{gone.Sign.Cert, gone.Enc.Cert}, testcert.CRLNumber(3)))
	w.ok(err)
	if len(lists) != 1 || lists[0].Revoked != 2 || lists[0].Number != "3" || !lists[0].InForce || len(w.crls(c)) != 1 {
		t.Errorf("got %+v, want the list", lists)
	}
	for name, other := range map[string][]byte{
		"older":              clients.CRL(t, nil, testcert.CRLNumber(2)),
		"of another SM2 key": testcert.NewCA(t, "clients", testcert.WithSM2()).CRL(t, nil, testcert.CRLNumber(4)),
		"of an ECC key":      testcert.NewCA(t, "clients").CRL(t, nil, testcert.CRLNumber(4)),
	} {
		if _, err := w.tryCRL(c, other); err == nil {
			t.Errorf("%s: taken", name)
		} else {
			wantField(t, err, lacre.CodeInvalidField, "crl")
		}
	}
}

// TestRevocationListsAreCheckedAgainstTheRootsTheyAreStoredFor: trust roots that change
// while a list is being checked make it be checked again.
func TestRevocationListsAreCheckedAgainstTheRootsTheyAreStoredFor(t *testing.T) {
	w := newWorld(t)
	a, b := testcert.NewCA(t, "a"), testcert.NewCA(t, "b")
	c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), a))
	moved := false
	w.tap.onRead(func(r lacre.Record) error {
		if _, ok := r.(*lacre.Revocations); ok && !moved {
			moved = true
			other := newWorld(t) // the line of this certificate is taken on w
			other.project, other.admin = w.project, w.admin
			other.modify(c.ID, trustingAll(w.upload("web_cert", "www.a.test"), b))
		}
		return nil
	})
	_, err := w.tryCRL(c, a.CRL(t, nil))
	w.tap.onRead(nil)
	wantField(t, err, lacre.CodeInvalidField, "crl")
	if !moved || len(w.crls(c)) != 0 {
		t.Error("a list of a CA that had ceased to be a trust root was stored")
	}
}

// TestDamagedRevocationLists: they are not written over, and can be deleted.
func TestDamagedRevocationLists(t *testing.T) {
	w := newWorld(t)
	a := testcert.NewCA(t, "a")
	c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), a))
	_, err := w.tryCRL(c, a.CRL(t, nil))
	w.ok(err)
	w.tap.onRead(func(r lacre.Record) error {
		if _, ok := r.(*lacre.Revocations); ok {
			return &lacre.UnreadableError{Record: r, Key: "test", Err: errors.New("damaged")}
		}
		return nil
	})
	_, err = w.tryCRL(c, a.CRL(t, nil, testcert.CRLNumber(2)))
	wantCode(t, err, lacre.CodeUnreadable)
	_, err = w.ShowCRL(t.Context(), w.admin, w.project, c.ID)
	wantCode(t, err, lacre.CodeUnreadable)
	_, err = w.DeleteCRL(t.Context(), w.admin, w.project, c.ID)
	w.ok(err)
	w.tap.onRead(nil)
	if got := w.crls(c); len(got) != 0 {
		t.Errorf("got %d lists, want none", len(got))
	}
}

// TestRevocationListsGoWithTheirCertificate, so that nothing of it stays behind.
func TestRevocationListsGoWithTheirCertificate(t *testing.T) {
	w := newWorld(t)
	a := testcert.NewCA(t, "a")
	c := w.create(trustingAll(w.upload("web_cert", "www.a.test"), a))
	_, err := w.tryCRL(c, a.CRL(t, nil))
	w.ok(err)
	w.ok(w.tryDelete(c.ID))
	if _, err := sharedStore.Revocations(t.Context(), w.project, c.ID); !errors.Is(err, lacre.ErrNotStored) {
		t.Errorf("got %v, want no lists", err)
	}
}
