package keypair

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"math/big"
	"strings"
	"time"
)

const (
	fieldCRL = "crl"
	// MaxCRL bounds the revocation lists of one certificate, in bytes of DER together:
	// they are one value of the store, which takes 1.5 MiB. It is room for some 28,000
	// revoked certificates.
	MaxCRL     = 1 << 20
	maxCRLText = MaxCRL/2*3 + 4096 // base64 with line breaks, escaped or not
	crlSkew    = 5 * time.Minute   // how far ahead of us the clock of a CA may be
)

// CRL is one checked certificate revocation list (RFC 5280, section 5): complete, issued
// by a trust root, in force and not stale.
type CRL struct {
	Raw                    []byte   // DER
	Issuer                 string   // distinguished name, for people
	IssuerID               [32]byte // see IssuerID
	Number                 string   // decimal, empty if the CA gives none
	ThisUpdate, NextUpdate time.Time
	Revoked                int // entries
}

// IssuerID names a CA by what its signatures are recognised by: its subject and its key,
// as SHA-256. Certificates that different CAs signed for one key have the same.
func IssuerID(ca *x509.Certificate) [sha256.Size]byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(ca.RawSubject))))
	h.Write(ca.RawSubject)
	h.Write(ca.RawSubjectPublicKeyInfo)
	return [sha256.Size]byte(h.Sum(nil))
}

// ParseCRLs reads the revocation lists in text, PEM ("X509 CRL", one block for each) or
// the base64 of one in DER. Each must be signed by one of roots, one at most by each. The
// error is an *Error of reason Invalid about the field "crl".
func ParseCRLs(text string, roots []*x509.Certificate, now time.Time) ([]*CRL, error) {
	ders, err := crlBytes(text)
	if err != nil {
		return nil, err
	}
	var lists []*CRL
	size := 0
	for i, der := range ders {
		list, fault := readCRL(der, roots, now)
		for _, other := range lists {
			if fault == "" && other.IssuerID == list.IssuerID {
				fault = "it is the second one of " + list.Issuer
			}
		}
		if fault != "" {
			return nil, refuse(Invalid, fieldCRL, "revocation list %d: %s", i+1, fault)
		}
		lists, size = append(lists, list), size+len(der)
	}
	if size > MaxCRL {
		return nil, refuse(Invalid, fieldCRL, "the lists have %d bytes in DER, more than %d", size, MaxCRL)
	}
	return lists, nil
}

// crlBytes takes the lists out of their wrapping.
func crlBytes(text string) ([][]byte, error) {
	blocks, err := readBlocksUpTo(maxCRLText, maxRoots, fieldCRL, text)
	if err != nil {
		return nil, err
	}
	var ders [][]byte
	for i, b := range blocks {
		if b.kind != kindCRL || b.der == nil {
			return nil, refuse(Invalid, fieldCRL, "PEM block %d is %s; only revocation lists (X509 CRL) belong here", i+1, b.kind)
		}
		ders = append(ders, b.der)
	}
	if len(ders) > 0 {
		return ders, nil
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil || len(der) == 0 {
		return nil, refuse(Invalid, fieldCRL, "expected revocation lists in PEM (X509 CRL), or the base64 of one in DER")
	}
	return [][]byte{der}, nil
}

// readCRL reads and checks one list. The fault says what is wrong and quotes nothing but
// public names.
func readCRL(der []byte, roots []*x509.Certificate, now time.Time) (list *CRL, fault string) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, "it is not one, or damaged"
	}
	root := crlIssuer(parsed, roots)
	issuer := parsed.Issuer.String()
	switch {
	case root == nil:
		return nil, "it was not issued by a trust root of the certificate (its issuer is " + issuer + ")"
	case isPartial(parsed):
		return nil, "it is a delta, indirect or partitioned list, or has a critical extension; a complete list is expected"
	case parsed.NextUpdate.IsZero():
		return nil, "it does not say when the next one is due (nextUpdate)"
	case now.After(parsed.NextUpdate):
		return nil, "it is stale: the next one was due at " + stamp(parsed.NextUpdate)
	case parsed.ThisUpdate.After(now.Add(crlSkew)):
		return nil, "it is not in force before " + stamp(parsed.ThisUpdate)
	}
	return &CRL{
		Raw: der, Issuer: issuer, IssuerID: IssuerID(root), Number: decimal(parsed.Number),
		ThisUpdate: parsed.ThisUpdate.UTC(), NextUpdate: parsed.NextUpdate.UTC(), Revoked: len(parsed.RevokedCertificateEntries),
	}, ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func decimal(n *big.Int) string {
	if n == nil {
		return ""
	}
	return n.String()
}

// crlIssuer returns the trust root that issued a list, nil if none did. The root must be
// allowed to (key usage cRLSign), if it says anything about that.
func crlIssuer(list *x509.RevocationList, roots []*x509.Certificate) *x509.Certificate {
	for _, root := range roots {
		if bytes.Equal(root.RawSubject, list.RawIssuer) && listedBy(list, root) {
			return root
		}
	}
	return nil
}

var (
	oidDelta     = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidPartition = asn1.ObjectIdentifier{2, 5, 29, 28} // issuing distribution point
)

// isPartial tells whether a list does not speak for all certificates of its issuer, or
// says something that must be understood and is not here: a certificate that is missing
// from it would be taken for good.
func isPartial(list *x509.RevocationList) bool {
	for _, e := range list.Extensions {
		if e.Critical || e.Id.Equal(oidDelta) || e.Id.Equal(oidPartition) {
			return true
		}
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Critical { // an indirect list names other issuers in its entries
				return true
			}
		}
	}
	return false
}
