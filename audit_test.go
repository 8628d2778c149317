package lacre_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lacre"
)

// Every change leaves exactly one row, that says who, what and on whose request.
func TestEveryChangeLeavesOneAuditRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, in := w.instance(), w.upload("web_cert", "*.a.test")
	g := w.group(i)
	d := w.domain(g, "www.a.test")
	c := w.create(in)
	var late *lacre.Certificate
	steps := []struct {
		name     string
		do       func() error
		action   lacre.Permission
		resource string // up to the id when that is new
		detail   string // part of it
	}{
		{"create certificate", func() error { late = w.create(w.trusting(w.upload("late_cert", "www.a.test"))); return nil }, lacre.CanCreateCertificate, "certificate/", "name late_cert, version 1, ECC serial "},
		{"modify certificate", func() error { _, err := w.tryModify(c.ID, w.upload("web_cert", "*.a.test")); return err }, lacre.CanModifyCertificate, "certificate/" + c.ID, "version 2"},
		{"the same content", func() error { _, err := w.tryModify(late.ID, w.upload("late_cert", "www.a.test")); return err }, lacre.CanModifyCertificate, "certificate/", "version 2"},
		{"rollback", func() error { _, err := w.tryRollback(c.ID, 1); return err }, lacre.CanModifyCertificate, "certificate/" + c.ID, ", rolled back to version 1"},
		{"revocation list", func() error { _, err := w.tryCRL(late, w.ca.CRL(t, nil)); return err }, lacre.CanModifyCertificate, "certificate/", "CN=Test CA,O=Throw-away number 1 with 0 entries"},
		{"no revocation list", func() error { _, err := w.DeleteCRL(t.Context(), w.admin, w.project, late.ID); return err }, lacre.CanModifyCertificate, "certificate/", "revocation lists deleted"},
		{"delete certificate", func() error { return w.tryDelete(late.ID) }, lacre.CanDeleteCertificate, "certificate/", "late_cert"},
		{"attach by name", func() error { _, err := w.tryAttachNames(c, ref("www.a.test")); return err }, lacre.CanBind, "certificate/" + c.ID, "bound to www.a.test"},
		{"attach again", func() error { _, err := w.tryAttach(c, d, off); return err }, lacre.CanBindDomain, "certificate/" + c.ID, "bound to www.a.test"},
		{"detach", func() error { return w.tryDetach(c, d) }, lacre.CanUnbindDomain, "certificate/" + c.ID, "unbound from www.a.test"},
		{"attach to detach", func() error { _, err := w.tryAttach(c, d, nil); return err }, lacre.CanBindDomain, "certificate/" + c.ID, ""},
		{"detach by name", func() error { return w.tryDetachNames(c, ref("www.a.test")) }, lacre.CanUnbind, "certificate/" + c.ID, "unbound from www.a.test"},
		{"create instance", func() error { _, err := w.tryInstance("another"); return err }, lacre.CanCreateInstance, "instance/", "name another"},
		{"create group", func() error { _, err := w.tryGroup(i, "shop"); return err }, lacre.CanCreateGroup, "group/", "name shop"},
		{"modify group", func() error { _, err := w.tryRenameGroup(g, lacre.GroupInput{Name: "renamed"}); return err }, lacre.CanUpdateGroup, "group/" + g.ID, "name renamed"},
		{"sub-domain access", func() error { return w.SetSubdomainAccess(t.Context(), w.admin, w.project, i.ID, g.ID, false) }, lacre.CanUpdateGroup, "group/" + g.ID, ""},
		{"create domain", func() error { _, _, err := w.tryDomain(g, lacre.DomainInput{Name: "api.a.test"}); return err }, lacre.CanCreateDomain, "domain/", "host api.a.test"},
		{"modify domain", func() error { _, _, err := w.tryChange(d, lacre.DomainChange{RedirectHTTPS: on}); return err }, lacre.CanUpdateDomain, "domain/" + d.ID, "host www.a.test"},
		{"delete domain", func() error { return w.tryDropDomain(d) }, lacre.CanDeleteDomain, "domain/" + d.ID, "host www.a.test"},
		{"delete group", func() error { return w.tryDropGroup(g) }, lacre.CanDeleteGroup, "group/" + g.ID, "name renamed"},
	}
	for _, step := range steps {
		before := w.audits()
		w.ok(step.do())
		rows := w.audits()
		if len(rows) != len(before)+1 {
			t.Fatalf("%s: got %d new audit rows, want 1", step.name, len(rows)-len(before))
		}
		want := lacre.Audit{
			ProjectID: w.project, Action: step.action, UserID: w.admin.UserID, UserName: w.admin.UserName,
			Source: w.admin.Source, RequestID: w.admin.RequestID,
		}
		if diff := cmp.Diff(want, rows[0], cmpopts.IgnoreFields(lacre.Audit{}, "ID", "Time", "Resource", "Detail")); diff != "" {
			t.Errorf("%s: the row differs (-want +got):\n%s", step.name, diff)
		}
		if !strings.HasPrefix(rows[0].Resource, step.resource) || !strings.Contains(rows[0].Detail, step.detail) {
			t.Errorf("%s: got resource %q, detail %q, want %q and %q in them", step.name, rows[0].Resource, rows[0].Detail, step.resource, step.detail)
		}
	}
}

// Deleting an instance is two changes: it is closed first.
func TestAuditOfDeletingAnInstance(t *testing.T) {
	w := newWorld(t)
	i := w.instance()
	before := len(w.audits())
	w.ok(w.tryDropInstance(i))
	var details []string
	for _, row := range w.audits()[:len(w.audits())-before] {
		details = append(details, row.Detail)
		if row.Action != lacre.CanDeleteInstance || row.Resource != "instance/"+i.ID {
			t.Errorf("got %s of %s, want the deletion of the instance", row.Action, row.Resource)
		}
	}
	if diff := cmp.Diff([]string{"name " + i.Name, "closing"}, details); diff != "" {
		t.Errorf("the rows differ (-want +got):\n%s", diff)
	}
}

// Neither the audit nor the log ever shows PEM, whatever is uploaded and however it is
// refused.
func TestNoPEMInAuditAndLog(t *testing.T) {
	w := newWorld(t)
	in := w.trusting(w.upload("web_cert", "www.a.test"))
	c := w.create(in)
	w.attach(c, w.home("www.a.test"), nil)
	w.modify(c.ID, w.trusting(w.upload("web_cert", "www.a.test")))
	other := w.upload("web_cert", "www.a.test")
	swapped := in
	swapped.CertContent, swapped.PrivateKey = string(in.PrivateKey), lacre.Secret(in.CertContent)
	mixed := in
	mixed.PrivateKey = other.PrivateKey
	root := in
	root.TrustedRootCA = new(string(in.PrivateKey))
	for _, bad := range []lacre.CertificateInput{swapped, mixed, root, {Name: string(in.PrivateKey)}, {Name: "web_cert", Scope: lacre.Scope(in.PrivateKey)}} {
		_, err := w.tryCreate(bad)
		w.checkClean("a create error", err.Error(), in)
		_, err = w.tryModify(c.ID, bad)
		w.checkClean("a modify error", err.Error(), in)
	}
	var text strings.Builder
	for _, row := range w.audits() {
		text.WriteString(row.Resource + row.Detail)
	}
	w.checkClean("the audit", text.String(), in)
	w.checkClean("the log", w.log.String(), in)
	if !strings.Contains(w.log.String(), "certificate/"+c.ID) {
		t.Error("the log does not name the certificate")
	}
}

// checkClean looks for any line of the key, and for PEM.
func (w *world) checkClean(what, text string, in lacre.CertificateInput) {
	w.t.Helper()
	lines := strings.Split(strings.TrimSpace(string(in.PrivateKey)), "\n")
	for _, line := range append(slices.Clone(lines), "-----") {
		if strings.Contains(text, line) {
			w.t.Errorf("%s contains key material or PEM", what)
			return
		}
	}
}

// Versions are sealed, and no record but them holds anything of a key.
func TestRecordsHoldNoClearKey(t *testing.T) {
	w := newWorld(t)
	leaf := w.ca.Leaf(t, []string{"www.a.test"})
	w.attach(w.create(input("web_cert", leaf)), w.home("www.a.test"), nil)
	needle := privateHalf(leaf)
	for _, id := range slices.Sorted(maps.Keys(w.tap.stored(t))) {
		if v, ok := w.tap.stored(t)[id].(*lacre.Version); ok && strings.Contains(string(v.SealedKey), needle) {
			t.Errorf("%s holds the clear key", id)
		}
	}
}
