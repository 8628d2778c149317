package keypair_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

func extension(critical bool, id ...int) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier(id), Critical: critical, Value: []byte{0x30, 0}}
}

func with(e pkix.Extension) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) { l.ExtraExtensions = append(l.ExtraExtensions, e) }
}

func TestParseCRLs(t *testing.T) {
	now := time.Now()
	a, b := testcert.NewCA(t, "a"), testcert.NewCA(t, "b", testcert.WithRSA(2048))
	below := a.Intermediate(t, "below")
	impostor := testcert.NewCA(t, "a") // the name of a, another key
	mute := testcert.NewCA(t, "mute", testcert.WithKeyUsage(x509.KeyUsageCertSign))
	leaf := a.Leaf(t, hosts)
	revoked := []*x509.Certificate{leaf.Cert}
	// mute's own key may not sign lists: a twin that may does it.
	twin := &testcert.CA{Cert: mute.Cert, Key: mute.Key}
	permissive := *mute.Cert
	permissive.KeyUsage |= x509.KeyUsageCRLSign
	twin.Cert = &permissive
	indirect := func(l *x509.RevocationList) {
		l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{extension(true, 2, 5, 29, 29)}
	}
	flipped := a.CRL(t, revoked)
	flipped[len(flipped)-1] ^= 1
	huge := func(l *x509.RevocationList) {
		for i := range 32_000 {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: new(big.Int).Lsh(big.NewInt(int64(i+1)), 100), RevocationTime: now})
		}
	}
	day := 24 * time.Hour
	gm := testcert.NewCA(t, "gm", testcert.WithSM2())
	gmFlipped := gm.CRL(t, revoked)
	gmFlipped[len(gmFlipped)-1] ^= 1
	for name, c := range map[string]struct {
		text string
		want []int // entries of each list
		says string
	}{
		"one":                 {testcert.CRLPEM(a.CRL(t, revoked)), []int{1}, ""},
		"nobody revoked":      {testcert.CRLPEM(a.CRL(t, nil)), []int{0}, ""},
		"of two roots":        {testcert.CRLPEM(a.CRL(t, revoked), b.CRL(t, nil)), []int{1, 0}, ""},
		"base64 of DER":       {base64.StdEncoding.EncodeToString(a.CRL(t, revoked)), []int{1}, ""},
		"text around":         {"# from the CA\r\n" + strings.ReplaceAll(testcert.CRLPEM(a.CRL(t, revoked)), "\n", `\n`), []int{1}, ""},
		"of a below":          {testcert.CRLPEM(below.CRL(t, nil)), []int{0}, ""},
		"of an SM2 root":      {testcert.CRLPEM(gm.CRL(t, revoked)), []int{1}, ""},
		"of both kinds":       {testcert.CRLPEM(gm.CRL(t, nil), a.CRL(t, revoked)), []int{0, 1}, ""},
		"SM2 of DER":          {base64.StdEncoding.EncodeToString(gm.CRL(t, revoked)), []int{1}, ""},
		"of an SM2 namesake":  {testcert.CRLPEM(testcert.NewCA(t, "gm", testcert.WithSM2()).CRL(t, nil)), nil, "not issued by a trust root"},
		"ECC by an SM2 name":  {testcert.CRLPEM(testcert.NewCA(t, "gm").CRL(t, nil)), nil, "not issued by a trust root"},
		"SM2 by an ECC name":  {testcert.CRLPEM(testcert.NewCA(t, "a", testcert.WithSM2()).CRL(t, nil)), nil, "not issued by a trust root"},
		"SM2, bad signature":  {testcert.CRLPEM(gmFlipped), nil, "not issued by a trust root"},
		"SM2, stale":          {testcert.CRLPEM(gm.CRL(t, nil, testcert.CRLValidity(now.Add(-2*day), now.Add(-day)))), nil, "stale"},
		"of an unknown CA":    {testcert.CRLPEM(testcert.NewCA(t, "c").CRL(t, nil)), nil, "not issued by a trust root"},
		"of a namesake":       {testcert.CRLPEM(impostor.CRL(t, nil)), nil, "not issued by a trust root"},
		"a root that may not": {testcert.CRLPEM(twin.CRL(t, nil)), nil, "not issued by a trust root"},
		"a bad signature":     {testcert.CRLPEM(flipped), nil, "not issued by a trust root"},
		"two of one root":     {testcert.CRLPEM(a.CRL(t, nil), a.CRL(t, revoked)), nil, "second one of CN=a"},
		"stale":               {testcert.CRLPEM(a.CRL(t, nil, testcert.CRLValidity(now.Add(-2*day), now.Add(-day)))), nil, "stale"},
		"not in force":        {testcert.CRLPEM(a.CRL(t, nil, testcert.CRLValidity(now.Add(time.Hour), now.Add(day)))), nil, "not in force"},
		"delta":               {testcert.CRLPEM(a.CRL(t, nil, with(extension(true, 2, 5, 29, 27)))), nil, "delta"},
		"a delta that is shy": {testcert.CRLPEM(a.CRL(t, nil, with(extension(false, 2, 5, 29, 27)))), nil, "delta"},
		"partitioned":         {testcert.CRLPEM(a.CRL(t, nil, with(extension(false, 2, 5, 29, 28)))), nil, "partitioned"},
		"indirect":            {testcert.CRLPEM(a.CRL(t, revoked, indirect)), nil, "indirect"},
		"critical unknown":    {testcert.CRLPEM(a.CRL(t, nil, with(extension(true, 1, 2, 3)))), nil, "critical"},
		"a certificate":       {a.PEM(), nil, "is a certificate"},
		"a certificate in it": {wrap("X509 CRL", base64.StdEncoding.EncodeToString(a.Cert.Raw)), nil, "not one, or damaged"},
		"damaged":             {wrap("X509 CRL", "MAA="), nil, "not one, or damaged"},
		"DER":                 {string(a.CRL(t, nil)), nil, "expected revocation lists"},
		"empty":               {" \n", nil, "expected revocation lists"},
		"too large in DER":    {testcert.CRLPEM(a.CRL(t, nil, huge)), nil, "more than 1048576"},
		"too long a text":     {strings.Repeat(" ", 2<<20), nil, "bytes long"},
	} {
		t.Run(name, func(t *testing.T) {
			roots := []*x509.Certificate{b.Cert, mute.Cert, a.Cert, below.Cert, gm.Cert}
			lists, err := keypair.ParseCRLs(c.text, roots, now)
			if c.says != "" {
				if got := reason(t, err, "crl"); got != keypair.Invalid || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want a refusal that says %q", err, c.says)
				}
				return
			}
			if err != nil || len(lists) != len(c.want) {
				t.Fatalf("got %d lists, %v, want %d", len(lists), err, len(c.want))
			}
			for i, list := range lists {
				if list.Revoked != c.want[i] || list.Number != "1" || list.NextUpdate.Before(now) {
					t.Errorf("list %d: got %+v, want %d entries", i+1, list, c.want[i])
				}
			}
		})
	}
}

// A list is known by its issuer's name and key, whoever has certified that key.
func TestIssuerID(t *testing.T) {
	a, other := testcert.NewCA(t, "a"), testcert.NewCA(t, "a")
	crossed := testcert.NewCA(t, "root").Intermediate(t, "a", testcert.WithKey(a.Key))
	lists, err := keypair.ParseCRLs(testcert.CRLPEM(a.CRL(t, nil)), []*x509.Certificate{a.Cert}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if id := lists[0].IssuerID; id != keypair.IssuerID(a.Cert) || id != keypair.IssuerID(crossed.Cert) {
		t.Error("the issuer's own id and that of its cross certificate differ from the list's")
	}
	if keypair.IssuerID(a.Cert) == keypair.IssuerID(other.Cert) {
		t.Error("two CAs of one name have the same id")
	}
}
