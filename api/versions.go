package api

import (
	"net/http"

	"lacre"
	"lacre/keypair"
)

// listVersions answers GET …/certificates/{certificate_id}/versions, an extension.
func (x *exchange) listVersions() (*reply, error) {
	window, err := x.page()
	if err != nil {
		return nil, err
	}
	page, total, err := x.Service.ListVersions(x.Context(), x.caller, x.project, x.certificate, window)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		Size     int       `json:"size"`
		Total    int       `json:"total"`
		Versions []version `json:"versions"`
	}{len(page), total, each(page, versionOf)}}, nil
}

// rollbackCertificate answers POST …/certificates/{certificate_id}/rollback, an extension.
func (x *exchange) rollbackCertificate() (*reply, error) {
	return x.modification(func(opt lacre.WriteOptions) (*lacre.Written, error) {
		f, err := readForm(x.body)
		if err != nil {
			return nil, err
		}
		f.mandatory("version_id")
		number := f.optionalInt("version_id")
		if err := f.err(); err != nil {
			return nil, err
		}
		if opt.IfGeneration, err = x.condition(); err != nil {
			return nil, err
		}
		return x.Service.RollbackCertificate(x.Context(), x.caller, x.project, x.certificate, *number, opt)
	})
}

// version is a version of a certificate. Of a damaged one nothing but its number is known.
type version struct {
	ID      int  `json:"version_id"`
	Current bool `json:"current"`
	Damaged bool `json:"damaged"`
	*versionContent
}

// versionContent has the names of the certificate's own members where they mean the same.
type versionContent struct {
	Fingerprint        string            `json:"fingerprint"`
	CommonName         string            `json:"common_name"`
	SAN                []string          `json:"san"`
	NotBefore          string            `json:"not_before"`
	NotAfter           string            `json:"not_after"`
	SerialNumber       string            `json:"serial_number"`
	Issuer             []string          `json:"issuer"`
	AlgorithmType      keypair.Algorithm `json:"algorithm_type"`
	SignatureAlgorithm string            `json:"signature_algorithm"`
	HasTrustedRootCA   bool              `json:"is_has_trusted_root_ca"`
	OCSP               string            `json:"ocsp_next_update,omitempty"`
	CreateTime         string            `json:"create_time"`
}

func versionOf(v lacre.ShownVersion) version {
	out := version{ID: v.Number, Current: v.Current, Damaged: v.Damaged}
	if v.Damaged {
		return out
	}
	f := &v.Facts
	out.versionContent = &versionContent{
		Fingerprint: f.Fingerprint, CommonName: f.CommonName, SAN: filled(f.SANs), NotBefore: utc(f.NotBefore), NotAfter: utc(f.NotAfter),
		SerialNumber: f.SerialNumber, Issuer: filled(f.Issuer), AlgorithmType: f.Algorithm, SignatureAlgorithm: f.SignatureAlgorithm,
		HasTrustedRootCA: v.HasTrustRoot, CreateTime: utc(v.Created),
	}
	if !v.OCSPNextUpdate.IsZero() {
		out.OCSP = utc(v.OCSPNextUpdate)
	}
	return out
}
