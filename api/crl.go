package api

import (
	"net/http"

	"lacre"
	"lacre/keypair"
)

// maxCRLBody has room for the largest revocation lists in PEM, escaped as JSON.
const maxCRLBody = keypair.MaxCRL/2*3 + 64<<10

// putCRL answers PUT …/certificates/{certificate_id}/crl, an extension.
func (x *exchange) putCRL() (*reply, error) {
	f, err := readForm(x.body)
	if err != nil {
		return nil, err
	}
	f.mandatory("crl")
	text := f.text("crl")
	if err := f.err(); err != nil {
		return nil, err
	}
	lists, warnings, err := x.Service.PutCRL(x.Context(), x.caller, x.project, x.certificate, text)
	return showing(http.StatusOK, crlsOf, lists, err, warnings...)
}

// showCRL answers GET …/certificates/{certificate_id}/crl, an extension.
func (x *exchange) showCRL() (*reply, error) {
	lists, err := x.Service.ShowCRL(x.Context(), x.caller, x.project, x.certificate)
	return showing(http.StatusOK, crlsOf, lists, err)
}

// deleteCRL answers DELETE …/certificates/{certificate_id}/crl, an extension.
func (x *exchange) deleteCRL() (*reply, error) {
	return noContent(x.Service.DeleteCRL(x.Context(), x.caller, x.project, x.certificate))
}

// crls is the answer about the revocation lists of a certificate.
type crls struct {
	Size  int   `json:"size"`
	Lists []crl `json:"crls"`
}

// crl is what is shown of one list.
type crl struct {
	Issuer     string `json:"issuer"`
	Number     string `json:"crl_number"` // decimal, up to 20 bytes: too large for a JSON number
	ThisUpdate string `json:"this_update"`
	NextUpdate string `json:"next_update"`
	Entries    int    `json:"entries"`
	Digest     string `json:"sha256"`
	InForce    bool   `json:"in_force"`
}

func crlsOf(lists []lacre.ShownList) crls {
	return crls{len(lists), each(lists, func(l lacre.ShownList) crl {
		return crl{l.Issuer, l.Number, utc(l.ThisUpdate), utc(l.NextUpdate), l.Revoked, l.Digest, l.InForce}
	})}
}
