package keypair

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"strings"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Algorithm is a certificate's algorithm type as the API names it.
type Algorithm string

// The algorithm types of the API page.
const (
	RSA Algorithm = "RSA"
	ECC Algorithm = "ECC"
	SM2 Algorithm = "SM2" // two pairs at once, see ParseSM2
)

// algorithmOf names the algorithm of an AlgorithmIdentifier (RFC 5280 section 4.1.1.2),
// found in a certificate or in PKCS#8. A fault says why such a key is refused.
func algorithmOf(identifier cryptobyte.String) (algorithm Algorithm, fault string) {
	var oid, curve asn1.ObjectIdentifier
	if !identifier.ReadASN1ObjectIdentifier(&oid) {
		return "", "its key algorithm cannot be read"
	}
	switch oid.String() {
	case "1.2.840.113549.1.1.1": // rsaEncryption, RFC 3279
		return RSA, ""
	case "1.2.840.10045.2.1": // id-ecPublicKey, RFC 5480; parameters name the curve
		if !identifier.ReadASN1ObjectIdentifier(&curve) {
			return ECC, "its elliptic curve has no name; P-256, P-384 or P-521 is expected"
		}
		return ofCurve(curve)
	case sm2OID: // GM/T 0010 names the key's algorithm by the curve
		return SM2, ""
	case "1.2.840.113549.1.1.10": // id-RSASSA-PSS, RFC 4055
		return "", "its key is restricted to RSASSA-PSS, which many TLS clients do not support; use plain RSA or ECDSA"
	case "1.3.101.112", "1.3.101.113": // RFC 8410
		return "", "its key is Ed25519 or Ed448, which browsers do not support in certificates; use RSA or ECDSA"
	case "1.2.840.10040.4.1": // id-dsa, RFC 3279; gone since TLS 1.3
		return "", "its key is DSA, which TLS clients do not support; use RSA or ECDSA"
	}
	return "", "its key algorithm is not supported; use RSA or ECDSA"
}

// sm2OID names the curve of SM2 keys (GM/T 0006).
const sm2OID = "1.2.156.10197.1.301"

// ofCurve names the algorithm of keys on a named curve, with the fault of a curve whose
// keys are refused.
func ofCurve(curve asn1.ObjectIdentifier) (Algorithm, string) {
	if curve.String() == sm2OID {
		return SM2, ""
	}
	return ECC, refusedCurve(curve)
}

// refusedCurve says why keys on a named curve are refused. Of those that are not SM2's,
// TLS 1.3 has signature schemes for the three NIST curves only (RFC 8446 section 4.2.3).
func refusedCurve(curve asn1.ObjectIdentifier) string {
	const expected = "; P-256, P-384 or P-521 is expected"
	name := curve.String()
	switch {
	case name == "1.2.840.10045.3.1.7", name == "1.3.132.0.34", name == "1.3.132.0.35":
		return ""
	case name == "1.3.132.0.33":
		return "its key is on the curve P-224, which cannot be used in TLS 1.3" + expected
	case name == "1.3.132.0.10":
		return "its key is on the curve secp256k1, which is not supported in TLS" + expected
	case strings.HasPrefix(name, "1.3.36.3.3.2.8."):
		return "its key is on a Brainpool curve, which browsers do not support" + expected
	}
	return "its key is on a curve that is not supported" + expected
}

// keyIdentifier finds the AlgorithmIdentifier of the key in a certificate's DER. It is
// read before crypto/x509 has its turn, which has one message for all unknown curves.
func keyIdentifier(der []byte) (identifier cryptobyte.String, ok bool) {
	outer := cryptobyte.String(der)
	var cert, tbs, spki cryptobyte.String
	version := tag.Tag(0).Constructed().ContextSpecific()
	ok = outer.ReadASN1(&cert, tag.SEQUENCE) && cert.ReadASN1(&tbs, tag.SEQUENCE) &&
		tbs.SkipOptionalASN1(version) &&
		tbs.SkipASN1(tag.INTEGER) && // serial number
		tbs.SkipASN1(tag.SEQUENCE) && // signature algorithm
		tbs.SkipASN1(tag.SEQUENCE) && // issuer
		tbs.SkipASN1(tag.SEQUENCE) && // validity
		tbs.SkipASN1(tag.SEQUENCE) && // subject
		tbs.ReadASN1(&spki, tag.SEQUENCE) && spki.ReadASN1(&identifier, tag.SEQUENCE)
	return identifier, ok
}

// refusedSize says why an RSA modulus of this many bits is refused. The upper limit
// holds for every certificate of an upload, since each is used to verify a signature.
func refusedSize(bits int) string {
	if bits < minRSABits || bits > maxRSABits {
		return fmt.Sprintf("its RSA key has %d bits; %d to %d are expected", bits, minRSABits, maxRSABits)
	}
	return ""
}

// refusedSignature says why a certificate signed like this is refused: SHA-1 and older
// digests can be forged, and clients reject them (RFC 9155).
func refusedSignature(cert *x509.Certificate) string {
	if isSM2(cert) {
		if cert.SignatureAlgorithm == smx509.SM2WithSM3 {
			return ""
		}
		return "its key is SM2 but it is not signed with SM2-with-SM3"
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		return ""
	case x509.UnknownSignatureAlgorithm:
		return "its signature algorithm is not supported; SHA-256 or stronger with RSA or ECDSA is expected"
	}
	return fmt.Sprintf("it is signed with %v, which clients do not accept; SHA-256 or stronger with RSA or ECDSA is expected",
		cert.SignatureAlgorithm)
}
