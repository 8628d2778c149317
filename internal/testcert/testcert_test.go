package testcert_test

import (
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre/internal/testcert"
)

func TestLeafVerifiesUpToItsRoot(t *testing.T) {
	root := testcert.NewCA(t, "root")
	issuing := root.Intermediate(t, "policy").Intermediate(t, "issuing")
	leaf := issuing.Leaf(t, []string{"www.a.test", "*.b.test", "192.0.2.7"})

	if len(leaf.Chain) != 3 {
		t.Fatalf("got a chain of %d, want leaf and two intermediates", len(leaf.Chain))
	}
	between := x509.NewCertPool()
	for _, cert := range leaf.Chain[1:] {
		between.AddCert(cert)
	}
	for _, host := range []string{"www.a.test", "x.b.test", "192.0.2.7"} {
		_, err := leaf.Cert.Verify(x509.VerifyOptions{DNSName: host, Roots: root.Pool(), Intermediates: between})
		if err != nil {
			t.Errorf("verifying for %s: %v", host, err)
		}
	}
}

func TestPEMReadsBack(t *testing.T) {
	ca := testcert.NewCA(t, "root").Intermediate(t, "issuing")
	ec := ca.Leaf(t, []string{"ec.test"})
	rsa := ca.Leaf(t, []string{"rsa.test"}, testcert.WithRSA(2048))
	for name, c := range map[string]struct{ cert, key string }{
		"leaf and PKCS#8":   {ec.CertPEM(), ec.KeyPEM()},
		"chain and SEC 1":   {ec.ChainPEM(), ec.KeySEC1PEM()},
		"chain and PKCS#1":  {rsa.ChainPEM(), rsa.KeyPKCS1PEM()},
		"chain and PKCS#8":  {rsa.ChainPEM(), rsa.KeyPEM()},
		"CA and its key":    {ca.PEM(), testcert.KeyPEM(ca.Key)},
		"self-signed alone": selfSigned(t),
	} {
		if _, err := tls.X509KeyPair([]byte(c.cert), []byte(c.key)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, rest := pem.Decode([]byte(ec.ChainPEM())); len(rest) == 0 {
		t.Error("got one block in ChainPEM, want leaf and intermediate")
	}
}

func selfSigned(t *testing.T) struct{ cert, key string } {
	leaf := testcert.SelfSigned(t, []string{"self.test"})
	return struct{ cert, key string }{leaf.CertPEM(), leaf.KeyPEM()}
}

func TestLeafServesTLS(t *testing.T) {
	root := testcert.NewCA(t, "root")
	leaf := root.Intermediate(t, "issuing").Leaf(t, []string{"www.a.test"})
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go tls.Server(server, &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}}).Handshake()
	err := tls.Client(client, &tls.Config{ServerName: "www.a.test", RootCAs: root.Pool()}).Handshake()
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
}

func TestOptions(t *testing.T) {
	from, to := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	type facts struct {
		Org, KeyAlgorithm, Signature, Serial string
		From, To                             time.Time
		Usage                                x509.KeyUsage
		ExtUsage                             []x509.ExtKeyUsage
		Names                                int
	}
	c := testcert.NewCA(t, "root", testcert.WithRSA(2048)).Leaf(t, []string{"www.a.test"},
		testcert.WithECC(elliptic.P384()), testcert.WithoutSAN(), testcert.WithValidity(from, to),
		testcert.WithSubject(pkix.Name{Organization: []string{"A"}}), testcert.WithSerial(big.NewInt(13010)),
		testcert.WithSignature(x509.SHA512WithRSA), testcert.WithKeyUsage(x509.KeyUsageKeyAgreement),
		testcert.WithExtKeyUsage(x509.ExtKeyUsageClientAuth)).Cert
	got := facts{c.Subject.String(), c.PublicKeyAlgorithm.String(), c.SignatureAlgorithm.String(), c.SerialNumber.String(),
		c.NotBefore, c.NotAfter, c.KeyUsage, c.ExtKeyUsage, len(c.DNSNames)}
	want := facts{"O=A", "ECDSA", "SHA512-RSA", "13010", from, to,
		x509.KeyUsageKeyAgreement, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("leaf differs from its options (-want +got):\n%s", diff)
	}
	if testcert.NewCA(t, "not a CA", testcert.NotCA()).Cert.IsCA {
		t.Error("got a CA from NotCA")
	}
}

func TestKeysAreSharedOnlyAsDocumented(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	first, second := ca.Leaf(t, []string{"a.test"}), ca.Leaf(t, []string{"a.test"})
	if first.KeyPEM() == second.KeyPEM() {
		t.Error("got one P-256 key for two leaves")
	}
	zero, again, one := testcert.RSAKey(2048, 0), testcert.RSAKey(2048, 0), testcert.RSAKey(2048, 1)
	if zero != again || zero == one {
		t.Error("RSA keys are not one for each size and number")
	}
}

func BenchmarkLeaf(b *testing.B) {
	ca := testcert.NewCA(b, "root").Intermediate(b, "issuing")
	hosts := []string{"www.a.test"}
	for b.Loop() {
		ca.Leaf(b, hosts)
	}
}
