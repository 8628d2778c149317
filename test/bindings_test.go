package test

import (
	"fmt"
	"testing"
)

// site is a domain, in a group of its own, beside a certificate that covers it.
type site struct {
	group, certificate fields // as created
	domain             fields // path parameters
	pair               *pair
}

func (s *service) newSite(name string, more ...fields) site {
	s.Helper()
	group := s.createGroup("group_of_" + name)
	p := s.ca.issueRSA(s.T, name)
	return site{group, s.createCertificate(form("web_cert", p, more...)), s.createDomain(group, name), p}
}

// bound is how a domain looks from a certificate that is bound to it.
func (s *service) bound(it site, name string) fields {
	return with(s.policy(), fields{
		"url_domain": name, "id": it.domain["domain_id"], "status": 3, "is_http_redirect_to_https": false,
		"ssl_id": it.certificate["id"], "ssl_name": "web_cert",
		"api_group_id": it.group["id"], "api_group_name": it.group["name"], "instance_id": s.InstanceID,
	})
}

// sslInfo is how a global certificate looks inside a domain of a group.
func (s *service) sslInfo(it site, algorithm string) fields {
	info := fields{
		"ssl_id": it.certificate["id"], "ssl_name": it.certificate["name"], "algorithm_type": algorithm, "type": "global",
	}
	return with(info, s.only(apigw, fields{"type": 2, "is_has_trusted_root_ca": it.certificate["is_has_trusted_root_ca"]}))
}

func TestBindFromCertificate(t *testing.T) {
	forBoth(t, func(s *service) {
		it := s.newSite("www.a.test", fields{"trusted_root_ca": s.ca.pem})
		one := fields{"certificate_id": it.certificate["id"]}
		none := fields{"HTTP": 200, "size": 0, "total": 0, "bound_domains": []fields{}}
		s.gives(none, "ListAttachedDomainsV2", one)

		// The flag left out follows the trust root; sent again, it is set.
		for _, flag := range []fields{nil, {"verified_client_certificate_enabled": false}, {"verified_client_certificate_enabled": true}} {
			ref := with(fields{"domain": "www.a.test", "instance_ids": []string{s.InstanceID}}, flag)
			s.gives(fields{"HTTP": 204}, "BatchAssociateDomainsV2", with(one, fields{"body": fields{"domains": []fields{ref}}}))
			want := with(s.bound(it, "www.a.test"), fields{"verified_client_certificate_enabled": true}, flag)
			s.gives(fields{"HTTP": 200, "size": 1, "total": 1, "bound_domains": []fields{want}}, "ListAttachedDomainsV2", one)
		}
		s.gives(none, "ListAttachedDomainsV2", with(one, fields{"url_domain": "b.test"}))
		s.gives(with(none, fields{"total": 1}), "ListAttachedDomainsV2", with(one, fields{"offset": 1, "limit": 1}))
		s.refused("APIG.3400", "DeleteCertificateV2", one)

		detach := with(one, fields{"body": fields{"domains": []fields{{"domain": "www.a.test"}}}})
		s.gives(fields{"HTTP": 204}, "BatchDisassociateDomainsV2", detach)
		s.gives(none, "ListAttachedDomainsV2", one)
		s.refused("APIG.2000", "BatchDisassociateDomainsV2", detach)
	})
}

func TestBindFromDomain(t *testing.T) {
	forBoth(t, func(s *service) {
		it := s.newSite("www.a.test", fields{"trusted_root_ca": s.ca.pem})
		group := fields{"instance_id": s.InstanceID, "group_id": it.group["id"]}
		attach := func(verify bool) fields {
			return with(it.domain, fields{"body": fields{
				"certificate_ids": []any{it.certificate["id"]}, "verified_client_certificate_enabled": verify,
			}})
		}
		for _, verify := range []bool{true, false} { // the second changes the flag only
			s.gives(fields{"HTTP": 204}, "BatchAssociateCertsV2", attach(verify))
			s.equal("url_domains", s.urlDomain(group), with(s.policy(), fields{
				"id": it.domain["domain_id"], "domain": "www.a.test", "cname_status": 3,
				"ssl_id": it.certificate["id"], "ssl_name": "web_cert", "is_has_trusted_root_ca": true,
				"verified_client_certificate_enabled": verify, "ssl_infos": []fields{s.sslInfo(it, "RSA")},
			}))
		}
		s.refused("APIG.2051", "BatchAssociateCertsV2", with(it.domain, fields{"body": fields{
			"certificate_ids": []any{s.createCertificate(form("second", it.pair))["id"]},
		}}))
		s.gives(fields{"HTTP": 204}, "BatchDisassociateCertsV2", attach(false))
		s.refused("APIG.3097", "BatchDisassociateCertsV2", attach(false))
	})
}

// TestTwoCertificatesOnDomain shows a domain with certificates of both algorithms and
// both scopes. What clients call the certificate of a domain is the one with RSA.
func TestTwoCertificatesOnDomain(t *testing.T) {
	forBoth(t, func(s *service) {
		it := s.newSite("www.a.test", fields{"trusted_root_ca": s.ca.pem})
		elliptic := it
		elliptic.certificate = s.createCertificate(form("elliptic", s.ca.issue(s.T, "www.a.test"),
			fields{"type": "instance", "instance_id": s.InstanceID}))
		for _, c := range []fields{elliptic.certificate, it.certificate} {
			s.ok("BatchAssociateCertsV2", with(it.domain, fields{"body": fields{
				"certificate_ids": []any{c["id"]}, "verified_client_certificate_enabled": false,
			}}))
		}
		own := with(s.sslInfo(elliptic, "ECC"), fields{"type": "instance"}, s.only(apigw, fields{"type": 1}))
		s.equal("url_domains", s.urlDomain(fields{"instance_id": s.InstanceID, "group_id": it.group["id"]}), with(s.policy(), fields{
			"id": it.domain["domain_id"], "domain": "www.a.test", "cname_status": 3, "ssl_id": it.certificate["id"],
			"ssl_name": "web_cert", "is_has_trusted_root_ca": false, "ssl_infos": []fields{own, s.sslInfo(it, "RSA")},
		}))
	})
}

// TestDomainCertificate uses the older operations, which create a certificate with its
// binding and delete it with its binding.
func TestDomainCertificate(t *testing.T) {
	forBoth(t, func(s *service) {
		group := s.createGroup("web")
		domain := s.createDomain(group, "www.a.test")
		p := s.ca.issueRSA(s.T, "www.a.test")
		created := s.ok("AssociateCertificateV2", with(domain, fields{"body": form("web_cert", p)}))
		it := site{group: group, domain: domain, certificate: fields{"id": created["ssl_id"], "name": "web_cert", "is_has_trusted_root_ca": false}}
		want := s.bound(it, "www.a.test")
		if s.name == apic {
			for _, only := range []string{"api_group_id", "api_group_name", "instance_id"} {
				delete(want, only)
			}
			want["ssl_infos"] = []fields{s.sslInfo(it, "RSA")}
		}
		s.equal("AssociateCertificateV2", created, with(want, fields{"HTTP": 201}))

		one := with(domain, fields{"certificate_id": created["ssl_id"]})
		shown := s.ok("ShowDetailsOfDomainNameCertificateV2", one)
		detail := s.detail("web_cert", p, shown)
		detail["algorithm_type"], detail["signature_algorithm"] = "RSA", "ECDSA-SHA256"
		if s.name == apigw { // this one has them not
			delete(detail, "algorithm_type")
			delete(detail, "is_has_trusted_root_ca")
			detail["not_before"], detail["not_after"] = p.leaf.NotBefore, p.leaf.NotAfter
		}
		s.equal("ShowDetailsOfDomainNameCertificateV2", shown, detail)

		// While another domain uses it, it is not deleted with this binding. Deleting that
		// one's group unbinds it as well, and deletes no certificate.
		another := s.createGroup("another")
		second := s.createDomain(another, "www.b.test")
		p = s.ca.issueRSA(s.T, "www.a.test", "www.b.test")
		s.ok("UpdateCertificateV2", fields{"certificate_id": created["ssl_id"], "body": form("web_cert", p)})
		s.ok("BatchAssociateCertsV2", with(second, fields{"body": fields{"certificate_ids": []any{created["ssl_id"]}}}))
		s.gives(fields{"HTTP": 204}, "DisassociateCertificateV2", one)
		s.refused("APIG.3400", "DeleteCertificateV2", fields{"certificate_id": created["ssl_id"]})
		s.gives(fields{"HTTP": 204}, "DeleteApiGroupV2", fields{"instance_id": s.InstanceID, "group_id": another["id"]})
		s.ok("ShowDetailsOfCertificateV2", fields{"certificate_id": created["ssl_id"]})

		s.ok("BatchAssociateCertsV2", with(domain, fields{"body": fields{"certificate_ids": []any{created["ssl_id"]}}}))
		s.gives(fields{"HTTP": 204}, "DisassociateCertificateV2", one)
		s.refused("APIG.3021", "ShowDetailsOfDomainNameCertificateV2", one)
		s.refused("APIG.3021", "DisassociateCertificateV2", one)
	})
}

func TestBindingsRefused(t *testing.T) {
	forBoth(t, func(s *service) {
		it := s.newSite("www.a.test")
		one, nobody := fields{"certificate_id": it.certificate["id"]}, fields{"certificate_id": unknown}
		domains := func(name string) fields { return fields{"body": fields{"domains": []fields{{"domain": name}}}} }
		for _, operation := range []string{"BatchAssociateDomainsV2", "BatchDisassociateDomainsV2"} {
			s.refused("APIG.3021", operation, nobody, domains("www.a.test"))
			s.refused("APIG.2000", operation, one, fields{"body": fields{"domains": []fields{}}})
		}
		s.refused("APIG.3020", "BatchAssociateDomainsV2", one, domains("unbound.test"))
		verified := fields{"domain": "www.a.test", "verified_client_certificate_enabled": true}
		s.refused("APIG.2011", "BatchAssociateDomainsV2", one, fields{"body": fields{"domains": []fields{verified}}})
		many := make([]fields, 41)
		for i := range many {
			many[i] = fields{"domain": fmt.Sprintf("%d.a.test", i)}
		}
		s.refused("APIG.2011", "BatchAssociateDomainsV2", one, fields{"body": fields{"domains": many}})
		other := s.createDomain(s.createGroup("another"), "b.test")
		s.refused("APIG.2103", "BatchAssociateDomainsV2", one, domains("b.test"))
		s.refused("APIG.2000", "BatchDisassociateDomainsV2", one, domains("b.test"))
		_, err := s.do("ListAttachedDomainsV2", nobody)
		s.message(err, "ssl with certId "+unknown+" not found") // the text that Terraform's tests expect

		ids := func(ids ...any) fields { return fields{"body": fields{"certificate_ids": ids}} }
		s.refused("APIG.2103", "BatchAssociateCertsV2", other, ids(it.certificate["id"]))
		for _, operation := range []string{"BatchAssociateCertsV2", "BatchDisassociateCertsV2"} {
			s.refused("APIG.2011", operation, other, ids(it.certificate["id"], unknown))
			s.refused("APIG.3021", operation, other, ids(unknown))
			s.refused("APIG.3020", operation, other, fields{"domain_id": unknown}, ids(it.certificate["id"]))
		}
		s.refused("APIG.2103", "AssociateCertificateV2", other, fields{"body": form("another", it.pair)})
		s.refused("APIG.3020", "AssociateCertificateV2", other, fields{"domain_id": unknown, "body": form("another", it.pair)})
		s.refused("APIG.3097", "ShowDetailsOfDomainNameCertificateV2", other, one)
		s.refused("APIG.3097", "DisassociateCertificateV2", other, one)

		// A modification that would leave a bound domain uncovered changes nothing.
		s.ok("BatchAssociateDomainsV2", with(one, domains("www.a.test")))
		s.refused("APIG.2103", "UpdateCertificateV2", one, fields{"body": form("web_cert", s.ca.issue(s.T, "b.test"))})
		s.gives(s.detailOfRSA(it), "ShowDetailsOfCertificateV2", one)
	})
}

func (s *service) detailOfRSA(it site) fields {
	s.Helper()
	return with(s.detail("web_cert", it.pair, it.certificate), fields{"algorithm_type": "RSA"})
}
