package api

import (
	"net/http"

	"lacre"
)

// createDomain binds a host name to a group. Ingress ports exist on apigw only.
func (x *exchange) createDomain() (*reply, error) {
	instance, groupID, err := x.groupPlace()
	if err != nil {
		return nil, err
	}
	f, err := readForm(x.body)
	if err != nil {
		return nil, err
	}
	f.mandatory("url_domain")
	in := lacre.DomainInput{
		Name:          f.text("url_domain"),
		MinTLS:        f.text("min_ssl_version"),
		RedirectHTTPS: f.flag("is_http_redirect_to_https"),
		Upstream:      f.text("upstream"),
	}
	in.HTTPPort, in.HTTPSPort = x.ports(f)
	if f.err() != nil {
		return nil, f.err()
	}
	view, warnings, err := x.Service.CreateDomain(x.Context(), x.caller, x.project, instance, groupID, in)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, body: x.domainOf(view), warnings: warnings}, nil
}

func (x *exchange) ports(f *form) (http, https *int) {
	if x.product != apigw {
		return nil, nil
	}
	return f.optionalInt("ingress_http_port"), f.optionalInt("ingress_https_port")
}

// modifyDomain changes a domain's policy. Terraform leaves min_ssl_version out when it
// is empty, so that counts as unchanged, on both products.
func (x *exchange) modifyDomain() (*reply, error) {
	p, err := x.domainPlace()
	if err != nil {
		return nil, err
	}
	f, err := readForm(x.body)
	if err != nil {
		return nil, err
	}
	change := lacre.DomainChange{
		MinTLS:        f.optionalText("min_ssl_version"),
		RedirectHTTPS: f.optionalFlag("is_http_redirect_to_https"),
		VerifyClient:  f.optionalFlag("verified_client_certificate_enabled"),
		Upstream:      f.optionalText("upstream"),
	}
	if change.MinTLS != nil && *change.MinTLS == "" {
		change.MinTLS = nil
	}
	change.HTTPPort, change.HTTPSPort = x.ports(f)
	if f.err() != nil {
		return nil, f.err()
	}
	view, warnings, err := x.Service.ModifyDomain(x.Context(), x.caller, x.project, p.instance, p.group, p.domain, change)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, body: x.domainOf(view), warnings: warnings}, nil
}

func (x *exchange) deleteDomain() (*reply, error) {
	p, err := x.domainPlace()
	if err != nil {
		return nil, err
	}
	return noContent(nil, x.Service.DeleteDomain(x.Context(), x.caller, x.project, p.instance, p.group, p.domain))
}
