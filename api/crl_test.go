package api_test

import (
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"lacre"
	"lacre/api"
	"lacre/internal/testcert"
)

// inForce is for the clock of these tests, which stands apart from ours.
func inForce(l *x509.RevocationList) {
	l.ThisUpdate, l.NextUpdate = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(2, 0, 0)
}

// The life of a revocation list over the API, on both products.
func TestCRL(t *testing.T) {
	w := newWorld(t)
	ca := testcert.NewCA(t, "clients")
	gone := ca.Leaf(t, []string{"gone"})
	id := w.certificate(with(w.form("cert_mtls", "www.a.test"), "trusted_root_ca", ca.PEM()))
	path := "/certificates/" + id + "/crl"
	if got := w.get(path).ok(200).object(); got["size"] != 0.0 || len(got["crls"].([]any)) != 0 {
		t.Errorf("got %v before there was a list, want none", got)
	}
	der := ca.CRL(t, []*x509.Certificate{gone.Cert}, testcert.CRLNumber(41), inForce)
	a := w.put(path, obj{"crl": testcert.CRLPEM(der)}).ok(200)
	list := a.list("crls")[0]
	if list["issuer"] != "CN=clients,O=Throw-away" || list["crl_number"] != "41" || list["entries"] != 1.0 || list["in_force"] != true {
		t.Errorf("got %v, want the list", list)
	}
	if again := w.put(path, obj{"crl": base64.StdEncoding.EncodeToString(der)}).ok(200); string(again.raw) != string(a.raw) {
		t.Errorf("the same list in DER: got %s, want %s", again.raw, a.raw)
	}
	if shown := w.get(path).ok(200); string(shown.raw) != string(a.raw) {
		t.Errorf("got shown %s, want %s", shown.raw, a.raw)
	}
	// Of an SM2 CA likewise, over the same routes.
	gm := testcert.NewCA(t, "gm clients", testcert.WithSM2())
	other := "/certificates/" + w.certificate(with(w.sm2Form("cert_gm", "www.a.test"), "trusted_root_ca", gm.PEM())) + "/crl"
	if list := w.put(other, obj{"crl": base64.StdEncoding.EncodeToString(gm.CRL(t, []*x509.Certificate{gone.Cert}, inForce))}).ok(200).list("crls")[0]; list["issuer"] != "CN=gm clients,O=Throw-away" || list["in_force"] != true {
		t.Errorf("got %v, want the SM2 list", list)
	}
	for what, row := range map[string]struct {
		body   any
		number string
		pieces []string
	}{
		"none":         {obj{}, "APIG.2001", []string{"parameterName:crl"}},
		"a number":     {obj{"crl": 7}, "APIG.2000", []string{"parameterName:crl"}},
		"older":        {obj{"crl": testcert.CRLPEM(ca.CRL(t, nil, testcert.CRLNumber(40), inForce))}, "APIG.2011", []string{"parameterName:crl", "older"}},
		"a stranger's": {obj{"crl": testcert.CRLPEM(testcert.NewCA(t, "x").CRL(t, nil, inForce))}, "APIG.2011", []string{"parameterName:crl", "trust root"}},
	} {
		t.Log(what)
		w.put(path, row.body).refused(400, row.number, row.pieces...)
	}
	w.delete(path).ok(204)
	w.delete(path).ok(204)
	if got := w.get(path).ok(200).object()["size"]; got != 0.0 {
		t.Errorf("got %v lists after deleting them, want 0", got)
	}
	w.get("/certificates/"+lacre.NewID()+"/crl").refused(404, "APIG.3021")
	w.put("/certificates/"+lacre.NewID()+"/crl", obj{"crl": ""}).refused(404, "APIG.3021")
	w.delete("/certificates/"+lacre.NewID()+"/crl").refused(404, "APIG.3021")
}

// A list may be larger than any other body, up to its own bound.
func TestLargeCRL(t *testing.T) {
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.MaxBody = 64 << 10 })
	ca := testcert.NewCA(t, "clients")
	path := "/certificates/" + w.certificate(with(w.form("cert_mtls", "www.a.test"), "trusted_root_ca", ca.PEM())) + "/crl"
	many := func(n int) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			for i := range n {
				l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
					SerialNumber: new(big.Int).Lsh(big.NewInt(int64(i+1)), 120), RevocationTime: time.Now()})
			}
		}
	}
	list := w.put(path, obj{"crl": testcert.CRLPEM(ca.CRL(t, nil, many(28_000), inForce))}).ok(200).list("crls")[0]
	if list["entries"] != 28_000.0 {
		t.Errorf("got %v entries, want 28,000", list["entries"])
	}
	w.put(path, obj{"crl": testcert.CRLPEM(ca.CRL(t, nil, many(30_500), inForce))}).refused(400, "APIG.2011", "more than 1048576")
	w.put(path, obj{"crl": strings.Repeat("A", 2<<20)}).refused(413, "APIGW.0201")
}
