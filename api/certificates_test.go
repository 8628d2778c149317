package api_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/api"
	"lacre/internal/testcert"
)

// form is a complete body of create and modify for a new ECC leaf of this world's CA.
func (w *world) form(name string, hosts ...string) obj {
	w.Helper()
	leaf := w.ca.Leaf(w.T, hosts, testcert.WithValidity(start.Add(-time.Hour), start.AddDate(0, 3, 0)))
	return obj{"name": name, "cert_content": leaf.CertPEM(), "private_key": leaf.KeyPEM()}
}

// rsaForm is the same with an RSA leaf.
func (w *world) rsaForm(name string, hosts ...string) obj {
	w.Helper()
	leaf := w.ca.Leaf(w.T, hosts, testcert.WithRSA(2048), testcert.WithValidity(start.Add(-time.Hour), start.AddDate(0, 3, 0)))
	return obj{"name": name, "cert_content": leaf.CertPEM(), "private_key": leaf.KeyPEM()}
}

// with is a copy of body with some members changed; nil members are removed.
func with(body obj, changes ...any) obj {
	out := obj{}
	for k, v := range body {
		out[k] = v
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(out, changes[i].(string))
		} else {
			out[changes[i].(string)] = changes[i+1]
		}
	}
	return out
}

func TestCertificateLife(t *testing.T) {
	w := newWorld(t)
	for _, product := range []string{"apigw", "apic"} {
		c := w.on(product)
		first := c.post("/certificates", w.form("web_cert", "www.a.test", "*.b.test")).ok(200)
		id := first.text("id")
		shown := c.get("/certificates/" + id).ok(200)
		if diff := cmp.Diff(first.object(), shown.object()); diff != "" {
			t.Errorf("%s: created (-) and shown (+) differ:\n%s", product, diff)
		}
		changed := c.put("/certificates/"+id, w.form("web_cert_2", "www.c.test")).ok(200)
		if got := changed.object(); got["id"] != id || got["name"] != "web_cert_2" || got["common_name"] != "www.c.test" ||
			got["create_time"] != first.text("create_time") || got["update_time"] == first.text("update_time") {
			t.Errorf("%s: got %v after modification, want the new content in the old place", product, got)
		}
		shown = c.get("/certificates/" + id).ok(200)
		if diff := cmp.Diff(changed.object(), shown.object()); diff != "" {
			t.Errorf("%s: modified (-) and shown (+) differ:\n%s", product, diff)
		}
		c.delete("/certificates/" + id).ok(204)
		c.get("/certificates/"+id).refused(404, "APIG.3021", "The SSL certificate does not exist")
		c.delete("/certificates/"+id).refused(404, "APIG.3021")
		c.put("/certificates/"+id, w.form("web_cert_2", "www.c.test")).refused(404, "APIG.3021")
	}
}

func TestBothProductsShowTheSameCertificates(t *testing.T) {
	w := newWorld(t)
	id := w.on("apic").post("/certificates", w.form("web_cert", "www.a.test")).ok(200).text("id")
	if diff := cmp.Diff(w.on("apic").get("/certificates/"+id).object(), w.on("apigw").get("/certificates/"+id).ok(200).object()); diff != "" {
		t.Errorf("apic (-) and apigw (+) differ:\n%s", diff)
	}
}

// Every refusal of content that create and modify have in common.
func TestRefusedCertificates(t *testing.T) {
	w := newWorld(t)
	good := w.form("cert_good", "www.a.test")
	id := w.post("/certificates", good).ok(200).text("id")
	w.post("/certificates", w.form("cert_taken", "www.a.test")).ok(200)
	other := w.form("cert_other", "www.a.test")
	validity := testcert.WithValidity(start.Add(-48*time.Hour), start.Add(-24*time.Hour))
	expired := w.ca.Leaf(t, []string{"www.a.test"}, validity)
	bare := w.ca.Leaf(t, []string{"www.a.test"}, testcert.WithoutSAN(), testcert.WithValidity(start.Add(-time.Hour), start.AddDate(0, 3, 0)))
	stranger := testcert.NewCA(t, "Stranger").Intermediate(t, "Strange Intermediate")
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("0123456789")})
	rows := []struct {
		what   string
		body   any
		status int
		number string
		piece  string
	}{
		{"no body", "", 400, "APIG.2000", "empty"},
		{"a body that is not JSON", "name=web", 400, "APIG.2000", "JSON object"},
		{"an array", "[]", 400, "APIG.2000", "JSON object"},
		{"null", "null", 400, "APIG.2000", "JSON object"},
		{"half a body", `{"name":"web`, 400, "APIG.2000", "JSON object"},
		{"more than one value", `{"name":"web"} {}`, 400, "APIG.2000", "JSON object"},
		{"bytes that are not UTF-8", "{\"name\":\"\xff\xfe\"}", 400, "APIG.2000", "UTF-8"},
		{"too deep", `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, 400, "APIG.2000", "JSON object"},
		{"no name", with(good, "name", nil), 400, "APIG.2001", "parameterName:name"},
		{"a null name", `{"name":null,"cert_content":"c","private_key":"k"}`, 400, "APIG.2001", "parameterName:name"},
		{"another case of name", `{"Name":"cert_good","cert_content":"c","private_key":"k"}`, 400, "APIG.2001", "parameterName:name"},
		{"no certificate", with(good, "cert_content", nil), 400, "APIG.2001", "parameterName:cert_content"},
		{"no key", with(good, "private_key", nil), 400, "APIG.2001", "parameterName:private_key"},
		{"a number for a name", with(good, "name", 7), 400, "APIG.2000", "parameterName:name"},
		{"an array for a certificate", with(good, "cert_content", []string{"x"}), 400, "APIG.2000", "parameterName:cert_content"},
		{"an object for a key", with(good, "private_key", obj{}), 400, "APIG.2000", "parameterName:private_key"},
		{"true for a CA", with(good, "trusted_root_ca", true), 400, "APIG.2000", "parameterName:trusted_root_ca"},
		{"a number for an instance", with(good, "instance_id", 1), 400, "APIG.2000", "parameterName:instance_id"},
		{"a short name", with(good, "name", "abc"), 400, "APIG.2011", "parameterName:name"},
		{"a name with a space", with(good, "name", "web cert"), 400, "APIG.2011", "parameterName:name"},
		{"an unknown algorithm", with(good, "algorithm_type", "DSA"), 400, "APIG.2011", "parameterName:algorithm_type"},
		{"an algorithm that is not the key's", with(good, "algorithm_type", "RSA"), 409, "APIG.3709", "algorithm_type"},
		{"a taken name", with(good, "name", "cert_taken"), 400, "APIG.3325", "The SSL certificate name already exists"},
		{"no PEM", with(good, "cert_content", "hello"), 400, "APIG.2106", "cert_content"},
		{"an empty certificate", with(good, "cert_content", ""), 400, "APIG.2106", "cert_content"},
		{"no key PEM", with(good, "private_key", "hello"), 400, "APIG.2106", "private_key"},
		{"another key", with(good, "private_key", other["private_key"]), 400, "APIG.2101", "The certificate and private key do not match"},
		{"an expired certificate", with(good, "cert_content", expired.CertPEM(), "private_key", expired.KeyPEM()), 400, "APIG.2102", "The certificate has expired"},
		{"no SAN", with(good, "cert_content", bare.CertPEM(), "private_key", bare.KeyPEM()), 400, "APIG.2109", "SAN missing"},
		{"a chain of others", with(good, "cert_content", good["cert_content"].(string)+testcert.CertPEM(stranger.Cert)), 400, "APIG.2104", "chain"},
		{"an encrypted key", with(good, "private_key", string(encrypted)), 400, "APIG.2105", "Encrypted private keys"},
		{"a CA that is none", with(good, "trusted_root_ca", good["cert_content"]), 400, "APIG.2106", "trusted_root_ca"},
	}
	for _, row := range rows {
		t.Run(row.what, func(t *testing.T) {
			c := *w.client
			c.t = t
			before := c.get("/certificates/" + id).object()
			c.post("/certificates", row.body).refused(row.status, row.number, row.piece)
			c.put("/certificates/"+id, row.body).refused(row.status, row.number, row.piece)
			if diff := cmp.Diff(before, c.get("/certificates/"+id).object()); diff != "" {
				t.Errorf("a refused modification changed something (-before +after):\n%s", diff)
			}
		})
	}
	if got := w.get("/certificates?instance_id=").ok(200).object()["total"]; got != 2.0 {
		t.Errorf("got %v certificates, want 2: refused ones must not be stored", got)
	}
}

func TestCertificatesAfter2038(t *testing.T) {
	leaf := func(w *world) obj {
		l := w.ca.Leaf(t, []string{"www.a.test"}, testcert.WithValidity(start.Add(-time.Hour), time.Date(2039, 1, 1, 0, 0, 0, 0, time.UTC)))
		return obj{"name": "cert_late", "cert_content": l.CertPEM(), "private_key": l.KeyPEM()}
	}
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) { c.RefuseAfter2038 = true })
	w.post("/certificates", leaf(w)).refused(400, "APIG.3148", "January 19, 2038")
	w = newWorld(t)
	w.post("/certificates", leaf(w)).ok(200)
}

func TestScope(t *testing.T) {
	w := newWorld(t)
	good := w.form("cert_scope", "www.a.test")
	w.post("/certificates", with(good, "type", "instance")).refused(400, "APIG.2001", "parameterName:instance_id")
	w.post("/certificates", with(good, "type", "instance", "instance_id", "nowhere")).refused(404, "APIG.3030", "The instance does not exist;id:nowhere")
	w.post("/certificates", with(good, "type", "region")).refused(400, "APIG.2011", "parameterName:type")
	a := w.post("/certificates", with(good, "type", "instance", "instance_id", w.instance)).ok(200)
	if a.text("type") != "instance" || a.text("instance_id") != w.instance {
		t.Errorf("got %s, want type instance of %s", a.raw, w.instance)
	}
	path := "/certificates/" + a.text("id")
	w.put(path, with(good, "type", "global")).refused(400, "APIG.2012", "parameterName:type")
	w.put(path, with(good, "type", "instance", "instance_id", "other")).refused(400, "APIG.2012", "parameterName:instance_id")
	if got := w.put(path, good).ok(200).text("type"); got != "instance" {
		t.Errorf("got type %s after leaving it out, want instance", got)
	}
	// A name is unique within one scope only.
	if got := w.post("/certificates", with(good, "instance_id", "")).ok(200).text("instance_id"); got != "common" {
		t.Errorf("got instance_id %s of a global certificate, want common", got)
	}
}

func TestTrustedRootCA(t *testing.T) {
	w := newWorld(t)
	form := with(w.form("cert_root", "www.a.test"), "trusted_root_ca", w.ca.PEM())
	has := func(a *answer) bool { return a.ok(200).object()["is_has_trusted_root_ca"].(bool) }
	a := w.post("/certificates", form)
	path := "/certificates/" + a.text("id")
	if !has(a) {
		t.Error("got no CA after sending one")
	}
	if !has(w.put(path, with(form, "trusted_root_ca", nil))) {
		t.Error("got no CA after a modification without the member, want it kept")
	}
	null := `{"name":"cert_root","cert_content":` + quote(form["cert_content"]) + `,"private_key":` + quote(form["private_key"]) + `,"trusted_root_ca":null}`
	if !has(w.put(path, null)) {
		t.Error("got no CA after null, want it kept")
	}
	if has(w.put(path, with(form, "trusted_root_ca", ""))) {
		t.Error(`got a CA after "", want it removed`)
	}
	if !has(w.put(path, form)) {
		t.Error("got no CA after sending one again")
	}
}

func TestWarningsTravelAsHeaders(t *testing.T) {
	w := newWorld(t)
	middle := w.ca.Intermediate(t, "Test Intermediate")
	leaf := middle.Leaf(t, []string{"www.a.test"}, testcert.WithValidity(start.Add(-time.Hour), start.AddDate(0, 3, 0)))
	turned := testcert.CertPEM(middle.Cert) + leaf.CertPEM()
	a := w.post("/certificates", obj{"name": "cert_turned", "cert_content": turned, "private_key": leaf.KeyPEM()}).ok(200)
	warnings := a.Header.Values("X-Lacre-Warning")
	if len(warnings) == 0 {
		t.Fatal("got no X-Lacre-Warning for a chain in the wrong order")
	}
	for _, text := range warnings {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("got warning %q, want printable ASCII", text)
		}
	}
	if got := a.text("common_name"); got != "www.a.test" {
		t.Errorf("got common name %s, want the leaf's", got)
	}
}

func TestListCertificates(t *testing.T) {
	w := newWorld(t)
	second := w.post("/instances", obj{"instance_name": "second"}).ok(201).text("id")
	global := w.post("/certificates", w.form("cert_global", "g.a.test")).ok(200).text("id")
	here := w.post("/certificates", with(w.rsaForm("cert_here", "h.a.test"), "type", "instance", "instance_id", w.instance)).ok(200).text("id")
	there := w.post("/certificates", with(w.form("证书_there", "t.a.test"), "type", "instance", "instance_id", second)).ok(200).text("id")
	rows := []struct {
		query string
		want  []string
	}{
		{"instance_id", []string{there, here, global}}, // as the SDK sends an unset one
		{"instance_id=", []string{there, here, global}},
		{"instance_id=" + w.instance, []string{here, global}},
		{"instance_id=" + second, []string{there, global}},
		{"instance_id=&type=global", []string{global}},
		{"instance_id=&type=instance", []string{there, here}},
		{"instance_id=&type=", []string{there, here, global}},
		{"instance_id=&name=cert_here", []string{here}},
		{"instance_id=&name=cert_", nil},
		{"instance_id=&name=" + url.QueryEscape("证书_there"), []string{there}},
		{"instance_id=&name=证书_there", []string{there}},
		{"instance_id=&common_name=g.a.test", []string{global}},
		{"instance_id=&algorithm_type=RSA", []string{here}},
		{"instance_id=&algorithm_type=SM2", nil},
		{"instance_id=&signature_algorithm=ECDSA-SHA256", []string{there, here, global}},
		{"instance_id=&limit=2", []string{there, here}},
		{"instance_id=&limit=2&offset=2", []string{global}},
		{"instance_id=&limit=2&offset=99", nil},
		{"instance_id=&limit=-5&offset=-5", []string{there, here, global}},
		{"instance_id=&limit=100000", []string{there, here, global}},
		{"instance_id=&limit=&offset=", []string{there, here, global}},
		{"instance_id=&unknown=1", []string{there, here, global}},
	}
	for _, row := range rows {
		a := w.get("/certificates?" + row.query).ok(200)
		var got []string
		for _, c := range a.list("certs") {
			got = append(got, c["id"].(string))
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("?%s (-want +got):\n%s", row.query, diff)
		}
		if size := a.object()["size"]; size != float64(len(got)) {
			t.Errorf("?%s: got size %v of %d", row.query, size, len(got))
		}
	}
	if got := w.get("/certificates?instance_id=&limit=1").object(); got["total"] != 3.0 || got["size"] != 1.0 {
		t.Errorf("got total %v and size %v, want 3 and 1", got["total"], got["size"])
	}
	refused := []struct {
		query, piece string
		status       int
		number       string
	}{
		{"", "parameterName:instance_id", 400, "APIG.2012"},
		{"instance_id=nowhere", "The instance does not exist;id:nowhere", 404, "APIG.3030"},
		{"instance_id=a%2Fb", "The instance does not exist;id:a/b", 404, "APIG.3030"},
		{"instance_id=&limit=ten", "parameterName:limit", 400, "APIG.2012"},
		{"instance_id=&offset=1.5", "parameterName:offset", 400, "APIG.2012"},
		{"instance_id=&offset=99999999999999999999", "parameterName:offset", 400, "APIG.2012"},
		{"instance_id=&type=region", "parameterName:type", 400, "APIG.2012"},
		{"instance_id=&algorithm_type=DSA", "parameterName:algorithm_type", 400, "APIG.2012"},
		{"instance_id=&name=%zz", "parameterName:query", 400, "APIG.2012"},
	}
	for _, row := range refused {
		w.get("/certificates?"+row.query).refused(row.status, row.number, row.piece)
	}
}

func TestDryRun(t *testing.T) {
	w := newWorld(t)
	form := w.form("cert_dry", "www.a.test")
	a := w.post("/certificates?dry_run=true", form).ok(200)
	if got := a.Header.Get("X-Lacre-Dry-Run"); got != "true" {
		t.Errorf("got X-Lacre-Dry-Run %q, want true", got)
	}
	if got := w.get("/certificates?instance_id=").object()["total"]; got != 0.0 {
		t.Fatalf("got %v certificates after a dry run, want none", got)
	}
	first := w.post("/certificates?dry_run=false", form).ok(200)
	path := "/certificates/" + first.text("id")
	a = w.put(path+"?dry_run=true", w.form("cert_wet", "www.b.test")).ok(200)
	if a.text("name") != "cert_wet" || a.Header.Get("X-Lacre-Dry-Run") != "true" || a.Header.Get("ETag") != "" {
		t.Errorf("got %v %s, want what would be, without an ETag", a.Header, a.raw)
	}
	if diff := cmp.Diff(first.object(), w.get(path).object()); diff != "" {
		t.Errorf("a dry run changed something (-before +after):\n%s", diff)
	}
	w.put(path+"?dry_run=true", with(form, "name", "x")).refused(400, "APIG.2011", "parameterName:name")
	w.put(path+"?dry_run=maybe", form).refused(400, "APIG.2012", "parameterName:dry_run")
	w.put(path+"?dry_run", form).refused(400, "APIG.2012", "parameterName:dry_run")
	// Where it is not understood it must not be taken for the real thing.
	w.delete(path+"?dry_run=true").refused(400, "APIG.2012", "parameterName:dry_run")
	w.get(path).ok(200)
}

func TestIfMatch(t *testing.T) {
	w := newWorld(t)
	a := w.post("/certificates", w.form("cert_match", "www.a.test")).ok(200)
	path, first := "/certificates/"+a.text("id"), a.Header.Get("ETag")
	if got := w.get(path).Header.Get("ETag"); got != first || got == "" {
		t.Fatalf("got ETag %q when shown, want that of creation %q", got, first)
	}
	rename := func(name string, match ...string) *answer {
		var header []string
		for _, m := range match {
			header = append(header, "If-Match", m)
		}
		return w.put(path, w.form(name, "www.a.test"), header...)
	}
	second := rename("cert_m2", first).ok(200).Header.Get("ETag")
	if second == first {
		t.Errorf("got ETag %s again after a modification", second)
	}
	rename("cert_m3", first).refused(412, "LACRE.0412", second)
	rename("cert_m3", "W/"+second).refused(412, "LACRE.0412")
	rename("cert_m3", `"something else"`).refused(412, "LACRE.0412")
	rename("cert_m3", `"02"`).refused(412, "LACRE.0412")
	rename("cert_m3", first+`, "x", W/"9"`).refused(412, "LACRE.0412")
	rename("cert_m3", "2").refused(400, "APIG.2012", "parameterName:If-Match")
	rename("cert_m3", "*, "+second).refused(400, "APIG.2012", "parameterName:If-Match")
	third := rename("cert_m3", first+", "+second).ok(200).Header.Get("ETag")
	fourth := rename("cert_m4", first, third).ok(200).Header.Get("ETag")
	rename("cert_m5", "*").ok(200)
	w.delete(path, "If-Match", fourth).refused(412, "LACRE.0412")
	w.get(path).ok(200)
	w.delete(path, "If-Match", w.get(path).Header.Get("ETag")).ok(204)
	w.delete(path, "If-Match", "*").refused(404, "APIG.3021")
	w.delete(path, "If-Match", first).refused(404, "APIG.3021")
	w.delete(path, "If-Match", first+","+second).refused(404, "APIG.3021")
}

func TestOfConcurrentConditionalChangesOneWins(t *testing.T) {
	w := newWorld(t)
	a := w.post("/certificates", w.form("cert_race", "www.a.test")).ok(200)
	const writers = 8
	forms := make([]obj, writers)
	for i := range forms {
		forms[i] = w.form(fmt.Sprintf("cert_race_%d", i), "www.a.test")
	}
	statuses := make([]int, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			statuses[i] = w.put("/certificates/"+a.text("id"), forms[i], "If-Match", a.Header.Get("ETag")).StatusCode
		})
	}
	all.Wait()
	count := map[int]int{}
	for _, s := range statuses {
		count[s]++
	}
	if diff := cmp.Diff(map[int]int{200: 1, 412: writers - 1}, count); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestSerialNumbersAreDecimal(t *testing.T) {
	w := newWorld(t)
	serial, _ := new(big.Int).SetString("219450666855693268010130472645821723203", 10)
	leaf := w.ca.Leaf(t, []string{"www.a.test"}, testcert.WithSerial(serial),
		testcert.With(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = start.Add(-time.Hour), start.AddDate(0, 3, 0) }))
	a := w.post("/certificates", obj{"name": "cert_serial", "cert_content": leaf.CertPEM(), "private_key": leaf.KeyPEM()}).ok(200)
	if got := a.text("serial_number"); got != serial.String() {
		t.Errorf("got serial %s, want %s", got, serial)
	}
}
