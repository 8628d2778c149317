package api

import (
	"net/http"

	"lacre"
	"lacre/keypair"
)

// certificateInput reads the CertificateForm of the API page, table 3. Only presence and
// types are looked at. trusted_root_ca stays a pointer: absent, empty and PEM are three
// different wishes of a modification.
func (x *exchange) certificateInput() (lacre.CertificateInput, error) {
	f, err := readForm(x.body)
	if err != nil {
		return lacre.CertificateInput{}, err
	}
	f.mandatory("name", "cert_content", "private_key")
	in := lacre.CertificateInput{
		Name:            f.text("name"),
		CertContent:     f.text("cert_content"),
		PrivateKey:      lacre.Secret(f.text("private_key")),
		Scope:           lacre.Scope(f.text("type")),
		InstanceID:      f.text("instance_id"),
		TrustedRootCA:   f.optionalText("trusted_root_ca"),
		OCSPStaple:      f.optionalText("ocsp_staple"),
		Algorithm:       keypair.Algorithm(f.text("algorithm_type")),
		CertContentSign: f.text("cert_content_sign"),
		PrivateKeySign:  lacre.Secret(f.text("private_key_sign")),
	}
	if in.Scope == lacre.ScopeInstance {
		x.instance = in.InstanceID
	}
	return in, f.err()
}

// createCertificate answers POST …/certificates: 200, not 201, as the API does.
func (x *exchange) createCertificate() (*reply, error) {
	dryRun, err := x.truth("dry_run")
	if err != nil {
		return nil, err
	}
	in, err := x.certificateInput()
	if err != nil {
		return nil, err
	}
	written, err := x.Service.CreateCertificate(x.Context(), x.caller, x.project, in, lacre.WriteOptions{DryRun: dryRun})
	if err != nil {
		return nil, err
	}
	return certificateReply(written, dryRun), nil
}

// modifyCertificate answers PUT …/certificates/{certificate_id}, the operation of the
// API page.
func (x *exchange) modifyCertificate() (*reply, error) {
	return x.modification(func(opt lacre.WriteOptions) (*lacre.Written, error) {
		in, err := x.certificateInput()
		if err != nil {
			return nil, err
		}
		if opt.IfGeneration, err = x.condition(); err != nil {
			return nil, err
		}
		return x.Service.ModifyCertificate(x.Context(), x.caller, x.project, x.certificate, in, opt)
	})
}

// modification answers with what do has written. What it measures is the whole of a real
// modification, dry runs left out, and not the wait for other nodes.
func (x *exchange) modification(do func(lacre.WriteOptions) (*lacre.Written, error)) (*reply, error) {
	start := x.Now()
	dryRun, err := x.truth("dry_run")
	var written *lacre.Written
	if err == nil {
		written, err = do(lacre.WriteOptions{DryRun: dryRun})
	}
	if !dryRun {
		x.metrics.modification(err, x.Now().Sub(start))
	}
	if err != nil {
		return nil, err
	}
	return x.awaited(written, dryRun)
}

// certificateReply shows what was written. After a dry run there is no ETag: no
// certificate has that generation.
func certificateReply(written *lacre.Written, dryRun bool) *reply {
	out := &reply{status: http.StatusOK, body: detailOf(written.Certificate), warnings: written.Warnings, dryRun: dryRun}
	if !dryRun {
		out.etag = etag(written.Certificate.Generation)
	}
	return out
}

// showCertificate answers GET …/certificates/{certificate_id}.
func (x *exchange) showCertificate() (*reply, error) {
	c, err := x.Service.ShowCertificate(x.Context(), x.caller, x.project, x.certificate)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: detailOf(c), etag: etag(c.Generation)}, nil
}

// listCertificates answers GET …/certificates.
func (x *exchange) listCertificates() (*reply, error) {
	filter, err := x.certificateFilter()
	if err != nil {
		return nil, err
	}
	page, total, err := x.Service.ListCertificates(x.Context(), x.caller, x.project, filter)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		Size         int       `json:"size"`
		Total        int       `json:"total"`
		Certificates []summary `json:"certs"`
	}{len(page), total, each(page, summaryOf)}}, nil
}

// certificateFilter reads the query of the list. instance_id is mandatory, but the SDK
// sends an unset one as "?instance_id": that lists the whole project.
func (x *exchange) certificateFilter() (lacre.CertificateFilter, error) {
	if !x.query.Has("instance_id") {
		return lacre.CertificateFilter{}, lacre.FieldErrorf(lacre.CodeInvalidParameter, "instance_id", "mandatory; leave its value empty to list the whole project")
	}
	page, err := x.page()
	if err != nil {
		return lacre.CertificateFilter{}, err
	}
	f := lacre.CertificateFilter{
		InstanceID:         x.query.Get("instance_id"),
		Name:               x.query.Get("name"),
		CommonName:         x.query.Get("common_name"),
		SignatureAlgorithm: x.query.Get("signature_algorithm"),
		Scope:              lacre.Scope(x.query.Get("type")),
		Algorithm:          keypair.Algorithm(x.query.Get("algorithm_type")),
		Page:               page,
	}
	x.instance = f.InstanceID
	switch f.Scope {
	case "", lacre.ScopeGlobal, lacre.ScopeInstance:
	default:
		return f, lacre.FieldErrorf(lacre.CodeInvalidParameter, "type", "expected instance or global")
	}
	switch f.Algorithm {
	case "", keypair.RSA, keypair.ECC, keypair.SM2:
	default:
		return f, lacre.FieldErrorf(lacre.CodeInvalidParameter, "algorithm_type", "expected RSA, ECC or SM2")
	}
	return f, nil
}

// deleteCertificate answers DELETE …/certificates/{certificate_id}.
func (x *exchange) deleteCertificate() (*reply, error) {
	generation, err := x.condition()
	if err != nil {
		return nil, err
	}
	err = x.Service.DeleteCertificate(x.Context(), x.caller, x.project, x.certificate, lacre.WriteOptions{IfGeneration: generation})
	return noContent(nil, err)
}
