package keypair

import (
	"crypto/x509"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// crypto/x509 neither parses keys on the SM2 curve (GB/T 32918.5) nor verifies
// SM2-with-SM3 (OID 1.2.156.10197.1.501). These functions go to smx509 for the
// certificates that need it; its Certificate is the standard one under another name.

// ParseCertificate reads the DER of a certificate, whatever its key.
func ParseCertificate(der []byte) (*x509.Certificate, error) {
	var algorithm Algorithm
	if identifier, ok := keyIdentifier(der); ok {
		algorithm, _ = algorithmOf(identifier) // a fault is left to the parser
	}
	return parseCertificate(der, algorithm)
}

// parseCertificate reads the DER of a certificate whose key is of that algorithm.
func parseCertificate(der []byte, algorithm Algorithm) (*x509.Certificate, error) {
	if algorithm != SM2 {
		return x509.ParseCertificate(der)
	}
	cert, err := smx509.ParseCertificate(der)
	return cert.ToX509(), err
}

// isSM2 tells whether the key of a certificate is an SM2 key.
func isSM2(cert *x509.Certificate) bool { return sm2.IsSM2PublicKey(cert.PublicKey) }

// signedBy tells whether issuer's key signed child.
func signedBy(child, issuer *x509.Certificate) bool {
	if isSM2(issuer) {
		return (*smx509.Certificate)(child).CheckSignatureFrom((*smx509.Certificate)(issuer)) == nil
	}
	return child.CheckSignatureFrom(issuer) == nil
}

// listedBy tells whether issuer's key signed a revocation list, and may sign lists. That
// of an SM2 key must be by SM2-with-SM3.
func listedBy(list *x509.RevocationList, issuer *x509.Certificate) bool {
	if !isSM2(issuer) {
		return list.CheckSignatureFrom(issuer) == nil
	}
	gm, err := smx509.ParseRevocationList(list.Raw) // for the signature only, which crypto/x509 cannot name
	return err == nil && gm.SignatureAlgorithm == smx509.SM2WithSM3 &&
		gm.CheckSignatureFrom((*smx509.Certificate)(issuer)) == nil
}

// signedByItself tells whether a certificate, of a CA or not, is signed by its own key.
func signedByItself(cert *x509.Certificate) bool {
	if isSM2(cert) {
		own := (*smx509.Certificate)(cert)
		return own.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
	}
	return cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// signatureName is x509.SignatureAlgorithm.String, which does not know SM2-with-SM3.
func signatureName(algorithm x509.SignatureAlgorithm) string {
	if algorithm == smx509.SM2WithSM3 {
		return "SM2-SM3"
	}
	return algorithm.String()
}
