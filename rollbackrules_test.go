package lacre_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"lacre"
	"lacre/internal/testcert"
)

func TestRollbackOfStaples(t *testing.T) {
	t.Run("one that is still good comes back, one that has ended does not", func(t *testing.T) {
		w := newWorld(t)
		in, staple := stapling(w)
		in.OCSPStaple = staple(func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(48 * time.Hour) })
		c := w.create(in)
		w.modify(c.ID, w.upload("web_cert", "www.a.test"))
		w.wantRolledBack(w.rollback(c.ID, 1), 1, 3, w.key(c, 1))
		w.modify(c.ID, w.upload("web_cert", "www.a.test"))
		now := w.Now
		w.Now = func() time.Time { return now().Add(49 * time.Hour) }
		c = w.rollback(c.ID, 1)
		if v := w.version(c, 5); len(v.OCSPStaple) != 0 || !c.OCSPNextUpdate.IsZero() {
			t.Errorf("got a staple until %v, want none", c.OCSPNextUpdate)
		}
	})
	t.Run("of the same leaf the one of now stays when the old one has ended", func(t *testing.T) {
		w := newWorld(t)
		in, staple := stapling(w, testcert.MustStaple())
		in.OCSPStaple = staple(func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(48 * time.Hour) })
		c := w.create(w.trusting(in))
		in.OCSPStaple, in.TrustedRootCA = staple(func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(96 * time.Hour) }), new("")
		c = w.modify(c.ID, in)
		fresh := c.OCSPNextUpdate
		now := w.Now
		w.Now = func() time.Time { return now().Add(49 * time.Hour) }
		if c = w.rollback(c.ID, 1); c.Version != 3 || !c.HasTrustRoot || !c.OCSPNextUpdate.Equal(fresh) {
			t.Errorf("got version %d with a staple until %v, want 3 with that until %v", c.Version, c.OCSPNextUpdate, fresh)
		}
	})
	t.Run("a certificate that demands one does not come back without", func(t *testing.T) {
		w := newWorld(t)
		in, staple := stapling(w, testcert.MustStaple())
		in.OCSPStaple = staple(func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(48 * time.Hour) })
		c := w.create(in)
		w.modify(c.ID, w.upload("web_cert", "www.a.test"))
		now := w.Now
		w.Now = func() time.Time { return now().Add(49 * time.Hour) }
		w.wantUnchanged(func() {
			_, err := w.tryRollback(c.ID, 1)
			wantField(t, err, lacre.CodeInvalidField, "version_id")
			if want := "ocsp_staple of version 1: it has ended"; !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	})
}

// What was accepted is held against the rules of now.
func TestRollbackAfterARuleChanged(t *testing.T) {
	w := newWorld(t)
	late := w.ca.Leaf(t, []string{"www.a.test"}, testcert.WithValidity(time.Now().Add(-time.Hour), time.Date(2039, 1, 1, 0, 0, 0, 0, time.UTC)))
	c := w.create(input("web_cert", late))
	w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	w.RefuseAfter2038 = true
	w.wantUnchanged(func() {
		_, err := w.tryRollback(c.ID, 1)
		wantField(t, err, lacre.CodeAfter2038, "version_id")
	})
}
