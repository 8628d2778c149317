package keypair

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"
)

// Facts is what a leaf says about itself, in the form the API shows it (reference: the
// response body of "Modifying an SSL certificate"). Empty lists are not nil.
type Facts struct {
	Algorithm          Algorithm
	CommonName         string
	SANs               []string // DNS names as written in the leaf, then IP addresses
	Organization       []string
	OrganizationalUnit []string
	Locality           []string
	State              []string
	Country            []string
	Issuer             []string // the issuer's O; its CN when it has no O
	SerialNumber       string   // decimal
	SignatureAlgorithm string   // x509.SignatureAlgorithm.String(), e.g. "SHA256-RSA"; "SM2-SM3"
	X509Version        int
	NotBefore          time.Time // UTC
	NotAfter           time.Time // UTC
	Fingerprint        string    // SHA-256 of the leaf's DER, lower-case hexadecimal
}

// factsOf reads the facts off a leaf that passed checkLeaf, whose limits keep them small
// enough to be stored with every version. Times are turned to UTC so that two readings
// of one leaf compare equal.
func factsOf(leaf *x509.Certificate) Facts {
	fingerprint := sha256.Sum256(leaf.Raw)
	issuer := leaf.Issuer.Organization
	if len(issuer) == 0 && leaf.Issuer.CommonName != "" {
		issuer = []string{leaf.Issuer.CommonName}
	}
	return Facts{
		Algorithm:          algorithmOfCert(leaf),
		CommonName:         leaf.Subject.CommonName,
		SANs:               sansOf(leaf),
		Organization:       list(leaf.Subject.Organization),
		OrganizationalUnit: list(leaf.Subject.OrganizationalUnit),
		Locality:           list(leaf.Subject.Locality),
		State:              list(leaf.Subject.Province),
		Country:            list(leaf.Subject.Country),
		Issuer:             list(issuer),
		SerialNumber:       leaf.SerialNumber.String(),
		SignatureAlgorithm: signatureName(leaf.SignatureAlgorithm),
		X509Version:        leaf.Version,
		NotBefore:          leaf.NotBefore.UTC(),
		NotAfter:           leaf.NotAfter.UTC(),
		Fingerprint:        hex.EncodeToString(fingerprint[:]),
	}
}

// sansOf leaves out e-mail addresses and URIs: TLS clients do not match hosts with them.
func sansOf(leaf *x509.Certificate) []string {
	names := list(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// list copies s; the copy is never nil.
func list(s []string) []string { return append([]string{}, s...) }

// Covers tells whether a leaf with these SANs (or, without any DNS name in them, this
// common name) is valid for host, a canonical host name that may itself start with
// "*.": a wildcard stands for exactly the one leftmost label (RFC 6125, RFC 9525).
// Names in the leaf that are no host names, such as "w*.a.test", cover nothing.
func (f *Facts) Covers(host string) bool { return len(f.Uncovered([]string{host})) == 0 }

// Uncovered returns those of the hosts that Covers says no to. Making names canonical is
// what takes time, up to 2 ms for a thousand of them; it is done once for all hosts.
func (f *Facts) Uncovered(hosts []string) []string {
	names := f.names()
	var missing []string
	for _, host := range hosts {
		_, parent, _ := strings.Cut(host, ".")
		if !names[host] && !names["*."+parent] {
			missing = append(missing, host)
		}
	}
	return missing
}

// names are the canonical hosts and wildcards that the leaf is valid for.
func (f *Facts) names() map[string]bool {
	names := make(map[string]bool, len(f.SANs))
	named := false
	for _, san := range f.SANs {
		name, err := CanonicalHost(san)
		named = named || err != errAddress
		if err == nil {
			names[name] = true
		}
	}
	if named {
		return names
	}
	if name, err := CanonicalHost(f.CommonName); err == nil {
		names[name] = true
	}
	return names
}
