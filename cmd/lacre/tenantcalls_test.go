package main

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"

	"lacre/internal/testcert"
)

// attempt is one call, with what the model says of its answer.
type attempt struct {
	name         string
	method, path string
	body         map[string]any
	match        string        // If-Match
	status       int           // of a success
	refused      string        // error_code, empty when the call succeeds
	then         func(*answer) // after a success; nil when nothing changes
}

// moves are the calls to choose from. Every other time it is among those that make more
// of what is served, so that both tenants claim and serve the same host names.
func (a *tenant) moves() []func() *attempt {
	if a.chance(2) {
		return []func() *attempt{a.createCert, a.createGroup, a.createDomain, a.createDomain, a.attachNames, a.attachCert, a.createDomainCert}
	}
	return []func() *attempt{
		a.createCert, a.modifyCert, a.modifyCert, a.modifyCert, a.rollBack, a.rollBack, a.listVersions, a.deleteCert, a.showCert, a.listCerts,
		a.attachNames, a.attachCert, a.detachNames, a.detachCert, a.attachedDomains,
		a.showDomainCert, a.removeDomainCert, a.modifyDomain, a.modifyDomain, a.deleteDomain,
		a.modifyGroup, a.deleteGroup, a.showGroup, a.listGroups, a.setAccess,
		a.createGateway, a.showGateway, a.deleteGateway, a.besides,
	}
}

// upload is the content of a create or modify call.
type upload struct {
	name      string
	hosts     []string
	algorithm string
	serial    int
	roots     *string
	swapped   bool // the key is of another leaf
}

func (a *tenant) upload() *upload {
	u := &upload{
		name: pick(a, []string{"cert_1", "cert_2", "cert_3", "证书_4"}), algorithm: pick(a, []string{"ECC", "RSA"}),
		hosts:  pick(a, [][]string{{a.zone[0], a.zone[1]}, {"*" + a.zone[0][1:]}, {"*" + a.zone[0][1:], a.zone[3]}}),
		serial: int(a.serials.Add(1)), roots: pick(a, []*string{nil, new(""), new(a.ca.PEM())}), swapped: a.chance(12),
	}
	if a.chance(12) {
		u.name = "1_begins_with_a_digit"
	}
	return u
}

func (u *upload) misnamed() string { return when(u.name[0] == '1', "APIG.2011") }

func (u *upload) unreadable() string { return when(u.swapped, "APIG.2101") }

func (a *tenant) form(u *upload) map[string]any {
	options := []testcert.Option{testcert.WithSerial(big.NewInt(int64(u.serial)))}
	if u.algorithm == "RSA" {
		options = append(options, testcert.WithRSA(2048))
	}
	leaf := a.ca.Leaf(a.t, u.hosts, options...)
	body := map[string]any{"name": u.name, "cert_content": leaf.ChainPEM(), "private_key": leaf.KeyPEM()}
	if u.swapped {
		body["private_key"] = a.ca.Leaf(a.t, u.hosts).KeyPEM()
	}
	if u.roots != nil {
		body["trusted_root_ca"] = *u.roots
	}
	return body
}

// created takes a new certificate into the model.
func (a *tenant) created(id string, u *upload, gateway string) *certModel {
	c := &certModel{id: a.knows("cert", id), gateway: gateway}
	c.hold(u)
	a.certs = append(a.certs, c)
	return c
}

func (a *tenant) createCert() *attempt {
	if len(a.certs) >= 5 {
		return a.deleteCert()
	}
	u, gateway := a.upload(), ""
	body := a.form(u)
	if a.chance(3) {
		gateway = a.gatewayID()
		body["type"], body["instance_id"] = "instance", gateway
	}
	try := &attempt{name: "create certificate", method: "POST", path: "/certificates", body: body, status: 200}
	try.refused = cmp.Or(u.misnamed(), when(gateway != "" && a.gateway(gateway) == nil, "APIG.3030"), u.unreadable(), a.nameTaken(gateway, u.name, nil))
	if a.chance(8) {
		try.path += "?dry_run=true"
		return try
	}
	try.then = func(got *answer) { a.created(got.field("id"), u, gateway) }
	return try
}

// matching chooses an If-Match, and tells how c is refused for it.
func (a *tenant) matching(c *certModel) (match, refused string) {
	if c == nil || !a.chance(3) {
		return "", ""
	}
	generation := c.generation + a.random.IntN(2)
	return fmt.Sprintf("%q", fmt.Sprint(generation)), when(generation != c.generation, "LACRE.0412")
}

func (a *tenant) modifyCert() *attempt {
	id, u := a.certID(), a.upload()
	c := a.cert(id)
	try := &attempt{name: "modify certificate", method: "PUT", path: "/certificates/" + id, body: a.form(u), status: 200}
	match, stale := a.matching(c)
	try.match = match
	try.refused = cmp.Or(a.lacksCert(id), stale, u.misnamed(), u.unreadable(), a.breaks(c, u))
	if try.refused == "" {
		try.refused = a.nameTaken(c.gateway, u.name, c)
	}
	if a.chance(8) {
		try.path += "?dry_run=true"
		return try
	}
	try.then = func(*answer) { c.hold(u) }
	return try
}

func (a *tenant) deleteCert() *attempt {
	id := a.certID()
	c := a.cert(id)
	match, stale := a.matching(c)
	used := when(c != nil && len(a.boundTo(c)) > 0, "APIG.3400")
	return &attempt{name: "delete certificate", method: "DELETE", path: "/certificates/" + id, match: match, status: 204,
		refused: cmp.Or(a.lacksCert(id), stale, used), then: func(*answer) { a.certs = without(a.certs, c) }}
}

func (a *tenant) showCert() *attempt {
	id := a.certID()
	return &attempt{name: "show certificate", method: "GET", path: "/certificates/" + id, status: 200, refused: a.lacksCert(id)}
}

func (a *tenant) attachedDomains() *attempt {
	id := a.certID()
	return &attempt{name: "attached domains", method: "GET", path: "/certificates/" + id + "/attached-domains", status: 200, refused: a.lacksCert(id)}
}

func (a *tenant) listCerts() *attempt {
	id := a.gatewayID()
	return &attempt{name: "list certificates", method: "GET", path: "/certificates?instance_id=" + id, status: 200, refused: a.lacksGateway(id)}
}

// named are the domains of a host name that a binding by name concerns, in the order of
// their gateways' ids.
func (a *tenant) named(c *certModel, gateways []string, host string) (found []*domainModel) {
	if len(gateways) == 0 && c.gateway != "" {
		gateways = []string{c.gateway}
	}
	if len(gateways) == 0 {
		for _, g := range a.gateways {
			gateways = append(gateways, g.id)
		}
		slices.Sort(gateways)
	}
	for _, g := range gateways {
		if d := a.hosting(g, host); d != nil {
			found = append(found, d)
		}
	}
	return found
}

// naming makes the body of a binding by name.
func (a *tenant) naming(host string) (gateways []string, body map[string]any) {
	ref := map[string]any{"domain": host}
	if a.chance(3) {
		gateways = []string{a.gatewayID()}
		ref["instance_ids"] = gateways
	}
	return gateways, map[string]any{"domains": []any{ref}}
}

func (a *tenant) attachNames() *attempt {
	id, host, verify := a.certID(), pick(a, a.zone), a.flag()
	if d := pick(a, a.domains()); d != nil && !a.chance(3) {
		id, host = a.suitedID(d), d.host
	}
	gateways, body := a.naming(host)
	if verify != nil {
		body["domains"].([]any)[0].(map[string]any)["verified_client_certificate_enabled"] = *verify
	}
	try := &attempt{name: "attach domains", method: "POST", path: "/certificates/" + id + "/domains/attach", body: body, status: 204}
	try.refused = a.lacksCert(id)
	for _, g := range gateways {
		try.refused = cmp.Or(try.refused, a.lacksGateway(g))
	}
	if try.refused == "" {
		c := a.cert(id)
		targets := a.named(c, gateways, host)
		try.refused = when(len(targets) == 0, "APIG.3020")
		a.binding(try, c, targets, verify)
	}
	return try
}

// binding completes an attempt to bind c to all targets or none.
func (a *tenant) binding(try *attempt, c *certModel, targets []*domainModel, asked *bool) {
	flags := make([]bool, len(targets))
	for i, d := range targets {
		verify, refused := c.bind(d, asked)
		flags[i], try.refused = verify, cmp.Or(try.refused, refused)
	}
	try.then = func(*answer) {
		for i, d := range targets {
			d.attach(c, flags[i])
		}
	}
}

func (a *tenant) detachNames() *attempt {
	id, host := a.certID(), pick(a, a.zone)
	if d := a.busy(); d != nil {
		id, host = a.boundID(d), d.host
	}
	gateways, body := a.naming(host)
	try := &attempt{name: "detach domains", method: "POST", path: "/certificates/" + id + "/domains/detach", body: body, status: 204, refused: a.lacksCert(id)}
	if c := a.cert(id); c != nil {
		targets := slices.DeleteFunc(a.named(c, gateways, host), func(d *domainModel) bool { return !slices.Contains(d.certs, c) })
		try.refused = when(len(targets) == 0, "APIG.2000")
		try.then = func(*answer) {
			for _, d := range targets {
				d.detach(c)
			}
		}
	}
	return try
}

func (a *tenant) attachCert() *attempt {
	at, domain, lacks := a.place()
	id, verify := a.suitedID(domain), a.flag()
	try := &attempt{name: "attach certificate", method: "POST", path: at + "/certificates/attach", status: 204,
		body: map[string]any{"certificate_ids": []string{id}}, refused: cmp.Or(a.lacksCert(id), lacks)}
	if verify != nil {
		try.body["verified_client_certificate_enabled"] = *verify
	}
	if try.refused == "" {
		a.binding(try, a.cert(id), []*domainModel{domain}, verify)
	}
	return try
}

// bindingLacks tells why there is nothing of certificate id to take from a domain.
func (a *tenant) bindingLacks(id, lacks string, d *domainModel) string {
	refused := cmp.Or(a.lacksCert(id), lacks)
	return cmp.Or(refused, when(refused == "" && !slices.Contains(d.certs, a.cert(id)), "APIG.3097"))
}

func (a *tenant) detachCert() *attempt {
	at, domain, lacks := a.place()
	id := a.boundID(domain)
	return &attempt{name: "detach certificate", method: "POST", path: at + "/certificates/detach", status: 204,
		body: map[string]any{"certificate_ids": []string{id}}, refused: a.bindingLacks(id, lacks, domain),
		then: func(*answer) { domain.detach(a.cert(id)) }}
}

func (a *tenant) createDomainCert() *attempt {
	at, domain, lacks := a.place()
	u := a.upload()
	try := &attempt{name: "create domain's certificate", method: "POST", path: at + "/certificate", body: a.form(u), status: 201}
	try.refused = cmp.Or(lacks, u.misnamed(), u.unreadable(), a.nameTaken("", u.name, nil))
	if try.refused == "" {
		c := &certModel{}
		c.hold(u)
		verify, refused := c.bind(domain, nil)
		try.refused = refused
		try.then = func(got *answer) {
			domain.attach(a.created(got.field("ssl_id"), u, ""), verify)
		}
	}
	return try
}

func (a *tenant) showDomainCert() *attempt {
	at, domain, lacks := a.place()
	id := a.boundID(domain)
	refused := cmp.Or(lacks, a.lacksCert(id))
	return &attempt{name: "show domain's certificate", method: "GET", path: at + "/certificate/" + id, status: 200,
		refused: cmp.Or(refused, a.bindingLacks(id, lacks, domain))}
}

func (a *tenant) removeDomainCert() *attempt {
	at, domain, lacks := a.place()
	id := a.boundID(domain)
	return &attempt{name: "remove domain's certificate", method: "DELETE", path: at + "/certificate/" + id, status: 204,
		refused: a.bindingLacks(id, lacks, domain), then: func(*answer) {
			c := a.cert(id)
			if domain.detach(c); len(a.boundTo(c)) == 0 {
				a.certs = without(a.certs, c)
			}
		}}
}
