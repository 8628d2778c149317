package api

import (
	"cmp"
	"net/http"

	"lacre"
)

// attachDomains answers POST …/certificates/{certificate_id}/domains/attach. Terraform
// takes no other status than 204.
func (x *exchange) attachDomains() (*reply, error) {
	refs, err := x.domainRefs()
	if err != nil {
		return nil, err
	}
	return noContent(x.Service.AttachDomains(x.Context(), x.caller, x.project, x.certificate, refs))
}

// detachDomains answers POST …/certificates/{certificate_id}/domains/detach.
func (x *exchange) detachDomains() (*reply, error) {
	refs, err := x.domainRefs()
	if err != nil {
		return nil, err
	}
	return noContent(nil, x.Service.DetachDomains(x.Context(), x.caller, x.project, x.certificate, refs))
}

// domainRefs reads the one body of attach and detach. Terraform drops empty lists, so a
// body without domains is answered like one that names none that exist: on detach its
// clients take that for "already gone".
func (x *exchange) domainRefs() ([]lacre.DomainRef, error) {
	f, err := readForm(x.body)
	if err != nil {
		return nil, err
	}
	var refs []lacre.DomainRef
	for _, d := range f.forms("domains") {
		d.mandatory("domain")
		refs = append(refs, lacre.DomainRef{
			Name:         d.text("domain"),
			InstanceIDs:  d.texts("instance_ids"),
			VerifyClient: d.optionalFlag("verified_client_certificate_enabled"),
		})
	}
	if f.err() == nil && len(refs) == 0 {
		return nil, lacre.FieldErrorf(lacre.CodeNothingBound, "domains", "expected at least one domain")
	}
	return refs, f.err()
}

// attachedDomains answers GET …/certificates/{certificate_id}/attached-domains. Its
// clients look for their own wording of a certificate that does not exist. An empty
// list makes Terraform forget the binding.
func (x *exchange) attachedDomains() (*reply, error) {
	x.missing = "ssl with certId " + x.certificate + " not found"
	page, err := x.page()
	if err != nil {
		return nil, err
	}
	views, total, err := x.Service.AttachedDomains(x.Context(), x.caller, x.project, x.certificate, x.query.Get("url_domain"), page)
	if err != nil {
		return nil, err
	}
	shown := each(views, func(v *lacre.DomainView) boundDomain { return x.boundOf(v, withID(v, x.certificate)) })
	return &reply{status: http.StatusOK, body: struct {
		Size    int           `json:"size"`
		Total   int           `json:"total"`
		Domains []boundDomain `json:"bound_domains"`
	}{len(shown), total, shown}}, nil
}

// attachCertificate answers POST …/domains/{domain_id}/certificates/attach. Sending it
// again changes the flag, which is how Terraform updates it.
func (x *exchange) attachCertificate() (*reply, error) {
	id, verify, err := x.certificateRef()
	if err != nil {
		return nil, err
	}
	return noContent(x.Service.AttachCertificate(x.Context(), x.caller, x.project, x.instance, x.group, x.domain, id, verify))
}

// detachCertificate answers POST …/domains/{domain_id}/certificates/detach.
func (x *exchange) detachCertificate() (*reply, error) {
	id, _, err := x.certificateRef()
	if err != nil {
		return nil, err
	}
	return noContent(nil, x.Service.DetachCertificate(x.Context(), x.caller, x.project, x.instance, x.group, x.domain, id))
}

// certificateRef reads the body of attach and detach on a domain: a list, of which the
// compatible API takes exactly one.
func (x *exchange) certificateRef() (id string, verify *bool, err error) {
	f, err := readForm(x.body)
	if err != nil {
		return "", nil, err
	}
	f.mandatory("certificate_ids")
	ids, verify := f.texts("certificate_ids"), f.optionalFlag("verified_client_certificate_enabled")
	if len(ids) != 1 {
		f.refuse(lacre.CodeInvalidField, "certificate_ids", "expected exactly one id")
	}
	if f.err() != nil {
		return "", nil, f.err()
	}
	if !plainID.MatchString(ids[0]) {
		return "", nil, lacre.Errorf(lacre.CodeCertificateNotFound, "")
	}
	return ids[0], verify, nil
}

// createDomainCertificate answers the older POST …/domains/{domain_id}/certificate: it
// creates a certificate and binds it in one step.
func (x *exchange) createDomainCertificate() (*reply, error) {
	instance := x.instance
	in, err := x.certificateInput()
	if err != nil {
		return nil, err
	}
	if x.instance != instance {
		x.instance = "" // two are named: the Service knows which one is missing
	}
	view, warnings, err := x.Service.CreateDomainCertificate(x.Context(), x.caller, x.project, instance, x.group, x.domain, in)
	show := func(v *lacre.DomainView) boundDomain { return x.boundOf(v, madeFrom(in, v)) }
	return showing(http.StatusCreated, show, view, err, warnings...)
}

// madeFrom is the certificate that in has just become, nil if it is gone again: names
// are unique within a scope.
func madeFrom(in lacre.CertificateInput, v *lacre.DomainView) *lacre.Certificate {
	scope := cmp.Or(in.Scope, lacre.ScopeGlobal)
	for _, c := range v.Certificates {
		if c.Name == in.Name && c.Scope == scope {
			return c
		}
	}
	return nil
}

// showDomainCertificate answers GET …/domains/{domain_id}/certificate/{certificate_id}.
// The products' own answers are parts of the certificate's; this is all of it.
func (x *exchange) showDomainCertificate() (*reply, error) {
	c, err := x.Service.ShowDomainCertificate(x.Context(), x.caller, x.project, x.instance, x.group, x.domain, x.certificate)
	return showing(http.StatusOK, detailOf, c, err)
}

// removeDomainCertificate answers DELETE …/domains/{domain_id}/certificate/{certificate_id}:
// unbound, and deleted unless another domain uses it.
func (x *exchange) removeDomainCertificate() (*reply, error) {
	err := x.Service.RemoveDomainCertificate(x.Context(), x.caller, x.project, x.instance, x.group, x.domain, x.certificate)
	return noContent(nil, err)
}
