package keypair

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"time"
)

// order arranges certs, which include leaf, into the chain to send: leaf first, each
// signed by the next, no root. Every link is verified, once. A certificate that has no
// place in the chain is refused: it is likelier the wrong file than a spare.
func (u *upload) order(leaf *x509.Certificate, certs []*x509.Certificate) ([]*x509.Certificate, error) {
	chain := []*x509.Certificate{leaf}
	spare := slices.DeleteFunc(slices.Clone(certs), func(c *x509.Certificate) bool { return c == leaf })
	for child := leaf; !selfIssued(child); {
		issuer := issuerOf(child, spare)
		if issuer == nil {
			break
		}
		spare = slices.DeleteFunc(spare, func(c *x509.Certificate) bool { return c == issuer })
		if err := u.checkLink(chain, issuer); err != nil {
			return nil, err
		}
		chain, child = append(chain, issuer), issuer
	}
	if err := u.checkSpare(chain, spare); err != nil {
		return nil, err
	}
	if !inOrder(chain, certs) {
		u.warnf("the certificates were put in order: the leaf first, each signed by the next")
	}
	return u.finish(chain)
}

// finish drops the root, which clients have or do not trust, and has the last look at
// a chain in order.
func (u *upload) finish(chain []*x509.Certificate) ([]*x509.Certificate, error) {
	leaf, last := chain[0], chain[len(chain)-1]
	switch {
	case len(chain) > 1 && selfIssued(last):
		u.warnf("the root certificate %s was dropped: a server need not send it", nameOf(last))
		chain = chain[:len(chain)-1]
	case len(chain) > 1:
	case selfIssued(leaf):
		if !signedByItself(leaf) {
			return nil, refuse(BrokenChain, u.role.cert(), "certificate %s names itself as issuer but is not signed by its own key", nameOf(leaf))
		}
	case len(leaf.IssuingCertificateURL) > 0: // only CAs below a root publish where they are
		u.warnf("the intermediate certificate that signed %s is missing; clients that do not fetch it (Java, Android, curl) will not trust the chain", nameOf(leaf))
	}
	if len(chain) > maxChain {
		return nil, refuse(BrokenChain, u.role.cert(), "the chain has %d certificates, more than %d", len(chain), maxChain)
	}
	return chain, nil
}

// issuerIn is the certificate that signed leaf, nil if it is not among certs: the next one
// of the chain, the root that was dropped from it, or leaf itself. The link was verified.
func issuerIn(leaf *x509.Certificate, chain, certs []*x509.Certificate) *x509.Certificate {
	switch {
	case len(chain) > 1:
		return chain[1]
	case selfIssued(leaf):
		return leaf
	}
	return issuerOf(leaf, certs)
}

// issuerOf picks the certificate that claims to have signed child, nil without one.
// It checks no signature, so that ordering is cheap however many equal names there are:
// its choice is verified by checkLink, once, and must be right.
//
// Names decide (RFC 5280 section 6.1.3); among equal names matching key identifiers
// come first and roots last, so that of two ways up the one to send is taken.
func issuerOf(child *x509.Certificate, candidates []*x509.Certificate) *x509.Certificate {
	var best *x509.Certificate
	var bestScore int
	for _, c := range candidates {
		if !bytes.Equal(c.RawSubject, child.RawIssuer) {
			continue
		}
		score := 1
		if !selfIssued(c) {
			score++
		}
		if len(child.AuthorityKeyId) > 0 && bytes.Equal(c.SubjectKeyId, child.AuthorityKeyId) {
			score += 2
		}
		if score > bestScore {
			best, bestScore = c, score
		}
	}
	return best
}

// checkLink verifies that issuer signed the last of chain and was allowed to. A root's
// own signature and validity do not matter: it is not sent.
func (u *upload) checkLink(chain []*x509.Certificate, issuer *x509.Certificate) error {
	child, root := chain[len(chain)-1], selfIssued(issuer)
	fault := refusedIssuer(issuer, len(chain)-1)
	switch {
	case fault != "":
	case !root && u.now.After(issuer.NotAfter):
		fault = "expired at " + issuer.NotAfter.UTC().Format(time.RFC3339)
	case !signedBy(child, issuer):
		fault = "has the issuer's name but did not sign it"
	}
	if fault != "" {
		return refuse(BrokenChain, u.role.cert(), "certificate %s, the issuer of %s, %s", nameOf(issuer), nameOf(child), fault)
	}
	if root {
		return nil
	}
	if fault := refusedSignature(issuer); fault != "" {
		return refuse(Invalid, u.role.cert(), "certificate %s is refused: %s", nameOf(issuer), fault)
	}
	u.warnEarly(issuer)
	return nil
}

// refusedIssuer says why issuer may not sign above a leaf with this many intermediates
// between. Like crypto/x509 it counts self-issued ones too.
func refusedIssuer(issuer *x509.Certificate, between int) string {
	switch {
	case !issuer.BasicConstraintsValid || !issuer.IsCA:
		return "is not a CA certificate"
	case issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCertSign == 0:
		return "may not sign certificates: its key usage does not include keyCertSign"
	case issuer.MaxPathLen >= 0 && between > issuer.MaxPathLen:
		return "allows fewer intermediates below it (path length constraint)"
	case !servesTLS(issuer):
		return "may not issue for TLS servers: its extended key usage does not include serverAuth"
	}
	return ""
}

// checkSpare refuses certificates left over, but for other certificates of a CA in the
// chain: a root beside its cross-signed twin.
func (u *upload) checkSpare(chain, spare []*x509.Certificate) error {
	last := chain[len(chain)-1]
	for _, c := range spare {
		if !slices.ContainsFunc(chain[1:], func(member *x509.Certificate) bool { return sameEntity(member, c) }) {
			return refuse(BrokenChain, u.role.cert(), "certificate %s does not belong to the chain, which ends at %s, issued by %.100q",
				nameOf(c), nameOf(last), last.Issuer.CommonName)
		}
		u.warnf("certificate %s was dropped: the chain has another one of the same CA", nameOf(c))
	}
	return nil
}

// sameEntity tells whether two certificates are for one name and one key, and so stand
// for the same CA whoever signed them.
func sameEntity(a, b *x509.Certificate) bool {
	if !bytes.Equal(a.RawSubject, b.RawSubject) {
		return false
	}
	switch key := a.PublicKey.(type) {
	case *rsa.PublicKey:
		return key.Equal(b.PublicKey)
	case *ecdsa.PublicKey:
		return key.Equal(b.PublicKey)
	}
	return false
}

// inOrder tells whether chain stands in certs as it is, perhaps with others between.
func inOrder(chain, certs []*x509.Certificate) bool {
	return slices.IsSortedFunc(chain, func(a, b *x509.Certificate) int {
		return slices.Index(certs, a) - slices.Index(certs, b)
	})
}
