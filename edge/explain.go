package edge

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"lacre"
	"lacre/keypair"
	"lacre/tlcp"
)

// Explain implements lacre.Edge: it rehearses the handshake with the code that serves
// them, and notes what is chosen on the way. It may open private keys of the project;
// for a name of another project it does the same as for an unknown one.
func (e *Edge) Explain(_ context.Context, projectID string, hello lacre.ClientHello, host string) (*lacre.Explanation, error) {
	select {
	case <-e.Ready():
	default:
		return nil, fmt.Errorf("the edge has not loaded the domains yet: %w", lacre.ErrUnavailable)
	}
	x := &explanation{edge: e, project: projectID}
	config := e.baseTLS()
	config.GetConfigForClient = func(offered *tls.ClientHelloInfo) (*tls.Config, error) {
		x.choose(offered)
		return e.configOf(x.decision), nil
	}
	var err error
	if x.out.Handshake, err = rehearse(hello, config); err != nil {
		return nil, fmt.Errorf("making a client hello: %w", err)
	}
	if alert := x.out.Handshake.Alert; x.why != "" && (alert == unrecognizedAlert || alert == uint8(tlcp.AlertHandshakeFailure)) {
		x.out.Handshake.Reason = x.why // crypto/tls knows only that it has no certificate
	}
	x.out.Host, _ = keypair.CanonicalHost(hello.ServerName) // empty is what it is for no host
	x.request(host)
	return &x.out, nil
}

// explanation is one call of Explain.
type explanation struct {
	edge       *Edge
	project    string
	decision   decision
	candidates []candidate
	why        string // why the decision is no certificate
	out        lacre.Explanation
}

// choose is what configFor is to a real handshake.
func (x *explanation) choose(offered *tls.ClientHelloInfo) {
	s := x.edge.find(context.Background(), offered.ServerName)
	if s != nil && s.project != x.project {
		s = nil
	}
	x.decision = x.edge.decideFor(s, offered, func(c candidate) { x.candidates = append(x.candidates, c) })
	switch {
	case s == nil:
		x.why = "no domain of this project serves the name"
		return
	case s.noHTTPS:
		x.why = "the HTTPS port of the domain is off"
	case x.decision.refused == handshakeFailure:
		x.why = "the domain has SM2 certificates only, which need TLCP"
	case x.decision.refused != succeeded:
		x.why = "the domain has no certificate that can be presented"
	default:
		x.out.Certificate = x.decision.version.shown()
	}
	x.out.Rule, x.out.Policy = s.rule(), x.edge.policyOf(s)
	x.lost(s)
}

// lost notes what was not chosen: certificates of the site, other domains of the project
// that name the same host, and the wildcard that an exact name hides.
func (x *explanation) lost(s *site) {
	for _, c := range x.candidates {
		if c.version == nil || c.version != x.decision.version {
			l := lacre.Loser{CertificateID: c.served.key.id, Reason: c.lostTo(x.decision)}
			if c.version != nil {
				l.Certificate = c.version.shown()
			}
			x.out.Losers = append(x.out.Losers, l)
		}
	}
	for _, slot := range s.slots[s.forTLS:] {
		l := lacre.Loser{CertificateID: slot.key.id, Reason: "an SM2 certificate is presented over TLCP only"}
		if v := slot.current.Load(); v != nil {
			l.Certificate = v.shown()
		}
		x.out.Losers = append(x.out.Losers, l)
	}
	for _, rival := range x.edge.holdings.rivals(s) {
		if rival.project == x.project {
			x.out.Losers = append(x.out.Losers, lacre.Loser{Domain: rival.rule(), Reason: "an older domain names the same host"})
		}
	}
	if hidden := x.edge.index.wildcardOver(s); hidden != nil && hidden.project == x.project {
		x.out.Losers = append(x.out.Losers, lacre.Loser{Domain: hidden.rule(), Reason: "an exact name goes before a wildcard"})
	}
}

// lostTo says why c was not chosen, in the order in which choose weighs.
func (c *candidate) lostTo(d decision) string {
	switch {
	case c.version == nil:
		return "no version of it can be read"
	case c.key == nil:
		return "its private key cannot be opened"
	case c.unfit != nil:
		return "the client cannot use it: " + strings.TrimPrefix(c.unfit.Error(), "tls: ")
	case c.outdated:
		return "it is not valid at this time"
	}
	return fmt.Sprintf("%s goes before %s", d.version.algorithm, c.version.algorithm)
}

// request tells what the request after the handshake would get.
func (x *explanation) request(host string) {
	if x.out.Handshake.Result != "ok" {
		return
	}
	r := &lacre.RequestOutcome{Host: host}
	x.out.Request = r
	version := uint16(tls.VersionTLS12)
	if x.out.Handshake.Version == versionName(tls.VersionTLS13) {
		version = tls.VersionTLS13
	}
	if !httpguts.ValidHostHeader(host) { // which net/http checks before the edge sees it
		r.Status, r.Result, r.Reason = http.StatusBadRequest, "bad_request", "the Host is malformed"
		return
	}
	h := x.decision.handshaken(x.edge.cfg.Now().Add(time.Minute))
	s, why := x.edge.route(host, &h, version)
	switch {
	case why != "":
		r.Status, r.Result, r.Reason = http.StatusMisdirectedRequest, "misdirected", why
	case s.upstream == nil:
		r.Status, r.Result = http.StatusOK, "built_in_page"
	case s.upstream.err != nil:
		r.Status, r.Result, r.Reason = http.StatusBadGateway, "bad_gateway", s.upstream.err.Error()
	default:
		r.Result = "proxied"
	}
}

func (s *site) rule() *lacre.Rule {
	return &lacre.Rule{Wildcard: strings.HasPrefix(s.host, "*."), Host: s.host, DomainID: s.id, InstanceID: s.instance}
}

func (e *Edge) policyOf(s *site) *lacre.Policy {
	p := &lacre.Policy{
		MinTLS: versionName(max(e.cfg.MinTLS, s.minTLS)), VerifyClient: s.verifyClient,
		RedirectHTTPS: s.redirect, HSTS: s.hsts, HTTP: !s.noHTTP, HTTPS: !s.noHTTPS,
	}
	if s.upstream != nil && s.upstream.err == nil {
		p.Upstream = s.upstream.String()
	}
	return p
}

func (v *version) shown() *lacre.ServedCertificate {
	sum := sha256.Sum256(v.leaf)
	return &lacre.ServedCertificate{
		ID: v.served.key.id, Version: v.number, Fingerprint: hex.EncodeToString(sum[:]),
		Algorithm: v.algorithm, NotBefore: v.notBefore, NotAfter: v.notAfter,
	}
}
