package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

func TestInstances(t *testing.T) {
	w := newWorld(t)
	a := w.post("/instances", obj{"instance_name": "edge_west"}).ok(201)
	path := "/instances/" + a.text("id")
	if diff := cmp.Diff(a.object(), merged(w.get(path).ok(200).object(), obj{
		"instance_id": a.text("id"), "message": "The instance has been created.",
	})); diff != "" {
		t.Errorf("created (-) and shown, with what clients look for (+), differ:\n%s", diff)
	}
	if got := a.object()["create_time"].(float64); int64(got) < start.UnixMilli() {
		t.Errorf("got create_time %v, want milliseconds", got)
	}
	list := w.get("/instances?limit=1&offset=1").ok(200)
	if got := list.list("instances"); len(got) != 1 || got[0]["instance_name"] != "edge_west" || list.object()["total"] != 2.0 {
		t.Errorf("got %s, want the second of two", list.raw)
	}
	for query, want := range map[string]string{
		"instance_name=edge_west&limit=1": "edge_west of 1", "instance_name=edge": "of 0", "instance_name=&limit=1": "default of 2",
		"instance_id=" + a.text("id"): "edge_west of 1", "instance_id=" + lacre.NewID(): "of 0",
		"status=Running&limit=1": "default of 2", "status=Deleting": "of 0", "status=Creating&instance_name=edge_west": "of 0",
	} {
		for _, c := range []*client{w.client, w.on("apic")} {
			list := c.get("/instances?" + query).ok(200)
			got := ""
			for _, in := range list.list("instances") {
				got += in["instance_name"].(string) + " "
			}
			if got += fmt.Sprint("of ", list.object()["total"]); got != want {
				t.Errorf("%s: got %s, want %s", query, got, want)
			}
		}
	}
	if got := a.object()["enterprise_project_id"]; got != "0" {
		t.Errorf("got enterprise_project_id %v, want that of the default one", got)
	}
	w.get("/instances?limit=x").refused(400, "APIG.2012", "parameterName:limit")
	w.post("/instances", obj{"instance_name": "edge_west"}).refused(400, "APIG.2011", "parameterName:instance_name")
	w.post("/instances", obj{"instance_name": "x"}).refused(400, "APIG.2011", "parameterName:instance_name")
	w.post("/instances", obj{}).refused(400, "APIG.2001", "parameterName:instance_name")
	w.post("/instances", obj{"instance_name": 5}).refused(400, "APIG.2000", "parameterName:instance_name")
	w.post("/instances", "").refused(400, "APIG.2000")
	group := w.post(path+"/api-groups", obj{"name": "shop"}).ok(201).text("id")
	w.delete(path).refused(403, "APIG.3400", "API groups")
	w.delete(path + "/api-groups/" + group).ok(204)
	w.delete(path).ok(204)
	w.delete(path).refused(404, "APIG.3030", "The instance does not exist;id:"+a.text("id"))
	w.get(path).refused(404, "APIG.3030")
}

func TestAnswersThatTerraformNeedsToReadAGroup(t *testing.T) {
	w := newWorld(t)
	path := "/instances/" + w.instance
	for product, c := range map[string]*client{"apic": w.on("apic"), "apigw": w.client} {
		got := c.get(path + "/env-variables?group_id=abc").ok(200).object()
		if diff := cmp.Diff(obj{"size": 0.0, "total": 0.0, "variables": []any{}}, got); diff != "" {
			t.Errorf("%s variables (-want +got):\n%s", product, diff)
		}
		got = c.get(path + "/apis?group_id=abc&limit=500&offset=0").ok(200).object()
		if diff := cmp.Diff(obj{"size": 0.0, "total": 0.0, "apis": []any{}}, got); diff != "" {
			t.Errorf("%s apis (-want +got):\n%s", product, diff)
		}
	}
	w.get("/instances/nowhere/apis").refused(404, "APIG.3030")
	w.as("admin."+lacre.NewID()).get(path+"/env-variables").refused(403, "APIG.1005")
}

func TestVariablesAndAPIsCannotBeMade(t *testing.T) {
	w := newWorld(t)
	for _, c := range []*client{w.on("apic"), w.client} {
		in := "/instances/" + w.instance
		c.post(in+"/env-variables", obj{"variable_name": "a"}).refused(412, "APIG.3458", "environment variables")
		c.delete(in+"/env-variables/abc").refused(412, "APIG.3458", "environment variables")
		c.post(in+"/apis/publish?action=offline", obj{"apis": []string{"abc"}}).refused(412, "APIG.3458", "APIs")
		c.delete(in+"/apis/abc").refused(412, "APIG.3458", "APIs")
		c.post("/instances/nowhere/apis/publish", obj{}).refused(404, "APIG.3030")
	}
	w.as("admin."+lacre.NewID()).delete("/instances/"+w.instance+"/apis/abc").refused(403, "APIG.1005")
}

func TestGroups(t *testing.T) {
	w := newWorld(t)
	groups := "/instances/" + w.instance + "/api-groups"
	a := w.post(groups, obj{"name": "shop_one", "remark": ""}).ok(201)
	path := groups + "/" + a.text("id")
	if diff := cmp.Diff(a.object(), w.get(path).ok(200).object()); diff != "" {
		t.Errorf("created (-) and shown (+) differ:\n%s", diff)
	}
	changed := w.put(path, obj{"name": "shop_uno", "remark": "all of it"}).ok(200)
	if changed.text("name") != "shop_uno" || changed.text("remark") != "all of it" {
		t.Errorf("got %s, want the new name and remark", changed.raw)
	}
	if got := w.put(path, obj{"name": "shop_uno"}).ok(200).text("remark"); got != "all of it" {
		t.Errorf("got remark %q after leaving it out, want it kept", got)
	}
	w.post(groups, obj{"name": "shop_two"}).ok(201)
	for query, want := range map[string]string{
		"": "shop_two shop_uno", "?name=shop": "shop_two shop_uno", "?name=uno": "shop_uno",
		"?name=shop&precise_search=name": "", "?name=shop_uno&precise_search=name": "shop_uno",
		"?id=" + a.text("id"): "shop_uno", "?limit=1": "shop_two", "?limit=1&offset=1": "shop_uno",
	} {
		var got []string
		for _, g := range w.get(groups + query).ok(200).list("groups") {
			got = append(got, g["name"].(string))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, want %s", query, got, want)
		}
	}
	w.get(groups+"?offset=x").refused(400, "APIG.2012", "parameterName:offset")
	w.post(groups, obj{"name": "shop_two"}).refused(400, "APIG.3201", "The API group name already exists")
	w.put(path, obj{"name": "shop_two"}).refused(400, "APIG.3201")
	w.post(groups, obj{"name": "#"}).refused(400, "APIG.2011", "parameterName:name")
	w.post(groups, obj{"remark": "x"}).refused(400, "APIG.2001", "parameterName:name")
	w.put(path, obj{"name": "shop_uno", "remark": 5}).refused(400, "APIG.2000", "parameterName:remark")
	w.post("/instances/nowhere/api-groups", obj{"name": "shop"}).refused(404, "APIG.3030", ";id:nowhere")
	w.get("/instances/nowhere/api-groups").refused(404, "APIG.3030", ";id:nowhere")
	w.get(groups+"/"+lacre.NewID()).refused(404, "APIG.3001")
	w.put(groups+"/"+lacre.NewID(), obj{"name": "shop"}).refused(404, "APIG.3001")
	w.domain(path, "www.a.test")
	for query, want := range map[string]float64{
		"domain_name=a.test": 1, "domain_name=b.test": 0, "domain_name=a.test&precise_search=domain_name": 0,
		"domain_name=www.a.test&precise_search=name,domain_name": 1, "domain_name=": 2,
	} {
		if got := w.on("apic").get(groups + "?" + query).ok(200).object()["total"]; got != want {
			t.Errorf("%s: got %v groups on apic, want %v", query, got, want)
		}
	}
	if got := w.get(groups + "?domain_name=b.test").ok(200).object()["total"]; got != 2.0 {
		t.Errorf("got %v groups on apigw, want its unknown filter ignored", got)
	}
	w.delete(path).ok(204)
	w.delete(path).refused(404, "APIG.3001")
}

func TestSubdomainAccess(t *testing.T) {
	w := newWorld(t)
	group := w.group("shop")
	setting := group + "/sl-domain-access-settings"
	w.put(setting, obj{"sl_domain_access_enabled": false}).ok(204)
	if got := w.get(group).object()["sl_domain_access_enabled"]; got != false {
		t.Errorf("got %v, want false", got)
	}
	w.put(setting, obj{}).refused(400, "APIG.2001", "parameterName:sl_domain_access_enabled")
	w.put(setting, obj{"sl_domain_access_enabled": "no"}).refused(400, "APIG.2000", "parameterName:sl_domain_access_enabled")
	w.put("/instances/"+w.instance+"/api-groups/"+lacre.NewID()+"/sl-domain-access-settings",
		obj{"sl_domain_access_enabled": true}).refused(404, "APIG.3001")
	w.on("apic").put(setting, obj{"sl_domain_access_enabled": true}).refused(404, "APIGW.0101")
}

func TestDomains(t *testing.T) {
	w := newWorld(t)
	group := w.group("shop")
	a := w.post(group+"/domains", obj{
		"url_domain": "www.a.test.", "min_ssl_version": "TLSv1.1", "is_http_redirect_to_https": true,
		"ingress_http_port": -1, "ingress_https_port": 8443, "upstream": "http://10.0.0.7:8080", "hsts_enabled": true,
	}).ok(201)
	want := obj{
		"url_domain": "www.a.test.", "id": a.text("id"), "status": 3.0, "min_ssl_version": "TLSv1.1",
		"is_http_redirect_to_https": true, "verified_client_certificate_enabled": false,
		"ingress_http_port": -1.0, "ingress_https_port": 8443.0, "upstream": "http://10.0.0.7:8080", "hsts_enabled": true,
	}
	if diff := cmp.Diff(want, a.object()); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	if got := a.Header.Get("X-Lacre-Warning"); !strings.Contains(got, "TLSv1.1") {
		t.Errorf("got warning %q, want one about TLSv1.1", got)
	}
	if got := w.get(group).list("url_domains")[0]["domain"]; got != "www.a.test." {
		t.Errorf("got domain %v, want it as it was sent", got)
	}
	path := group + "/domains/" + a.text("id")
	got := w.put(path, obj{"min_ssl_version": "TLSv1.3", "ingress_http_port": 80, "ingress_https_port": 443}).ok(201).object()
	if got["min_ssl_version"] != "TLSv1.3" || got["is_http_redirect_to_https"] != true || got["ingress_https_port"] != 443.0 || got["hsts_enabled"] != true {
		t.Errorf("got %v, want what was sent changed and the rest kept", got)
	}
	got = w.put(path, obj{"min_ssl_version": "", "is_http_redirect_to_https": false, "upstream": ""}).ok(201).object()
	if got["min_ssl_version"] != "TLSv1.3" || got["is_http_redirect_to_https"] != false || got["upstream"] != "" {
		t.Errorf("got %v, want an empty min_ssl_version to change nothing", got)
	}
	if got := w.put(path, obj{"min_ssl_version": "", "hsts_enabled": false}).ok(201).object(); got["hsts_enabled"] != false {
		t.Errorf("got %v, want HSTS switched off", got)
	}
	w.put(path, obj{"min_ssl_version": "TLSv1.3", "hsts_enabled": "yes"}).refused(400, "APIG.2000", "parameterName:hsts_enabled")
	w.put(path, obj{"min_ssl_version": "SSLv3"}).refused(400, "APIG.2011", "parameterName:min_ssl_version")
	w.put(path, obj{"min_ssl_version": 1.2}).refused(400, "APIG.2000", "parameterName:min_ssl_version")
	same := obj{"min_ssl_version": "TLSv1.3"}
	w.put(path, with(same, "ingress_http_port", "80")).refused(400, "APIG.2000", "parameterName:ingress_http_port")
	w.put(path, with(same, "ingress_http_port", 22)).refused(400, "APIG.2011", "parameterName:ingress_http_port")
	w.put(path, with(same, "verified_client_certificate_enabled", true)).refused(400, "APIG.2011", "parameterName:verified_client_certificate_enabled")
	w.put(path, obj{"is_http_redirect_to_https": true}).refused(400, "APIG.2001", "parameterName:min_ssl_version")
	if got := w.on("apic").put(path, obj{"is_http_redirect_to_https": true}).ok(201).text("min_ssl_version"); got != "TLSv1.3" {
		t.Errorf("got min_ssl_version %s on apic without it, want it kept", got)
	}
	w.put(path, "").refused(400, "APIG.2000")
	other := w.group("other")
	w.put(strings.Replace(path, group, other, 1), same).refused(400, "APIG.3474")
	w.post(other+"/domains", obj{"url_domain": "WWW.A.test"}).refused(400, "APIG.3305", "WWW.A.test")
	w.delete(path).ok(204)
	w.delete(path).refused(404, "APIG.3020")
	w.put(path, same).refused(404, "APIG.3020")
}

func TestDomainHiddenByAnOlderOne(t *testing.T) {
	w := newWorld(t)
	older := w.domain(w.group("shop"), "www.a.test")
	second := w.post("/instances", obj{"instance_name": "edge_west"}).ok(201).text("id")
	group := "/instances/" + second + "/api-groups/" + w.post("/instances/"+second+"/api-groups", obj{"name": "shop"}).ok(201).text("id")
	made := w.post(group+"/domains", obj{"url_domain": "www.a.test"}).ok(201)
	want := "www.a.test is also the host of domain " + older[strings.LastIndex(older, "/")+1:] + " of instance default ("
	said := func(what string, a *answer) {
		t.Helper()
		got := a.Header.Values("X-Lacre-Warning")
		if len(got) != 1 || !strings.HasPrefix(got[0], want) || !strings.Contains(got[0], "an edge that serves both instances serves that one") {
			t.Errorf("%s: got warnings %q, want one of the older domain", what, got)
		}
	}
	said("created", made)
	id := w.certificate(w.form("web_cert", "www.a.test"))
	said("attached", w.post(group+"/domains/"+made.text("id")+"/certificates/attach", obj{"certificate_ids": []string{id}}).ok(204))
	said("attached by name", w.post("/certificates/"+id+"/domains/attach", obj{"domains": []obj{{"domain": "www.a.test"}}}).ok(204))
}

func TestRefusedDomains(t *testing.T) {
	w := newWorld(t)
	domains := w.group("shop") + "/domains"
	w.post(domains, obj{}).refused(400, "APIG.2001", "parameterName:url_domain")
	w.post(domains, obj{"url_domain": "10.0.0.1"}).refused(400, "APIG.2024", "Invalid URL domain name")
	w.post(domains, obj{"url_domain": "a b.test"}).refused(400, "APIG.2024")
	w.post(domains, obj{"url_domain": "www.a.test", "ingress_http_port": 80}).refused(400, "APIG.2011", "parameterName:ingress_https_port")
	w.post(domains, obj{"url_domain": "www.a.test", "upstream": "ftp://a"}).refused(400, "APIG.2011", "parameterName:upstream")
	w.post(domains, obj{"url_domain": "www.a.test", "is_http_redirect_to_https": 1}).refused(400, "APIG.2000", "parameterName:is_http_redirect_to_https")
	w.post("/instances/"+w.instance+"/api-groups/"+lacre.NewID()+"/domains", obj{"url_domain": "www.a.test"}).refused(404, "APIG.3001")
	for i := range 5 {
		w.post(domains, obj{"url_domain": fmt.Sprintf("w%d.a.test", i)}).ok(201)
	}
	w.post(domains, obj{"url_domain": "w6.a.test"}).refused(403, "APIG.3108")
}

func TestPortsAreOnAPIGWOnly(t *testing.T) {
	w := newWorld(t)
	group := w.group("shop")
	a := w.on("apic").post(group+"/domains", obj{"url_domain": "www.a.test", "ingress_http_port": 8080}).ok(201)
	for _, name := range []string{"ingress_http_port", "ingress_https_port"} {
		if v, there := a.object()[name]; there {
			t.Errorf("got %s %v on apic, want none", name, v)
		}
	}
	if got := w.get(group).list("url_domains")[0]; got["ingress_http_port"] != 80.0 || got["ingress_https_port"] != 443.0 {
		t.Errorf("got %v, want the default ports", got)
	}
}
