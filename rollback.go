package lacre

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"lacre/keypair"
)

// RollbackCertificate makes what a certificate held in an earlier version current again, as
// a new version (API, an extension: POST …/certificates/{certificate_id}/rollback). It is a
// modification that uploads the content of that version, and is refused where that would be.
// The name stays. Content that is current makes no new version.
//
// Errors about the content are of the field version_id and name the field of an upload.
// CodeInvalidField says which versions are kept, CodeUnreadable that the version is damaged
// or its key did not open, perhaps because the key service does not answer.
func (s *Service) RollbackCertificate(ctx context.Context, by Caller, projectID, id string, number int, opt WriteOptions) (*Written, error) {
	written, err := s.modify(ctx, by, projectID, id, opt, func(old *Certificate) (*upload, error) {
		v, err := s.kept(ctx, old, number)
		if err != nil {
			return nil, err
		}
		return s.again(ctx, old, v)
	})
	if err != nil {
		return nil, ofVersion(number, err)
	}
	return written, nil
}

// kept is a version of the history of old.
func (s *Service) kept(ctx context.Context, old *Certificate, number int) (*Version, error) {
	if number < old.Oldest || number > old.Version {
		return nil, FieldErrorf(CodeInvalidField, "version_id", "expected one of the versions kept, %d to %d", old.Oldest, old.Version)
	}
	v, err := s.Store.Version(ctx, old.ProjectID, old.ID, number)
	if errors.Is(err, ErrNotStored) {
		return nil, &ConflictError{Record: old} // pushed out, or deleted with its certificate, meanwhile
	}
	if err = storeError(err); CodeOf(err) == CodeUnreadable {
		return nil, &Error{Code: CodeUnreadable, Field: "version_id", Message: fmt.Sprintf("version %d is damaged: choose another one", number), Err: err}
	}
	return v, err
}

// again is v as an upload that takes the place of old. Everything is read and checked as if
// it had been sent, but for trust roots that the current version has as well and the
// signature of the staple, whose signer may not be stored. A staple that has ended is left
// out, and one that ends sooner than that of the same leaf now: the latter stays then.
func (s *Service) again(ctx context.Context, old *Certificate, v *Version) (*upload, error) {
	pair, err := s.reread(ctx, v)
	if err != nil {
		return nil, err
	}
	up, err := s.holding(pair, old.Name)
	if err != nil {
		return nil, err
	}
	current, err := s.current(ctx, old, false)
	if err != nil {
		return nil, err
	}
	up.warnings = s.early(pair)
	up.origin = fmt.Sprintf(", rolled back to version %d", v.Number)
	if s.Now().Before(v.OCSPNextUpdate) && !current.staplesLonger(v) {
		up.staple, up.ends = v.OCSPStaple, v.OCSPNextUpdate
	}
	return up, s.trustAgain(ctx, old, current, v, up)
}

// staplesLonger tells whether c, the current version or nil, has the leaf of v and a staple
// that does not end before that of v.
func (c *Version) staplesLonger(v *Version) bool {
	return c != nil && bytes.Equal(c.Chain[0], v.Chain[0]) && !c.OCSPNextUpdate.Before(v.OCSPNextUpdate)
}

// early warns of a pair that is not valid yet. What else Parse warns of was so when it was
// uploaded, or is of the text: it does not miss the root that was dropped then.
func (s *Service) early(pair *keypair.Pair) []string {
	if begin := pair.Facts.NotBefore; s.Now().Before(begin) {
		return []string{"The certificate is not valid before " + begin.UTC().Format(time.RFC3339) + "."}
	}
	return nil
}

// reread parses what v holds from the text it could have been uploaded as.
func (s *Service) reread(ctx context.Context, v *Version) (*keypair.Pair, error) {
	key, err := s.keyText(ctx, v, v.SealedKey, keyContext(v))
	if err != nil {
		return nil, err
	}
	if v.Facts.Algorithm != keypair.SM2 {
		pair, err := keypair.Parse(certText(v.Chain), string(key), s.Now())
		return pair, pairError(err)
	}
	signKey, err := s.keyText(ctx, v, v.SealedSignKey, signKeyContext(v))
	if err != nil {
		return nil, err
	}
	pair, err := keypair.ParseSM2(certText(v.Chain), string(key), certText(v.SignChain), string(signKey), s.Now())
	return pair, pairError(err)
}

// keyText unseals a private key of v.
func (s *Service) keyText(ctx context.Context, v *Version, sealed, binding []byte) (Secret, error) {
	der, err := s.Sealer.Open(ctx, v.ProjectID, sealed, binding)
	if err == nil {
		text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		defer clear(der)
		defer clear(text)
		return Secret(text), nil
	}
	if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
		return "", storeError(err)
	}
	return "", &Error{Code: CodeUnreadable, Field: "version_id", Err: err,
		Message: fmt.Sprintf("the private key of version %d could not be opened now: the log says why", v.Number)}
}

func certText(ders [][]byte) string {
	var text strings.Builder
	for _, der := range ders {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return text.String()
}

// ofVersion says an error about the content of an upload as one about the version that it
// was taken from.
func ofVersion(number int, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Field == "" || e.Field == "version_id" {
		return err
	}
	message := e.Message
	if e.Field == "ocsp_staple" {
		message = "it has ended, and the certificate demands one (RFC 7633): upload the certificate again with a new one"
	}
	return &Error{Code: e.Code, Field: "version_id", Message: fmt.Sprintf("%s of version %d: %s", e.Field, number, message), Err: e.Err}
}
