package api

import (
	"encoding/json"
	"net/http"

	"lacre"
	"lacre/keypair"
)

// explain answers POST …/explain, an extension: what the edge of this node does with a
// client hello and the request after it.
func (x *exchange) explain() (*reply, error) {
	f, err := readForm(x.body)
	if err != nil {
		return nil, err
	}
	f.mandatory("sni")
	q := lacre.Question{
		ServerName: f.text("sni"), Host: f.optionalText("host"),
		Versions: f.offers("versions"), CipherSuites: f.offers("cipher_suites"),
		SignatureAlgorithms: f.offers("signature_algorithms"),
	}
	if f.err() != nil {
		return nil, f.err()
	}
	e, err := x.Service.Explain(x.Context(), x.caller, x.project, q)
	return showing(http.StatusOK, explanationOf, e, err)
}

// offers is an array of names and numbers, nil when it is absent. What they stand for is
// for the Service to say.
func (f *form) offers(name string) []string {
	const kind = "an array of names or numbers"
	list := member[[]json.RawMessage](f, name, kind)
	if list == nil {
		return nil
	}
	offers := make([]string, len(*list))
	for i, raw := range *list {
		var number json.Number
		if json.Unmarshal(raw, &offers[i]) != nil && json.Unmarshal(raw, &number) != nil {
			f.refuse(lacre.CodeInvalidField, name, "entry %d: expected a name or a number of the IANA registry", i)
		} else if number != "" {
			offers[i] = number.String()
		}
	}
	return offers
}

type explanation struct {
	Host        string             `json:"canonical_host"`
	Handshake   handshakeOutcome   `json:"handshake"`
	Rule        *rule              `json:"rule,omitempty"`
	Policy      *edgePolicy        `json:"policy,omitempty"`
	Certificate *servedCertificate `json:"certificate,omitempty"`
	Request     *requestOutcome    `json:"request,omitempty"`
	Losers      []loser            `json:"losers"`
}

type handshakeOutcome struct {
	Result      string `json:"result"`
	Alert       uint8  `json:"alert"`
	Reason      string `json:"reason"`
	Version     string `json:"version"`
	CipherSuite string `json:"cipher_suite"`
}

type rule struct {
	Match      string `json:"match"` // exact or wildcard
	Host       string `json:"host"`
	DomainID   string `json:"domain_id"`
	InstanceID string `json:"instance_id"`
}

// edgePolicy has the names of the domain's own members where they mean the same.
type edgePolicy struct {
	MinTLS        string `json:"min_ssl_version"`
	VerifyClient  bool   `json:"verified_client_certificate_enabled"`
	RedirectHTTPS bool   `json:"is_http_redirect_to_https"`
	HSTS          bool   `json:"hsts_enabled"`
	HTTP          bool   `json:"http_enabled"`
	HTTPS         bool   `json:"https_enabled"`
	Upstream      string `json:"upstream"`
}

type servedCertificate struct {
	ID            string            `json:"id"`
	Version       int               `json:"version"` // of the certificate's history, from 1
	Fingerprint   string            `json:"fingerprint"`
	AlgorithmType keypair.Algorithm `json:"algorithm_type"`
	NotBefore     string            `json:"not_before"`
	NotAfter      string            `json:"not_after"`
	OCSP          string            `json:"ocsp_next_update,omitempty"`
}

type requestOutcome struct {
	Host   string `json:"host"`
	Result string `json:"result"`
	Status int    `json:"status"` // 0: the upstream decides
	Reason string `json:"reason"`
}

type loser struct {
	CertificateID string             `json:"certificate_id,omitempty"`
	Certificate   *servedCertificate `json:"certificate,omitempty"`
	Domain        *rule              `json:"domain,omitempty"`
	Reason        string             `json:"reason"`
}

func explanationOf(e *lacre.Explanation) explanation {
	out := explanation{
		Host: e.Host, Handshake: handshakeOutcome(e.Handshake), Rule: ruleOf(e.Rule),
		Policy: (*edgePolicy)(e.Policy), Certificate: servedOf(e.Certificate),
		Losers: each(e.Losers, loserOf),
	}
	if r := e.Request; r != nil {
		out.Request = &requestOutcome{Host: r.Host, Result: r.Result, Status: r.Status, Reason: r.Reason}
	}
	return out
}

func loserOf(l lacre.Loser) loser {
	return loser{CertificateID: l.CertificateID, Certificate: servedOf(l.Certificate), Domain: ruleOf(l.Domain), Reason: l.Reason}
}

func ruleOf(r *lacre.Rule) *rule {
	if r == nil {
		return nil
	}
	match := "exact"
	if r.Wildcard {
		match = "wildcard"
	}
	return &rule{Match: match, Host: r.Host, DomainID: r.DomainID, InstanceID: r.InstanceID}
}

func servedOf(c *lacre.ServedCertificate) *servedCertificate {
	if c == nil {
		return nil
	}
	out := &servedCertificate{
		ID: c.ID, Version: c.Version, Fingerprint: c.Fingerprint, AlgorithmType: c.Algorithm,
		NotBefore: utc(c.NotBefore), NotAfter: utc(c.NotAfter),
	}
	if !c.StapleEnds.IsZero() {
		out.OCSP = utc(c.StapleEnds)
	}
	return out
}
