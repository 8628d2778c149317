package test

import (
	"strings"
	"testing"
	"time"
)

// form is the body of creating and modifying a certificate.
func form(name string, p *pair, more ...fields) fields {
	return with(append([]fields{{"name": name, "cert_content": p.content, "private_key": p.key}}, more...)...)
}

// summary is what a list shows of a global certificate with an elliptic-curve key.
// Whatever the server chooses is taken from got, an answer about the same certificate.
func (s *service) summary(name string, p *pair, got fields) fields {
	s.Helper()
	return fields{
		"id": s.id(got), "name": name, "type": "global", "instance_id": "common", "project_id": s.ProjectID,
		"common_name": p.leaf.Subject.CommonName, "san": p.leaf.DNSNames, "not_after": p.leaf.NotAfter,
		"signature_algorithm": "ECDSA-SHA256", "algorithm_type": "ECC", "is_has_trusted_root_ca": false,
		"create_time": s.recent(got, "create_time"), "update_time": s.recent(got, "update_time"),
	}
}

// detail is what create, show and modify answer about the same.
func (s *service) detail(name string, p *pair, got fields) fields {
	s.Helper()
	return with(s.summary(name, p, got), fields{
		"HTTP": 200, "version": 3, "organization": []string{"Lacre"}, "organizational_unit": []string{"Edge"},
		"locality": []string{"Lisboa"}, "state": []string{"Estremadura"}, "country": []string{"PT"},
		"not_before": p.leaf.NotBefore, "serial_number": p.leaf.SerialNumber.String(), "issuer": []string{"Lacre Test CA"},
	})
}

// unknown has the form of an id and is that of nothing.
const unknown = "00000000000000000000000000000000"

func (s *service) createCertificate(body fields) fields {
	s.Helper()
	return s.ok("CreateCertificateV2", fields{"body": body})
}

func TestCertificates(t *testing.T) {
	forBoth(t, func(s *service) {
		p := s.ca.issue(s.T, "www.a.test", "*.b.test")
		created := s.createCertificate(form("web_cert", p))
		want := s.detail("web_cert", p, created)
		s.equal("CreateCertificateV2", created, want)
		one := fields{"certificate_id": s.id(created)}
		s.gives(want, "ShowDetailsOfCertificateV2", one)

		// The renewal of a certificate, as lego and certimate do it: show, then modify
		// with the scope that was shown. The name changes with each.
		renewed := s.ca.issueRSA(s.T, "www.a.test")
		modified := s.ok("UpdateCertificateV2", with(one, fields{"body": form("renewed_证书", renewed, fields{
			"type": created["type"], "instance_id": created["instance_id"],
		})}))
		want = with(s.detail("renewed_证书", renewed, modified), fields{
			"id": created["id"], "create_time": created["create_time"], "algorithm_type": "RSA",
		})
		s.equal("UpdateCertificateV2", modified, want)
		s.gives(want, "ShowDetailsOfCertificateV2", one)

		s.gives(fields{"HTTP": 204}, "DeleteCertificateV2", one)
		s.refused("APIG.3021", "ShowDetailsOfCertificateV2", one)
	})
}

func TestCertificateOfInstanceWithTrustRoot(t *testing.T) {
	forBoth(t, func(s *service) {
		p := s.ca.issue(s.T, "www.a.test")
		scope := fields{"type": "instance", "instance_id": s.InstanceID}
		created := s.createCertificate(form("web_cert", p, scope, fields{"trusted_root_ca": s.ca.pem, "algorithm_type": "ECC"}))
		want := with(s.detail("web_cert", p, created), scope, fields{"is_has_trusted_root_ca": true})
		s.equal("CreateCertificateV2", created, want)

		// What the SDK leaves out, and what it sends as a pointer to "", are different wishes.
		one := fields{"certificate_id": s.id(created)}
		modified := s.ok("UpdateCertificateV2", with(one, fields{"body": form("web_cert", p)}))
		s.equal("without trusted_root_ca", modified, with(want, fields{"update_time": s.recent(modified, "update_time")}))
		modified = s.ok("UpdateCertificateV2", with(one, fields{"body": form("web_cert", p, fields{
			"trusted_root_ca": "", "cert_content_sign": "", "private_key_sign": "",
		})}))
		s.equal("with an empty trusted_root_ca", modified, with(want, fields{
			"update_time": s.recent(modified, "update_time"), "is_has_trusted_root_ca": false,
		}))
	})
}

// TestPEMAsPeopleSendIt uploads text as the documentation's own examples have it, and a
// chain in the wrong order.
func TestPEMAsPeopleSendIt(t *testing.T) {
	forBoth(t, func(s *service) {
		p := s.ca.issue(s.T, "www.a.test")
		quoted := func(text string) string { return "'" + strings.ReplaceAll(text, "\n", `\n`) + "'" }
		for name, sent := range map[string]*pair{
			"quoted":        {p.leaf, quoted(p.content), quoted(p.key)},
			"carriage":      {p.leaf, strings.ReplaceAll(p.content, "\n", "\r\n"), strings.ReplaceAll(p.key, "\n", "\r\n")},
			"no_final_line": {p.leaf, strings.TrimSpace(p.content), strings.TrimSpace(p.key)},
			"root_first":    {p.leaf, s.ca.pem + p.content, p.key},
		} {
			created := s.createCertificate(form(name, sent))
			s.equal(name, created, s.detail(name, p, created))
		}
	})
}

func TestListCertificates(t *testing.T) {
	forBoth(t, func(s *service) {
		elliptic, rsa := s.ca.issue(s.T, "a.test"), s.ca.issueRSA(s.T, "b.test")
		first := s.createCertificate(form("first", elliptic))
		second := s.createCertificate(form("second", rsa, fields{"type": "instance", "instance_id": s.InstanceID}))
		a := s.summary("first", elliptic, first)
		b := with(s.summary("second", rsa, second), fields{"type": "instance", "instance_id": s.InstanceID, "algorithm_type": "RSA"})
		all := fields{"instance_id": s.InstanceID}

		for _, test := range []struct {
			name   string
			filter fields
			want   []fields
			total  int
		}{
			{"all", nil, []fields{b, a}, 2},
			{"no instance", fields{"instance_id": ""}, []fields{b, a}, 2},
			{"page", fields{"offset": 1, "limit": 1}, []fields{a}, 2},
			{"negative page", fields{"offset": -1, "limit": -1}, []fields{b, a}, 2},
			{"name", fields{"name": "first"}, []fields{a}, 1},
			{"common name", fields{"common_name": "b.test"}, []fields{b}, 1},
			{"signature algorithm", fields{"signature_algorithm": "ECDSA-SHA256", "name": "second"}, []fields{b}, 1},
			{"type", fields{"type": "instance"}, []fields{b}, 1},
			{"algorithm type", fields{"algorithm_type": "ECC"}, []fields{a}, 1},
			{"nothing", fields{"name": "证书 a&b"}, []fields{}, 0},
		} {
			got := s.ok("ListCertificatesV2", with(all, test.filter))
			s.equal(test.name, got, fields{"HTTP": 200, "size": len(test.want), "total": test.total, "certs": test.want})
		}
	})
}

func TestCertificatesRefused(t *testing.T) {
	forBoth(t, func(s *service) {
		p, other := s.ca.issue(s.T, "www.a.test"), s.ca.issue(s.T, "www.a.test")
		expired := s.ca.issueFor(s.T, newECKey(s.T), time.Now().Add(-time.Second), "www.a.test")
		one := fields{"certificate_id": s.id(s.createCertificate(form("web_cert", p)))}
		nobody := fields{"certificate_id": unknown}
		body := func(f fields) fields { return fields{"body": f} }
		s.refused("APIG.2101", "CreateCertificateV2", body(form("other", &pair{p.leaf, p.content, other.key})))
		s.refused("APIG.2102", "CreateCertificateV2", body(form("other", expired)))
		s.refused("APIG.2106", "CreateCertificateV2", body(form("other", &pair{p.leaf, "no PEM", p.key})))
		s.refused("APIG.2011", "CreateCertificateV2", body(form("1st", p)))
		s.refused("APIG.3325", "CreateCertificateV2", body(form("web_cert", p)))
		s.refused("APIG.3030", "CreateCertificateV2", body(form("other", p, fields{"type": "instance", "instance_id": "elsewhere"})))
		s.refused("APIG.3709", "CreateCertificateV2", body(form("other", p, fields{"algorithm_type": "RSA"})))
		s.refused("APIG.2011", "CreateCertificateV2", body(form("other", p, fields{"algorithm_type": "SM2"})))

		s.refused("APIG.3030", "ListCertificatesV2", fields{"instance_id": "elsewhere"})
		s.refused("APIG.2012", "ListCertificatesV2", fields{"instance_id": s.InstanceID, "type": "both"})
		s.refused("APIG.3021", "ShowDetailsOfCertificateV2", nobody)
		s.refused("APIG.3021", "UpdateCertificateV2", nobody, body(form("other", p)))
		s.refused("APIG.2101", "UpdateCertificateV2", one, body(form("web_cert", &pair{p.leaf, p.content, other.key})))
		s.refused("APIG.2012", "UpdateCertificateV2", one, body(form("web_cert", p, fields{"type": "instance", "instance_id": s.InstanceID})))
		s.refused("APIG.3021", "DeleteCertificateV2", nobody)
	})
}
