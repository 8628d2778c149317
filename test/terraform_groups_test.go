package test

import (
	"cmp"
	"fmt"
	"slices"
)

// group is huaweicloud_apig_group.
type group struct {
	id, instance, name, description string
	domains                         []urlDomain // nil: not configured
	subdomainAccess                 bool
	forceDestroy                    bool
}

type urlDomain struct {
	Name     string `json:"url_domain"`
	MinTLS   string `json:"min_ssl_version,omitempty"`
	Redirect bool   `json:"is_http_redirect_to_https,omitempty"`
}

func (d urlDomain) state() fields {
	return fields{"name": d.Name, "min_ssl_version": d.MinTLS, "is_http_redirect_to_https": d.Redirect}
}

func (r *group) groups() string { return "/instances/" + r.instance + "/api-groups" }
func (r *group) path() string   { return r.groups() + "/" + r.id }

func (r *group) create(tf *terraform) {
	made := tf.must(request{method: "POST", path: r.groups(), body: fields{"name": r.name, "remark": r.description}})
	r.id = made["id"].(string)
	for _, d := range r.domains {
		tf.must(request{method: "POST", path: r.path() + "/domains", body: byKey(tf, d)})
	}
	r.setSubdomainAccess(tf)
}

func (r *group) setSubdomainAccess(tf *terraform) {
	tf.must(request{method: "PUT", path: r.path() + "/sl-domain-access-settings",
		body: fields{"sl_domain_access_enabled": r.subdomainAccess}, ok: []int{204}})
}

func (r *group) read(tf *terraform) fields {
	got, refused := tf.send(request{method: "GET", path: r.path()})
	if gone(tf, refused) {
		return nil
	}
	variables := tf.must(request{method: "GET", path: "/instances/" + r.instance + "/env-variables?group_id=" + r.id})
	var domains []fields
	for _, d := range got["url_domains"].([]any) {
		d := d.(fields)
		domains = append(domains, urlDomain{d["domain"].(string), d["min_ssl_version"].(string), d["is_http_redirect_to_https"].(bool)}.state())
	}
	return fields{
		"name": got["name"], "description": got["remark"], "url_domains": byName(domains), "environment": variables["variables"],
		"domain_access_enabled": got["sl_domain_access_enabled"], "created_at": got["register_time"], "updated_at": got["update_time"],
	}
}

func byName(set []fields) []fields {
	slices.SortFunc(set, func(a, b fields) int { return cmp.Compare(a["name"].(string), b["name"].(string)) })
	return set
}

func (r *group) update(tf *terraform, before fields) {
	if before["name"] != r.name || before["description"] != r.description {
		tf.must(request{method: "PUT", path: r.path(), body: fields{"name": r.name, "remark": r.description}, ok: []int{200}})
	}
	r.updateDomains(tf, before["url_domains"].([]fields))
	if before["domain_access_enabled"] != r.subdomainAccess {
		r.setSubdomainAccess(tf)
	}
}

// updateDomains replaces what differs: one whose policy changed is removed and added.
func (r *group) updateDomains(tf *terraform, before []fields) {
	same := func(a fields, d urlDomain) bool { return fmt.Sprint(a) == fmt.Sprint(d.state()) }
	for _, old := range before {
		if !slices.ContainsFunc(r.domains, func(d urlDomain) bool { return same(old, d) }) {
			found := groupDomain{group: r, name: old["name"].(string)}.find(tf)
			tf.must(request{method: "DELETE", path: r.path() + "/domains/" + found["id"].(string)})
		}
	}
	for _, d := range r.domains {
		if !slices.ContainsFunc(before, func(old fields) bool { return same(old, d) }) {
			tf.must(request{method: "POST", path: r.path() + "/domains", body: byKey(tf, d)})
		}
	}
}

func (r *group) destroy(tf *terraform) {
	if r.forceDestroy {
		path := "/instances/" + r.instance + "/apis?group_id=" + r.id + "&limit=500&offset=0"
		apis := tf.must(request{method: "GET", path: path, header: jsonHeader})["apis"].([]any)
		if len(apis) > 0 {
			tf.Fatalf("got APIs %v, want none", apis)
		}
	}
	tf.must(request{method: "DELETE", path: r.path()})
}

func (r *group) configured() fields {
	set := fields{"name": r.name, "description": r.description, "domain_access_enabled": r.subdomainAccess}
	if r.domains != nil {
		var domains []fields
		for _, d := range r.domains {
			domains = append(domains, d.state())
		}
		set["url_domains"] = byName(domains)
	}
	return set
}

var jsonHeader = map[string]string{"Content-Type": "application/json"}

// groupDomain is huaweicloud_apig_group_domain_associate.
type groupDomain struct {
	group           *group
	name, minTLS    string
	http, https     int // 0: not configured
	redirectToHTTPS bool
	id              string // domain_id, after the first read
}

// find is the domain in its group, nil when it is not there: the provider looks for the
// name exactly as configured.
func (r groupDomain) find(tf *terraform) fields {
	got, refused := tf.send(request{method: "GET", path: r.group.path(), header: jsonHeader})
	if gone(tf, refused) {
		return nil
	}
	for _, d := range got["url_domains"].([]any) {
		if d.(fields)["domain"] == r.name {
			return d.(fields)
		}
	}
	return nil
}

// body is that of create and update, without what is empty.
func (r *groupDomain) body(tf *terraform, name string) fields {
	return byKey(tf, struct {
		Name      string `json:"url_domain,omitempty"`
		MinTLS    string `json:"min_ssl_version,omitempty"`
		Redirect  bool   `json:"is_http_redirect_to_https"`
		HTTPPort  int    `json:"ingress_http_port,omitempty"`
		HTTPSPort int    `json:"ingress_https_port,omitempty"`
	}{name, r.minTLS, r.redirectToHTTPS, r.http, r.https})
}

func (r *groupDomain) create(tf *terraform) {
	tf.must(request{method: "POST", path: r.group.path() + "/domains", body: r.body(tf, r.name), header: jsonHeader})
}

func (r *groupDomain) read(tf *terraform) fields {
	got := r.find(tf)
	if got == nil {
		return nil
	}
	r.id = got["id"].(string)
	return fields{
		"url_domain": got["domain"], "domain_id": r.id, "min_ssl_version": got["min_ssl_version"],
		"ingress_http_port": got["ingress_http_port"], "ingress_https_port": got["ingress_https_port"],
	}
}

// update sends the ports as stored when none are configured.
func (r *groupDomain) update(tf *terraform, before fields) {
	body := *r
	body.http = cmp.Or(r.http, int(before["ingress_http_port"].(float64)))
	body.https = cmp.Or(r.https, int(before["ingress_https_port"].(float64)))
	body.minTLS = cmp.Or(r.minTLS, before["min_ssl_version"].(string))
	tf.must(request{method: "PUT", path: r.group.path() + "/domains/" + r.id, body: body.body(tf, ""), header: jsonHeader})
}

func (r *groupDomain) destroy(tf *terraform) {
	_, refused := tf.send(request{method: "DELETE", path: r.group.path() + "/domains/" + r.id, header: jsonHeader})
	gone(tf, refused)
}

func (r *groupDomain) configured() fields {
	set := fields{"url_domain": r.name}
	if r.minTLS != "" {
		set["min_ssl_version"] = r.minTLS
	}
	if r.http != 0 {
		set["ingress_http_port"], set["ingress_https_port"] = float64(r.http), float64(r.https)
	}
	return set
}
