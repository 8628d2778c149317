package api_test

import (
	"encoding/base64"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"lacre/internal/testcert"
)

func TestStaple(t *testing.T) {
	w := newWorld(t)
	ca := testcert.NewCA(t, "Root").Intermediate(t, "Intermediate")
	// The service's clock stands where the tests start.
	validity := testcert.WithValidity(start.Add(-time.Hour), start.AddDate(0, 1, 0))
	leaf := ca.Leaf(t, []string{"www.a.test"}, testcert.MustStaple(), validity)
	form := obj{"name": "stapled_cert", "cert_content": leaf.ChainPEM(), "private_key": leaf.KeyPEM()}
	w.post("/certificates", form).refused(400, "APIG.2011", "parameterName:ocsp_staple", "RFC 7633")
	w.post("/certificates", with(form, "ocsp_staple", 7)).refused(400, "APIG.2000", "parameterName:ocsp_staple")
	ends := start.Add(72 * time.Hour)
	staple := ca.Staple(t, leaf, func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = start.Add(-time.Hour), ends })
	created := w.post("/certificates", with(form, "ocsp_staple", base64.StdEncoding.EncodeToString(staple))).ok(200)
	if got := created.text("ocsp_next_update"); got != "2026-11-23T08:00:00Z" {
		t.Errorf("got the staple's end %s, want 2026-11-23T08:00:00Z", got)
	}
	path := "/certificates/" + created.text("id")
	if got := w.put(path, form).ok(200).text("ocsp_next_update"); got != "2026-11-23T08:00:00Z" {
		t.Errorf("left out: got the staple's end %s, want it kept", got)
	}
	if got := w.get(path + "/versions").ok(200).list("versions")[0]["ocsp_next_update"]; got != "2026-11-23T08:00:00Z" {
		t.Errorf("of the version: got the staple's end %v, want it too", got)
	}
	plain := w.form("plain_cert", "www.a.test")
	if got, there := w.post("/certificates", plain).ok(200).object()["ocsp_next_update"]; there {
		t.Errorf("got ocsp_next_update %v without a staple", got)
	}
}
