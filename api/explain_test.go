package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"lacre"
	"lacre/api"
)

// oracle is an Edge that answers every question alike.
type oracle struct {
	lacre.Edge
	asked lacre.ClientHello
	host  string
	says  *lacre.Explanation
	err   error
}

func (o *oracle) Explain(_ context.Context, _ string, hello lacre.ClientHello, host string) (*lacre.Explanation, error) {
	o.asked, o.host = hello, host
	return o.says, o.err
}

func TestExplain(t *testing.T) {
	cert := &lacre.ServedCertificate{ID: "c1", Version: 3, Algorithm: "ECC", NotBefore: start, NotAfter: start.Add(time.Hour), StapleEnds: start.Add(time.Minute),
		Fingerprint: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}
	domain := &lacre.Rule{Wildcard: true, Host: "*.a.test", DomainID: "d1", InstanceID: "i1"}
	o := &oracle{says: &lacre.Explanation{
		Host: "www.a.test", Handshake: lacre.HandshakeOutcome{Result: "ok", Version: "TLSv1.3", CipherSuite: "TLS_AES_128_GCM_SHA256"},
		Rule: domain, Policy: &lacre.Policy{MinTLS: "TLSv1.2", HTTPS: true, Upstream: "http://10.0.0.7"}, Certificate: cert,
		Request: &lacre.RequestOutcome{Host: "b.test", Result: "misdirected", Status: 421, Reason: "another host"},
		Losers:  []lacre.Loser{{CertificateID: "c2", Reason: "damaged"}, {Domain: domain, Reason: "older"}},
	}}
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) { c.Edge = o })
	for _, product := range []string{"apic", "apigw"} {
		got := w.as("viewer."+w.project).on(product).post("/explain", obj{"sni": "www.a.test", "versions": []any{"TLSv1.3", 771}, "host": "b.test"}).ok(200).object()
		if o.asked.ServerName != "www.a.test" || len(o.asked.Versions) != 2 || o.asked.Versions[1] != 0x0303 || o.host != "b.test" {
			t.Errorf("%s: asked %+v, Host %q", product, o.asked, o.host)
		}
		want := `{"alert":0,"cipher_suite":"TLS_AES_128_GCM_SHA256","reason":"","result":"ok","version":"TLSv1.3"}`
		if quote(got["handshake"]) != want {
			t.Errorf("%s: got handshake %s, want %s", product, quote(got["handshake"]), want)
		}
		if c := got["certificate"].(obj); c["id"] != "c1" || c["version"] != 3.0 || c["not_before"] != "2026-11-20T08:00:00Z" || c["ocsp_next_update"] != "2026-11-20T08:01:00Z" {
			t.Errorf("%s: got certificate %v", product, c)
		}
		if r := got["rule"].(obj); r["match"] != "wildcard" || r["domain_id"] != "d1" {
			t.Errorf("%s: got rule %v", product, r)
		}
		if losers := got["losers"].([]any); len(losers) != 2 || losers[0].(obj)["certificate_id"] != "c2" {
			t.Errorf("%s: got losers %v", product, losers)
		}
	}
	o.says = &lacre.Explanation{Handshake: lacre.HandshakeOutcome{Result: "unrecognized_name", Alert: 112, Reason: "nobody"}}
	if got := quote(w.post("/explain", obj{"sni": ""}).ok(200).object()); got != `{"canonical_host":"","handshake":{"alert":112,"cipher_suite":"","reason":"nobody","result":"unrecognized_name","version":""},"losers":[]}` {
		t.Errorf("of nothing: got %s", got)
	}
}

func TestExplainRefusals(t *testing.T) {
	o := &oracle{}
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) { c.Edge = o })
	w.post("/explain", obj{}).refused(400, "APIG.2001", "sni")
	w.post("/explain", obj{"sni": 7}).refused(400, "APIG.2000", "sni")
	w.post("/explain", obj{"sni": "a.test", "versions": "TLSv1.2"}).refused(400, "APIG.2000", "versions")
	w.post("/explain", obj{"sni": "a.test", "versions": []any{"SSLv3"}}).refused(400, "APIG.2011", "versions", "TLSv1.2 or 0x0303")
	w.post("/explain", obj{"sni": "a.test", "cipher_suites": []any{true}}).refused(400, "APIG.2011", "cipher_suites", "entry 0")
	w.post("/explain", obj{"sni": "a.test", "cipher_suites": []any{1.5}}).refused(400, "APIG.2011", "cipher_suites", "entry 0")
	w.post("/explain", obj{"sni": "a.test", "signature_algorithms": []any{}}).refused(400, "APIG.2011", "signature_algorithms")
	w.as("viewer.elsewhere").post("/explain", obj{"sni": "a.test"}).refused(403, "APIG.1005")
	o.err = lacre.ErrUnavailable
	unavailable := w.post("/explain", obj{"sni": "a.test"})
	unavailable.refused(500, "APIG.3500")
	if strings.Contains(string(unavailable.raw), "change") {
		t.Errorf("got %s, but nothing was to be changed", unavailable.raw)
	}
	newWorld(t).post("/explain", obj{"sni": "a.test"}).refused(412, "APIG.3458", "no edge")
}
