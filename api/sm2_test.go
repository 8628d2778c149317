package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre/internal/testcert"
)

// sm2Form is a complete body for two new SM2 leaves.
func (w *world) sm2Form(name string, hosts ...string) obj {
	w.Helper()
	ca := testcert.NewCA(w.T, "SM2 CA", testcert.WithSM2())
	d := ca.Dual(w.T, hosts, testcert.WithValidity(start.Add(-time.Hour), start.AddDate(0, 3, 0)))
	return obj{"name": name, "algorithm_type": "SM2", "cert_content": d.Enc.CertPEM(), "private_key": d.Enc.KeyPEM(),
		"cert_content_sign": d.Sign.CertPEM(), "private_key_sign": d.Sign.KeyPEM(), "trusted_root_ca": ca.PEM()}
}

func TestSM2OverTheAPI(t *testing.T) {
	w := newWorld(t)
	form := w.sm2Form("cert_sm2", "www.a.test", "*.b.test")
	a := w.post("/certificates", form).ok(200)
	if a.text("algorithm_type") != "SM2" || a.text("signature_algorithm") != "SM2-SM3" || a.object()["is_has_trusted_root_ca"] != true {
		t.Errorf("got %v", a.object())
	}
	if diff := cmp.Diff([]any{"www.a.test", "*.b.test"}, a.object()["san"]); diff != "" {
		t.Errorf("san (-want +got):\n%s", diff)
	}
	path := "/certificates/" + a.text("id")
	next := w.sm2Form("cert_sm2", "www.a.test")
	serial := w.put(path, with(next, "algorithm_type", nil)).ok(200).text("serial_number")
	if got := w.get(path).ok(200).text("serial_number"); got != serial || got == a.text("serial_number") {
		t.Errorf("got serial %s after the modification, want %s", got, serial)
	}
	if hits := w.get("/certificates?instance_id=&algorithm_type=SM2&signature_algorithm=SM2-SM3").ok(200).list("certs"); len(hits) != 1 {
		t.Errorf("got %d certificates by algorithm, want 1", len(hits))
	}
	for name, c := range map[string]struct {
		change []any
		status int
		number string
		says   string
	}{
		"no signing certificate": {[]any{"cert_content_sign", nil}, 400, "APIG.2011", "parameterName:cert_content_sign"},
		"no signing key":         {[]any{"private_key_sign", ""}, 400, "APIG.2011", "parameterName:private_key_sign"},
		"too long":               {[]any{"private_key_sign", strings.Repeat("密", 8093)}, 400, "APIG.2011", "at most 8092 characters"},
		"not SM2":                {[]any{"algorithm_type", "RSA", "cert_content_sign", nil, "private_key_sign", nil}, 409, "APIG.3709", "SM2"},
		"signing pair with RSA":  {[]any{"algorithm_type", "RSA"}, 400, "APIG.2011", "parameterName:cert_content_sign"},
		"an ECC certificate":     {[]any{"cert_content", w.form("x", "www.a.test")["cert_content"]}, 409, "APIG.3709", "ECC"},
		"swapped": {[]any{"cert_content", form["cert_content_sign"], "private_key", form["private_key_sign"],
			"cert_content_sign", form["cert_content"], "private_key_sign", form["private_key"]}, 409, "APIG.3708", "swapped"},
		"keys swapped": {[]any{"private_key", form["private_key_sign"], "private_key_sign", form["private_key"]}, 400, "APIG.2101", "cert_content_sign"},
	} {
		t.Run(name, func(t *testing.T) {
			w.post("/certificates", with(with(form, "name", "cert_other"), c.change...)).refused(c.status, c.number, c.says)
		})
	}
}
