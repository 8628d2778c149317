package main

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// model is everything in one tenant's project, as the tenant's own calls made it. Lists
// are oldest first.
type model struct {
	gateways []*gatewayModel
	groups   []*groupModel
	certs    []*certModel
}

type gatewayModel struct{ id, name string }

type groupModel struct {
	id, gateway, name, remark string
	domains                   []*domainModel // in the order they were added
}

type certModel struct {
	id, name, gateway string // gateway is empty for a global certificate
	hosts             []string
	algorithm         string
	roots             bool
	serial            int
	generation        int
	history           []*upload // what each version holds, from the first; roots are never nil
}

type domainModel struct {
	id, host, minTLS string
	redirect, verify bool
	group            *groupModel
	certs            []*certModel // bound ones, in that order
	asked, answered  time.Time    // it was created between the two
}

func (m *model) gateway(id string) *gatewayModel {
	return one(m.gateways, func(g *gatewayModel) bool { return g.id == id })
}

func (m *model) group(id string) *groupModel {
	return one(m.groups, func(g *groupModel) bool { return g.id == id })
}

func (m *model) cert(id string) *certModel {
	return one(m.certs, func(c *certModel) bool { return c.id == id })
}

func (m *model) domain(id string) *domainModel {
	return one(m.domains(), func(d *domainModel) bool { return d.id == id })
}

// one is the first element that fits, nil when none does.
func one[T any](list []*T, fits func(*T) bool) *T {
	if i := slices.IndexFunc(list, fits); i >= 0 {
		return list[i]
	}
	return nil
}

func without[T comparable](list []T, gone T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return v == gone })
}

// domains are those of all groups.
func (m *model) domains() (all []*domainModel) {
	for _, g := range m.groups {
		all = append(all, g.domains...)
	}
	return all
}

// boundTo are the domains that use a certificate, in the order of their ids.
func (m *model) boundTo(c *certModel) []*domainModel {
	bound := slices.DeleteFunc(m.domains(), func(d *domainModel) bool { return !slices.Contains(d.certs, c) })
	slices.SortFunc(bound, func(a, b *domainModel) int { return strings.Compare(a.id, b.id) })
	return bound
}

// hosting is the domain of a host name in a gateway.
func (m *model) hosting(gateway, host string) *domainModel {
	return one(m.domains(), func(d *domainModel) bool { return d.group.gateway == gateway && d.host == host })
}

// The rules follow. Each answers with the error_code of the refusal, or with none.

func (m *model) lacksCert(id string) string { return when(m.cert(id) == nil, "APIG.3021") }

func (m *model) lacksGateway(id string) string { return when(m.gateway(id) == nil, "APIG.3030") }

func (m *model) lacksGroup(gateway, id string) string {
	g := m.group(id)
	return cmp.Or(m.lacksGateway(gateway), when(g == nil || g.gateway != gateway, "APIG.3001"))
}

func (m *model) lacksDomain(gateway, group, id string) string {
	d := m.domain(id)
	return cmp.Or(m.lacksGroup(gateway, group), when(d == nil, "APIG.3020"),
		when(d != nil && d.group.id != group, "APIG.3474"))
}

func when(refused bool, code string) string {
	if refused {
		return code
	}
	return ""
}

// nameTaken looks for another certificate of the name in the same scope.
func (m *model) nameTaken(gateway, name string, but *certModel) string {
	taken := one(m.certs, func(c *certModel) bool { return c != but && c.gateway == gateway && c.name == name })
	return when(taken != nil, "APIG.3325")
}

// covers tells whether a leaf for hosts is valid for host.
func covers(hosts []string, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	return slices.Contains(hosts, host) || slices.Contains(hosts, "*."+parent)
}

// unfit tells why c cannot be bound to d.
func (c *certModel) unfit(d *domainModel) string {
	return cmp.Or(
		when(c.gateway != "" && c.gateway != d.group.gateway, "APIG.2011"),
		when(!covers(c.hosts, d.host), "APIG.2103"),
		when(d.another(c, c.algorithm), "APIG.2051"))
}

// another tells whether d has a certificate of that algorithm besides c.
func (d *domainModel) another(c *certModel, algorithm string) bool {
	return slices.ContainsFunc(d.certs, func(b *certModel) bool { return b != c && b.algorithm == algorithm })
}

// bind decides what binding c makes of d's client authentication. Not asked for, it
// follows the trust root of c, and never ends what other certificates rely on.
func (c *certModel) bind(d *domainModel, asked *bool) (verify bool, refused string) {
	if refused := c.unfit(d); refused != "" {
		return false, refused
	}
	others := without(d.certs, c)
	verify = c.roots || asked == nil && d.verify && len(others) > 0
	if asked != nil {
		verify = *asked
	}
	bare := slices.ContainsFunc(others, func(o *certModel) bool { return !o.roots })
	switch {
	case verify && !c.roots:
		return false, "APIG.2011"
	case verify && bare && asked != nil:
		return false, "APIG.2011"
	}
	return verify && !bare, ""
}

func (d *domainModel) attach(c *certModel, verify bool) {
	if d.verify = verify; !slices.Contains(d.certs, c) {
		d.certs = append(d.certs, c)
	}
}

func (d *domainModel) detach(c *certModel) {
	d.certs = without(d.certs, c)
	d.verify = d.verify && len(d.certs) > 0
}

// breaks tells why c cannot become what u holds because of the domains that use it.
func (m *model) breaks(c *certModel, u *upload) string {
	if c == nil {
		return ""
	}
	bound := m.boundTo(c)
	for _, d := range bound {
		if !covers(u.hosts, d.host) {
			return "APIG.2103"
		}
	}
	bare := c.roots && u.roots != nil && *u.roots == ""
	for _, d := range bound {
		refused := cmp.Or(when(bare && d.verify, "APIG.2011"),
			when(u.algorithm != c.algorithm && d.another(c, u.algorithm), "APIG.2051"))
		if refused != "" {
			return refused
		}
	}
	return ""
}

// hold makes c what was uploaded.
func (c *certModel) hold(u *upload) {
	c.name, c.hosts, c.algorithm, c.serial = u.name, u.hosts, u.algorithm, u.serial
	c.generation++
	if u.roots != nil {
		c.roots = *u.roots != ""
	}
	held := *u
	held.roots = new(when(c.roots, "some"))
	c.history = append(c.history, &held)
}

// serial is the leaf that the edge serves for d, ECC before RSA; 0 is none.
func (d *domainModel) serial() int {
	serial := 0
	for _, c := range d.certs {
		if serial == 0 || c.algorithm == "ECC" {
			serial = c.serial
		}
	}
	return serial
}

// serving are the leaves that an edge with these domains may serve for a name: that of
// the domain which names it, else of the wildcard, and of several claims the earliest.
// Several leaves are possible only when claims were made at the same time.
func serving(domains []*domainModel, name string) (serials []int) {
	_, parent, _ := strings.Cut(name, ".")
	for _, host := range []string{name, "*." + parent} {
		claims := slices.DeleteFunc(slices.Clone(domains), func(d *domainModel) bool { return d.host != host })
		for _, d := range claims {
			if !slices.ContainsFunc(claims, func(e *domainModel) bool { return e.answered.Before(d.asked) }) {
				serials = append(serials, d.serial())
			}
		}
		if len(claims) > 0 {
			return serials
		}
	}
	return []int{0}
}
