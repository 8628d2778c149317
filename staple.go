package lacre

import (
	"encoding/base64"
	"strings"
	"time"

	"lacre/keypair"
)

// stapleSoon is how long before its end a staple is worth a warning. CAs renew theirs
// half way through four to ten days.
const stapleSoon = 24 * time.Hour

// readStaple reads the OCSP staple of an input and checks it against the pair.
func (up *upload) readStaple(text *string, now time.Time) error {
	const field = "ocsp_staple"
	if text == nil {
		return nil
	}
	up.staple = []byte{}
	if strings.TrimSpace(*text) == "" {
		return nil
	}
	if up.pair.Facts.Algorithm == keypair.SM2 {
		return FieldErrorf(CodeInvalidField, field, "not with algorithm_type SM2")
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(*text), ""))
	if err != nil {
		return FieldErrorf(CodeInvalidField, field, "expected the base64 of a DER-encoded OCSP response")
	}
	ends, err := up.pair.CheckStaple(der, now)
	if err != nil {
		return pairError(err)
	}
	up.staple, up.ends = der, ends
	return nil
}

// checkStapled refuses a certificate that clients would refuse (RFC 7633).
func (up *upload) checkStapled() error {
	if len(up.staple) > 0 || up.pair.Facts.Algorithm == keypair.SM2 || !keypair.MustStaple(up.pair.Chain[0]) {
		return nil
	}
	return FieldErrorf(CodeInvalidField, "ocsp_staple", "the certificate demands OCSP stapling (RFC 7633): expected the base64 of a current OCSP response")
}

// stapleWarning says that a staple ends soon, or has ended and is not served.
func (s *Service) stapleWarning(c *Certificate) []string {
	end := c.OCSPNextUpdate
	if end.IsZero() || s.Now().Add(stapleSoon).Before(end) {
		return nil
	}
	return []string{"The OCSP staple is served until " + end.UTC().Format(time.RFC3339) + " only: upload the certificate again with a new ocsp_staple."}
}
