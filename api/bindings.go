package api

import (
	"cmp"
	"net/http"

	"lacre"
)

// attachDomains binds a certificate to domains by name.
func (x *exchange) attachDomains() (*reply, error) {
	id, refs, err := x.domainRefs()
	if err != nil {
		return nil, err
	}
	return noContent(x.Service.AttachDomains(x.Context(), x.caller, x.project, id, refs))
}

func (x *exchange) detachDomains() (*reply, error) {
	id, refs, err := x.domainRefs()
	if err != nil {
		return nil, err
	}
	return noContent(nil, x.Service.DetachDomains(x.Context(), x.caller, x.project, id, refs))
}

// domainRefs reads the one body of attach and detach. Terraform drops empty lists, so a
// body without domains is answered like one that names none that exist: on detach its
// clients take that for "already gone".
func (x *exchange) domainRefs() (string, []lacre.DomainRef, error) {
	id, err := x.id("certificate_id", lacre.CodeCertificateNotFound)
	if err != nil {
		return "", nil, err
	}
	f, err := readForm(x.body)
	if err != nil {
		return "", nil, err
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
		return "", nil, lacre.FieldErrorf(lacre.CodeNothingBound, "domains", "expected at least one domain")
	}
	return id, refs, f.err()
}

func (x *exchange) attachedDomains() (*reply, error) {
	x.missing = "ssl with certId " + x.PathValue("certificate_id") + " not found"
	id, err := x.id("certificate_id", lacre.CodeCertificateNotFound)
	if err != nil {
		return nil, err
	}
	page, err := x.page()
	if err != nil {
		return nil, err
	}
	views, total, err := x.Service.AttachedDomains(x.Context(), x.caller, x.project, id, x.query.Get("url_domain"), page)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		Size    int           `json:"size"`
		Total   int           `json:"total"`
		Domains []boundDomain `json:"bound_domains"`
	}{len(views), total, each(views, func(v *lacre.DomainView) boundDomain { return x.boundOf(v, withID(v, id)) })}}, nil
}

// domainPlace is what the path of the operations on one domain names.
type domainPlace struct{ instance, group, domain string }

func (x *exchange) domainPlace() (p domainPlace, err error) {
	if p.instance, err = x.id("instance_id", lacre.CodeInstanceNotFound); err != nil {
		return p, err
	}
	if p.group, err = x.id("group_id", lacre.CodeGroupNotFound); err != nil {
		return p, err
	}
	p.domain, err = x.id("domain_id", lacre.CodeDomainNotFound)
	return p, err
}

func (x *exchange) attachCertificate() (*reply, error) {
	p, err := x.domainPlace()
	if err != nil {
		return nil, err
	}
	id, verify, err := x.certificateRef()
	if err != nil {
		return nil, err
	}
	return noContent(x.Service.AttachCertificate(x.Context(), x.caller, x.project, p.instance, p.group, p.domain, id, verify))
}

func (x *exchange) detachCertificate() (*reply, error) {
	p, err := x.domainPlace()
	if err != nil {
		return nil, err
	}
	id, _, err := x.certificateRef()
	if err != nil {
		return nil, err
	}
	return noContent(nil, x.Service.DetachCertificate(x.Context(), x.caller, x.project, p.instance, p.group, p.domain, id))
}

// certificateRef reads the body of attach and detach on a domain: a list, of which the
// compatible API takes exactly one.
func (x *exchange) certificateRef() (string, *bool, error) {
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

// createDomainCertificate creates a certificate and binds it in one step.
func (x *exchange) createDomainCertificate() (*reply, error) {
	p, err := x.domainPlace()
	if err != nil {
		return nil, err
	}
	in, err := x.certificateInput()
	if err != nil {
		return nil, err
	}
	view, warnings, err := x.Service.CreateDomainCertificate(x.Context(), x.caller, x.project, p.instance, p.group, p.domain, in)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, body: x.boundOf(view, madeFrom(in, view)), warnings: warnings}, nil
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

func (x *exchange) showDomainCertificate() (*reply, error) {
	p, id, err := x.domainCertificate()
	if err != nil {
		return nil, err
	}
	c, err := x.Service.ShowDomainCertificate(x.Context(), x.caller, x.project, p.instance, p.group, p.domain, id)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: detailOf(c)}, nil
}

func (x *exchange) removeDomainCertificate() (*reply, error) {
	p, id, err := x.domainCertificate()
	if err != nil {
		return nil, err
	}
	return noContent(nil, x.Service.RemoveDomainCertificate(x.Context(), x.caller, x.project, p.instance, p.group, p.domain, id))
}

func (x *exchange) domainCertificate() (domainPlace, string, error) {
	p, err := x.domainPlace()
	if err != nil {
		return p, "", err
	}
	id, err := x.id("certificate_id", lacre.CodeCertificateNotFound)
	return p, id, err
}
