package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTerraformCertificate(t *testing.T) {
	forBothLogins(t, func(w *workspace) {
		global := w.certificate("tf_test_global", "www.a.test", "*.b.test")
		w.apply(global)
		id, state := global.id, w.find(global).state
		if state["type"] != "global" || state["instance_id"] != "common" {
			w.Errorf("got %v, want type global of instance common: updates send them back", state)
		}

		renewed := w.certificate("tf_test_renewed", "www.a.test")
		global.certificateBody = renewed.certificateBody
		w.apply(global)
		if got := w.find(global).state["sans"]; !cmp.Equal(got, []any{"www.a.test"}) || global.id != id {
			w.Errorf("got %v of %s, want the new certificate under the same id %s", got, global.id, id)
		}

		own := w.certificate("tf_test_own", "www.c.test")
		own.Type, own.InstanceID, own.TrustRoot = "instance", w.InstanceID, w.ca.pem
		w.apply(own)
		own.TrustRoot = "" // left out of the body
		w.apply(own)
		w.remove(own, global)
		own.destroy(w.terraform) // gone already: no failure
	})
}

func TestTerraformGroup(t *testing.T) {
	forBothLogins(t, func(w *workspace) {
		g := &group{instance: w.InstanceID, name: "tf_test", description: "", forceDestroy: true}
		w.apply(g) // subdomain access: not configured is sent as false
		g.name, g.description = "tf_test_renamed", "说明 <b>&"
		w.apply(g)
		g.domains = []urlDomain{{"www.a.test", "TLSv1.1", false}, {"www.b.test", "TLSv1.2", true}}
		g.subdomainAccess = true
		w.apply(g)
		g.domains = []urlDomain{{"www.b.test", "TLSv1.1", true}, {"*.c.test", "TLSv1.2", false}}
		w.apply(g)
		w.remove(g)
	})
}

func TestTerraformDomainAndCertificate(t *testing.T) {
	forBothLogins(t, func(w *workspace) {
		g := &group{instance: w.InstanceID, name: "tf_test"}
		w.apply(g)
		// The name of a DNS zone, with its final dot.
		domain := &groupDomain{group: g, name: "www.a.test."}
		w.apply(domain)
		state := w.find(domain).state
		if state["ingress_http_port"] != 80.0 || state["ingress_https_port"] != 443.0 || state["min_ssl_version"] == "" {
			w.Errorf("got %v, want the default ports 80 and 443 and some TLS version", state)
		}
		domain.minTLS, domain.redirectToHTTPS = "TLSv1.1", true
		w.apply(domain)
		other := &groupDomain{group: g, name: "www.b.test", minTLS: "TLSv1.2", http: 8080, https: 8443}
		w.apply(other)

		c := w.certificate("tf_test", "www.a.test")
		c.TrustRoot = w.ca.pem
		w.apply(c)
		bound := &domainCertificate{domain: domain, certificate: c, verify: true}
		w.apply(bound)
		bound.verify = false // in place, by attaching again
		w.apply(bound)
		c.certificateBody = w.certificate("tf_test_renewed", "www.a.test").certificateBody
		w.apply(c)
		w.remove(bound, c, other, domain, g)
		bound.destroy(w.terraform)
		domain.destroy(w.terraform)
	})
}

func TestTerraformBatch(t *testing.T) {
	forBothLogins(t, func(w *workspace) {
		g := &group{instance: w.InstanceID, name: "tf_test", domains: []urlDomain{
			{"www.a.test", "TLSv1.2", false}, {"www.b.test", "TLSv1.2", false}, {"www.c.test", "TLSv1.2", false},
		}}
		w.apply(g)
		c := w.certificate("tf_test", "www.a.test", "www.b.test", "www.c.test")
		c.Type, c.InstanceID, c.TrustRoot = "instance", w.InstanceID, w.ca.pem
		w.apply(c)
		bound := &batch{certificate: c, instance: w.InstanceID, enabled: []string{"www.a.test", "www.b.test"}}
		w.apply(bound)
		bound.enabled, bound.disabled = []string{"www.b.test"}, []string{"www.a.test", "www.c.test"}
		w.apply(bound)
		bound.enabled, bound.disabled = nil, []string{"www.c.test"}
		w.apply(bound)
		w.remove(bound)
		bound.destroy(w.terraform) // nothing is bound any more
		bound.disabled = nil
		bound.destroy(w.terraform) // a body without domains
		w.remove(c, g)
		if state := bound.read(w.terraform); state != nil {
			w.Errorf("got %v of a certificate that is gone, want nothing", state)
		}
	})
}

func TestTerraformGlobalBatch(t *testing.T) {
	forBothLogins(t, func(w *workspace) {
		second := w.must(request{method: "POST", path: "/instances", body: fields{"instance_name": "second"}})["id"].(string)
		names := []string{"www.a.test", "www.b.test"}
		var groups []*group
		for _, instance := range []string{w.InstanceID, second} {
			g := &group{instance: instance, name: "tf_test", domains: []urlDomain{{names[0], "TLSv1.2", false}, {names[1], "TLSv1.2", false}}}
			w.apply(g)
			groups = append(groups, g)
		}
		c := w.certificate("tf_test", names...)
		w.apply(c)
		bound := &batch{certificate: c, disabled: names}
		w.apply(bound)
		domains, refused := attachedDomains(w.terraform, c, "")
		if refused != nil || len(domains) != 4 {
			w.Errorf("got %d domains (%v), want both names in both instances", len(domains), refused)
		}
		for _, d := range domains {
			for _, name := range []string{"id", "url_domain", "instance_id", "min_ssl_version", "api_group_id", "api_group_name"} {
				if text, _ := d[name].(string); text == "" {
					w.Errorf("got %v, want a %s", d, name)
				}
			}
		}
		bound.disabled = names[1:]
		w.apply(bound)
		w.remove(bound, c, groups[0], groups[1])
	})
}

// TestTerraformDataSources reads with filters as the data sources send them.
func TestTerraformDataSources(t *testing.T) {
	forBothLogins(t, func(w *workspace) {
		p := w.certificate("tf_test", "www.a.test")
		const many = 101 // more than a page
		for i := range many {
			c := *p
			c.Name = fmt.Sprintf("tf_test_%d", i)
			c.create(w.terraform)
		}
		p.Name = "tf_证书"
		p.Type, p.InstanceID = "instance", w.InstanceID
		w.apply(p)
		g := &group{instance: w.InstanceID, name: "tf_test", domains: []urlDomain{{"www.a.test", "TLSv1.2", false}}}
		w.apply(g)
		w.apply(&batch{certificate: p, instance: w.InstanceID, disabled: []string{"www.a.test"}})

		certificates := "/certificates?instance_id=" + w.InstanceID
		for path, want := range map[string]int{
			certificates + "&limit=100":                                      many + 1,
			certificates + "&name=tf_证书&limit=100":                           1, // not escaped by the provider
			certificates + "&common_name=www.a.test&limit=100":               many + 1,
			certificates + "&signature_algorithm=ECDSA-SHA256&limit=100":     many + 1,
			certificates + "&type=instance&algorithm_type=ECC&limit=100":     1,
			certificates + "&type=global&signature_algorithm=none&limit=100": 0,
		} {
			w.expectPages(path, "certs", want)
		}
		if w.token == "" { // without signing, the space goes into the request line and no server takes it
			w.expectPages(certificates+"&name=tf test&limit=100", "certs", 0)
		}
		attached := "/certificates/" + p.id + "/attached-domains?limit=100"
		w.expectPages(attached, "bound_domains", 1)
		w.expectPages(attached+"&url_domain=www.a.test", "bound_domains", 1)
		w.expectPages(attached+"&url_domain=www.b.test", "bound_domains", 0)
		w.expectPages(g.groups()+"?id="+g.id+"&name=tf_test", "groups", 1)
		w.expectPages(g.groups()+"?name=other", "groups", 0)
	})
}

// expectPages reads a whole list, in which nothing may be left out or come twice.
func (w *workspace) expectPages(path, list string, want int) {
	w.Helper()
	entries, refused := pages(w.terraform, path, list)
	if refused != nil {
		w.Errorf("%s: %v", path, refused)
	}
	ids := map[any]bool{}
	for _, entry := range entries {
		ids[entry["id"]] = true
	}
	if len(entries) != want || len(ids) != want {
		w.Errorf("%s: got %d entries with %d ids, want %d", path, len(entries), len(ids), want)
	}
}

// TestTerraformErrors reads the texts that the provider's own acceptance tests look for.
func TestTerraformErrors(t *testing.T) {
	forBothLogins(t, func(w *workspace) {
		w.configure()
		c := w.certificate("tf_test", "www.a.test")
		c.id = unknown
		for _, test := range []struct {
			request
			status int
			text   string
		}{
			{request{method: "GET", path: "/certificates?instance_id=" + unknown + "&limit=100&offset=0"}, 404, "The instance does not exist"},
			{request{method: "GET", path: "/certificates/" + unknown + "/attached-domains?limit=100&offset=0"}, 404, "ssl with certId " + unknown + " not found"},
			{request{method: "POST", path: "/certificates/" + unknown + "/domains/attach", body: fields{}}, 400, "APIG.2000"},
		} {
			_, refused := w.send(test.request)
			if refused == nil || refused.status != test.status || !strings.Contains(refused.answer, test.text) {
				w.Errorf("%s %s: got %v, want %d with %q", test.method, test.path, refused, test.status, test.text)
			}
		}
		if state := c.read(w.terraform); state != nil {
			w.Errorf("got %v, want nothing: only 404 makes the provider forget a resource", state)
		}
	})
}
