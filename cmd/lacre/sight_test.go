package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// page is one answer that shows a part of a project, with what the model says it shows.
type page struct {
	path string
	tag  string // the ETag, where there is one
	want any
}

// What of the answers the model knows. Times and constants are left out.
type (
	gatewayShown struct {
		ID      string `json:"id"`
		Name    string `json:"instance_name"`
		Project string `json:"project_id"`
		Status  string `json:"status"`
	}
	certShown struct {
		ID        string   `json:"id"`
		Name      string   `json:"name"`
		Type      string   `json:"type"`
		Gateway   string   `json:"instance_id"`
		Project   string   `json:"project_id"`
		Hosts     []string `json:"san"`
		Algorithm string   `json:"algorithm_type"`
		Roots     bool     `json:"is_has_trusted_root_ca"`
		Serial    string   `json:"serial_number"` // not in a list
	}
	PolicyShown struct {
		MinTLS   string      `json:"min_ssl_version"`
		Redirect bool        `json:"is_http_redirect_to_https"`
		Verify   bool        `json:"verified_client_certificate_enabled"`
		Certs    []infoShown `json:"ssl_infos"`
	}
	infoShown struct {
		ID        string `json:"ssl_id"`
		Name      string `json:"ssl_name"`
		Algorithm string `json:"algorithm_type"`
		Type      string `json:"type"`
		Roots     bool   `json:"is_has_trusted_root_ca"`
	}
	boundShown struct {
		Host    string `json:"url_domain"`
		ID      string `json:"id"`
		Cert    string `json:"ssl_id"`
		Group   string `json:"api_group_id"`
		Name    string `json:"api_group_name"`
		Gateway string `json:"instance_id"`
		PolicyShown
	}
	domainShown struct {
		ID   string `json:"id"`
		Host string `json:"domain"`
		PolicyShown
	}
	groupShown struct {
		ID      string        `json:"id"`
		Name    string        `json:"name"`
		Remark  string        `json:"remark"`
		Domains []domainShown `json:"url_domains"`
	}
	listShown struct {
		Size     int            `json:"size"`
		Total    int            `json:"total"`
		Gateways []gatewayShown `json:"instances"`
		Certs    []certShown    `json:"certs"`
		Groups   []groupShown   `json:"groups"`
		Bound    []boundShown   `json:"bound_domains"`
	}
)

// pages are all answers that together show a project.
func (m *model) pages(project string) []page {
	gateways := listShown{Size: len(m.gateways), Total: len(m.gateways)}
	certs := listShown{Size: len(m.certs), Total: len(m.certs)}
	var all []page
	for _, g := range m.gateways {
		gateways.Gateways = append(gateways.Gateways, gatewayShown{g.id, g.name, project, "Running"})
		all = append(all, page{path: "/instances/" + g.id + "/api-groups", want: m.groupsOf(g)})
	}
	for _, c := range m.certs {
		shown := c.shown(project)
		path := "/certificates/" + c.id
		all = append(all, page{path: path, tag: fmt.Sprintf("%q", fmt.Sprint(c.generation)), want: shown},
			page{path: path + "/attached-domains", want: m.boundShown(c)})
		shown.Serial = ""
		certs.Certs = append(certs.Certs, shown)
	}
	slices.Reverse(certs.Certs) // newest first
	return append(all, page{path: "/instances", want: gateways}, page{path: "/certificates?instance_id=", want: certs})
}

func (c *certModel) scope() string {
	if c.gateway == "" {
		return "global"
	}
	return "instance"
}

func (c *certModel) shown(project string) certShown {
	shown := certShown{c.id, c.name, c.scope(), c.gateway, project, c.hosts, c.algorithm, c.roots, fmt.Sprint(c.serial)}
	if c.gateway == "" {
		shown.Gateway = "common"
	}
	return shown
}

func (d *domainModel) policy(certs ...*certModel) PolicyShown {
	p := PolicyShown{MinTLS: d.minTLS, Redirect: d.redirect, Verify: d.verify}
	for _, c := range certs {
		p.Certs = append(p.Certs, infoShown{c.id, c.name, c.algorithm, c.scope(), c.roots})
	}
	return p
}

func (m *model) groupsOf(gateway *gatewayModel) (list listShown) {
	for _, g := range slices.Backward(m.groups) { // newest first
		if g.gateway != gateway.id {
			continue
		}
		shown := groupShown{ID: g.id, Name: g.name, Remark: g.remark}
		for _, d := range g.domains {
			shown.Domains = append(shown.Domains, domainShown{d.id, d.host, d.policy(d.certs...)})
		}
		list.Groups = append(list.Groups, shown)
		list.Size, list.Total = list.Size+1, list.Total+1
	}
	return list
}

func (m *model) boundShown(c *certModel) (list listShown) {
	bound := m.boundTo(c)
	slices.SortStableFunc(bound, func(a, b *domainModel) int { return strings.Compare(a.host, b.host) })
	for _, d := range bound {
		list.Bound = append(list.Bound, boundShown{d.host, d.id, c.id, d.group.id, d.group.name, d.group.gateway, d.policy(c)})
		list.Size, list.Total = list.Size+1, list.Total+1
	}
	return list
}

// view reads all pages of the tenant's project as they are, byte for byte.
func (a *tenant) view(pages []page) ([]*answer, error) {
	view := make([]*answer, len(pages))
	for i, p := range pages {
		var err error
		if view[i], err = a.world.project(http.MethodGet, p.path, nil); err != nil {
			return nil, err
		}
	}
	return view, nil
}

// checkView compares what the tenant sees with the model.
func (a *tenant) checkView() error {
	pages := a.pages(a.creds.ProjectID)
	view, err := a.view(pages)
	if err != nil {
		return err
	}
	for i, p := range pages {
		if err := p.check(view[i]); err != nil {
			return fmt.Errorf("GET %s: %w", p.path, err)
		}
	}
	a.seen = view
	return nil
}

func (p page) check(got *answer) error {
	if tag := got.header.Get("ETag"); got.status != http.StatusOK || tag != p.tag {
		return fmt.Errorf("got %d %s, ETag %s, want 200 and %s", got.status, got.body, tag, p.tag)
	}
	shown := reflect.New(reflect.TypeOf(p.want))
	if err := json.Unmarshal(got.body, shown.Interface()); err != nil {
		return err
	}
	if diff := cmp.Diff(p.want, shown.Elem().Interface(), cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("it differs from the model (-model +got):\n%s", diff)
	}
	return nil
}

// checkUnchanged compares what the tenant sees with what it saw last, to the byte.
func (a *tenant) checkUnchanged() error {
	pages := a.pages(a.creds.ProjectID)
	view, err := a.view(pages)
	if err != nil {
		return err
	}
	for i, was := range a.seen {
		got := view[i]
		if got.status != was.status || got.header.Get("ETag") != was.header.Get("ETag") || !bytes.Equal(got.body, was.body) {
			return fmt.Errorf("the other's GET %s: got %d %s, before it was %s", pages[i].path, got.status, got.body, was.body)
		}
	}
	return nil
}
