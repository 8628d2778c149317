package keypair

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	fieldStaple = "ocsp_staple"
	maxStaple   = 16 << 10        // bytes; usual ones have 500 to 2,500
	clockSkew   = 5 * time.Minute // that a responder's clock may be ahead
)

// featureOID is the TLS feature extension (RFC 7633), statusRequest the feature that
// demands an OCSP staple in every handshake ("must-staple").
var featureOID = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

const statusRequest = 5

// MustStaple tells whether clients refuse leaf without an OCSP staple. An extension that
// cannot be read counts as one that does not demand it: so it does for clients.
func MustStaple(leaf *x509.Certificate) bool {
	for _, ext := range leaf.Extensions {
		var features []int
		if ext.Id.Equal(featureOID) {
			rest, err := asn1.Unmarshal(ext.Value, &features)
			return err == nil && len(rest) == 0 && slices.Contains(features, statusRequest)
		}
	}
	return false
}

// CheckStaple checks, as of now, that der is an OCSP response that p's leaf is good, signed
// by its issuer or a responder that the issuer named for it (RFC 6960 section 4.2.2.2),
// and returns when it ends. The error is always *Error.
func (p *Pair) CheckStaple(der []byte, now time.Time) (nextUpdate time.Time, err error) {
	leaf := p.Chain[0]
	switch {
	case len(der) > maxStaple:
		return time.Time{}, refuseStaple("expected at most %d bytes", maxStaple)
	case p.Issuer == nil:
		return time.Time{}, refuseStaple("it cannot be verified: add the certificate of the leaf's issuer to %s", fieldCert)
	}
	resp, err := ocsp.ParseResponseForCert(der, leaf, p.Issuer)
	if err != nil {
		return time.Time{}, refuseStaple("expected a DER-encoded OCSP response by the issuer about serial number %v%s", leaf.SerialNumber, known(err))
	}
	if fault := faultOf(resp, p.Issuer, now); fault != "" {
		return time.Time{}, refuseStaple("%s", fault)
	}
	return resp.NextUpdate.UTC(), nil
}

func refuseStaple(format string, args ...any) *Error {
	return refuse(InvalidStaple, fieldStaple, format, args...)
}

// known is the text of an error that quotes nothing of what was sent.
func known(err error) string {
	if parse, ok := errors.AsType[ocsp.ParseError](err); ok {
		return ": " + string(parse)
	}
	if failed, ok := errors.AsType[ocsp.ResponseError](err); ok {
		return ": " + failed.Error()
	}
	return ""
}

// faultOf is what is wrong with a response whose signature is right.
func faultOf(resp *ocsp.Response, issuer *x509.Certificate, now time.Time) string {
	switch {
	case resp.Status == ocsp.Revoked:
		return "the issuer says that the certificate is revoked"
	case resp.Status != ocsp.Good:
		return "the issuer says that it does not know the certificate"
	case weakResponse(resp.SignatureAlgorithm):
		return "its signature algorithm " + resp.SignatureAlgorithm.String() + " is too weak"
	case resp.NextUpdate.IsZero():
		return "it does not say when it ends (nextUpdate)"
	case !now.Before(resp.NextUpdate):
		return "it ended at " + resp.NextUpdate.UTC().Format(time.RFC3339)
	case resp.ThisUpdate.After(now.Add(clockSkew)):
		return "it begins only at " + resp.ThisUpdate.UTC().Format(time.RFC3339)
	case resp.Certificate != nil && !resp.Certificate.Equal(issuer):
		return delegateFault(resp.Certificate, now)
	}
	return ""
}

func weakResponse(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		return false
	}
	return true
}

// delegateFault says why a certificate that the issuer signed may not sign responses for
// it: any other customer of the CA has such a certificate, too, but for the key usage.
func delegateFault(responder *x509.Certificate, now time.Time) string {
	switch {
	case !slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return "its signer " + nameOf(responder) + " is not named for OCSP signing by the issuer"
	case now.Before(responder.NotBefore.Add(-clockSkew)) || now.After(responder.NotAfter):
		return "the certificate of its signer " + nameOf(responder) + " is not valid now"
	case weakResponse(responder.SignatureAlgorithm):
		return "the certificate of its signer " + nameOf(responder) + " has a weak signature"
	}
	return ""
}
