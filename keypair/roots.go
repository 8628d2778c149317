package keypair

import (
	"crypto/x509"
	"slices"
	"time"
)

// ParseTrustRoots reads one or more CA certificates that client certificates will be
// verified against, in their order and each once. The error is always *Error with
// Field "trusted_root_ca".
//
// Each must be a CA, in time or not valid yet, with a key such as Parse accepts; it
// need not be self-signed. Since there are no warnings here, anything else is refused.
func ParseTrustRoots(pem string, now time.Time) ([]*x509.Certificate, error) {
	return server.trustRoots(pem, now)
}

// ParseSM2TrustRoots is ParseTrustRoots for the clients of an SM2 certificate, whose CAs
// must be SM2, too.
func ParseSM2TrustRoots(pem string, now time.Time) ([]*x509.Certificate, error) {
	return signing.trustRoots(pem, now)
}

func (r role) trustRoots(pem string, now time.Time) ([]*x509.Certificate, error) {
	blocks, err := readBlocksUpTo(maxText, maxRoots, fieldRoots, pem)
	if err != nil {
		return nil, err
	}
	var roots []*x509.Certificate
	for i, b := range blocks {
		if b.kind != kindCertificate {
			return nil, refuse(Invalid, fieldRoots, "PEM block %d is %s; only CA certificates belong here", i+1, b.kind)
		}
		root, fault := readCertificate(b)
		if fault != "" {
			return nil, refuse(Invalid, fieldRoots, "PEM block %d: %s", i+1, fault)
		}
		if err := r.checkWorld(fieldRoots, root); err != nil {
			return nil, err
		}
		if err := checkRoot(root, now); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(roots, root.Equal) {
			roots = append(roots, root)
		}
	}
	if len(roots) == 0 {
		found := sniff(pem)
		return nil, refuse(Invalid, fieldRoots, "PEM CA certificates are expected, but this is %s: %s", found, found.advice())
	}
	return roots, nil
}

// checkRoot refuses what crypto/x509 would ignore or reject when it builds a client's
// chain, at every handshake and out of sight. Extended key usage is not looked at: roots
// hardly ever have one, and the verifier applies it.
func checkRoot(root *x509.Certificate, now time.Time) error {
	switch {
	case now.After(root.NotAfter):
		return refuse(Expired, fieldRoots, "certificate %s expired at %s", nameOf(root), root.NotAfter.UTC().Format(time.RFC3339))
	case !root.BasicConstraintsValid || !root.IsCA:
		return refuse(Invalid, fieldRoots, "certificate %s is not a CA certificate", nameOf(root))
	case root.KeyUsage != 0 && root.KeyUsage&x509.KeyUsageCertSign == 0:
		return refuse(Invalid, fieldRoots, "certificate %s may not sign certificates: its key usage does not include keyCertSign", nameOf(root))
	}
	return nil
}
