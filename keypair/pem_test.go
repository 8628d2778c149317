package keypair_test

import (
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

// The forms below were met in documentation, in tickets and in other people's clients.
func TestParseReadsPEMAsPeopleSendIt(t *testing.T) {
	leaf := testcert.NewCA(t, "root").Intermediate(t, "issuing").Leaf(t, hosts)
	replace := func(from, to string) func(string) string {
		return func(s string) string { return strings.ReplaceAll(s, from, to) }
	}
	for name, edit := range map[string]func(string) string{
		"CRLF":                     replace("\n", "\r\n"),
		"old Mac line ends":        replace("\n", "\r"),
		"backslash n":              replace("\n", `\n`),
		"backslash r backslash n":  replace("\n", `\r\n`),
		"line breaks lost":         replace("\n", ""),
		"line breaks as spaces":    replace("\n", " "),
		"indented":                 replace("\n", "\n\t  "),
		"trailing blanks":          replace("\n", " \t\n"),
		"blank lines":              replace("\n", "\n\n"),
		"no final newline":         strings.TrimSpace,
		"byte-order mark":          func(s string) string { return "\ufeff" + s },
		"single quotes":            func(s string) string { return "'" + s + "'" },
		"double quotes":            func(s string) string { return `"` + strings.TrimSpace(s) + `"` },
		"quotes and backslash n":   func(s string) string { return "'" + strings.ReplaceAll(s, "\n", `\n`) + "'" },
		"bag attributes":           replace("-----BEGIN", "Bag Attributes\n    friendlyName: a\nsubject=CN = www.a.test\n-----BEGIN"),
		"text around":              func(s string) string { return "this is mine:\n" + s + "\nkind regards" },
		"X509 CERTIFICATE":         replace(" CERTIFICATE-----", " X509 CERTIFICATE-----"),
		"TRUSTED CERTIFICATE":      trusted,
		"parameters ahead":         func(s string) string { return ecParameters + s },
		"headers ahead of the key": replace("PRIVATE KEY-----\nM", "PRIVATE KEY-----\nComment: mine\nX: y\n\nM"),
	} {
		t.Run(name, func(t *testing.T) {
			checkPair(t, parse(t, edit(leaf.ChainPEM()), edit(leaf.KeyPEM())), leaf)
		})
	}
}

// ecParameters is what openssl ecparam -genkey writes first: the name of a curve.
const ecParameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"

// trusted rewrites certificates the way openssl x509 -trustout does: with a sequence of
// trust settings after the DER.
func trusted(text string) string {
	var out strings.Builder
	for b, rest := pem.Decode([]byte(text)); b != nil; b, rest = pem.Decode(rest) {
		if b.Type == "CERTIFICATE" {
			b = &pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: append(b.Bytes, 0x30, 0x02, 0x30, 0x00)}
		}
		out.Write(pem.EncodeToMemory(b))
	}
	return out.String()
}

func TestStrayBlocksAreSkippedWithAWarning(t *testing.T) {
	leaf := testcert.NewCA(t, "root").Intermediate(t, "issuing").Leaf(t, hosts)
	for name, c := range map[string]struct {
		cert, key string
		warnings  int
	}{
		"key in cert_content":   {leaf.ChainPEM() + leaf.KeyPEM(), leaf.KeyPEM(), 1},
		"chain in private_key":  {leaf.ChainPEM(), leaf.ChainPEM() + leaf.KeyPEM(), 2},
		"request beside":        {wrap("CERTIFICATE REQUEST", "MAA=") + leaf.ChainPEM(), leaf.KeyPEM(), 1},
		"parameters beside key": {leaf.ChainPEM(), ecParameters + leaf.KeySEC1PEM(), 0},
	} {
		t.Run(name, func(t *testing.T) {
			pair := parse(t, c.cert, c.key)
			checkPair(t, pair, leaf)
			if len(pair.Warnings) != c.warnings {
				t.Errorf("got warnings %q, want %d", pair.Warnings, c.warnings)
			}
		})
	}
}

// Every refusal of a foreign format tells how to convert it.
func TestForeignFormats(t *testing.T) {
	leaf := testcert.SelfSigned(t, hosts)
	certDER, keyDER := decode(leaf.CertPEM()), decode(leaf.KeyPEM())
	bare := func(label string) string { // PEM that lost its BEGIN and END lines
		text := wrap(label, "")
		return strings.NewReplacer("-----BEGIN "+label+"-----", "", "-----END "+label+"-----", "").Replace(text)
	}
	for name, c := range map[string]struct{ text, advice string }{
		"empty":               {"", "BEGIN and END"},
		"blank":               {" \r\n", "BEGIN and END"},
		"bare lines":          {bare("X"), "BEGIN and END"},
		"prose":               {"see attachment", "BEGIN and END"},
		"example of the page": {"'-----BEGIN CERTIFICATE-----THIS IS YOUR CERT CONTENT-----END CERTIFICATE-----'", "base64"},
		"cut short":           {leaf.CertPEM()[:200], "END line"},
		"wrong END":           {strings.Replace(leaf.CertPEM(), "END CERT", "END CRET", 1), "END line"},
		"base64 of DER":       {b64(certDER), "openssl x509 -inform DER"},
		"DER":                 {string(certDER), "openssl x509 -inform DER"},
		"DER through JSON":    {strings.ToValidUTF8(string(certDER), "\ufffd"), "openssl x509 -inform DER"},
		"base64 of a key":     {b64(keyDER), "openssl pkey -inform DER"},
		"base64 of a PFX":     {b64(sequence(t, []byte{2, 1, 3}, sequence(t))), "openssl pkcs12"},
		"base64 of a P7B":     {b64(sequence(t, oid(t, 1, 2, 840, 113549, 1, 7, 2))), "openssl pkcs7"},
		"P7B":                 {wrap("PKCS7", "MAA="), "openssl pkcs7"},
		"request":             {wrap("NEW CERTIFICATE REQUEST", "MAA="), "the CA issued"},
		"public key":          {wrap("PUBLIC KEY", "MAA="), "neither"},
		"parameters":          {ecParameters, "BEGIN and END"},
		"key":                 {leaf.KeyPEM(), "private_key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keypair.Parse(c.text, leaf.KeyPEM(), time.Now())
			if got := reason(t, err, "cert_content"); got != keypair.Invalid {
				t.Errorf("got reason %q, want %q", got, keypair.Invalid)
			}
			if err != nil && !strings.Contains(err.Error(), c.advice) {
				t.Errorf("got %v, want it to say %q", err, c.advice)
			}
		})
	}
}

func TestLimitsOnText(t *testing.T) {
	leaf := testcert.NewCA(t, "root").Leaf(t, hosts)
	chain, key := leaf.ChainPEM(), leaf.KeyPEM()
	pad := func(text string, n int) string { return text + strings.Repeat(" ", n-len(text)) }
	request := wrap("CERTIFICATE REQUEST", "MAA=")
	const limit = 256 << 10
	for name, c := range map[string]struct {
		cert, key string
		field     string // that is refused, if any
	}{
		"longest texts":        {pad(chain, limit), pad(key, limit), ""},
		"long cert_content":    {pad(chain, limit+1), key, "cert_content"},
		"long private_key":     {chain, pad(key, limit+1), "private_key"},
		"twelve blocks":        {chain + strings.Repeat(request, 11), key, ""},
		"thirteen blocks":      {chain + strings.Repeat(request, 12), key, "cert_content"},
		"thirteen key blocks":  {chain, strings.Repeat(ecParameters, 12) + key, "private_key"},
		"only BEGIN lines":     {strings.Repeat("-----BEGIN CERTIFICATE-----\n", 9000), key, "cert_content"},
		"only dashes":          {strings.Repeat("-", limit), key, "cert_content"},
		"headers without end":  {chain, wrap("PRIVATE KEY", strings.Repeat("a:b\n", 60000)), "private_key"},
		"many escapes":         {strings.Repeat(`\n`, limit/2), key, "cert_content"},
		"blanks in the base64": {wrap("CERTIFICATE", strings.Repeat("A ", 120000)), key, "cert_content"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keypair.Parse(c.cert, c.key, time.Now())
			want := keypair.Reason("")
			if c.field != "" {
				want = keypair.Invalid
			}
			if got := reason(t, err, c.field); got != want {
				t.Errorf("got reason %q (%v), want %q", got, err, want)
			}
		})
	}
}
