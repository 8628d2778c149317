package lacre_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

func (w *world) tryDomainCertificate(d *lacre.Domain, in lacre.CertificateInput) (*lacre.DomainView, []string, error) {
	return w.CreateDomainCertificate(w.t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, in)
}

func (w *world) tryRemove(c *lacre.Certificate, d *lacre.Domain) error {
	return w.RemoveDomainCertificate(w.t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, c.ID)
}

func TestCreateDomainCertificate(t *testing.T) {
	t.Run("OK", func(t *testing.T) {
		w := newWorld(t)
		d := w.home("www.a.test")
		view, _, err := w.tryDomainCertificate(d, w.trusting(w.upload("web_cert", "www.a.test")))
		w.ok(err)
		if diff := cmp.Diff([]string{"web_cert"}, names(view.Certificates)); diff != "" {
			t.Errorf("the answer's certificates differ (-want +got):\n%s", diff)
		}
		w.wantHosts(view.Certificates[0], "www.a.test")
		w.wantVerify(d, true)
		shown, err := w.ShowDomainCertificate(t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, view.Certificates[0].ID)
		w.ok(err)
		if diff := cmp.Diff(view.Certificates[0], shown); diff != "" {
			t.Errorf("show differs from create (-create +show):\n%s", diff)
		}
	})
	for name, test := range map[string]struct {
		host string
		code lacre.Code
	}{
		"ErrNotCovered":    {"www.b.test", lacre.CodeNotCovered},
		"ErrSameAlgorithm": {"www.a.test", lacre.CodeSameAlgorithm},
	} {
		t.Run(name+" leaves no certificate behind", func(t *testing.T) {
			w := newWorld(t)
			d := w.home("www.a.test")
			w.attach(w.create(w.upload("old_cert", "www.a.test")), d, nil)
			w.wantUnchanged(func() {
				_, _, err := w.tryDomainCertificate(d, w.upload("web_cert", test.host))
				wantCode(t, err, test.code)
			})
		})
	}
	t.Run("ErrDomainNotFound before anything is created", func(t *testing.T) {
		w := newWorld(t)
		d := w.home("www.a.test")
		d.ID = lacre.NewID()
		w.wantUnchanged(func() {
			_, _, err := w.tryDomainCertificate(d, w.upload("web_cert", "www.a.test"))
			wantCode(t, err, lacre.CodeDomainNotFound)
		})
	})
	t.Run("one change, one audit row", func(t *testing.T) {
		w := newWorld(t)
		d := w.home("www.a.test")
		before := len(w.audits())
		_, _, err := w.tryDomainCertificate(d, w.upload("web_cert", "www.a.test"))
		w.ok(err)
		if rows := w.audits(); len(rows) != before+1 || rows[0].Action != lacre.CanBindDomain {
			t.Errorf("got %d new rows, the last of action %s, want 1 of %s", len(rows)-before, rows[0].Action, lacre.CanBindDomain)
		}
		w.wantConsistent()
	})
	t.Run("ErrNameTaken", func(t *testing.T) {
		w := newWorld(t)
		d := w.home("www.a.test")
		w.attach(w.create(w.upload("web_cert", "www.a.test")), d, nil)
		w.wantUnchanged(func() {
			_, _, err := w.tryDomainCertificate(d, w.upload("web_cert", "www.a.test"))
			wantField(t, err, lacre.CodeCertificateNameTaken, "name")
		})
	})
}

func TestShowDomainCertificate(t *testing.T) {
	w := newWorld(t)
	c, d := w.create(w.upload("web_cert", "www.a.test")), w.home("www.a.test")
	_, err := w.ShowDomainCertificate(t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, c.ID)
	wantCode(t, err, lacre.CodeBindingNotFound)
	_, err = w.ShowDomainCertificate(t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, lacre.NewID())
	wantCode(t, err, lacre.CodeCertificateNotFound)
}

// Decision 15: unbound, and deleted unless another domain uses it.
func TestRemoveDomainCertificate(t *testing.T) {
	w := newWorld(t)
	c, g := w.create(w.upload("web_cert", "*.a.test")), w.group(w.instance())
	one, two := w.domain(g, "one.a.test"), w.domain(g, "two.a.test")
	w.attach(c, one, nil)
	w.attach(c, two, nil)
	w.ok(w.tryRemove(c, one))
	w.wantHosts(c, "two.a.test")
	wantCode(t, w.tryRemove(c, one), lacre.CodeBindingNotFound)
	w.ok(w.tryRemove(c, two))
	_, err := w.tryShow(c.ID)
	wantCode(t, err, lacre.CodeCertificateNotFound)

	c = w.create(w.upload("web_cert", "*.a.test"))
	w.attach(c, one, nil)
	w.ok(w.RemoveDomainCertificate(t.Context(), w.caller(lacre.RoleOperator), w.project, one.InstanceID, one.GroupID, one.ID, c.ID))
	w.wantHosts(c) // an operator unbinds only
}
