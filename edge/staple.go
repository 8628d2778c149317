package edge

import (
	"bytes"
	"cmp"
	"time"

	"lacre"
)

// staple is the OCSP response that is presented with a version.
type staple struct {
	der   []byte
	ends  time.Time
	epoch int // lacre.Version.Epoch: without a staple there is none
}

func newStaple(v *lacre.Version) *staple {
	if len(v.OCSPStaple) == 0 {
		return nil
	}
	return &staple{bytes.Clone(v.OCSPStaple), v.OCSPNextUpdate, v.Epoch}
}

// freshAt tells whether the staple may be presented: never after its end, when clients
// refuse it together with the certificate.
func (s *staple) freshAt(now time.Time) bool { return s != nil && now.Before(s.ends) }

// epoch is the number of the version since which sessions resume under v.
func (v *version) epoch() int {
	if v.staple == nil {
		return v.number
	}
	return cmp.Or(v.staple.epoch, v.number)
}

func (s *staple) differs(v *lacre.Version) bool {
	if s == nil {
		return len(v.OCSPStaple) > 0
	}
	return !bytes.Equal(s.der, v.OCSPStaple)
}
