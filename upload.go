package lacre

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"lacre/keypair"
)

// upload is a CertificateInput, or a version that is to come back, that passed every check
// that needs no store.
type upload struct {
	name     string
	pair     *keypair.Pair
	chain    [][]byte
	sign     [][]byte  // the chain of an SM2 signing pair, else nil
	roots    [][]byte  // nil when the input does not say
	staple   []byte    // nil when the input does not say
	ends     time.Time // of the staple
	origin   string    // for the audit row of a new version: where the content is from, empty when it was sent
	warnings []string
}

// end2038 is where a signed 32-bit clock ends.
var end2038 = time.Date(2038, time.January, 19, 3, 14, 7, 0, time.UTC)

// read parses and checks the content of an upload.
func (s *Service) read(in CertificateInput) (*upload, error) {
	if err := checkKind(in); err != nil {
		return nil, err
	}
	pair, err := in.parse(s.Now())
	if err != nil {
		return nil, err
	}
	if in.Algorithm != "" && in.Algorithm != pair.Facts.Algorithm {
		return nil, FieldErrorf(CodeWrongAlgorithm, "algorithm_type", "the key is %s, algorithm_type says %s", pair.Facts.Algorithm, in.Algorithm)
	}
	up, err := s.holding(pair, in.Name)
	if err != nil {
		return nil, err
	}
	if err := up.readStaple(in.OCSPStaple, s.Now()); err != nil {
		return nil, err
	}
	return up, up.readRoots(in.TrustedRootCA, s.Now())
}

// holding is the upload of a pair, which says nothing about trust roots and staple.
func (s *Service) holding(pair *keypair.Pair, name string) (*upload, error) {
	if s.RefuseAfter2038 && pair.Facts.NotAfter.After(end2038) {
		return nil, FieldErrorf(CodeAfter2038, "cert_content", "the certificate ends at %s", pair.Facts.NotAfter.Format(time.RFC3339))
	}
	up := &upload{name: name, pair: pair, chain: ders(pair.Chain), warnings: pair.Warnings}
	if pair.Signing != nil {
		up.sign = ders(pair.Signing.Chain)
	}
	return up, nil
}

func checkKind(in CertificateInput) error {
	switch in.Algorithm {
	case "", keypair.RSA, keypair.ECC, keypair.SM2:
		return nil
	}
	return FieldErrorf(CodeInvalidField, "algorithm_type", "expected RSA, ECC or SM2")
}

func (up *upload) readRoots(text *string, now time.Time) error {
	if text == nil {
		return nil
	}
	up.roots = [][]byte{}
	if strings.TrimSpace(*text) == "" {
		return nil
	}
	parse := keypair.ParseTrustRoots
	if up.pair.Facts.Algorithm == keypair.SM2 {
		parse = keypair.ParseSM2TrustRoots
	}
	roots, err := parse(*text, now)
	if err != nil {
		return pairError(err)
	}
	up.roots = ders(roots)
	return nil
}

func ders(certs []*x509.Certificate) [][]byte {
	out := make([][]byte, len(certs))
	for i, c := range certs {
		out[i] = c.Raw
	}
	return out
}

func pairError(err error) error {
	if e, ok := errors.AsType[*keypair.Error](err); ok {
		return &Error{Code: Code(e.Reason), Field: e.Field, Message: e.Detail}
	}
	return err
}

// version is the upload as version number of a certificate, its key still to be sealed.
func (s *Service) version(up *upload, projectID, certificateID string, number int) *Version {
	return &Version{
		ProjectID: projectID, CertificateID: certificateID, Number: number, Facts: up.pair.Facts,
		Chain: up.chain, SignChain: up.sign, TrustRoots: up.roots, OCSPStaple: up.staple, OCSPNextUpdate: up.ends, Created: s.Now().UTC(),
	}
}

// seal puts the sealed private keys into v. It may give the project its data key, so a
// dry run must not get here.
func (s *Service) seal(ctx context.Context, v *Version, pair *keypair.Pair) error {
	return storeError(SealKeys(ctx, s.Sealer, v, pair))
}

// same tells whether the upload is what v already holds. The keys need no look: each
// was proven to belong to its leaf.
func (up *upload) same(v *Version) bool {
	return up.sameButStaple(v) && bytes.Equal(up.staple, v.OCSPStaple)
}

func (up *upload) sameButStaple(v *Version) bool {
	return equalAll(up.chain, v.Chain) && equalAll(up.sign, v.SignChain) && equalAll(up.roots, v.TrustRoots)
}

// epoch is the Epoch of the upload as the version after v, which may be nil. A staple is
// fetched anew every few days, and nothing that a session rests on changes with it.
func (up *upload) epoch(v *Version) int {
	if v == nil || len(up.staple) == 0 || !up.sameButStaple(v) {
		return 0
	}
	return cmp.Or(v.Epoch, v.Number)
}

func equalAll(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// covers refuses an upload that leaves one of the hosts without a valid certificate.
func (up *upload) covers(hosts []string) error {
	missing := up.pair.Facts.Uncovered(hosts)
	if len(missing) == 0 {
		return nil
	}
	return FieldErrorf(CodeNotCovered, "cert_content", "the certificate is valid for %s and does not cover %s",
		some(up.pair.Facts.SANs), some(missing))
}

// some joins the first few of a list for a message.
func some(list []string) string {
	const most = 10
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}
