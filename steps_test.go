package lacre_test

import (
	"fmt"
	"sync/atomic"

	"lacre"
)

// The steps of a test, as the administrator of the world's project: those named try
// return the error, the others end the test on one.

func (w *world) tryCreate(in lacre.CertificateInput, opt ...lacre.WriteOptions) (*lacre.Written, error) {
	return w.CreateCertificate(w.t.Context(), w.admin, w.project, in, first(opt))
}

func (w *world) tryModify(id string, in lacre.CertificateInput, opt ...lacre.WriteOptions) (*lacre.Written, error) {
	return w.ModifyCertificate(w.t.Context(), w.admin, w.project, id, in, first(opt))
}

func (w *world) tryRollback(id string, number int, opt ...lacre.WriteOptions) (*lacre.Written, error) {
	return w.RollbackCertificate(w.t.Context(), w.admin, w.project, id, number, first(opt))
}

func (w *world) tryDelete(id string, opt ...lacre.WriteOptions) error {
	return w.DeleteCertificate(w.t.Context(), w.admin, w.project, id, first(opt))
}

func (w *world) tryShow(id string) (*lacre.Certificate, error) {
	return w.ShowCertificate(w.t.Context(), w.admin, w.project, id)
}

func (w *world) tryInstance(name string) (*lacre.Instance, error) {
	return w.CreateInstance(w.t.Context(), w.admin, w.project, name)
}

func (w *world) tryDropInstance(i *lacre.Instance) error {
	return w.DeleteInstance(w.t.Context(), w.admin, w.project, i.ID)
}

func (w *world) tryGroup(i *lacre.Instance, name string) (*lacre.GroupView, error) {
	return w.CreateGroup(w.t.Context(), w.admin, w.project, i.ID, lacre.GroupInput{Name: name})
}

func (w *world) tryRenameGroup(g *lacre.Group, in lacre.GroupInput) (*lacre.GroupView, error) {
	return w.ModifyGroup(w.t.Context(), w.admin, w.project, g.InstanceID, g.ID, in)
}

func (w *world) tryDropGroup(g *lacre.Group) error {
	return w.DeleteGroup(w.t.Context(), w.admin, w.project, g.InstanceID, g.ID)
}

func (w *world) tryDomain(g *lacre.Group, in lacre.DomainInput) (*lacre.DomainView, []string, error) {
	return w.CreateDomain(w.t.Context(), w.admin, w.project, g.InstanceID, g.ID, in)
}

func (w *world) tryChange(d *lacre.Domain, c lacre.DomainChange) (*lacre.DomainView, []string, error) {
	return w.ModifyDomain(w.t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, c)
}

func (w *world) tryDropDomain(d *lacre.Domain) error {
	return w.DeleteDomain(w.t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID)
}

// tryAttach binds from the domain's side.
func (w *world) tryAttach(c *lacre.Certificate, d *lacre.Domain, verify *bool) ([]string, error) {
	return w.AttachCertificate(w.t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, c.ID, verify)
}

func (w *world) tryDetach(c *lacre.Certificate, d *lacre.Domain) error {
	return w.DetachCertificate(w.t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, c.ID)
}

// tryAttachNames binds from the certificate's side.
func (w *world) tryAttachNames(c *lacre.Certificate, refs ...lacre.DomainRef) ([]string, error) {
	return w.AttachDomains(w.t.Context(), w.admin, w.project, c.ID, refs)
}

func (w *world) tryDetachNames(c *lacre.Certificate, refs ...lacre.DomainRef) error {
	return w.DetachDomains(w.t.Context(), w.admin, w.project, c.ID, refs)
}

func (w *world) create(in lacre.CertificateInput) *lacre.Certificate {
	w.t.Helper()
	written, err := w.tryCreate(in)
	w.ok(err)
	return written.Certificate
}

func (w *world) modify(id string, in lacre.CertificateInput) *lacre.Certificate {
	w.t.Helper()
	written, err := w.tryModify(id, in)
	w.ok(err)
	return written.Certificate
}

func (w *world) rollback(id string, number int) *lacre.Certificate {
	w.t.Helper()
	written, err := w.tryRollback(id, number)
	w.ok(err)
	return written.Certificate
}

func (w *world) show(id string) *lacre.Certificate {
	w.t.Helper()
	c, err := w.tryShow(id)
	w.ok(err)
	return c
}

func (w *world) list(f lacre.CertificateFilter) []*lacre.Certificate {
	w.t.Helper()
	list, _, err := w.ListCertificates(w.t.Context(), w.admin, w.project, f)
	w.ok(err)
	return list
}

func (w *world) instance() *lacre.Instance {
	w.t.Helper()
	i, err := w.tryInstance(unique("gateway"))
	w.ok(err)
	return i
}

func (w *world) group(i *lacre.Instance) *lacre.Group {
	w.t.Helper()
	g, err := w.tryGroup(i, unique("group"))
	w.ok(err)
	return g.Group
}

func (w *world) domain(g *lacre.Group, host string) *lacre.Domain {
	w.t.Helper()
	d, _, err := w.tryDomain(g, lacre.DomainInput{Name: host})
	w.ok(err)
	return d.Domain
}

// home is a domain in a group and an instance of its own.
func (w *world) home(host string) *lacre.Domain {
	w.t.Helper()
	return w.domain(w.group(w.instance()), host)
}

func (w *world) attach(c *lacre.Certificate, d *lacre.Domain, verify *bool) {
	w.t.Helper()
	_, err := w.tryAttach(c, d, verify)
	w.ok(err)
}

func (w *world) detach(c *lacre.Certificate, d *lacre.Domain) {
	w.t.Helper()
	w.ok(w.tryDetach(c, d))
}

// domainNow and version read the store.
func (w *world) domainNow(d *lacre.Domain) *lacre.Domain {
	w.t.Helper()
	now, err := sharedStore.Domain(w.t.Context(), w.project, d.ID)
	w.ok(err)
	return now
}

func (w *world) version(c *lacre.Certificate, number int) *lacre.Version {
	w.t.Helper()
	v, err := sharedStore.Version(w.t.Context(), w.project, c.ID, number)
	w.ok(err)
	return v
}

// audits are the project's audit rows, newest first.
func (w *world) audits() []lacre.Audit {
	w.t.Helper()
	page, err := sharedStore.Audits(w.t.Context(), w.project, lacre.AuditQuery{Limit: 100_000})
	w.ok(err)
	return page.Audits
}

func first[T any](list []T) (none T) {
	if len(list) > 0 {
		return list[0]
	}
	return none
}

var serial atomic.Int64 // see unique

// unique is a name nobody has.
func unique(prefix string) string { return fmt.Sprintf("%s_%d", prefix, serial.Add(1)) }
