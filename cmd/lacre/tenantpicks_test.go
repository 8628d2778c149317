package main

import (
	"crypto/tls"
	"slices"

	"lacre"
)

// unrecognizedName is the alert of RFC 6066 section 3 for a name nobody serves.
const unrecognizedName = tls.AlertError(112)

// statusOf is the status of each error_code that the model knows.
var statusOf = map[string]int{
	"APIG.1005": 403, "APIG.2000": 400, "APIG.2011": 400, "APIG.2024": 400, "APIG.2051": 400, "APIG.2101": 400,
	"APIG.2103": 400, "APIG.3001": 404, "APIG.3020": 404, "APIG.3021": 404, "APIG.3030": 404, "APIG.3097": 404,
	"APIG.3201": 400, "APIG.3305": 400, "APIG.3325": 400, "APIG.3400": 403, "APIG.3458": 412, "APIG.3474": 400,
	"LACRE.0412": 412,
}

// chance is true once in so many times.
func (a *tenant) chance(in int) bool { return a.random.IntN(in) == 0 }

// pick chooses one of a list, the zero value when it is empty.
func pick[T any](a *tenant, list []T) (one T) {
	if len(list) > 0 {
		one = list[a.random.IntN(len(list))]
	}
	return one
}

// flag is a choice that may be left out.
func (a *tenant) flag() *bool { return pick(a, []*bool{nil, new(true), new(false)}) }

// knows remembers an id for the other to try.
func (a *tenant) knows(kind, id string) string {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	a.known.ids[kind] = append(a.known.ids[kind], id)
	return id
}

// stranger is an id that the tenant does not have: mostly one of the other.
func (a *tenant) stranger(kind string) string {
	a.other.known.mu.Lock()
	defer a.other.known.mu.Unlock()
	id := pick(a, a.other.known.ids[kind])
	if id == "" || !a.prowling && a.chance(4) {
		return lacre.NewID()
	}
	a.strange = append(a.strange, id)
	return id
}

// mine is the id of one of the tenant's own things, now and then of none.
func mine[T any](a *tenant, kind string, list []*T, id func(*T) string) string {
	if chosen := pick(a, list); chosen != nil && !a.prowling && !a.chance(10) {
		return id(chosen)
	}
	return a.stranger(kind)
}

func (a *tenant) certID() string {
	return mine(a, "cert", a.certs, func(c *certModel) string { return c.id })
}

func (a *tenant) gatewayID() string {
	return mine(a, "instance", a.gateways, func(g *gatewayModel) string { return g.id })
}

// boundID is mostly a certificate of d, which may be nil.
func (a *tenant) boundID(d *domainModel) string {
	if d != nil && len(d.certs) > 0 && !a.prowling && !a.chance(4) {
		return pick(a, d.certs).id
	}
	return a.certID()
}

// suitedID is mostly a certificate that could be bound to d, which may be nil.
func (a *tenant) suitedID(d *domainModel) string {
	if d != nil && !a.prowling && !a.chance(4) {
		fit := func(c *certModel) bool { return c.unfit(d) == "" }
		if c := one(a.certs, fit); c != nil {
			return c.id
		}
	}
	return a.certID()
}

// busy is a domain that has certificates, nil when none has.
func (a *tenant) busy() *domainModel {
	return pick(a, slices.DeleteFunc(a.domains(), func(d *domainModel) bool { return len(d.certs) == 0 }))
}

// groupPlace is where a group is: mostly right.
func (a *tenant) groupPlace() (gateway, group string) {
	group = mine(a, "group", a.groups, func(g *groupModel) string { return g.id })
	if g := a.group(group); g != nil && !a.chance(10) {
		return g.gateway, group
	}
	return a.gatewayID(), group
}

// place is the path of a domain, with the domain, and why it is not there.
func (a *tenant) place() (path string, d *domainModel, lacks string) {
	id := mine(a, "domain", a.domains(), func(d *domainModel) string { return d.id })
	if d := a.busy(); d != nil && !a.prowling && a.chance(3) {
		id = d.id
	}
	gateway, group := a.groupPlace()
	if d = a.domain(id); d != nil && !a.chance(8) {
		a.strange, gateway, group = nil, d.group.gateway, d.group.id
	}
	return groupsPath(gateway) + "/" + group + "/domains/" + id, d, a.lacksDomain(gateway, group, id)
}
