package lacre_test

import (
	"bytes"
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
	t.Run("of the same leaf the later one is kept", func(t *testing.T) {
		for _, days := range [][2]int{{2, 10}, {10, 2}, {0, 2}, {2, 0}} { // of version 1 and of version 2, without one for 0
			w := newWorld(t)
			in, staple := stapling(w)
			c := w.create(w.trusting(in))
			for n, d := range days {
				in.OCSPStaple = new("")
				if d > 0 {
					in.OCSPStaple = staple(func(r *ocsp.Response) { r.NextUpdate = time.Now().AddDate(0, 0, d) })
				}
				in.TrustedRootCA = new([]string{w.ca.PEM(), ""}[n])
				c = w.modify(c.ID, in)
			}
			late := w.version(c, c.Version-1)
			if days[1] > days[0] {
				late = w.version(c, c.Version)
			}
			w.rollback(c.ID, c.Version-1)
			if got := w.version(c, c.Version+1); !got.OCSPNextUpdate.Equal(late.OCSPNextUpdate) || !bytes.Equal(got.OCSPStaple, late.OCSPStaple) {
				t.Errorf("%v days: got a staple until %v, want that until %v", days, got.OCSPNextUpdate, late.OCSPNextUpdate)
			}
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
