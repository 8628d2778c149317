package api_test

import (
	"strings"
	"testing"

	"lacre"
)

// group makes an API group and returns its path.
func (w *world) group(name string) string {
	w.Helper()
	groups := "/instances/" + w.instance + "/api-groups"
	return groups + "/" + w.post(groups, obj{"name": name}).ok(201).text("id")
}

// domain binds a host name to a group and returns the domain's path.
func (w *world) domain(group, name string) string {
	w.Helper()
	return group + "/domains/" + w.post(group+"/domains", obj{"url_domain": name}).ok(201).text("id")
}

func (w *world) certificate(form obj) string {
	w.Helper()
	return w.post("/certificates", form).ok(200).text("id")
}

// names is the member url_domain of each bound domain.
func names(list []obj) string {
	var out []string
	for _, o := range list {
		out = append(out, o["url_domain"].(string))
	}
	return strings.Join(out, " ")
}

func domainList(names ...string) obj {
	var list []obj
	for _, n := range names {
		list = append(list, obj{"domain": n})
	}
	return obj{"domains": list}
}

func TestAttachAndDetachDomains(t *testing.T) {
	w := newWorld(t)
	group := w.group("shop")
	w.domain(group, "www.a.test")
	w.domain(group, "api.a.test")
	w.domain(group, "www.other.test")
	id := w.certificate(w.form("cert_bind", "*.a.test"))
	path := "/certificates/" + id
	attached := func() string { return names(w.get(path + "/attached-domains").ok(200).list("bound_domains")) }

	w.post(path+"/domains/attach", domainList("www.a.test", "api.a.test")).ok(204)
	if got, want := attached(), "api.a.test www.a.test"; got != want {
		t.Errorf("got %s bound, want %s", got, want)
	}
	w.post(path+"/domains/attach", domainList("www.a.test")).ok(204) // again
	if got := names(w.get(path + "/attached-domains?url_domain=www.a.test").list("bound_domains")); got != "www.a.test" {
		t.Errorf("got %s for the filter, want www.a.test", got)
	}
	one := w.get(path + "/attached-domains?limit=1&offset=1").ok(200)
	if got := one.object(); got["size"] != 1.0 || got["total"] != 2.0 {
		t.Errorf("got size %v total %v, want 1 and 2", got["size"], got["total"])
	}
	w.get(path+"/attached-domains?limit=x").refused(400, "APIG.2012", "parameterName:limit")

	w.post(path+"/domains/attach", domainList("www.other.test")).refused(400, "APIG.2103", "www.other.test")
	w.post(path+"/domains/attach", domainList("www.a.test", "nobody.a.test")).refused(404, "APIG.3020", "nobody.a.test")
	w.delete(path).refused(403, "APIG.3400", "The resource cannot be changed. The SSL certificate is bound to: api.a.test, www.a.test")
	w.put(path, w.form("cert_bind", "www.a.test")).refused(400, "APIG.2103", "api.a.test")

	w.post(path+"/domains/detach", domainList("api.a.test", "www.other.test")).ok(204) // what is bound goes
	if got, want := attached(), "www.a.test"; got != want {
		t.Errorf("got %s bound, want %s", got, want)
	}
	w.post(path+"/domains/detach", domainList("api.a.test")).refused(400, "APIG.2000", "no valid domain name")
	w.post(path+"/domains/detach", domainList("www.a.test")).ok(204)
	w.delete(path).ok(204)
}

func TestAttachTakesInstancesAndTheClientFlag(t *testing.T) {
	w := newWorld(t)
	w.domain(w.group("shop"), "www.a.test")
	id := w.certificate(with(w.form("cert_mtls", "www.a.test"), "trusted_root_ca", w.ca.PEM()))
	path := "/certificates/" + id
	verified := func() any {
		return w.get(path + "/attached-domains").ok(200).list("bound_domains")[0]["verified_client_certificate_enabled"]
	}
	w.post(path+"/domains/attach", domainList("www.a.test")).ok(204)
	if verified() != true {
		t.Error("got no client authentication, want it on when the certificate has a CA")
	}
	entry := obj{"domain": "www.a.test", "instance_ids": []string{w.instance}, "verified_client_certificate_enabled": false}
	w.post(path+"/domains/attach", obj{"domains": []obj{entry}}).ok(204)
	if verified() != false {
		t.Error("got client authentication on, want what was sent")
	}
	entry["instance_ids"] = []string{"nowhere"}
	w.post(path+"/domains/attach", obj{"domains": []obj{entry}}).refused(404, "APIG.3030", "The instance does not exist", "nowhere")
	bare := w.certificate(w.rsaForm("cert_bare", "www.a.test"))
	w.post("/certificates/"+bare+"/domains/attach", obj{"domains": []obj{{"domain": "www.a.test", "verified_client_certificate_enabled": true}}}).
		refused(400, "APIG.2011", "parameterName:verified_client_certificate_enabled")
}

func TestBodiesOfAttachAndDetach(t *testing.T) {
	w := newWorld(t)
	id := w.certificate(w.form("cert_bodies", "www.a.test"))
	for _, verb := range []string{"attach", "detach"} {
		path := "/certificates/" + id + "/domains/" + verb
		w.post(path, "{}").refused(400, "APIG.2000", "no valid domain name")
		w.post(path, `{"domains":[]}`).refused(400, "APIG.2000", "no valid domain name")
		w.post(path, `{"domains":null}`).refused(400, "APIG.2000", "no valid domain name")
		w.post(path, "").refused(400, "APIG.2000", "empty")
		w.post(path, `{"domains":"www.a.test"}`).refused(400, "APIG.2000", "parameterName:domains")
		w.post(path, `{"domains":["www.a.test"]}`).refused(400, "APIG.2000", "parameterName:domains[0]")
		w.post(path, `{"domains":[null]}`).refused(400, "APIG.2000", "parameterName:domains[0]")
		w.post(path, `{"domains":[{}]}`).refused(400, "APIG.2001", "parameterName:domains[0].domain")
		w.post(path, `{"domains":[{"domain":"a.test"},{"domain":7}]}`).refused(400, "APIG.2000", "parameterName:domains[1].domain")
		w.post(path, `{"domains":[{"domain":"a.test","instance_ids":"x"}]}`).refused(400, "APIG.2000", "parameterName:domains[0].instance_ids")
		w.post(path, `{"domains":[{"domain":"a.test","verified_client_certificate_enabled":"true"}]}`).
			refused(400, "APIG.2000", "parameterName:domains[0].verified_client_certificate_enabled")
		w.post("/certificates/"+lacre.NewID()+"/domains/"+verb, domainList("www.a.test")).refused(404, "APIG.3021")
	}
	missing := lacre.NewID()
	w.get("/certificates/"+missing+"/attached-domains").refused(404, "APIG.3021", "ssl with certId "+missing+" not found")
}

func TestCertificatesOfOneDomain(t *testing.T) {
	w := newWorld(t)
	group := w.group("shop")
	domain := w.domain(group, "www.a.test")
	ecc := w.certificate(with(w.form("cert_ecc", "www.a.test"), "trusted_root_ca", w.ca.PEM()))
	ref := obj{"certificate_ids": []string{ecc}, "verified_client_certificate_enabled": true}
	shown := func() obj { return w.get(group).ok(200).list("url_domains")[0] }

	w.post(domain+"/certificates/attach", ref).ok(204)
	got := shown()
	if got["verified_client_certificate_enabled"] != true || got["ssl_infos"].([]any)[0].(obj)["ssl_id"] != ecc || got["is_has_trusted_root_ca"] != true {
		t.Errorf("got %v, want the certificate and the flag", got)
	}
	w.post(domain+"/certificates/attach", with(ref, "verified_client_certificate_enabled", false)).ok(204)
	if got := shown()["verified_client_certificate_enabled"]; got != false {
		t.Errorf("got flag %v after attaching again, want false", got)
	}
	second := w.certificate(w.form("cert_ecc_2", "www.a.test"))
	w.post(domain+"/certificates/attach", obj{"certificate_ids": []string{second}}).refused(400, "APIG.2051", "www.a.test")
	rsa := w.certificate(w.rsaForm("cert_rsa", "www.a.test"))
	w.post(domain+"/certificates/attach", obj{"certificate_ids": []string{rsa}}).ok(204)
	got = shown()
	if got["ssl_id"] != rsa || got["ssl_name"] != "cert_rsa" || len(got["ssl_infos"].([]any)) != 2 || got["is_has_trusted_root_ca"] != false {
		t.Errorf("got %v, want the RSA one in ssl_id and both in ssl_infos", got)
	}
	// A change of algorithm would give the domain two of a kind.
	w.put("/certificates/"+rsa, w.form("cert_rsa", "www.a.test")).refused(400, "APIG.2051", "www.a.test")

	w.get(domain + "/certificate/" + ecc).ok(200)
	w.get(domain+"/certificate/"+second).refused(404, "APIG.3097")
	w.get(domain+"/certificate/"+lacre.NewID()).refused(404, "APIG.3021")
	w.post(domain+"/certificates/detach", ref).ok(204)
	w.post(domain+"/certificates/detach", ref).refused(404, "APIG.3097")
	w.delete(domain+"/certificate/"+second).refused(404, "APIG.3097")
	w.delete(domain + "/certificate/" + rsa).ok(204)
	w.get("/certificates/"+rsa).refused(404, "APIG.3021") // unbound and deleted
	w.get("/certificates/" + ecc).ok(200)
}

func TestBodiesOfAttachAndDetachOnADomain(t *testing.T) {
	w := newWorld(t)
	group := w.group("shop")
	domain := w.domain(group, "www.a.test")
	for _, verb := range []string{"attach", "detach"} {
		path := domain + "/certificates/" + verb
		w.post(path, "{}").refused(400, "APIG.2001", "parameterName:certificate_ids")
		w.post(path, `{"certificate_ids":[]}`).refused(400, "APIG.2011", "parameterName:certificate_ids", "exactly one")
		w.post(path, `{"certificate_ids":["a","b"]}`).refused(400, "APIG.2011", "parameterName:certificate_ids", "exactly one")
		w.post(path, `{"certificate_ids":"a"}`).refused(400, "APIG.2000", "parameterName:certificate_ids")
		w.post(path, `{"certificate_ids":[7]}`).refused(400, "APIG.2000", "parameterName:certificate_ids")
		w.post(path, `{"certificate_ids":[null]}`).refused(404, "APIG.3021")
		w.post(path, `{"certificate_ids":["../../x"]}`).refused(404, "APIG.3021")
		w.post(path, `{"certificate_ids":["`+lacre.NewID()+`"]}`).refused(404, "APIG.3021")
	}
	id := w.certificate(w.form("cert_far", "www.a.test"))
	ref := obj{"certificate_ids": []string{id}}
	place := func(instance, group, domain string) string {
		return "/instances/" + instance + "/api-groups/" + group + "/domains/" + domain + "/certificates/attach"
	}
	parts := strings.Split(domain, "/") // "", instances, i, api-groups, g, domains, d
	other := strings.Split(w.group("other"), "/")
	w.post(place("nowhere", parts[4], parts[6]), ref).refused(404, "APIG.3030", "The instance does not exist;id:nowhere")
	w.post(place(parts[2], "nobody", parts[6]), ref).refused(404, "APIG.3001", "nobody")
	w.post(place(parts[2], parts[4], "nothing"), ref).refused(404, "APIG.3020")
	w.post(place(parts[2], other[4], parts[6]), ref).refused(400, "APIG.3474")
}

func TestCreateDomainCertificate(t *testing.T) {
	w := newWorld(t)
	group := w.group("shop")
	domain := w.domain(group, "www.a.test")
	a := w.post(domain+"/certificate", w.rsaForm("cert_old", "www.a.test")).ok(201)
	id := a.text("ssl_id")
	if a.text("ssl_name") != "cert_old" || a.text("url_domain") != "www.a.test" || a.text("api_group_name") != "shop" {
		t.Errorf("got %s, want the domain with its new certificate", a.raw)
	}
	if got := w.get(domain + "/certificate/" + id).ok(200).text("name"); got != "cert_old" {
		t.Errorf("got name %s, want cert_old", got)
	}
	ecc := w.post(domain+"/certificate", w.form("cert_new", "www.a.test")).ok(201)
	if got := ecc.text("ssl_name"); got != "cert_new" {
		t.Errorf("got ssl_name %s, want the one just made", got)
	}
	w.post(domain+"/certificate", w.form("cert_old", "www.a.test")).refused(400, "APIG.3325")
	w.post(domain+"/certificate", w.form("cert_third", "www.a.test")).refused(400, "APIG.2051")
	w.post(domain+"/certificate", w.form("cert_third", "www.b.test")).refused(400, "APIG.2103")
	w.post(domain+"/certificate", with(w.form("cert_third", "www.a.test"), "type", "instance", "instance_id", "nowhere")).
		refused(404, "APIG.3030", "The instance does not exist", "nowhere")
	w.post(domain+"/certificate", "{}").refused(400, "APIG.2001", "parameterName:name")
	if got := w.get("/certificates?instance_id=").object()["total"]; got != 2.0 {
		t.Errorf("got %v certificates, want 2: refused ones must not stay", got)
	}
	w.delete(domain + "/certificate/" + id).ok(204)
	w.delete(domain+"/certificate/"+id).refused(404, "APIG.3021")
}

func TestOperatorsMoveButDoNotMake(t *testing.T) {
	w := newWorld(t)
	domain := w.domain(w.group("shop"), "www.a.test")
	id := w.certificate(w.form("cert_role", "www.a.test"))
	ref := obj{"certificate_ids": []string{id}}
	op, viewer := w.as("operator."+w.project), w.as("viewer."+w.project)
	op.post(domain+"/certificates/attach", ref).ok(204)
	op.put("/certificates/"+id, w.form("cert_role", "www.a.test")).ok(200)
	op.post("/certificates", w.form("cert_more", "www.a.test")).refused(403, "APIG.1005")
	op.delete("/certificates/"+id).refused(403, "APIG.1005")
	viewer.get("/certificates/" + id).ok(200)
	viewer.get("/certificates/" + id + "/attached-domains").ok(200)
	viewer.put("/certificates/"+id, w.form("cert_role", "www.a.test")).refused(403, "APIG.1005")
	viewer.post("/certificates/"+id+"/domains/detach", domainList("www.a.test")).refused(403, "APIG.1005")
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	w := newWorld(t)
	domain := w.domain(w.group("shop"), "www.a.test")
	id := w.certificate(w.form("cert_mine", "www.a.test"))
	stranger := lacre.NewID()
	theirs := *w.client
	theirs.base = w.url + "/v2/" + stranger + "/apigw"
	there := theirs.as("admin." + stranger)
	there.get("/certificates/"+id).refused(404, "APIG.3021")
	there.put("/certificates/"+id, w.form("cert_mine", "www.a.test")).refused(404, "APIG.3021")
	there.delete("/certificates/"+id).refused(404, "APIG.3021")
	there.post(domain+"/certificates/attach", obj{"certificate_ids": []string{id}}).refused(404, "APIG.3021")
	there.get(domain[:strings.Index(domain, "/domains")]).refused(404, "APIG.3030")
	// What is not theirs answers as what does not exist.
	if a, b := there.get("/certificates/"+id).text("error_msg"), there.get("/certificates/"+lacre.NewID()).text("error_msg"); a != b {
		t.Errorf("got %q for another's and %q for none, want no difference", a, b)
	}
	there.post("/certificates", w.form("cert_mine", "www.a.test")).ok(200)
	w.as("admin."+stranger).get("/certificates/"+id).refused(403, "APIG.1005")
}
