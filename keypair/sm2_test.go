package keypair_test

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"lacre/internal/testcert"
	"lacre/keypair"
)

// dual is an SM2 upload: the four texts.
type dual struct{ cert, key, signCert, signKey string }

func (d dual) parse(now time.Time) (*keypair.Pair, error) {
	return keypair.ParseSM2(d.cert, d.key, d.signCert, d.signKey, now)
}

func uploadOf(d *testcert.Dual) dual {
	return dual{d.Enc.ChainPEM(), d.Enc.KeyPEM(), d.Sign.ChainPEM(), d.Sign.KeyPEM()}
}

func newSM2CA(t testing.TB) *testcert.CA {
	return testcert.NewCA(t, "SM2 root", testcert.WithSM2()).Intermediate(t, "SM2 issuing", testcert.WithSM2())
}

func readText(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "sm2", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tongsuo is when the certificates that Tongsuo made are valid.
var tongsuo = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// The certificates and keys in testdata were made by Tongsuo.
func TestSM2PairsOfTongsuo(t *testing.T) {
	for _, form := range []string{"p8", "sec1"} {
		up := dual{readText(t, "server-enc.crt"), readText(t, "server-enc."+form+".key"),
			readText(t, "server-sign.crt") + readText(t, "ca.crt"), readText(t, "server-sign."+form+".key")}
		pair, err := up.parse(tongsuo)
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if f := pair.Facts; f.Algorithm != keypair.SM2 || f.SignatureAlgorithm != "SM2-SM3" || !f.Covers("gw.example.com") ||
			!f.Covers("a.example.com") || f.Covers("a.example.org") {
			t.Errorf("%s: got facts %+v", form, f)
		}
		if len(pair.Chain) != 1 || pair.Signing == nil || len(pair.Signing.Chain) != 1 || len(pair.Warnings) != 1 {
			t.Errorf("%s: got %+v, want two leaves and a warning about the root", form, pair)
		}
	}
	if roots, err := keypair.ParseSM2TrustRoots(readText(t, "ca.crt"), tongsuo); err != nil || len(roots) != 1 {
		t.Errorf("trust roots: %v, %v", roots, err)
	}
}

// TestSM2KeyForms: ecParameters and what stands in the files of various tools.
func TestSM2KeyForms(t *testing.T) {
	pairs := newSM2CA(t).Dual(t, hosts)
	private := pairs.Enc.Key.(*sm2.PrivateKey)
	curve, curveOID := asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	type ecKey struct {
		Version int
		Private []byte
		Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	}
	type gmKey struct {
		Version int
		Private *big.Int
		Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
		Public  asn1.BitString        `asn1:"optional,explicit,tag:1"`
	}
	type algorithm struct{ Algorithm, Curve asn1.ObjectIdentifier }
	type pkcs8 struct {
		Version   int
		Algorithm algorithm
		Private   []byte
	}
	type bare struct{ Algorithm asn1.ObjectIdentifier }
	type pkcs8Bare struct {
		Version   int
		Algorithm bare
		Private   []byte
	}
	der := func(v any) []byte {
		out, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	raw := private.D.FillBytes(make([]byte, 32))
	sec1 := der(ecKey{1, raw, curve})
	parameters := string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: der(curve)}))
	for name, key := range map[string]string{
		"PKCS #8":                       pairs.Enc.KeyPEM(),
		"SEC 1":                         pairs.Enc.KeySEC1PEM(),
		"SEC 1 with EC PARAMETERS":      parameters + pairs.Enc.KeySEC1PEM(),
		"SEC 1 without its public half": keyPEM(sec1),
		"SEC 1, a sign byte":            keyPEM(der(ecKey{1, append([]byte{0}, raw...), curve})),
		"GM/T 0010":                     keyPEM(der(gmKey{Version: 1, Private: private.D, Curve: curve})),
		"GM/T 0010, no curve":           keyPEM(der(gmKey{Version: 1, Private: private.D})),
		"PKCS #8 named by the curve":    keyPEM(der(pkcs8Bare{0, bare{curve}, der(ecKey{Version: 1, Private: raw})})),
		"PKCS #8 around GM/T 0010":      keyPEM(der(pkcs8{0, algorithm{curveOID, curve}, der(gmKey{Version: 1, Private: private.D})})),
	} {
		up := uploadOf(pairs)
		up.key = key
		pair, err := up.parse(time.Now())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !private.Equal(pair.Key) {
			t.Errorf("%s: got another key", name)
		}
	}
	order := sm2.P256().Params().N
	for name, key := range map[string][]byte{
		"zero":          der(gmKey{Version: 1, Private: big.NewInt(0), Curve: curve}),
		"negative":      der(gmKey{Version: 1, Private: big.NewInt(-5), Curve: curve}),
		"n-1":           der(ecKey{1, new(big.Int).Sub(order, big.NewInt(1)).Bytes(), curve}),
		"n":             der(ecKey{1, order.Bytes(), curve}),
		"33 octets":     der(ecKey{1, append([]byte{1}, raw...), curve}),
		"empty":         der(ecKey{1, nil, curve}),
		"version 2":     der(ecKey{2, raw, curve}),
		"of the future": der(gmKey{Version: 9, Private: private.D, Curve: curve}),
	} {
		up := uploadOf(pairs)
		up.key = keyPEM(key)
		_, err := up.parse(time.Now())
		if got := reason(t, err, "private_key"); got != keypair.Invalid {
			t.Errorf("%s: got reason %q (%v), want %q", name, got, err, keypair.Invalid)
		}
	}
}

func TestSM2ChainsAreOrderedAndLent(t *testing.T) {
	root := testcert.NewCA(t, "SM2 root", testcert.WithSM2())
	ca := root.Intermediate(t, "policy", testcert.WithSM2()).Intermediate(t, "issuing", testcert.WithSM2())
	pairs := ca.Dual(t, hosts)
	backwards := slices.Clone(pairs.Sign.Chain)
	slices.Reverse(backwards)
	for name, up := range map[string]dual{
		"as they should be":       uploadOf(pairs),
		"backwards":               {pairs.Enc.ChainPEM(), pairs.Enc.KeyPEM(), pemOf(backwards...), pairs.Sign.KeyPEM()},
		"only in the signing one": {pairs.Enc.CertPEM(), pairs.Enc.KeyPEM(), pairs.Sign.ChainPEM(), pairs.Sign.KeyPEM()},
		"only in the other one":   {pairs.Enc.ChainPEM(), pairs.Enc.KeyPEM(), pairs.Sign.CertPEM(), pairs.Sign.KeyPEM()},
	} {
		pair, err := up.parse(time.Now())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkChain(t, name+": encryption", pair.Chain, pairs.Enc, root)
		checkChain(t, name+": signing", pair.Signing.Chain, pairs.Sign, root)
	}
}

func checkChain(t *testing.T, name string, chain []*x509.Certificate, leaf *testcert.Leaf, root *testcert.CA) {
	t.Helper()
	if !slices.EqualFunc(chain, leaf.Chain, (*x509.Certificate).Equal) {
		t.Errorf("%s: got a chain of %d, want %d in order", name, len(chain), len(leaf.Chain))
	}
	roots, between := smx509.NewCertPool(), smx509.NewCertPool()
	roots.AddCert((*smx509.Certificate)(root.Cert))
	for _, cert := range chain[1:] {
		between.AddCert((*smx509.Certificate)(cert))
	}
	_, err := (*smx509.Certificate)(chain[0]).Verify(smx509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: "www.a.test"})
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func TestSM2Refusals(t *testing.T) {
	ca, other := newSM2CA(t), newSM2CA(t)
	pairs, foreign := ca.Dual(t, hosts), other.Dual(t, hosts)
	rsa, ecc := testcert.NewCA(t, "root").Leaf(t, hosts, testcert.WithRSA(2048)), testcert.NewCA(t, "root").Leaf(t, hosts)
	good := uploadOf(pairs)
	past := testcert.WithValidity(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	old, nameless := ca.Dual(t, hosts, past), ca.Dual(t, hosts, testcert.WithoutSAN())
	apart := ca.Dual(t, []string{"elsewhere.test"})
	unused := ca.Leaf(t, hosts, testcert.WithSM2(), testcert.WithKeyUsage(0))
	both := ca.Leaf(t, hosts, testcert.WithSM2(), testcert.WithKeyUsage(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment))
	eccCA := testcert.NewCA(t, "ECC root").Dual(t, hosts)
	for name, c := range map[string]struct {
		up    dual
		field string
		want  keypair.Reason
		says  string
	}{
		"pairs swapped":       {dual{good.signCert, good.signKey, good.cert, good.key}, "cert_content", keypair.WrongUsage, "swapped"},
		"keys swapped":        {dual{good.cert, good.signKey, good.signCert, good.key}, "private_key", keypair.KeyMismatch, "cert_content_sign"},
		"twice the signing":   {dual{good.signCert, good.signKey, good.signCert, good.signKey}, "cert_content", keypair.WrongUsage, "signing certificate"},
		"twice the other":     {dual{good.cert, good.key, good.cert, good.key}, "cert_content_sign", keypair.WrongUsage, "encryption certificate"},
		"no key usage":        {dual{unused.CertPEM(), unused.KeyPEM(), good.signCert, good.signKey}, "cert_content", keypair.WrongUsage, "neither"},
		"both usages":         {dual{both.CertPEM(), both.KeyPEM(), good.signCert, good.signKey}, "cert_content", keypair.WrongUsage, "at once"},
		"foreign key":         {dual{good.cert, foreign.Enc.KeyPEM(), good.signCert, good.signKey}, "private_key", keypair.KeyMismatch, ""},
		"foreign signing key": {dual{good.cert, good.key, good.signCert, foreign.Sign.KeyPEM()}, "private_key_sign", keypair.KeyMismatch, ""},
		"two CAs":             {dual{good.cert, good.key, foreign.Sign.ChainPEM(), foreign.Sign.KeyPEM()}, "cert_content_sign", keypair.BrokenChain, "one CA"},
		"RSA":                 {dual{rsa.ChainPEM(), rsa.KeyPEM(), good.signCert, good.signKey}, "cert_content", keypair.WrongAlgorithm, "RSA"},
		"ECC for signing":     {dual{good.cert, good.key, ecc.ChainPEM(), ecc.KeyPEM()}, "cert_content_sign", keypair.WrongAlgorithm, "ECC"},
		"ECC key":             {dual{good.cert, ecc.KeyPEM(), good.signCert, good.signKey}, "private_key", keypair.KeyMismatch, "SM2"},
		"signed by ECDSA":     {uploadOf(eccCA), "cert_content", keypair.Invalid, "SM2-with-SM3"},
		"expired":             {uploadOf(old), "cert_content", keypair.Expired, ""},
		"signing expired":     {dual{good.cert, good.key, old.Sign.ChainPEM(), old.Sign.KeyPEM()}, "cert_content_sign", keypair.Expired, ""},
		"no names":            {uploadOf(nameless), "cert_content", keypair.NoSAN, ""},
		"no names, signing":   {dual{good.cert, good.key, nameless.Sign.ChainPEM(), nameless.Sign.KeyPEM()}, "cert_content_sign", keypair.NoSAN, ""},
		"no common name":      {dual{good.cert, good.key, apart.Sign.ChainPEM(), apart.Sign.KeyPEM()}, "cert_content_sign", keypair.NoSAN, "none of the names"},
		"empty signing":       {dual{good.cert, good.key, "", good.signKey}, "cert_content_sign", keypair.Invalid, "nothing"},
		"empty signing key":   {dual{good.cert, good.key, good.signCert, ""}, "private_key_sign", keypair.Invalid, "nothing"},
	} {
		_, err := c.up.parse(time.Now())
		if got := reason(t, err, c.field); got != c.want {
			t.Errorf("%s: got reason %q (%v), want %q", name, got, err, c.want)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.says)
		}
	}
}

// The names of the facts are those that clients will accept from both certificates.
func TestSM2FactsHoldForBoth(t *testing.T) {
	ca := newSM2CA(t)
	from := time.Now().Add(-time.Hour).Truncate(time.Second).UTC()
	enc := ca.Dual(t, []string{"a.test", "b.test", "192.0.2.7"}, testcert.WithValidity(from, from.Add(10*time.Hour))).Enc
	sign := ca.Dual(t, []string{"B.test", "c.test", "192.0.2.7"}, testcert.WithValidity(from.Add(time.Minute), from.Add(9*time.Hour))).Sign
	pair, err := keypair.ParseSM2(enc.ChainPEM(), enc.KeyPEM(), sign.ChainPEM(), sign.KeyPEM(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f := pair.Facts
	if !slices.Equal(f.SANs, []string{"b.test", "192.0.2.7"}) || !f.NotBefore.Equal(from.Add(time.Minute)) || !f.NotAfter.Equal(from.Add(9*time.Hour)) {
		t.Errorf("got %v from %v to %v", f.SANs, f.NotBefore, f.NotAfter)
	}
	if f.SerialNumber != enc.Cert.SerialNumber.String() || len(pair.Warnings) != 1 {
		t.Errorf("got serial %s and warnings %q, want the encryption certificate's and one", f.SerialNumber, pair.Warnings)
	}
}

func TestSM2IsNotForTLS(t *testing.T) {
	pairs := newSM2CA(t).Dual(t, hosts)
	_, err := keypair.Parse(pairs.Sign.ChainPEM(), pairs.Sign.KeyPEM(), time.Now())
	if got := reason(t, err, "cert_content"); got != keypair.WrongAlgorithm {
		t.Errorf("got reason %q, want %q", got, keypair.WrongAlgorithm)
	}
	ecc := testcert.NewCA(t, "root")
	_, err = keypair.Parse(ecc.Leaf(t, hosts).ChainPEM(), pairs.Sign.KeyPEM(), time.Now())
	if got := reason(t, err, "private_key"); got != keypair.KeyMismatch {
		t.Errorf("an SM2 key: got reason %q, want %q", got, keypair.KeyMismatch)
	}
	_, err = keypair.ParseTrustRoots(readText(t, "ca.crt"), tongsuo)
	if got := reason(t, err, "trusted_root_ca"); got != keypair.WrongAlgorithm {
		t.Errorf("an SM2 root for TLS: got reason %q, want %q", got, keypair.WrongAlgorithm)
	}
	_, err = keypair.ParseSM2TrustRoots(ecc.PEM(), time.Now())
	if got := reason(t, err, "trusted_root_ca"); got != keypair.WrongAlgorithm {
		t.Errorf("an ECC root for SM2: got reason %q, want %q", got, keypair.WrongAlgorithm)
	}
}

// No changed bit in either leaf or the intermediate goes unnoticed.
func TestNoChangedByteOfSM2GoesUnnoticed(t *testing.T) {
	pairs := newSM2CA(t).Dual(t, hosts)
	good := uploadOf(pairs)
	change := func(cert *x509.Certificate, i int) string {
		changed := slices.Clone(cert.Raw)
		changed[i] ^= 1 << (i % 8)
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: changed}))
	}
	for i := range pairs.Enc.Cert.Raw {
		up := good
		up.cert = change(pairs.Enc.Cert, i) + pemOf(pairs.Enc.Chain[1])
		if _, err := up.parse(time.Now()); err == nil {
			t.Errorf("byte %d of the encryption certificate changed and was accepted", i)
		}
	}
	for i := range pairs.Sign.Cert.Raw {
		up := good
		up.signCert = change(pairs.Sign.Cert, i) + pemOf(pairs.Sign.Chain[1])
		if _, err := up.parse(time.Now()); err == nil {
			t.Errorf("byte %d of the signing certificate changed and was accepted", i)
		}
	}
}

func FuzzParseSM2(f *testing.F) {
	now := time.Now()
	up := uploadOf(newSM2CA(f).Dual(f, hosts))
	f.Add(up.cert, up.key, up.signCert, up.signKey)
	f.Add(up.signCert, up.signKey, up.cert, up.key)
	f.Add(readText(f, "server-enc.crt"), readText(f, "server-enc.sec1.key"), readText(f, "server-sign.crt"), readText(f, "server-sign.p8.key"))
	f.Add(up.cert, keyPEM([]byte{0x30, 6, 2, 1, 1, 2, 1, 7}), up.signCert, up.signKey)
	f.Fuzz(func(t *testing.T, cert, key, signCert, signKey string) {
		start := time.Now()
		pair, err := keypair.ParseSM2(cert, key, signCert, signKey, now)
		if took := time.Since(start); took > slowest {
			t.Errorf("took %v, want less than %v", took, slowest)
		}
		if err != nil {
			reason(t, err, err.(*keypair.Error).Field)
			return
		}
		again, err := keypair.ParseSM2(pemOf(pair.Chain...), testcert.KeyPEM(pair.Key), pemOf(pair.Signing.Chain...), testcert.KeyPEM(pair.Signing.Key), now)
		if err != nil || len(again.Chain) != len(pair.Chain) {
			t.Errorf("an accepted pair written out again: %v", err)
		}
	})
}

func BenchmarkParseSM2(b *testing.B) {
	up, now := uploadOf(newSM2CA(b).Dual(b, hosts)), time.Now()
	for b.Loop() {
		if _, err := up.parse(now); err != nil {
			b.Fatal(err)
		}
	}
}
