package tlcp

import (
	"bytes"
	"crypto/x509"
	"errors"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// parsePeer parses certificates as sent: signing, encryption, then CAs. Only the CAs may
// have other keys than SM2 ones; they count when a chain is built.
func parsePeer(ders [][]byte) ([]*smx509.Certificate, error) {
	certs := make([]*smx509.Certificate, len(ders))
	for i, der := range ders {
		c, err := smx509.ParseCertificate(der)
		if err != nil {
			return nil, refuse(AlertBadCertificate, "certificate %d: %w", i, err)
		}
		certs[i] = c
	}
	return certs, nil
}

// hasEncryption tells whether a client's list goes on with an encryption certificate.
// With the ECC suites it may be missing, and a CA may come next.
func hasEncryption(certs []*smx509.Certificate) bool { return len(certs) > 1 && !certs[1].IsCA }

// checkRoles checks algorithm and usage of the leaves. KeyUsage must be there: it is all
// that tells them apart.
func checkRoles(certs []*smx509.Certificate, encryption bool) error {
	switch {
	case publicKey(certs[0]) == nil || encryption && publicKey(certs[1]) == nil:
		return refuse(AlertUnsupportedCertificate, "a certificate has no SM2 key")
	case !canSign(certs[0]):
		return refuse(AlertUnsupportedCertificate, "the signing certificate does not allow digitalSignature")
	case encryption && !canEncrypt(certs[1]):
		return refuse(AlertUnsupportedCertificate, "the encryption certificate does not allow encipherment alone")
	}
	return nil
}

// verifyChains verifies both leaves up to roots, with what follows them as intermediates.
// The other leaf is never part of a chain. It returns the chains of each, those of the
// encryption certificate nil if there is none.
func verifyChains(certs []*smx509.Certificate, encryption bool, roots *smx509.CertPool, now time.Time, usage x509.ExtKeyUsage) (
	sign, enc [][]*smx509.Certificate, err error,
) {
	leaves := 1
	if encryption {
		leaves = 2
	}
	options := smx509.VerifyOptions{
		Roots: roots, Intermediates: smx509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	}
	for _, ca := range certs[leaves:] {
		options.Intermediates.AddCert(ca)
	}
	if sign, err = certs[0].Verify(options); err != nil {
		return nil, nil, refuse(alertOf(err), "the signing certificate: %w", err)
	}
	if encryption {
		if enc, err = certs[1].Verify(options); err != nil {
			return nil, nil, refuse(encryptionAlert(err), "the encryption certificate: %w", err)
		}
	}
	return sign, enc, nil
}

// alertOf is the alert for a certificate that does not verify.
func alertOf(err error) Alert {
	if _, ok := errors.AsType[smx509.UnknownAuthorityError](err); ok {
		return AlertUnknownCA
	}
	if invalid, ok := errors.AsType[smx509.CertificateInvalidError](err); ok {
		switch invalid.Reason {
		case smx509.Expired:
			return AlertCertificateExpired
		case smx509.IncompatibleUsage:
			return AlertUnsupportedCertificate
		}
	}
	return AlertBadCertificate
}

// encryptionAlert does not call the CA unknown, for the signing certificate's was known:
// the two do not belong together.
func encryptionAlert(err error) Alert {
	if a := alertOf(err); a != AlertUnknownCA {
		return a
	}
	return AlertBadCertificate
}

// verifyServer checks the certificates of a server.
func (c *Conn) verifyServer(certs []*smx509.Certificate) error {
	if len(certs) < 2 {
		return refuse(AlertBadCertificate, "the server sent %d certificates, want two", len(certs))
	}
	if err := checkRoles(certs, true); err != nil {
		return err
	}
	c.peer = certs
	if c.config.InsecureSkipVerify {
		return nil
	}
	var err error
	c.chains, c.encChains, err = verifyChains(certs, true, c.config.RootCAs, c.config.now(), x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	for _, leaf := range certs[:2] {
		if err := leaf.VerifyHostname(c.config.ServerName); err != nil {
			return refuse(AlertBadCertificate, "%w", err)
		}
	}
	return nil
}

// verifyClient checks the certificates of a client, in a handshake or when it resumes.
func (c *Conn) verifyClient(certs []*smx509.Certificate, ecdhe bool) error {
	switch {
	case len(certs) == 0 && (ecdhe || c.config.ClientAuth == RequireAndVerifyClientCert):
		return refuse(AlertHandshakeFailure, "the client sent no certificate")
	case len(certs) == 0:
		return nil
	case ecdhe && !hasEncryption(certs):
		return refuse(AlertHandshakeFailure, "the client sent no encryption certificate, which %s needs",
			CipherSuiteName(c.suite))
	}
	sign, enc, err := VerifyClient(certs, c.config.ClientCAs, c.config.now())
	if err != nil {
		return err
	}
	c.peer, c.chains, c.encChains = certs, sign, enc
	return nil
}

// VerifyClient verifies the certificates of a client as a server's handshake does: as sent,
// at least one, up to roots, as of now. It returns the chains of the signing certificate
// and those of the encryption certificate, nil if the client sent none. Nil roots verify
// nobody.
func VerifyClient(certs []*smx509.Certificate, roots *smx509.CertPool, now time.Time) (sign, enc [][]*smx509.Certificate, err error) {
	if len(certs) == 0 {
		return nil, nil, refuse(AlertHandshakeFailure, "the client sent no certificate")
	}
	encryption := hasEncryption(certs)
	if err := checkRoles(certs, encryption); err != nil {
		return nil, nil, err
	}
	if encryption && !bytes.Equal(certs[0].RawSubject, certs[1].RawSubject) {
		return nil, nil, refuse(AlertBadCertificate, "the client's two certificates name different subjects")
	}
	if roots == nil { // nil would mean the system's
		roots = smx509.NewCertPool()
	}
	return verifyChains(certs, encryption, roots, now, x509.ExtKeyUsageClientAuth)
}

// verifyPeer lets the caller have the last word.
func (c *Conn) verifyPeer() error {
	if c.config.VerifyPeer == nil {
		return nil
	}
	if err := c.config.VerifyPeer(c.state()); err != nil {
		return refuseFor(err, AlertBadCertificate)
	}
	return nil
}
