package keypair

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// readChain reads the certificates of cert_content as they come, each once. Other
// blocks are skipped with a warning.
func (u *upload) readChain(text string) ([]*x509.Certificate, error) {
	field := u.role.cert()
	blocks, err := readBlocks(field, text)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for i, b := range blocks {
		if b.kind != kindCertificate {
			u.warnf("PEM block %d of %s is %s and was skipped", i+1, field, b.kind)
			continue
		}
		cert, fault := readCertificate(b)
		if fault != "" {
			return nil, refuse(Invalid, field, "PEM block %d: %s", i+1, fault)
		}
		if err := u.role.checkWorld(field, cert); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(certs, cert.Equal) {
			u.warnf("certificate %s was sent more than once", nameOf(cert))
			continue
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		found := instead(text, blocks)
		return nil, refuse(Invalid, field, "a PEM certificate is expected, but this is %s: %s", found, found.advice())
	}
	return certs, nil
}

// readCertificate parses one certificate whose key may be served. A fault is told in
// words that quote no more than a certificate's public parts.
func readCertificate(b block) (cert *x509.Certificate, fault string) {
	der := b.der
	if b.trusted {
		der = withoutTrust(der)
	}
	var algorithm Algorithm
	if identifier, ok := keyIdentifier(der); ok {
		if algorithm, fault = algorithmOf(identifier); fault != "" {
			return nil, "the certificate is refused: " + fault
		}
	}
	cert, err := parseCertificate(der, algorithm)
	if err != nil {
		return nil, fmt.Sprintf("the certificate cannot be read: %.200q", err.Error())
	}
	if key, ok := cert.PublicKey.(*rsa.PublicKey); ok {
		if fault := refusedSize(key.N.BitLen()); fault != "" {
			return nil, fmt.Sprintf("certificate %s is refused: %s", nameOf(cert), fault)
		}
	}
	return cert, ""
}

// withoutTrust cuts off the trust settings that OpenSSL puts after a certificate in
// its TRUSTED CERTIFICATE blocks.
func withoutTrust(der []byte) []byte {
	rest := cryptobyte.String(der)
	var cert cryptobyte.String
	if rest.ReadASN1Element(&cert, asn1.SEQUENCE) {
		return cert
	}
	return der
}

// nameOf quotes what people know a certificate by, cut to 100 characters. It avoids
// pkix.Name.String, whose time is quadratic in the number of attributes.
func nameOf(cert *x509.Certificate) string {
	switch {
	case cert.Subject.CommonName != "":
		return fmt.Sprintf("%.100q", cert.Subject.CommonName)
	case len(cert.DNSNames) > 0:
		return fmt.Sprintf("%.100q", cert.DNSNames[0])
	case len(cert.Subject.Organization) > 0:
		return fmt.Sprintf("%.100q", cert.Subject.Organization[0])
	}
	return "without a name"
}

// selfIssued tells whether a certificate names itself as its issuer. A CA's certificate
// signed with its former key does not count: its two key identifiers differ.
func selfIssued(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer) &&
		(len(cert.AuthorityKeyId) == 0 || bytes.Equal(cert.AuthorityKeyId, cert.SubjectKeyId))
}

// servesTLS tells whether a certificate's extended key usage, if it has any, includes
// TLS servers (RFC 5280 section 4.2.1.12).
func servesTLS(cert *x509.Certificate) bool {
	return len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 ||
		slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) ||
		slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}
