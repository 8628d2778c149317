package lacre_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"lacre"
	"lacre/internal/testcert"
)

// stapling is an upload of a leaf below an intermediate, and what makes staples for it.
func stapling(w *world, opts ...testcert.Option) (lacre.CertificateInput, func(...func(*ocsp.Response)) *string) {
	ca := testcert.NewCA(w.t, "Root").Intermediate(w.t, "Intermediate")
	leaf := ca.Leaf(w.t, []string{"www.a.test"}, opts...)
	in := lacre.CertificateInput{Name: "web_cert", CertContent: leaf.ChainPEM(), PrivateKey: lacre.Secret(leaf.KeyPEM())}
	return in, func(edits ...func(*ocsp.Response)) *string {
		return new(base64.StdEncoding.EncodeToString(ca.Staple(w.t, leaf, edits...)))
	}
}

func TestMustStapleNeedsAStaple(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, staple := stapling(w, testcert.MustStaple())
	refused := func(what string, err error) {
		t.Helper()
		wantCode(t, err, lacre.CodeInvalidField)
		if fieldOf(err) != "ocsp_staple" {
			t.Errorf("%s: got an error about %q, want ocsp_staple", what, fieldOf(err))
		}
	}
	_, err := w.CreateCertificate(t.Context(), w.admin, w.project, in, lacre.WriteOptions{DryRun: true})
	refused("without one", err)
	in.OCSPStaple = new("not base64!")
	_, err = w.CreateCertificate(t.Context(), w.admin, w.project, in, lacre.WriteOptions{})
	refused("with nonsense", err)
	in.OCSPStaple = staple()
	c := w.create(in)
	if v := w.version(c, c.Version); base64.StdEncoding.EncodeToString(v.OCSPStaple) != *in.OCSPStaple || !v.OCSPNextUpdate.Equal(c.OCSPNextUpdate) || c.OCSPNextUpdate.IsZero() {
		t.Errorf("got a staple of %d bytes until %v, want the uploaded one", len(v.OCSPStaple), v.OCSPNextUpdate)
	}
	in.OCSPStaple = new("")
	_, err = w.tryModify(c.ID, in)
	refused("removing it", err)
	other, _ := stapling(w, testcert.MustStaple())
	_, err = w.tryModify(c.ID, other)
	refused("another leaf without one", err)
	if got := w.show(c.ID); got.Version != 1 {
		t.Errorf("got version %d after refusals, want 1", got.Version)
	}
}

func TestStapleIsKeptAndRefreshed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, staple := stapling(w)
	in.OCSPStaple = staple()
	c := w.create(in)
	first := w.version(c, c.Version)

	in.OCSPStaple = nil // as clients do that know nothing of staples
	in.Name = "renamed"
	c = w.modify(c.ID, in)
	if c.Version != 1 || c.OCSPNextUpdate.IsZero() {
		t.Errorf("the same content: got version %d, staple until %v, want nothing new", c.Version, c.OCSPNextUpdate)
	}
	roots := testcert.NewCA(t, "clients").PEM()
	in.TrustedRootCA = &roots
	c = w.modify(c.ID, in)
	if v := w.version(c, c.Version); c.Version != 2 || string(v.OCSPStaple) != string(first.OCSPStaple) {
		t.Error("other trust roots: the staple was not kept")
	}
	in.TrustedRootCA, in.OCSPStaple = nil, staple(func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(96 * time.Hour) })
	c = w.modify(c.ID, in)
	if v := w.version(c, c.Version); c.Version != 3 || !v.OCSPNextUpdate.After(first.OCSPNextUpdate) || len(v.TrustRoots) != 1 {
		t.Errorf("a new staple: got version %d until %v with %d trust roots", c.Version, v.OCSPNextUpdate, len(v.TrustRoots))
	}
	if v := w.version(c, c.Version); w.version(c, 2).Epoch != 0 || v.Epoch != 2 {
		t.Errorf("got the epochs %d and %d, want that sessions end with other trust roots and go on with a new staple", w.version(c, 2).Epoch, v.Epoch)
	}
	if again := w.modify(c.ID, in); again.Version != 3 {
		t.Errorf("the same staple again: got version %d, want 3", again.Version)
	}
	in.OCSPStaple = staple(func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(120 * time.Hour) })
	c = w.modify(c.ID, in)
	if v := w.version(c, c.Version); c.Version != 4 || v.Epoch != 2 {
		t.Errorf("another staple: got epoch %d of version %d, want that of the one before", v.Epoch, c.Version)
	}
	in.OCSPStaple = new("")
	c = w.modify(c.ID, in)
	if v := w.version(c, c.Version); c.Version != 5 || v.Epoch != 0 || len(v.OCSPStaple) != 0 || !c.OCSPNextUpdate.IsZero() {
		t.Errorf("an empty text: got version %d, epoch %d and a staple of %d bytes, want none", c.Version, v.Epoch, len(v.OCSPStaple))
	}
	in.OCSPStaple = staple()
	c = w.modify(c.ID, in)
	other, _ := stapling(w)
	c = w.modify(c.ID, other)
	if v := w.version(c, c.Version); len(v.OCSPStaple) != 0 || v.Epoch != 0 || !c.OCSPNextUpdate.IsZero() {
		t.Error("another leaf has the staple of the old one")
	}
}

func TestStapleThatEndsSoonIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, staple := stapling(w)
	in.OCSPStaple = staple()
	c := w.create(in)
	in.OCSPStaple = staple(func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(23 * time.Hour) })
	written, err := w.tryModify(c.ID, in)
	w.ok(err)
	if len(written.Warnings) != 1 || !strings.Contains(written.Warnings[0], "OCSP staple is served until") {
		t.Errorf("got warnings %q, want one about the end of the staple", written.Warnings)
	}
}
