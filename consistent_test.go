package lacre_test

import (
	"slices"

	"lacre"
)

// wantConsistent checks every record that was ever written in the world against the
// others: nothing is claimed, bound or counted that is not there, and nothing that is
// there lacks its claim, binding or count.
func (w *world) wantConsistent() {
	w.t.Helper()
	c := census{world: w, records: w.tap.stored(w.t), bounds: map[string]int{}}
	for _, r := range c.records {
		c.check(r)
	}
	for id, n := range c.bounds {
		if got := find(c, &lacre.Certificate{ProjectID: w.project, ID: id}); got == nil || got.Bound != n {
			w.t.Errorf("certificate %s: got %+v, want a counter of %d", id, got, n)
		}
	}
}

// census is all records at one time.
type census struct {
	*world
	records map[string]lacre.Record
	bounds  map[string]int // bindings found of each certificate
}

// find returns the stored record with r's identity, nil without one.
func find[R lacre.Record](c census, r R) R {
	got, _ := c.records[key(identity(r))].(R)
	return got
}

func (c census) want(there bool, format string, args ...any) {
	c.t.Helper()
	if !there {
		c.t.Errorf(format, args...)
	}
}

func (c census) check(r lacre.Record) {
	c.t.Helper()
	switch r := r.(type) {
	case *lacre.Certificate:
		c.checkCertificate(r)
	case *lacre.Domain:
		c.checkDomain(r)
	case *lacre.Group:
		c.checkGroup(r)
	case *lacre.Instance:
		c.want(!r.Closing, "instance %s was left closing", r.ID)
		c.want(find(c, &lacre.InstanceName{ProjectID: r.ProjectID, Name: r.Name}) != nil, "instance %s has no name claim", r.ID)
	case *lacre.CertificateName:
		owner := find(c, &lacre.Certificate{ProjectID: r.ProjectID, ID: r.CertificateID})
		c.want(owner != nil && owner.Name == r.Name && owner.InstanceID == r.InstanceID, "the name %s is claimed for %+v", r.Name, owner)
	case *lacre.Host:
		owner := find(c, &lacre.Domain{ProjectID: r.ProjectID, ID: r.DomainID})
		c.want(owner != nil && owner.Host == r.Host && owner.InstanceID == r.InstanceID, "the host %s is claimed for %+v", r.Host, owner)
	case *lacre.Version:
		owner := find(c, &lacre.Certificate{ProjectID: r.ProjectID, ID: r.CertificateID})
		c.want(owner != nil && owner.Oldest <= r.Number && r.Number <= owner.Version, "version %d is kept of %+v", r.Number, owner)
	case *lacre.Bound:
		c.bounds[r.CertificateID]++
		d := find(c, &lacre.Domain{ProjectID: r.ProjectID, ID: r.DomainID})
		c.want(d != nil && slices.ContainsFunc(d.Bindings, func(b lacre.Binding) bool { return b.CertificateID == r.CertificateID }),
			"certificate %s is bound to %+v, which does not know", r.CertificateID, d)
	}
}

func (c census) checkCertificate(r *lacre.Certificate) {
	c.t.Helper()
	c.bounds[r.ID] += 0 // counted even without bindings
	name := find(c, &lacre.CertificateName{ProjectID: r.ProjectID, InstanceID: r.InstanceID, Name: r.Name})
	c.want(name != nil && name.CertificateID == r.ID, "certificate %s: its name %s is claimed by %+v", r.ID, r.Name, name)
	current := find(c, &lacre.Version{ProjectID: r.ProjectID, CertificateID: r.ID, Number: r.Version})
	c.want(current != nil && current.Facts.Fingerprint == r.Facts.Fingerprint && (len(current.TrustRoots) > 0) == r.HasTrustRoot,
		"certificate %s does not describe its current version", r.ID)
	for n := r.Oldest; n <= r.Version; n++ {
		c.want(find(c, &lacre.Version{ProjectID: r.ProjectID, CertificateID: r.ID, Number: n}) != nil, "certificate %s lacks version %d", r.ID, n)
	}
	if r.Scope == lacre.ScopeInstance {
		c.want(find(c, &lacre.Instance{ProjectID: r.ProjectID, ID: r.InstanceID}) != nil, "certificate %s is of an instance that is gone", r.ID)
	}
}

func (c census) checkDomain(d *lacre.Domain) {
	c.t.Helper()
	g := find(c, &lacre.Group{ProjectID: d.ProjectID, ID: d.GroupID})
	c.want(g != nil && slices.Contains(g.DomainIDs, d.ID), "domain %s is not in its group %+v", d.Host, g)
	host := find(c, &lacre.Host{ProjectID: d.ProjectID, InstanceID: d.InstanceID, Host: d.Host})
	c.want(host != nil && host.DomainID == d.ID, "domain %s: its host is claimed by %+v", d.Host, host)
	c.want(!d.VerifyClient || len(d.Bindings) > 0, "domain %s verifies clients without a certificate", d.Host)
	seen := map[string]bool{}
	for _, b := range d.Bindings {
		cert := find(c, &lacre.Certificate{ProjectID: d.ProjectID, ID: b.CertificateID})
		c.want(cert != nil && cert.Facts.Algorithm == b.Algorithm && cert.Facts.Covers(d.Host), "domain %s is bound to %+v as %s", d.Host, cert, b.Algorithm)
		c.want(!d.VerifyClient || cert != nil && cert.HasTrustRoot, "domain %s verifies clients without roots in %+v", d.Host, cert)
		c.want(!seen[string(b.Algorithm)], "domain %s has two %s certificates", d.Host, b.Algorithm)
		seen[string(b.Algorithm)] = true
		bound := &lacre.Bound{ProjectID: d.ProjectID, CertificateID: b.CertificateID, DomainID: d.ID}
		c.want(find(c, bound) != nil, "domain %s: the binding to %s has no way back", d.Host, b.CertificateID)
	}
}

func (c census) checkGroup(g *lacre.Group) {
	c.t.Helper()
	c.want(find(c, &lacre.Instance{ProjectID: g.ProjectID, ID: g.InstanceID}) != nil, "group %s is of an instance that is gone", g.Name)
	name := &lacre.GroupName{ProjectID: g.ProjectID, InstanceID: g.InstanceID, Name: g.Name}
	c.want(find(c, name) != nil, "group %s has no name claim", g.Name)
	for _, id := range g.DomainIDs {
		d := find(c, &lacre.Domain{ProjectID: g.ProjectID, ID: id})
		c.want(d != nil && d.GroupID == g.ID, "group %s lists domain %s, which is %+v", g.Name, id, d)
	}
}
