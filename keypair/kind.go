package keypair

import (
	"encoding/base64"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// kind is what an uploaded text or block turns out to be, in the words that errors and
// warnings use for it. Naming the kind instead of quoting the text is what keeps key
// material out of messages.
type kind string

const (
	kindCertificate  kind = "a certificate"
	kindKey          kind = "a private key"
	kindEncryptedKey kind = "an encrypted private key"
	kindDSAKey       kind = "a DSA private key"
	kindOpenSSHKey   kind = "an OpenSSH private key"
	kindParameters   kind = "a block of parameters"
	kindRequest      kind = "a certificate signing request"
	kindCRL          kind = "a certificate revocation list"
	kindPublicKey    kind = "a public key"
	kindPKCS7        kind = "a PKCS #7 (P7B) bundle"
	kindPKCS12       kind = "a PKCS #12 (PFX) bundle"
	kindBinary       kind = "binary data (DER)"
	kindBinaryKey    kind = "a private key in DER form"
	kindEmpty        kind = "nothing"
	kindUnknown      kind = "something else"
)

// kindOf names a block by its label (RFC 7468, and OpenSSL's own). Unknown labels are
// never quoted: in a damaged upload they may be anything.
func kindOf(label string) kind {
	switch label {
	case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
		return kindCertificate
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		return kindKey
	case "ENCRYPTED PRIVATE KEY":
		return kindEncryptedKey
	case "DSA PRIVATE KEY":
		return kindDSAKey
	case "OPENSSH PRIVATE KEY":
		return kindOpenSSHKey
	case "EC PARAMETERS", "DSA PARAMETERS", "DH PARAMETERS":
		return kindParameters
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return kindRequest
	case "X509 CRL":
		return kindCRL
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return kindPublicKey
	case "PKCS7", "CMS", "PKCS #7 SIGNED DATA":
		return kindPKCS7
	}
	return kindUnknown
}

// sniff says what a text without any PEM block seems to be: binary, or base64 that lost
// its BEGIN and END lines. Binary that came through JSON is mangled, so no more than its
// first bytes can be relied on.
func sniff(text string) kind {
	text = strings.TrimPrefix(text, "\ufeff")
	if strings.TrimSpace(text) == "" {
		return kindEmpty
	}
	if text[0] == 0x30 && len(text) > 1 && text[1] >= 0x80 { // SEQUENCE, long length
		return sniffDER([]byte(text))
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err == nil && len(der) > 1 && der[0] == 0x30 {
		return sniffDER(der)
	}
	return kindUnknown
}

// sniffDER tells structures apart by the first element in the outer SEQUENCE: bundles by
// their content type or version, keys by starting with a version, and certificates by
// starting with another sequence. It is a guess that only chooses the advice.
func sniffDER(der []byte) kind {
	outer := cryptobyte.String(der)
	var inner cryptobyte.String
	if !outer.ReadASN1(&inner, asn1.SEQUENCE) {
		return kindBinary
	}
	if inner.PeekASN1Tag(asn1.OBJECT_IDENTIFIER) {
		return kindPKCS7
	}
	if !inner.PeekASN1Tag(asn1.INTEGER) {
		return kindBinary
	}
	var version int
	if inner.ReadASN1Integer(&version) && version == 3 { // PFX, RFC 7292 section 4
		return kindPKCS12
	}
	return kindBinaryKey
}

// advice says what to do about a text that is k where a certificate or a private key
// was expected. The commands are OpenSSL's and OpenSSH's and run as they stand, but for
// the file names.
func (k kind) advice() string {
	switch k {
	case kindRequest:
		return "send the certificate that the CA issued for it"
	case kindCRL:
		return "send it with PUT …/certificates/{certificate_id}/crl"
	case kindPublicKey:
		return "it is neither a certificate nor the private key that belongs to one"
	case kindCertificate:
		return "send it in cert_content and its private key here"
	case kindKey:
		return "send it in private_key and the certificate here"
	case kindEncryptedKey:
		return "remove the passphrase with: openssl pkey -in key.pem -out plain.pem"
	case kindOpenSSHKey:
		return "convert a copy of it with: ssh-keygen -p -N '' -m PKCS8 -f key"
	case kindPKCS7:
		return "convert it with: openssl pkcs7 -print_certs -in bundle.p7b -out chain.pem (add -inform DER if it is binary)"
	case kindPKCS12:
		return "split it with: openssl pkcs12 -nodes -in bundle.pfx -out bundle.pem"
	case kindBinaryKey:
		return "convert it with: openssl pkey -inform DER -in key.der -out key.pem"
	case kindBinary:
		return "convert it with: openssl x509 -inform DER -in cert.der -out cert.pem (a PFX with: openssl pkcs12 -nodes)"
	case kindDSAKey:
		return "TLS clients do not support DSA, use RSA or ECDSA"
	}
	return "send the text of the PEM file, its BEGIN and END lines included"
}

// instead describes an upload that does not have what was wanted in it, by the first
// block that says something, or by the bare text.
func instead(text string, blocks []block) kind {
	for _, b := range blocks {
		if b.kind != kindParameters {
			return b.kind
		}
	}
	if len(blocks) > 0 {
		return kindParameters
	}
	return sniff(text)
}
