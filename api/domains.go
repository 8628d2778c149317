package api

import (
	"net/http"

	"lacre"
)

// createDomain answers POST …/api-groups/{group_id}/domains.
func (x *exchange) createDomain() (*reply, error) {
	f, err := readForm(x.body)
	if err != nil {
		return nil, err
	}
	f.mandatory("url_domain")
	in := lacre.DomainInput{
		Name:          f.text("url_domain"),
		MinTLS:        f.text("min_ssl_version"),
		RedirectHTTPS: f.flag("is_http_redirect_to_https"),
		HSTS:          f.flag("hsts_enabled"),
		Upstream:      f.text("upstream"),
	}
	in.HTTPPort, in.HTTPSPort = x.ports(f)
	if f.err() != nil {
		return nil, f.err()
	}
	view, warnings, err := x.Service.CreateDomain(x.Context(), x.caller, x.project, x.instance, x.group, in)
	return showing(http.StatusCreated, x.domainOf, view, err, warnings...)
}

// ports reads the ingress ports. On apic they are members like any other unknown one.
func (x *exchange) ports(f *form) (http, https *int) {
	if x.product != apigw {
		return nil, nil
	}
	return f.optionalInt("ingress_http_port"), f.optionalInt("ingress_https_port")
}

// modifyDomain answers PUT …/domains/{domain_id}, with 201 as the API does. On apigw
// min_ssl_version is mandatory; on both products an empty one counts as unchanged.
func (x *exchange) modifyDomain() (*reply, error) {
	f, err := readForm(x.body)
	if err != nil {
		return nil, err
	}
	if x.product == apigw {
		f.mandatory("min_ssl_version")
	}
	change := lacre.DomainChange{
		MinTLS:        f.optionalText("min_ssl_version"),
		RedirectHTTPS: f.optionalFlag("is_http_redirect_to_https"),
		VerifyClient:  f.optionalFlag("verified_client_certificate_enabled"),
		HSTS:          f.optionalFlag("hsts_enabled"),
		Upstream:      f.optionalText("upstream"),
	}
	if change.MinTLS != nil && *change.MinTLS == "" {
		change.MinTLS = nil
	}
	change.HTTPPort, change.HTTPSPort = x.ports(f)
	if f.err() != nil {
		return nil, f.err()
	}
	view, warnings, err := x.Service.ModifyDomain(x.Context(), x.caller, x.project, x.instance, x.group, x.domain, change)
	return showing(http.StatusCreated, x.domainOf, view, err, warnings...)
}

// deleteDomain answers DELETE …/domains/{domain_id}.
func (x *exchange) deleteDomain() (*reply, error) {
	return noContent(nil, x.Service.DeleteDomain(x.Context(), x.caller, x.project, x.instance, x.group, x.domain))
}
