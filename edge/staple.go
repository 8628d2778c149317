package edge

import (
	"bytes"
	"time"

	"lacre"
)

// staple is the OCSP response that is presented with a version.
type staple struct {
	der  []byte
	ends time.Time
}

func newStaple(v *lacre.Version) *staple {
	if len(v.OCSPStaple) == 0 {
		return nil
	}
	return &staple{bytes.Clone(v.OCSPStaple), v.OCSPNextUpdate}
}

// freshAt tells whether the staple may be presented: never after its end, when clients
// refuse it together with the certificate.
func (s *staple) freshAt(now time.Time) bool { return s != nil && now.Before(s.ends) }

func (s *staple) differs(v *lacre.Version) bool {
	if s == nil {
		return len(v.OCSPStaple) > 0
	}
	return !bytes.Equal(s.der, v.OCSPStaple)
}
