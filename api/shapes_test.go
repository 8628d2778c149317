package api_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kinds is a JSON value with every value in it replaced by the name of its type; arrays
// are described by their first element.
func kinds(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := obj{}
		for k, e := range v {
			out[k] = kinds(e)
		}
		return out
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return []any{kinds(v[0])}
	case json.Number:
		return "number"
	case nil:
		return "null"
	}
	return fmt.Sprintf("%T", v)
}

func kindsOf(t *testing.T, a *answer) any {
	t.Helper()
	var v obj
	if err := json.Unmarshal(a.raw, &v); err != nil {
		t.Fatal(err)
	}
	return kinds(v)
}

// merged is some objects in one.
func merged(parts ...obj) obj {
	out := obj{}
	for _, p := range parts {
		for k, v := range p {
			out[k] = v
		}
	}
	return out
}

var (
	texts = []any{"string"}

	summaryShape = obj{
		"id": "string", "name": "string", "type": "string", "instance_id": "string", "project_id": "string",
		"common_name": "string", "san": texts, "not_after": "string", "signature_algorithm": "string",
		"create_time": "string", "update_time": "string", "algorithm_type": "string", "is_has_trusted_root_ca": "bool",
	}
	detailShape = merged(summaryShape, obj{
		"version": "float64", "organization": "[]", "organizational_unit": "[]", "locality": "[]", "state": "[]",
		"country": "[]", "not_before": "string", "serial_number": "string", "issuer": texts,
	})
	policyShape = obj{
		"min_ssl_version": "string", "is_http_redirect_to_https": "bool", "verified_client_certificate_enabled": "bool", "upstream": "string", "hsts_enabled": "bool",
	}
	portsShape = map[string]obj{"apic": {}, "apigw": {"ingress_http_port": "float64", "ingress_https_port": "float64"}}
	// The SDKs of the two products decode this one member differently.
	scopeShape = map[string]string{"apic": "string", "apigw": "float64"}
)

func sslInfoShape(product string) obj {
	return obj{"ssl_id": "string", "ssl_name": "string", "algorithm_type": "string", "type": scopeShape[product], "is_has_trusted_root_ca": "bool"}
}

func TestShapes(t *testing.T) {
	for _, product := range []string{"apic", "apigw"} {
		w := newWorld(t)
		c := w.on(product)
		check := func(what string, a *answer, want any) {
			t.Helper()
			if diff := cmp.Diff(want, kindsOf(t, a)); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", product, what, diff)
			}
		}
		domainShape := merged(policyShape, portsShape[product], obj{"url_domain": "string", "id": "string", "status": "float64"})
		boundShape := merged(domainShape, obj{
			"ssl_id": "string", "ssl_name": "string", "api_group_id": "string", "api_group_name": "string", "instance_id": "string",
			"ssl_infos": []any{sslInfoShape(product)},
		})
		groupShape := obj{
			"id": "string", "name": "string", "remark": "string", "status": "float64", "sl_domain": "string", "sl_domains": "[]",
			"on_sell_status": "float64", "is_default": "float64", "register_time": "string", "update_time": "string",
			"url_domains": []any{merged(policyShape, portsShape[product], obj{
				"id": "string", "domain": "string", "cname_status": "float64", "ssl_id": "string", "ssl_name": "string",
				"is_has_trusted_root_ca": "bool", "ssl_infos": []any{sslInfoShape(product)},
			})},
		}
		if product == "apigw" {
			groupShape["sl_domain_access_enabled"] = "bool"
		}
		instanceShape := obj{
			"id": "string", "project_id": "string", "instance_name": "string", "status": "string",
			"instance_status": "float64", "type": "string", "create_time": "float64", "enterprise_project_id": "string",
		}
		page := func(name string, item any) obj { return obj{"size": "float64", "total": "float64", name: []any{item}} }

		groups := "/instances/" + w.instance + "/api-groups"
		created := c.post(groups, obj{"name": "shop"}).ok(201)
		check("created group", created, merged(groupShape, obj{"url_domains": "[]"}))
		group := groups + "/" + created.text("id")
		domain := c.post(group+"/domains", obj{"url_domain": "www.a.test"}).ok(201)
		check("created domain", domain, domainShape)
		place := group + "/domains/" + domain.text("id")
		check("modified domain", c.put(place, obj{"min_ssl_version": ""}).ok(201), domainShape)
		bound := c.post(place+"/certificate", w.rsaForm("cert_one", "www.a.test")).ok(201)
		check("created domain certificate", bound, boundShape)
		id := bound.text("ssl_id")
		check("domain certificate", c.get(place+"/certificate/"+id).ok(200), detailShape)
		check("attached domains", c.get("/certificates/"+id+"/attached-domains").ok(200), page("bound_domains", boundShape))
		check("certificate", c.get("/certificates/"+id).ok(200), detailShape)
		check("modified certificate", c.put("/certificates/"+id, w.rsaForm("cert_one", "www.a.test")).ok(200), detailShape)
		check("created certificate", c.post("/certificates", w.rsaForm("cert_two", "www.a.test")).ok(200), detailShape)
		check("certificates", c.get("/certificates?instance_id=").ok(200), page("certs", summaryShape))
		check("group", c.get(group).ok(200), groupShape)
		check("modified group", c.put(group, obj{"name": "shop"}).ok(200), groupShape)
		check("groups", c.get(groups).ok(200), page("groups", groupShape))
		check("instance", c.get("/instances/"+w.instance).ok(200), instanceShape)
		check("instances", c.get("/instances").ok(200), page("instances", instanceShape))
		check("created instance", c.post("/instances", obj{"instance_name": "second"}).ok(201), merged(instanceShape, obj{"instance_id": "string", "message": "string"}))
		check("no certificates", c.get("/certificates?instance_id=&name=nobody").ok(200), obj{"size": "float64", "total": "float64", "certs": "[]"})
		check("no domains", c.get("/certificates/"+id+"/attached-domains?url_domain=x").ok(200), obj{"size": "float64", "total": "float64", "bound_domains": "[]"})
		check("no groups", c.get(groups+"?name=nobody").ok(200), obj{"size": "float64", "total": "float64", "groups": "[]"})
		check("an error", c.get("/certificates/none"), obj{"error_code": "string", "error_msg": "string", "request_id": "string"})
	}
}

func TestTypeOfSSLInfos(t *testing.T) {
	w := newWorld(t)
	group := w.group("shop")
	domain := w.domain(group, "www.a.test")
	for _, form := range []obj{
		with(w.form("cert_instance", "www.a.test"), "type", "instance", "instance_id", w.instance),
		w.rsaForm("cert_global", "www.a.test"),
	} {
		w.post(domain+"/certificates/attach", obj{"certificate_ids": []string{w.certificate(form)}}).ok(204)
	}
	types := func(c *client) (out []any) {
		for _, info := range c.get(group).ok(200).list("url_domains")[0]["ssl_infos"].([]any) {
			out = append(out, info.(obj)["type"])
		}
		return out
	}
	if diff := cmp.Diff([]any{1.0, 2.0}, types(w.client)); diff != "" {
		t.Errorf("apigw (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"instance", "global"}, types(w.on("apic"))); diff != "" {
		t.Errorf("apic (-want +got):\n%s", diff)
	}
}
