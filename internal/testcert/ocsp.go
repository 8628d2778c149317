package testcert

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// MustStaple gives a leaf the TLS feature extension that demands OCSP stapling (RFC 7633).
func MustStaple() Option {
	return With(func(t *x509.Certificate) {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{
			Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5},
		})
	})
}

// Staple makes an OCSP response of ca: leaf is good, from an hour ago for two days. Edits
// change it before it is signed. It is DER.
func (ca *CA) Staple(tb testing.TB, leaf *Leaf, edits ...func(*ocsp.Response)) []byte {
	tb.Helper()
	return ca.StapleBy(tb, leaf, ca.Cert, ca.Key, edits...)
}

// StapleBy is Staple signed by a responder with a certificate of its own.
func (ca *CA) StapleBy(tb testing.TB, leaf *Leaf, responder *x509.Certificate, key crypto.Signer, edits ...func(*ocsp.Response)) []byte {
	tb.Helper()
	now := time.Now()
	template := ocsp.Response{
		Status: ocsp.Good, SerialNumber: leaf.Cert.SerialNumber, IssuerHash: crypto.SHA1,
		ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(48 * time.Hour),
	}
	if !responder.Equal(ca.Cert) {
		template.Certificate = responder
	}
	for _, edit := range edits {
		edit(&template)
	}
	der, err := ocsp.CreateResponse(ca.Cert, responder, template, key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}
