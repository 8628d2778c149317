package layout_test

import (
	"testing"

	"lacre/internal/testcert"
)

// TestNginxSM2: the pair of pairs of an nginx with TLCP, with the names of its server block.
func TestNginxSM2(t *testing.T) {
	f := newTree(t)
	d := testcert.NewCA(t, "SM2 root", testcert.WithSM2()).Dual(t, []string{"sm2.test"})
	f.write("enc.crt", d.Enc.ChainPEM())
	f.write("enc.key", d.Enc.KeyPEM())
	f.write("sign.crt", d.Sign.ChainPEM())
	f.write("sign.key", d.Sign.KeyPEM())
	f.pair("a.crt", "a.key", "a.test")
	const pairs = "ssl_enc_certificate enc.crt; ssl_enc_certificate_key enc.key; ssl_sign_certificate sign.crt; ssl_sign_certificate_key sign.key;"
	f.write("nginx.conf", `http {
	`+pairs+`
	server { enable_ntls on; server_name sm2.test; }
	server { server_name both.test; ssl_certificate a.crt; ssl_certificate_key a.key; }
	server { server_name half.test; ssl_enc_certificate enc.crt; ssl_enc_certificate_key enc.key; }
	server { server_name gone.test; ssl_enc_certificate enc.crt; ssl_enc_certificate_key enc.key; ssl_sign_certificate gone.crt; ssl_sign_certificate_key sign.key; }
}`)
	found, notes := f.find()
	f.want("pairs", found, "enc.crt enc.key SIGN=sign.crt,sign.key sm2.test both.test", "a.crt a.key both.test")
	f.want("notes", notes,
		"FAILED nginx.conf:5: an SM2 certificate needs ssl_sign_certificate and ssl_enc_certificate with their keys",
		"FAILED gone.crt: named in nginx.conf:6: no such file or directory")
}
