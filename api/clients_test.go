package api_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The API page's example wraps PEM in stray single quotes.
func TestTheExampleOfTheAPIPage(t *testing.T) {
	w := newWorld(t)
	c := w.on("apic")
	id := c.post("/certificates", w.form("cert_demo", "apigtest.a.test")).ok(200).text("id")
	form := w.form("cert_demo", "apigtest.a.test", "*.san.test")
	a := c.put("/certificates/"+id, obj{
		"name":         "cert_demo",
		"private_key":  "'" + form["private_key"].(string) + "'",
		"cert_content": "'" + form["cert_content"].(string) + "'",
	}, "Content-Type", "application/json;charset=utf8").ok(200)
	got := a.object()
	want := obj{
		"id": id, "name": "cert_demo", "common_name": "apigtest.a.test", "san": []any{"apigtest.a.test", "*.san.test"},
		"version": 3.0, "organization": []any{}, "organizational_unit": []any{}, "locality": []any{}, "state": []any{},
		"country": []any{}, "not_before": "2026-11-20T07:00:00Z", "not_after": "2027-02-20T08:00:00Z",
		"serial_number": got["serial_number"], "issuer": got["issuer"], "signature_algorithm": "ECDSA-SHA256",
		"create_time": got["create_time"], "update_time": got["update_time"], "algorithm_type": "ECC",
		"type": "global", "instance_id": "common", "project_id": w.project, "is_has_trusted_root_ca": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

// An ACME client reads a certificate and sends back what it was shown, under a new name.
func TestARenewal(t *testing.T) {
	w := newWorld(t)
	path := "/certificates/" + w.certificate(with(w.form("certimate_1700000000000", "www.a.test"), "trusted_root_ca", w.ca.PEM()))
	shown := w.get(path).ok(200)
	form := with(w.form("certimate_1700000000001", "www.a.test"),
		"type", shown.text("type"), "instance_id", shown.text("instance_id"))
	a := w.put(path, form, "Content-Type", "application/json;charset=UTF-8").ok(200)
	if got := a.object(); got["instance_id"] != "common" || got["name"] != "certimate_1700000000001" || got["is_has_trusted_root_ca"] != true {
		t.Errorf("got %v, want the new name and the CA kept", got)
	}
	// The SDK sends pointers to empty strings.
	a = w.put(path, with(form, "trusted_root_ca", "", "algorithm_type", "", "cert_content_sign", "", "private_key_sign", "")).ok(200)
	if got := a.object()["is_has_trusted_root_ca"]; got != false {
		t.Errorf(`got a CA %v after "", want it removed`, got)
	}
}

// What Terraform does over the life of a certificate and its association.
func TestTerraform(t *testing.T) {
	w := newWorld(t)
	headers := []string{"Accept", "application/json", "X-Language", "en-us", "X-Project-Id", w.project,
		"User-Agent", "terraform-provider-iac golangsdk/2.0.0"}
	form := w.form("tf_test_cert", "www.a.test")
	a := w.post("/certificates", form, headers...).ok(200)
	path := "/certificates/" + a.text("id")
	w.get(path, append(headers, "Content-Type", "application/json")...).ok(200)
	update := with(w.form("tf_test_cert", "www.a.test"), "type", "global", "instance_id", "common")
	w.put(path, update, headers...).ok(200)
	if diff := cmp.Diff(w.get(path).object()["san"], []any{"www.a.test"}); diff != "" {
		t.Errorf("read right after writing (-got +want):\n%s", diff)
	}
	w.domain(w.group("tf_group"), "www.a.test")
	full := obj{"domains": []obj{{"domain": "www.a.test", "instance_ids": []string{w.instance}, "verified_client_certificate_enabled": false}}}
	w.post(path+"/domains/attach", full, headers...).ok(204)
	list := w.get(path + "/attached-domains?limit=100&offset=0").ok(200)
	if got := list.list("bound_domains"); len(got) != 1 || got[0]["verified_client_certificate_enabled"] != false {
		t.Errorf("got %s, want the domain with its flag", list.raw)
	}
	if got := w.get(path + "/attached-domains?limit=100&offset=100").ok(200).list("bound_domains"); len(got) != 0 {
		t.Errorf("got %v on the page after the last, want none", got)
	}
	w.post(path+"/domains/detach", full, headers...).ok(204)
	w.post(path+"/domains/detach", full, headers...).refused(400, "APIG.2000", "no valid domain name")
	w.delete(path, headers...).ok(204)
}

func TestBodiesAreReadLeniently(t *testing.T) {
	w := newWorld(t)
	form := w.form("cert_lenient", "www.a.test")
	crlf := strings.ReplaceAll(form["cert_content"].(string), "\n", "\r\n")
	body := ` {"future_field":{"a":[1,2]},"name":"first","name":"cert_lenient","type":null,"instance_id":null,` +
		`"algorithm_type":null,"cert_content_sign":null,"private_key_sign":null,"trusted_root_ca":null,` +
		`"cert_content":` + quote(crlf) + `,"private_key":` + quote(form["private_key"]) + "}\r\n\n"
	for i, contentType := range []string{"application/json", "application/json; charset=utf-8", "text/plain", ";;;", ""} {
		a := w.post("/certificates", strings.ReplaceAll(body, "cert_lenient", "cert_lenient_"+string(rune('a'+i))), "Content-Type", contentType)
		if got := a.ok(200).text("name"); got != "cert_lenient_"+string(rune('a'+i)) {
			t.Errorf("Content-Type %q: got name %s, want the last of two", contentType, got)
		}
	}
	path := "/certificates/" + w.certificate(form)
	for _, body := range []any{nil, "not looked at", "{"} {
		w.send("GET", path, body).ok(200)
		w.send("GET", "/certificates?instance_id", body).ok(200)
	}
	w.send("DELETE", path, "not looked at").ok(204)
}
