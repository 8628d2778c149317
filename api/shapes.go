package api

import (
	"time"

	"lacre"
	"lacre/keypair"
)

// summary is an element of the certificate list (the APIs' CertBase).
type summary struct {
	ID                 string            `json:"id"`
	Name               string            `json:"name"`
	Type               lacre.Scope       `json:"type"`
	InstanceID         string            `json:"instance_id"`
	ProjectID          string            `json:"project_id"`
	CommonName         string            `json:"common_name"`
	SAN                []string          `json:"san"`
	NotAfter           string            `json:"not_after"`
	SignatureAlgorithm string            `json:"signature_algorithm"`
	CreateTime         string            `json:"create_time"`
	UpdateTime         string            `json:"update_time"`
	AlgorithmType      keypair.Algorithm `json:"algorithm_type"`
	HasTrustedRootCA   bool              `json:"is_has_trusted_root_ca"`
}

// detailed is one certificate (API page, table 4). Every member is always there:
// clients dereference what they expect.
type detailed struct {
	summary
	Version            int      `json:"version"` // of X.509
	Organization       []string `json:"organization"`
	OrganizationalUnit []string `json:"organizational_unit"`
	Locality           []string `json:"locality"`
	State              []string `json:"state"`
	Country            []string `json:"country"`
	NotBefore          string   `json:"not_before"`
	SerialNumber       string   `json:"serial_number"`
	Issuer             []string `json:"issuer"`
	OCSPNextUpdate     string   `json:"ocsp_next_update,omitempty"` // an extension, with a staple only
}

// summaryOf shows a certificate in a list. A global one is of the instance "common",
// which clients send back as it is.
func summaryOf(c *lacre.Certificate) summary {
	s := summary{
		ID: c.ID, Name: c.Name, Type: c.Scope, InstanceID: c.InstanceID, ProjectID: c.ProjectID,
		CommonName: c.Facts.CommonName, SAN: filled(c.Facts.SANs), NotAfter: utc(c.Facts.NotAfter),
		SignatureAlgorithm: c.Facts.SignatureAlgorithm, CreateTime: utc(c.Created), UpdateTime: utc(c.Updated),
		AlgorithmType: c.Facts.Algorithm, HasTrustedRootCA: c.HasTrustRoot,
	}
	if c.Scope == lacre.ScopeGlobal {
		s.InstanceID = "common"
	}
	return s
}

// detailOf shows one certificate: all but its text and its key, which are never shown.
func detailOf(c *lacre.Certificate) detailed {
	f := &c.Facts
	d := detailed{
		summary: summaryOf(c), Version: f.X509Version,
		Organization: filled(f.Organization), OrganizationalUnit: filled(f.OrganizationalUnit),
		Locality: filled(f.Locality), State: filled(f.State), Country: filled(f.Country),
		NotBefore: utc(f.NotBefore), SerialNumber: f.SerialNumber, Issuer: filled(f.Issuer),
	}
	if !c.OCSPNextUpdate.IsZero() {
		d.OCSPNextUpdate = utc(c.OCSPNextUpdate)
	}
	return d
}

// resolved is the CNAME status of every domain here: there is no such check.
const resolved = 3

// domainPolicy is what all answers say about a domain. Ports are on apigw only.
type domainPolicy struct {
	MinTLS        string `json:"min_ssl_version"`
	RedirectHTTPS bool   `json:"is_http_redirect_to_https"`
	VerifyClient  bool   `json:"verified_client_certificate_enabled"`
	HTTPPort      *int   `json:"ingress_http_port,omitempty"`
	HTTPSPort     *int   `json:"ingress_https_port,omitempty"`
	Upstream      string `json:"upstream"`     // an extension
	HSTS          bool   `json:"hsts_enabled"` // an extension
}

func (x *exchange) policyOf(d *lacre.Domain) domainPolicy {
	p := domainPolicy{MinTLS: d.MinTLS, RedirectHTTPS: d.RedirectHTTPS, VerifyClient: d.VerifyClient, Upstream: d.Upstream, HSTS: d.HSTS}
	if x.product == apigw {
		p.HTTPPort, p.HTTPSPort = &d.HTTPPort, &d.HTTPSPort
	}
	return p
}

// domain is the answer of creating and modifying one.
type domain struct {
	URLDomain string `json:"url_domain"`
	ID        string `json:"id"`
	Status    int    `json:"status"`
	domainPolicy
}

// domainOf shows a domain with its name as it was sent, a final dot included: Terraform
// looks for that very text.
func (x *exchange) domainOf(v *lacre.DomainView) domain {
	return domain{URLDomain: v.Name, ID: v.ID, Status: resolved, domainPolicy: x.policyOf(v.Domain)}
}

// boundDomain is a domain as seen from one certificate that is bound to it.
type boundDomain struct {
	domain
	SSLID      string    `json:"ssl_id"`
	SSLName    string    `json:"ssl_name"`
	GroupID    string    `json:"api_group_id"`
	GroupName  string    `json:"api_group_name"`
	InstanceID string    `json:"instance_id"`
	SSLInfos   []sslInfo `json:"ssl_infos"`
}

// boundOf shows a domain from the point of view of c, nil when c cannot be shown.
func (x *exchange) boundOf(v *lacre.DomainView, c *lacre.Certificate) boundDomain {
	b := boundDomain{
		domain: x.domainOf(v), GroupID: v.GroupID, GroupName: v.GroupName,
		InstanceID: v.InstanceID, SSLInfos: each(v.Certificates, x.sslInfoOf),
	}
	if c != nil {
		b.SSLID, b.SSLName = c.ID, c.Name
	}
	return b
}

// withID is the certificate of that id among those bound, nil if it cannot be shown.
func withID(v *lacre.DomainView, id string) *lacre.Certificate {
	for _, c := range v.Certificates {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// sslInfo is one of the certificates bound to a domain.
type sslInfo struct {
	ID            string            `json:"ssl_id"`
	Name          string            `json:"ssl_name"`
	AlgorithmType keypair.Algorithm `json:"algorithm_type"`
	// Type is a number on apigw (1 this instance, 2 global) and a string on apic
	// (instance, global). Either SDK refuses the other's.
	Type             any  `json:"type"`
	HasTrustedRootCA bool `json:"is_has_trusted_root_ca"`
}

func (x *exchange) sslInfoOf(c *lacre.Certificate) sslInfo {
	info := sslInfo{ID: c.ID, Name: c.Name, AlgorithmType: c.Facts.Algorithm, Type: c.Scope, HasTrustedRootCA: c.HasTrustRoot}
	if x.product == apigw {
		info.Type = 1
		if c.Scope == lacre.ScopeGlobal {
			info.Type = 2
		}
	}
	return info
}

// urlDomain is a domain inside its group.
type urlDomain struct {
	ID          string `json:"id"`
	Domain      string `json:"domain"`
	CNAMEStatus int    `json:"cname_status"`
	domainPolicy
	SSLID            string    `json:"ssl_id"` // of the RSA certificate, empty when there is none
	SSLName          string    `json:"ssl_name"`
	HasTrustedRootCA bool      `json:"is_has_trusted_root_ca"` // all bound ones have one
	SSLInfos         []sslInfo `json:"ssl_infos"`
}

// urlDomainOf shows a domain in its group. The single ssl_id is for clients from before
// a domain could have several certificates.
func (x *exchange) urlDomainOf(v *lacre.DomainView) urlDomain {
	u := urlDomain{
		ID: v.ID, Domain: v.Name, CNAMEStatus: resolved, domainPolicy: x.policyOf(v.Domain),
		HasTrustedRootCA: len(v.Certificates) > 0, SSLInfos: each(v.Certificates, x.sslInfoOf),
	}
	for _, c := range v.Certificates {
		u.HasTrustedRootCA = u.HasTrustedRootCA && c.HasTrustRoot
		if c.Facts.Algorithm == keypair.RSA {
			u.SSLID, u.SSLName = c.ID, c.Name
		}
	}
	return u
}

// group is an API group. The constants are what the API's clients expect of a group
// that is neither locked, nor for sale, nor made by the system.
type group struct {
	ID              string      `json:"id"`
	Name            string      `json:"name"`
	Remark          string      `json:"remark"`
	Status          int         `json:"status"` // 1 valid
	Subdomain       string      `json:"sl_domain"`
	Subdomains      []string    `json:"sl_domains"`
	SubdomainAccess *bool       `json:"sl_domain_access_enabled,omitempty"` // apigw only
	OnSellStatus    int         `json:"on_sell_status"`                     // 2 not listed
	IsDefault       int         `json:"is_default"`                         // 2 no
	RegisterTime    string      `json:"register_time"`
	UpdateTime      string      `json:"update_time"`
	URLDomains      []urlDomain `json:"url_domains"`
}

// groupOf shows a group. There are no automatic sub-domains: sl_domain is empty.
func (x *exchange) groupOf(v *lacre.GroupView) group {
	g := group{
		ID: v.ID, Name: v.Name, Remark: v.Remark, Status: 1, Subdomains: []string{}, OnSellStatus: 2, IsDefault: 2,
		RegisterTime: utc(v.Created), UpdateTime: utc(v.Updated), URLDomains: each(v.Domains, x.urlDomainOf),
	}
	if x.product == apigw {
		g.SubdomainAccess = &v.SubdomainAccess
	}
	return g
}

// instance is a gateway, with those of the API's members that mean something here.
type instance struct {
	ID             string `json:"id"`
	ProjectID      string `json:"project_id"`
	Name           string `json:"instance_name"`
	Status         string `json:"status"`
	InstanceStatus int    `json:"instance_status"`
	Type           string `json:"type"`
	CreateTime     int64  `json:"create_time"` // milliseconds since 1970, unlike all other times
	// EnterpriseProjectID is "0", the default one, of every instance: clients with an
	// enterprise project leave out those of others.
	EnterpriseProjectID string `json:"enterprise_project_id"`
}

// instanceOf shows an instance, which always runs unless it is being deleted.
func instanceOf(in *lacre.Instance) instance {
	out := instance{
		ID: in.ID, ProjectID: in.ProjectID, Name: in.Name, Status: in.Status(), InstanceStatus: 6,
		Type: "apig", CreateTime: in.Created.UnixMilli(), EnterpriseProjectID: "0",
	}
	if in.Closing {
		out.InstanceStatus = 23
	}
	return out
}

// madeInstance is a new instance: what the API answers, which is a job to wait for, with
// the instance itself, since there is nothing to wait for.
type madeInstance struct {
	instance
	InstanceID string `json:"instance_id"`
	Message    string `json:"message"`
}

func madeInstanceOf(in *lacre.Instance) madeInstance {
	return madeInstance{instance: instanceOf(in), InstanceID: in.ID, Message: "The instance has been created."}
}

// utc is a time as the APIs write it, to the second.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// filled keeps an empty list from becoming null.
func filled(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// each is the list of what of makes of each element, empty rather than nil.
func each[T, U any](list []T, of func(T) U) []U {
	out := make([]U, len(list))
	for i, v := range list {
		out[i] = of(v)
	}
	return out
}
