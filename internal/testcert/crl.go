package testcert

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// CRL makes a revocation list of ca in DER: by default number 1, in force since an hour
// ago, the next one due in a day. Edits change it before it is signed.
func (ca *CA) CRL(tb testing.TB, revoked []*x509.Certificate, edits ...func(*x509.RevocationList)) []byte {
	tb.Helper()
	now := time.Now()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.AddDate(0, 0, 1)}
	for _, cert := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: now.Add(-time.Hour)})
	}
	for _, edit := range edits {
		edit(list)
	}
	der, err := smx509.CreateRevocationList(rand.Reader, list, (*smx509.Certificate)(ca.Cert), ca.Key)
	if err != nil {
		tb.Fatalf("testcert: signing a revocation list of %q: %v", ca.Cert.Subject.CommonName, err)
	}
	return der
}

// CRLNumber sets the number of a revocation list.
func CRLNumber(n int64) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) { l.Number = big.NewInt(n) }
}

// CRLValidity sets when a revocation list is in force and when the next one is due.
func CRLValidity(thisUpdate, nextUpdate time.Time) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = thisUpdate, nextUpdate }
}

// CRLPEM writes revocation lists one after the other.
func CRLPEM(ders ...[]byte) string {
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return string(text)
}
