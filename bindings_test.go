package lacre_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/keypair"
)

func ref(host string, instances ...string) lacre.DomainRef {
	return lacre.DomainRef{Name: host, InstanceIDs: instances}
}

// hosts are the names of what a certificate is bound to, and the counter beside them.
func (w *world) hosts(c *lacre.Certificate) []string {
	w.t.Helper()
	views, total, err := w.AttachedDomains(w.t.Context(), w.admin, w.project, c.ID, "", lacre.Page{})
	w.ok(err)
	hosts := []string{}
	for _, v := range views {
		hosts = append(hosts, v.Host)
	}
	if bound := w.show(c.ID).Bound; bound != total || total != len(hosts) {
		w.t.Errorf("got counter %d, total %d, %d domains, want all the same", bound, total, len(hosts))
	}
	return hosts
}

func (w *world) wantHosts(c *lacre.Certificate, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), w.hosts(c)); diff != "" {
		w.t.Errorf("the bound domains differ (-want +got):\n%s", diff)
	}
}

func TestAttachDomains(t *testing.T) {
	t.Parallel()
	t.Run("OK: a name stands for the domain in every instance", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("web_cert", "*.a.test"))
		w.home("www.a.test")
		w.home("www.a.test")
		w.home("api.a.test")
		_, err := w.tryAttachNames(c, ref("WWW.a.test."), ref("api.a.test"))
		w.ok(err)
		w.wantHosts(c, "api.a.test", "www.a.test", "www.a.test")
	})
	t.Run("instances narrow a name", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("web_cert", "*.a.test"))
		here, there := w.home("www.a.test"), w.home("www.a.test")
		_, err := w.tryAttachNames(c, ref("www.a.test", here.InstanceID))
		w.ok(err)
		if got := w.domainNow(there).Bindings; len(got) != 0 {
			t.Errorf("got %d bindings in the other instance, want none", len(got))
		}
	})
	t.Run("an instance's own stays in its instance", func(t *testing.T) {
		w := newWorld(t)
		here, there := w.home("www.a.test"), w.home("www.a.test")
		c := w.create(confined(w.upload("web_cert", "*.a.test"), &lacre.Instance{ID: here.InstanceID}))
		_, err := w.tryAttachNames(c, ref("www.a.test"))
		w.ok(err)
		w.wantHosts(c, "www.a.test")
		_, err = w.tryAttachNames(c, ref("www.a.test", there.InstanceID))
		wantField(t, err, lacre.CodeInvalidField, "instance_ids")
	})
	t.Run("again is fine and counts once", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("web_cert", "*.a.test"))
		w.home("www.a.test")
		for range 2 {
			_, err := w.tryAttachNames(c, ref("www.a.test"), ref("www.a.test."))
			w.ok(err)
		}
		w.wantHosts(c, "www.a.test")
	})
	t.Run("a wildcard domain takes a wildcard leaf", func(t *testing.T) {
		w := newWorld(t)
		c, plain := w.create(w.upload("wild_cert", "*.a.test")), w.create(w.upload("web_cert", "www.a.test"))
		d := w.home("*.a.test")
		_, err := w.tryAttach(plain, d, nil)
		wantCode(t, err, lacre.CodeNotCovered)
		w.attach(c, d, nil)
		w.wantHosts(c, "*.a.test")
	})
	for name, test := range map[string]struct {
		refs []lacre.DomainRef
		code lacre.Code
	}{
		"ErrDomainNotFound":   {[]lacre.DomainRef{ref("www.a.test"), ref("nowhere.a.test")}, lacre.CodeDomainNotFound},
		"ErrNoHostName":       {[]lacre.DomainRef{ref("www.a.test"), ref("no host name")}, lacre.CodeDomainNotFound},
		"ErrNotCovered":       {[]lacre.DomainRef{ref("www.a.test"), ref("www.b.test")}, lacre.CodeNotCovered},
		"ErrSameAlgorithm":    {[]lacre.DomainRef{ref("www.a.test"), ref("taken.a.test")}, lacre.CodeSameAlgorithm},
		"ErrInstanceNotFound": {[]lacre.DomainRef{ref("www.a.test"), ref("www.a.test", lacre.NewID())}, lacre.CodeInstanceNotFound},
		"ErrVerifyNoRoots":    {[]lacre.DomainRef{ref("www.a.test"), {Name: "api.a.test", VerifyClient: new(true)}}, lacre.CodeInvalidField},
		"ErrNone":             {nil, lacre.CodeNothingBound},
		"ErrTooMany":          {make([]lacre.DomainRef, 41), lacre.CodeInvalidField},
	} {
		t.Run(name+" binds none of the batch", func(t *testing.T) {
			w := newWorld(t)
			c, g := w.create(w.upload("web_cert", "*.a.test")), w.group(w.instance())
			for _, host := range []string{"www.a.test", "api.a.test", "www.b.test", "taken.a.test"} {
				w.domain(g, host)
			}
			_, err := w.tryAttachNames(w.create(w.upload("other_cert", "taken.a.test")), ref("taken.a.test"))
			w.ok(err)
			w.wantUnchanged(func() {
				_, err := w.tryAttachNames(c, test.refs...)
				wantCode(t, err, test.code)
			})
		})
	}
	t.Run("ErrCertificateNotFound", func(t *testing.T) {
		w := newWorld(t)
		w.home("www.a.test")
		_, err := w.tryAttachNames(&lacre.Certificate{ID: lacre.NewID()}, ref("www.a.test"))
		wantCode(t, err, lacre.CodeCertificateNotFound)
	})
}

// A batch and the deletion of a full group fit one transaction even with a second
// certificate on each domain to look after; tap counts. More is refused as a whole.
func TestBindInBulk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *lacre.Config) { c.DomainsPerGroup = 1000 })
	i := w.instance()
	var groups []*lacre.Group
	var refs []lacre.DomainRef
	for len(refs) < 40 {
		g := w.group(i)
		groups = append(groups, g)
		for n := 0; n < 15 && len(refs) < 40; n++ {
			host := fmt.Sprintf("h%d.a.test", len(refs))
			w.attach(w.create(w.trusting(w.upload(unique("ecc"), host))), w.domain(g, host), off)
			refs = append(refs, lacre.DomainRef{Name: host, VerifyClient: on})
		}
	}
	_, _, err := w.tryDomain(groups[0], lacre.DomainInput{Name: "sixteenth.a.test"})
	wantCode(t, err, lacre.CodeDomainQuota)
	c := w.create(w.trusting(w.uploadRSA("rsa_cert", "*.a.test")))
	_, err = w.tryAttachNames(c, refs...)
	w.ok(err)
	if got := w.show(c.ID).Bound; got != 40 {
		t.Errorf("got %d bindings, want 40", got)
	}
	extra := w.home(refs[0].Name) // the same name in another instance makes 41 domains
	w.wantUnchanged(func() {
		_, err := w.tryAttachNames(c, refs...)
		wantField(t, err, lacre.CodeInvalidField, "domains")
	})
	w.ok(w.tryDropDomain(extra))
	w.ok(w.tryDropGroup(groups[0]))
	w.ok(w.tryDetachNames(c, refs...))
	w.wantHosts(c)
}

// TestBatchesAreBounded: whoever may bind must not keep the store busy with one call.
func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, d := w.create(w.upload("web_cert", "*.a.test")), w.home("www.a.test")
	w.attach(c, d, nil)
	var reads atomic.Int64
	w.tap.onRead(func(lacre.Record) error { reads.Add(1); return nil })
	many := slices.Repeat([]lacre.DomainRef{ref(d.Host, d.InstanceID)}, 41)
	wide := ref(d.Host, slices.Repeat([]string{d.InstanceID}, 41)...)
	for field, refs := range map[string][]lacre.DomainRef{"domains": many, "instance_ids": {wide}} {
		_, err := w.tryAttachNames(c, refs...)
		wantField(t, err, lacre.CodeInvalidField, field)
		wantField(t, w.tryDetachNames(c, refs...), lacre.CodeInvalidField, field)
	}
	if got := reads.Load(); got != 4 {
		t.Errorf("got %d reads, want one of the certificate for each call", got)
	}
}

func TestDetachDomains(t *testing.T) {
	t.Parallel()
	t.Run("OK: unbinds what is bound and passes the rest by", func(t *testing.T) {
		w := newWorld(t)
		c, g := w.create(w.upload("web_cert", "*.a.test")), w.group(w.instance())
		for _, host := range []string{"www.a.test", "api.a.test"} {
			w.attach(c, w.domain(g, host), nil)
		}
		w.domain(g, "free.a.test")
		w.ok(w.tryDetachNames(c, ref("www.a.test"), ref("free.a.test"), ref("nowhere.a.test"), ref("no host name"), ref("www.a.test", lacre.NewID())))
		w.wantHosts(c, "api.a.test")
	})
	t.Run("ErrNothingBound", func(t *testing.T) {
		w := newWorld(t)
		c := w.create(w.upload("web_cert", "*.a.test"))
		w.home("www.a.test")
		w.wantUnchanged(func() {
			for _, refs := range [][]lacre.DomainRef{nil, {ref("www.a.test")}, {ref("nowhere.a.test")}, {ref("www.a.test", lacre.NewID())}} {
				wantCode(t, w.tryDetachNames(c, refs...), lacre.CodeNothingBound)
			}
		})
	})
	t.Run("leaves nothing of the binding", func(t *testing.T) {
		w := newWorld(t)
		c, d := w.create(w.upload("web_cert", "*.a.test")), w.home("www.a.test")
		w.attach(c, d, nil)
		w.ok(w.tryDetachNames(c, ref("www.a.test")))
		if got := w.domainNow(d).Bindings; len(got) != 0 {
			t.Errorf("got bindings %v, want none", got)
		}
		w.wantHosts(c)
		w.ok(w.tryDelete(c.ID))
	})
}

func TestAttachCertificate(t *testing.T) {
	t.Run("one certificate of each algorithm type", func(t *testing.T) {
		w := newWorld(t)
		ecc, rsa, more := w.create(w.upload("ecc_cert", "www.a.test")), w.create(w.uploadRSA("rsa_cert", "www.a.test")), w.create(w.upload("more_cert", "www.a.test"))
		d := w.home("www.a.test")
		w.attach(ecc, d, nil)
		w.attach(rsa, d, nil)
		w.wantUnchanged(func() {
			_, err := w.tryAttach(more, d, nil)
			wantCode(t, err, lacre.CodeSameAlgorithm)
		})
		want := []lacre.Binding{{CertificateID: ecc.ID, Algorithm: keypair.ECC}, {CertificateID: rsa.ID, Algorithm: keypair.RSA}}
		if diff := cmp.Diff(want, w.domainNow(d).Bindings); diff != "" {
			t.Errorf("the bindings differ (-want +got):\n%s", diff)
		}
		view, err := w.ShowGroup(t.Context(), w.admin, w.project, d.InstanceID, d.GroupID)
		w.ok(err)
		if diff := cmp.Diff([]string{"ecc_cert", "rsa_cert"}, names(view.Domains[0].Certificates)); diff != "" {
			t.Errorf("the group shows other certificates (-want +got):\n%s", diff)
		}
	})
	t.Run("ErrNotFound", func(t *testing.T) {
		w := newWorld(t)
		c, d, far := w.create(w.upload("web_cert", "www.a.test")), w.home("www.a.test"), w.home("www.a.test")
		with := func(edit func(*lacre.Domain)) *lacre.Domain { next := *d; edit(&next); return &next }
		for want, where := range map[lacre.Code]*lacre.Domain{
			lacre.CodeInstanceNotFound: with(func(d *lacre.Domain) { d.InstanceID = lacre.NewID() }),
			lacre.CodeGroupNotFound:    with(func(d *lacre.Domain) { d.InstanceID = far.InstanceID }),
			lacre.CodeDomainNotFound:   with(func(d *lacre.Domain) { d.ID = lacre.NewID() }),
			lacre.CodeGroupMismatch:    with(func(d *lacre.Domain) { d.ID = far.ID }),
		} {
			_, err := w.tryAttach(c, where, nil)
			wantCode(t, err, want)
			wantCode(t, w.tryDetach(c, where), want)
		}
		_, err := w.tryAttach(&lacre.Certificate{ID: lacre.NewID()}, d, nil)
		wantCode(t, err, lacre.CodeCertificateNotFound)
		wantCode(t, w.tryDetach(c, d), lacre.CodeBindingNotFound)
	})
}

func TestAttachedDomains(t *testing.T) {
	w := newWorld(t)
	c, g := w.create(w.upload("web_cert", "*.a.test")), w.group(w.instance())
	for _, host := range []string{"c.a.test", "a.a.test", "b.a.test"} {
		w.attach(c, w.domain(g, host), nil)
	}
	for _, test := range []struct {
		name  string
		page  lacre.Page
		want  []string
		total int
	}{
		{"", lacre.Page{}, []string{"a.a.test", "b.a.test", "c.a.test"}, 3},
		{"", lacre.Page{Offset: 1, Limit: 1}, []string{"b.a.test"}, 3},
		{"B.A.test.", lacre.Page{}, []string{"b.a.test"}, 1},
		{"a.test", lacre.Page{}, nil, 0},
		{"no host name", lacre.Page{}, nil, 0},
	} {
		views, total, err := w.AttachedDomains(t.Context(), w.admin, w.project, c.ID, test.name, test.page)
		w.ok(err)
		var got []string
		for _, v := range views {
			got = append(got, v.Host)
			if v.GroupName != g.Name || len(v.Certificates) != 1 || v.Certificates[0].ID != c.ID {
				t.Errorf("%s: got group %q with %d certificates, want %q with the one asked for", v.Host, v.GroupName, len(v.Certificates), g.Name)
			}
		}
		if !cmp.Equal(got, test.want) || total != test.total {
			t.Errorf("%q %+v: got %v of %d, want %v of %d", test.name, test.page, got, total, test.want, test.total)
		}
	}
	_, _, err := w.AttachedDomains(t.Context(), w.admin, w.project, lacre.NewID(), "", lacre.Page{})
	wantCode(t, err, lacre.CodeCertificateNotFound)
}
