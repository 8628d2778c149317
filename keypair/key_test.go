package keypair_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

func TestKeyRefusals(t *testing.T) {
	leaf := testcert.SelfSigned(t, hosts)
	_, ed, _ := ed25519.GenerateKey(nil)
	p224 := testcert.SelfSigned(t, hosts, testcert.WithECC(elliptic.P224()))
	legacy := "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00FF\n\nAAAA"
	for name, c := range map[string]struct {
		key  string
		want keypair.Reason
		says string // what the uploader must read
	}{
		"PKCS#8 encrypted":     {wrap("ENCRYPTED PRIVATE KEY", "MAA="), keypair.EncryptedKey, "openssl pkey"},
		"legacy encrypted":     {wrap("RSA PRIVATE KEY", legacy), keypair.EncryptedKey, "openssl pkey"},
		"encrypted, CRLF":      {strings.ReplaceAll(wrap("EC PRIVATE KEY", legacy), "\n", "\r\n"), keypair.EncryptedKey, "openssl pkey"},
		"encrypted, one line":  {strings.ReplaceAll(wrap("EC PRIVATE KEY", legacy), "\n", " "), keypair.EncryptedKey, "openssl pkey"},
		"encrypted after text": {ecParameters + wrap("ENCRYPTED PRIVATE KEY", "MAA="), keypair.EncryptedKey, "openssl pkey"},
		"OpenSSH":              {wrap("OPENSSH PRIVATE KEY", "b3Bl"), keypair.Invalid, "ssh-keygen"},
		"DSA":                  {wrap("DSA PRIVATE KEY", "MAA="), keypair.Invalid, "RSA or ECDSA"},
		"Ed25519":              {testcert.KeyPEM(ed), keypair.Invalid, "Ed25519"},
		"P-224":                {p224.KeyPEM(), keypair.Invalid, "P-224"},
		"P-224 SEC 1":          {p224.KeySEC1PEM(), keypair.Invalid, "P-224"},
		"SEC 1, no curve":      {keyPEM(sequence(t, []byte{2, 1, 1}, []byte{4, 1, 1})), keypair.Invalid, "curve"},
		"RSA 1024":             {testcert.KeyPEM(testcert.RSAKey(1024, 0)), keypair.Invalid, "1024 bits"},
		"none":                 {"", keypair.Invalid, "nothing"},
		"parameters only":      {ecParameters, keypair.Invalid, "parameters"},
		"certificate":          {leaf.CertPEM(), keypair.Invalid, "cert_content"},
		"public key":           {wrap("PUBLIC KEY", "MAA="), keypair.Invalid, "public key"},
		"two keys":             {leaf.KeyPEM() + p224.KeyPEM(), keypair.Invalid, "exactly one"},
		"one key twice":        {leaf.KeyPEM() + leaf.KeyPEM(), keypair.Invalid, "exactly one"},
		"not DER":              {keyPEM([]byte("this is no key")), keypair.Invalid, "PKCS #8"},
		"no body":              {keyPEM(nil), keypair.Invalid, "PKCS #8"},
		"only a version":       {keyPEM(sequence(t, []byte{2, 1, 0})), keypair.Invalid, "PKCS #8"},
		"trailing bytes":       {keyPEM(append(decode(leaf.KeyPEM()), 0)), keypair.Invalid, "PKCS #8"},
		"EC with RSA inside":   {keyPEM(mislabelled(t)), keypair.Invalid, "elliptic-curve"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keypair.Parse(leaf.CertPEM(), c.key, time.Now())
			if got := reason(t, err, "private_key"); got != c.want {
				t.Errorf("got reason %q (%v), want %q", got, err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
}

// mislabelled is a PKCS#8 key that says P-256 and has an RSA key inside.
func mislabelled(t *testing.T) []byte {
	p256 := sequence(t, oid(t, 1, 2, 840, 10045, 2, 1), oid(t, 1, 2, 840, 10045, 3, 1, 7))
	inner, err := asn1.Marshal(x509.MarshalPKCS1PrivateKey(testcert.RSAKey(2048, 0)))
	if err != nil {
		t.Fatal(err)
	}
	return sequence(t, []byte{2, 1, 0}, p256, inner)
}

// rsaPrivateKey is RFC 8017's structure with every number free to be wrong.
type rsaPrivateKey struct {
	Version                         int
	N, E, D, P, Q, DP, DQ, QInverse *big.Int
}

// A key with bad numbers is refused by its sizes, before crypto/rsa computes with them:
// the detail names the size even though nothing else about the key is right.
func TestHostileRSAKeysAreRefusedBySize(t *testing.T) {
	leaf := testcert.SelfSigned(t, hosts, testcert.WithRSA(2048))
	sound := leaf.Key.(*rsa.PrivateKey)
	odd := func(bits uint) *big.Int { n := new(big.Int).Lsh(big.NewInt(1), bits); return n.Sub(n, big.NewInt(1)) }
	key := func(edit func(k *rsaPrivateKey)) []byte {
		k := rsaPrivateKey{0, sound.N, big.NewInt(int64(sound.E)), sound.D, sound.Primes[0], sound.Primes[1],
			sound.Precomputed.Dp, sound.Precomputed.Dq, sound.Precomputed.Qinv}
		edit(&k)
		der, err := asn1.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	all := func(bits uint) func(k *rsaPrivateKey) {
		return func(k *rsaPrivateKey) {
			n := odd(bits)
			*k = rsaPrivateKey{0, n, big.NewInt(3), n, n, n, n, n, n}
		}
	}
	for name, c := range map[string]struct {
		edit func(k *rsaPrivateKey)
		says string
	}{
		"16384 bits":           {all(16384), "16384 bits"},
		"8193 bits":            {all(8193), "8193 bits"},
		"100,000 bits":         {all(100000), "100000 bits"},
		"2047 bits":            {all(2047), "2047 bits"},
		"negative modulus":     {func(k *rsaPrivateKey) { k.N = new(big.Int).Neg(k.N) }, "not a valid RSA key"},
		"primes of full size":  {all(8192), "not a valid RSA key"},
		"huge prime":           {func(k *rsaPrivateKey) { k.P = odd(100000) }, "not a valid RSA key"},
		"huge exponent":        {func(k *rsaPrivateKey) { k.D = odd(100000) }, "not a valid RSA key"},
		"huge public exponent": {func(k *rsaPrivateKey) { k.E = odd(100000) }, "not a valid RSA key"},
		"huge CRT exponent":    {func(k *rsaPrivateKey) { k.DP = odd(100000) }, "not a valid RSA key"},
		"multi-prime version":  {func(k *rsaPrivateKey) { k.Version = 1 }, "not a valid RSA key"},
		"wrong prime":          {func(k *rsaPrivateKey) { k.P = new(big.Int).Sub(k.P, big.NewInt(2)) }, "not a valid RSA key"},
		"wrong exponent":       {func(k *rsaPrivateKey) { k.D = new(big.Int).Sub(k.D, big.NewInt(2)) }, "not a valid RSA key"},
		"even public exponent": {func(k *rsaPrivateKey) { k.E = big.NewInt(4) }, "not a valid RSA key"},
	} {
		t.Run(name, func(t *testing.T) {
			der := key(c.edit)
			if _, err := keypair.Parse(leaf.CertPEM(), keyPEM(der), time.Now()); !refusedFor(err, c.says) {
				t.Errorf("PKCS#1: got %v, want it to say %q", err, c.says)
			}
			octets, err := asn1.Marshal(der)
			if err != nil {
				t.Fatal(err)
			}
			pkcs8 := sequence(t, []byte{2, 1, 0}, sequence(t, oid(t, 1, 2, 840, 113549, 1, 1, 1), []byte{5, 0}), octets)
			if _, err := keypair.Parse(leaf.CertPEM(), keyPEM(pkcs8), time.Now()); !refusedFor(err, c.says) {
				t.Errorf("PKCS#8: got %v, want it to say %q", err, c.says)
			}
		})
	}
}

func refusedFor(err error, says string) bool {
	refused, ok := errors.AsType[*keypair.Error](err)
	return ok && refused.Reason == keypair.Invalid && strings.Contains(refused.Detail, says)
}

// However a key is damaged or misplaced, nothing that is said about it quotes it.
func TestNoMessageQuotesAKey(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	for _, leaf := range []*testcert.Leaf{ca.Leaf(t, hosts), ca.Leaf(t, hosts, testcert.WithRSA(2048))} {
		key := leaf.KeyPEM()
		secret := b64(decode(key))
		for name, text := range damaged(key) {
			for field, c := range map[string][2]string{
				"private_key":  {leaf.ChainPEM(), text},
				"cert_content": {text, leaf.KeyPEM()},
				"both":         {leaf.ChainPEM() + text, text + leaf.CertPEM()},
			} {
				pair, err := keypair.Parse(c[0], c[1], time.Now())
				quotesNothing(t, name+" in "+field, secret, said(pair, err))
			}
			_, err := keypair.ParseTrustRoots(text, time.Now())
			quotesNothing(t, name+" in trusted_root_ca", secret, said(nil, err))
		}
	}
}

// damaged returns a key's text in many wrong shapes.
func damaged(key string) map[string]string {
	body := b64(decode(key))
	texts := map[string]string{
		"sound":            key,
		"bare base64":      body,
		"in the label":     "-----BEGIN " + body + "-----\nMAA=\n-----END " + body + "-----\n",
		"in a header":      wrap("PRIVATE KEY", "Key: "+body+"\n\n"+body),
		"as header name":   wrap("PRIVATE KEY", body+": x\n\nMAA="),
		"not base64":       wrap("PRIVATE KEY", body+"!"),
		"as a certificate": wrap("CERTIFICATE", body),
		"as a request":     wrap("CERTIFICATE REQUEST", body),
		"encrypted":        wrap("ENCRYPTED PRIVATE KEY", body),
		"two":              key + key,
		"DER":              string(decode(key)),
		"no END":           strings.Split(key, "-----END")[0],
		"no BEGIN":         key[len("-----BEGIN "):],
	}
	for i := 0; i < len(body); i += 97 {
		texts["cut at "+body[i:i+1]+string(rune('a'+i%26))] = wrap("PRIVATE KEY", body[:i])
		der := decode(key)
		der[i%len(der)] ^= 0x55
		texts["flipped at "+string(rune('a'+i%26))] = keyPEM(der)
	}
	return texts
}

// said is everything an uploader gets to read.
func said(pair *keypair.Pair, err error) string {
	if err != nil {
		return err.Error()
	}
	if pair != nil {
		return strings.Join(pair.Warnings, "\n")
	}
	return ""
}

func quotesNothing(t *testing.T, name, secret, message string) {
	t.Helper()
	for i := 0; i+8 <= len(secret); i++ {
		if strings.Contains(message, secret[i:i+8]) {
			t.Errorf("%s: a message quotes 8 characters of the key", name)
			return
		}
	}
}

// The public half that an elliptic-curve key carries is not believed.
func TestECKeyWithAForeignPublicHalf(t *testing.T) {
	leaf, other := testcert.SelfSigned(t, hosts), testcert.SelfSigned(t, hosts)
	public := func(l *testcert.Leaf) []byte { return l.Cert.RawSubjectPublicKeyInfo[26:] }
	for form, text := range map[string]string{"SEC 1": other.KeySEC1PEM(), "PKCS #8": other.KeyPEM()} {
		if !bytes.Contains(decode(text), public(other)) {
			t.Fatalf("the %s key carries no public half", form)
		}
		forged := bytes.Replace(decode(text), public(other), public(leaf), 1)
		_, err := keypair.Parse(leaf.CertPEM(), keyPEM(forged), time.Now())
		if got := reason(t, err, "private_key"); got != keypair.KeyMismatch {
			t.Errorf("%s: got reason %q, want %q", form, got, keypair.KeyMismatch)
		}
	}
}

func decode(text string) []byte {
	b, _ := pem.Decode([]byte(text))
	return b.Bytes
}

func b64(der []byte) string { return base64.StdEncoding.EncodeToString(der) }

func wrap(label, body string) string {
	return "-----BEGIN " + label + "-----\n" + body + "\n-----END " + label + "-----\n"
}

func keyPEM(der []byte) string { return wrap("PRIVATE KEY", b64(der)) }
