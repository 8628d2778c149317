package lacre

import (
	"context"
	"errors"
	"time"

	"lacre/keypair"
)

// ShownVersion is a Version as it can be shown.
type ShownVersion struct {
	Number  int
	Current bool
	// Damaged tells that the stored version cannot be read. Nothing below is known then.
	Damaged        bool
	Facts          keypair.Facts
	HasTrustRoot   bool
	OCSPNextUpdate time.Time // when its OCSP staple ends; zero without one
	Created        time.Time
}

// ListVersions returns one page of the versions kept of a certificate, newest first, and
// how many are kept (API, an extension: GET …/certificates/{certificate_id}/versions).
// Damaged ones are listed as such.
func (s *Service) ListVersions(ctx context.Context, by Caller, projectID, id string, p Page) ([]ShownVersion, int, error) {
	if err := s.allow(ctx, by, projectID, CanGetCertificate); err != nil {
		return nil, 0, err
	}
	cert, err := s.certificate(ctx, projectID, id)
	if err != nil {
		return nil, 0, err
	}
	var numbers []int
	for n := cert.Version; n >= cert.Oldest; n-- {
		numbers = append(numbers, n)
	}
	var page []ShownVersion
	for _, n := range window(numbers, p) {
		v, err := s.Store.Version(ctx, projectID, id, n)
		err = storeError(err)
		switch {
		case err == nil:
			page = append(page, cert.shown(v))
		case CodeOf(err) == CodeUnreadable:
			page = append(page, ShownVersion{Number: n, Current: n == cert.Version, Damaged: true})
		case !errors.Is(err, ErrNotStored): // else newer versions have pushed it out meanwhile
			return nil, 0, err
		}
	}
	return page, len(numbers), nil
}

func (c *Certificate) shown(v *Version) ShownVersion {
	return ShownVersion{
		Number: v.Number, Current: v.Number == c.Version, Facts: v.Facts, HasTrustRoot: len(v.TrustRoots) > 0,
		OCSPNextUpdate: v.OCSPNextUpdate, Created: v.Created,
	}
}
