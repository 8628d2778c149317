package keypair_test

import (
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

// shop is a directory in which OpenSSL, what most uploads were made with, works on one
// leaf. Its tests are left out where OpenSSL is not installed.
type shop struct {
	t    *testing.T
	dir  string
	leaf *testcert.Leaf
}

func openShop(t *testing.T, leaf *testcert.Leaf) shop {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	s := shop{t, t.TempDir(), leaf}
	s.write("leaf.pem", leaf.CertPEM())
	s.write("chain.pem", leaf.ChainPEM())
	s.write("key.pem", leaf.KeyPEM())
	return s
}

func (s shop) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run runs one OpenSSL command and returns what it printed.
func (s shop) run(command string) string {
	s.t.Helper()
	cmd := exec.Command("openssl", strings.Fields(command)...)
	cmd.Dir = s.dir
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("openssl %s: %v", command, err)
	}
	return string(out)
}

func TestReadsWhatOpenSSLWrites(t *testing.T) {
	ca := testcert.NewCA(t, "root").Intermediate(t, "issuing")
	ec, rsa := openShop(t, ca.Leaf(t, hosts)), openShop(t, ca.Leaf(t, hosts, testcert.WithRSA(2048)))
	for _, c := range []struct {
		shop      shop
		cert, key string // commands
	}{
		{ec, "x509 -in leaf.pem", "pkey -in key.pem"},
		{ec, "x509 -in leaf.pem -text", "pkey -in key.pem -text"},
		{ec, "x509 -in leaf.pem -trustout -addtrust serverAuth -setalias mine", "ec -in key.pem"},
		{ec, "x509 -in leaf.pem -subject -issuer -dates", "ec -in key.pem -param_enc named_curve"},
		{rsa, "x509 -in leaf.pem", "rsa -in key.pem"},
		{rsa, "x509 -in leaf.pem", "rsa -in key.pem -traditional"},
		{rsa, "crl2pkcs7 -nocrl -certfile leaf.pem", "pkcs8 -topk8 -nocrypt -in key.pem"},
	} {
		t.Run(c.cert+" with "+c.key, func(t *testing.T) {
			cert := c.shop.run(c.cert)
			if strings.HasPrefix(c.cert, "crl2pkcs7") { // the conversion that the refusal advises
				c.shop.write("bundle.p7b", cert)
				refusedWith(t, cert, "openssl pkcs7 -print_certs -in bundle.p7b")
				cert = c.shop.run("pkcs7 -print_certs -in bundle.p7b")
			}
			pair := parse(t, cert, c.shop.run(c.key))
			checkPair(t, pair, &testcert.Leaf{Chain: c.shop.leaf.Chain[:1]})
		})
	}
}

// A PFX file is refused with a command; what the command writes goes into both fields.
func TestPFXSplitAsAdvised(t *testing.T) {
	s := openShop(t, testcert.NewCA(t, "root").Intermediate(t, "issuing").Leaf(t, hosts))
	pfx := s.run("pkcs12 -export -in chain.pem -inkey key.pem -name mine -passout pass:")
	s.write("bundle.pfx", pfx)
	refusedWith(t, b64([]byte(pfx)), "openssl pkcs12 -nodes -in bundle.pfx")
	refusedWith(t, pfx, "openssl pkcs12 -nodes -in bundle.pfx")

	bundle := s.run("pkcs12 -nodes -in bundle.pfx -passin pass:")
	if !strings.Contains(bundle, "Bag Attributes") {
		t.Fatal("got no bag attributes from OpenSSL, which this test is about")
	}
	pair := parse(t, bundle, bundle)
	checkPair(t, pair, s.leaf)
	if len(pair.Warnings) != 3 {
		t.Errorf("got warnings %q, want one for the key and two for the certificates", pair.Warnings)
	}
}

func TestRefusesWhatOpenSSLEncrypts(t *testing.T) {
	s := openShop(t, testcert.NewCA(t, "root").Leaf(t, hosts, testcert.WithRSA(2048)))
	for _, command := range []string{
		"pkey -in key.pem -aes256 -passout pass:secret",
		"rsa -in key.pem -traditional -aes128 -passout pass:secret",
		"pkcs8 -topk8 -in key.pem -passout pass:secret",
	} {
		_, err := keypair.Parse(s.leaf.CertPEM(), s.run(command), time.Now())
		if got := reason(t, err, "private_key"); got != keypair.EncryptedKey {
			t.Errorf("openssl %s: got reason %q (%v), want %q", command, got, err, keypair.EncryptedKey)
		}
	}
}

func TestRefusesOtherKindsOfKeysFromOpenSSL(t *testing.T) {
	s := openShop(t, testcert.SelfSigned(t, hosts))
	for command, says := range map[string]string{
		"genpkey -algorithm ed25519":                                                        "Ed25519",
		"genpkey -algorithm ed448":                                                          "Ed448",
		"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1":                  "Brainpool",
		"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1":                        "secp256k1",
		"ecparam -genkey -name secp224r1":                                                   "P-224",
		"ecparam -genkey -name prime256v1 -param_enc explicit":                              "curve",
		"genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048":                          "RSASSA-PSS",
		"genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_primes:3": "two primes",
		"pkey -in key.pem -pubout":                                                          "a public key",
	} {
		_, err := keypair.Parse(s.leaf.CertPEM(), s.run(command), time.Now())
		if got := reason(t, err, "private_key"); got != keypair.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("openssl %s: got %v, want a refusal that says %q", command, err, says)
		}
	}
}

// refusedWith checks that cert is refused with this command in its detail.
func refusedWith(t *testing.T, cert, command string) {
	t.Helper()
	_, err := keypair.Parse(cert, "", time.Now())
	if got := reason(t, err, "cert_content"); got != keypair.Invalid || !strings.Contains(err.Error(), command) {
		t.Errorf("got %v, want a refusal with %q", err, command)
	}
}

// A revocation list of an SM2 CA as OpenSSL makes it, by the commands of docs/sm2.md.
func TestReadsSM2RevocationListsOfOpenSSL(t *testing.T) {
	ca := testcert.NewCA(t, "root", testcert.WithSM2())
	s := openShop(t, ca.Dual(t, hosts).Sign)
	s.write("ca.pem", testcert.CertPEM(ca.Cert))
	s.write("ca.key", testcert.KeyPEM(ca.Key))
	s.write("index.txt", "")
	s.write("crlnumber", "01\n")
	s.write("ca.cnf", "[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sm3\ndefault_crl_days=30\n")
	const sign = "ca -config ca.cnf -cert ca.pem -keyfile ca.key "
	s.run(sign + "-revoke leaf.pem")
	for _, id := range []struct {
		option string
		good   bool
	}{{"-sigopt distid:1234567812345678", true}, {"-sigopt distid:somebody", false}} {
		list := s.run(sign + "-gencrl " + id.option)
		lists, err := keypair.ParseCRLs(list, []*x509.Certificate{ca.Cert}, time.Now())
		if id.good && (err != nil || len(lists) != 1 || lists[0].Revoked != 1 || lists[0].Number != "1") {
			t.Errorf("%s: got %+v, %v, want one list with one entry", id.option, lists, err)
		} else if !id.good && err == nil {
			t.Errorf("%s: taken, although the signature is for another identity", id.option)
		}
	}
}
