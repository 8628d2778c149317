package keypair

import (
	"crypto/x509"
	"fmt"
	"time"
)

// checkLeaf refuses a leaf that a TLS client would refuse whatever its issuer. Expiry
// and missing names have API errors of their own and come first. Both ends of the
// validity are included (RFC 5280 section 4.1.2.5).
func (u *upload) checkLeaf(leaf *x509.Certificate) error {
	if u.now.After(leaf.NotAfter) {
		return refuse(Expired, u.role.cert(), "certificate %s expired at %s", nameOf(leaf), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if names := len(leaf.DNSNames) + len(leaf.IPAddresses); names == 0 {
		return refuse(NoSAN, u.role.cert(),
			"certificate %s has no DNS name or IP address as subject alternative name; clients ignore the common name", nameOf(leaf))
	}
	if fault := refusedLeaf(leaf, u.role); fault != "" {
		return refuse(Invalid, u.role.cert(), "certificate %s is refused: %s", nameOf(leaf), fault)
	}
	u.warnEarly(leaf)
	if leaf.IsCA {
		u.warnf("certificate %s is a CA certificate; some clients refuse it as a server's", nameOf(leaf))
	}
	if large(leaf) {
		u.warnf("certificate %s has an RSA key of more than %d bits, which makes every handshake slow", nameOf(leaf), maxProvenBits)
	}
	return nil
}

// refusedLeaf says why a leaf in time and with names is refused none the less. The count
// of names guards what is done for each of them: index entries, and matching by Covers.
func refusedLeaf(leaf *x509.Certificate, role role) string {
	names := len(leaf.DNSNames) + len(leaf.IPAddresses) + len(leaf.EmailAddresses) + len(leaf.URIs)
	switch {
	case names > maxSANs:
		return fmt.Sprintf("it has %d subject alternative names, more than %d", names, maxSANs)
	case leaf.SerialNumber.BitLen() > 160: // RFC 5280 section 4.1.2.2
		return "its serial number is longer than 20 octets"
	case role == server && leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		// Those of SM2 were compared with their roles before. Key encipherment alone would serve the RSA key exchange only, which has no
		// forward secrecy and is gone from TLS 1.3.
		return "its key usage does not include digitalSignature, which every TLS 1.3 and ECDHE handshake needs"
	case !servesTLS(leaf):
		return "its extended key usage does not include serverAuth"
	case len(leaf.UnhandledCriticalExtensions) > 0:
		// This also keeps out precertificates (RFC 6962 section 3.1).
		return "it has the critical extension " + leaf.UnhandledCriticalExtensions[0].String() + ", which clients must not accept unknown"
	}
	return refusedSignature(leaf)
}

// warnEarly warns of a certificate whose validity has not begun: clients will refuse
// it until then, but uploading ahead of time is good practice.
func (u *upload) warnEarly(cert *x509.Certificate) {
	if u.now.Before(cert.NotBefore) {
		u.warnf("certificate %s is not valid before %s", nameOf(cert), cert.NotBefore.UTC().Format(time.RFC3339))
	}
}
