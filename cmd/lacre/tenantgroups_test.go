package main

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"lacre"
)

func (a *tenant) createDomain() *attempt {
	gateway, group := a.groupPlace()
	d := &domainModel{host: pick(a, a.zone), minTLS: "TLSv1.2", redirect: a.chance(2)}
	name := d.host
	if a.chance(12) {
		name = "not a host"
	}
	g := a.group(group)
	return &attempt{name: "create domain", method: "POST", path: groupsPath(gateway) + "/" + group + "/domains", status: 201,
		body: map[string]any{"url_domain": name, "is_http_redirect_to_https": d.redirect},
		refused: cmp.Or(when(name != d.host, "APIG.2024"), a.lacksGroup(gateway, group),
			when(a.hosting(gateway, d.host) != nil, "APIG.3305")),
		then: func(got *answer) {
			d.id, d.group, d.asked, d.answered = a.knows("domain", got.field("id")), g, a.asked, a.answered
			g.domains = append(g.domains, d)
		}}
}

func (a *tenant) modifyDomain() *attempt {
	at, d, lacks := a.place()
	minTLS, redirect, verify := pick(a, []string{"TLSv1.2", "TLSv1.3"}), a.chance(2), a.flag()
	body := map[string]any{"min_ssl_version": minTLS, "is_http_redirect_to_https": redirect}
	try := &attempt{name: "modify domain", method: "PUT", path: at, body: body, status: 201, refused: lacks}
	if verify != nil {
		body["verified_client_certificate_enabled"] = *verify
	}
	if d != nil && lacks == "" && verify != nil && *verify && !d.verify {
		bare := slices.ContainsFunc(d.certs, func(c *certModel) bool { return !c.roots })
		try.refused = when(bare || len(d.certs) == 0, "APIG.2011")
	}
	try.then = func(*answer) {
		if d.minTLS, d.redirect = minTLS, redirect; verify != nil {
			d.verify = *verify
		}
	}
	return try
}

func (a *tenant) deleteDomain() *attempt {
	at, d, lacks := a.place()
	return &attempt{name: "delete domain", method: "DELETE", path: at, status: 204, refused: lacks,
		then: func(*answer) { d.group.domains = without(d.group.domains, d) }}
}

func groupsPath(gateway string) string { return "/instances/" + gateway + "/api-groups" }

func (a *tenant) groupForm() (form groupModel, refused string) {
	form = groupModel{name: pick(a, []string{"group_1", "group_2", "分组_3"}), remark: pick(a, []string{"", "tried"})}
	if a.chance(12) {
		form.name = "!"
	}
	return form, when(form.name == "!", "APIG.2011")
}

// groupTaken looks for another group of the name in a gateway.
func (a *tenant) groupTaken(gateway, name string, but *groupModel) string {
	taken := one(a.groups, func(g *groupModel) bool { return g != but && g.gateway == gateway && g.name == name })
	return when(taken != nil, "APIG.3201")
}

func (a *tenant) createGroup() *attempt {
	gateway := a.gatewayID()
	g, bad := a.groupForm()
	g.gateway = gateway
	return &attempt{name: "create group", method: "POST", path: groupsPath(gateway), status: 201,
		body:    map[string]any{"name": g.name, "remark": g.remark},
		refused: cmp.Or(bad, a.lacksGateway(gateway), a.groupTaken(gateway, g.name, nil)),
		then: func(got *answer) {
			g.id = a.knows("group", got.field("id"))
			a.groups = append(a.groups, &g)
		}}
}

func (a *tenant) modifyGroup() *attempt {
	gateway, id := a.groupPlace()
	form, bad := a.groupForm()
	g := a.group(id)
	return &attempt{name: "modify group", method: "PUT", path: groupsPath(gateway) + "/" + id, status: 200,
		body:    map[string]any{"name": form.name, "remark": form.remark},
		refused: cmp.Or(bad, a.lacksGroup(gateway, id), a.groupTaken(gateway, form.name, g)),
		then:    func(*answer) { g.name, g.remark = form.name, form.remark }}
}

func (a *tenant) deleteGroup() *attempt {
	gateway, id := a.groupPlace()
	return &attempt{name: "delete group", method: "DELETE", path: groupsPath(gateway) + "/" + id, status: 204,
		refused: a.lacksGroup(gateway, id), then: func(*answer) { a.groups = without(a.groups, a.group(id)) }}
}

func (a *tenant) showGroup() *attempt {
	gateway, id := a.groupPlace()
	return &attempt{name: "show group", method: "GET", path: groupsPath(gateway) + "/" + id, status: 200, refused: a.lacksGroup(gateway, id)}
}

func (a *tenant) listGroups() *attempt {
	gateway := a.gatewayID()
	return &attempt{name: "list groups", method: "GET", path: groupsPath(gateway), status: 200, refused: a.lacksGateway(gateway)}
}

// setAccess is an operation of one of the two products only.
func (a *tenant) setAccess() *attempt {
	gateway, id := a.groupPlace()
	return &attempt{name: "set sub-domain access", method: "PUT", path: groupsPath(gateway) + "/" + id + "/sl-domain-access-settings",
		status: 204, body: map[string]any{"sl_domain_access_enabled": a.chance(2)}, refused: a.lacksGroup(gateway, id)}
}

func (a *tenant) createGateway() *attempt {
	name := pick(a, []string{"gateway_1", "gateway_2"})
	taken := one(a.gateways, func(g *gatewayModel) bool { return g.name == name })
	return &attempt{name: "create instance", method: "POST", path: "/instances", status: 201,
		body: map[string]any{"instance_name": name}, refused: when(taken != nil, "APIG.2011"),
		then: func(got *answer) {
			a.gateways = append(a.gateways, &gatewayModel{a.knows("instance", got.field("id")), name})
		}}
}

func (a *tenant) showGateway() *attempt {
	id := a.gatewayID()
	return &attempt{name: "show instance", method: "GET", path: "/instances/" + id, status: 200, refused: a.lacksGateway(id)}
}

// deleteGateway spares the gateway that has an edge of its own.
func (a *tenant) deleteGateway() *attempt {
	id := a.gatewayID()
	if id == a.gateways[0].id {
		id = lacre.NewID()
	}
	g := a.gateway(id)
	used := slices.ContainsFunc(a.groups, func(g *groupModel) bool { return g.gateway == id }) ||
		slices.ContainsFunc(a.certs, func(c *certModel) bool { return c.gateway == id })
	return &attempt{name: "delete instance", method: "DELETE", path: "/instances/" + id, status: 204,
		refused: cmp.Or(a.lacksGateway(id), when(used, "APIG.3400")),
		then:    func(*answer) { a.gateways = without(a.gateways, g) }}
}

// besides is what is there for clients that ask in passing.
func (a *tenant) besides() *attempt {
	id := a.gatewayID()
	path := pick(a, []string{"/env-variables", "/apis"})
	try := &attempt{name: "list variables and APIs", method: "GET", path: "/instances/" + id + path, status: 200, refused: a.lacksGateway(id)}
	if path == "/env-variables" && a.chance(2) {
		try.method, try.refused = http.MethodPost, cmp.Or(try.refused, "APIG.3458")
	}
	return try
}

// product is the one of the two a call is made to.
func (a *tenant) product(try *attempt) string {
	if strings.HasPrefix(try.name, "set sub-domain") || a.chance(3) {
		return "apigw"
	}
	return "apic"
}
