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
	x := &explanation{edge: e, project: projectID, tlcp: hello.TLCP()}
	var err error
	if x.out.Handshake, _, err = x.rehearsal(hello); err != nil {
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
	tlcp       bool // the client speaks TLCP
	decision   decision
	candidates []candidate
	why        string // why the decision is no certificate
	out        lacre.Explanation
}

// rehearsal runs a hello, see rehearse.
func (x *explanation) rehearsal(hello lacre.ClientHello) (lacre.HandshakeOutcome, []byte, error) {
	if x.tlcp {
		return x.rehearseTLCP(hello)
	}
	return x.rehearse(hello)
}

// rehearse runs a hello of TLS.
func (x *explanation) rehearse(hello lacre.ClientHello) (lacre.HandshakeOutcome, []byte, error) {
	config := x.edge.baseTLS()
	config.GetConfigForClient = func(offered *tls.ClientHelloInfo) (*tls.Config, error) {
		s := x.site(offered.ServerName)
		x.decision = x.edge.decideFor(s, offered, x.weighed)
		x.decided(s)
		return x.edge.configOf(x.decision), nil
	}
	return rehearse(hello, config)
}

// rehearseTLCP runs a hello of TLCP.
func (x *explanation) rehearseTLCP(hello lacre.ClientHello) (lacre.HandshakeOutcome, []byte, error) {
	config := x.edge.baseTLCP()
	config.GetConfigForClient = func(offered *tlcp.ClientHelloInfo) (*tlcp.Config, error) {
		s := x.site(x.edge.nameTLCP(offered.ServerName))
		x.decision = x.edge.decideTLCPFor(s, x.weighed)
		x.decided(s)
		return x.edge.configOfTLCP(x.decision)
	}
	return rehearseTLCP(hello, config)
}

// site is the site of a name if the project may know of it.
func (x *explanation) site(name string) *site {
	if s := x.edge.find(context.Background(), name); s != nil && s.project == x.project {
		return s
	}
	return nil
}

func (x *explanation) weighed(c candidate) { x.candidates = append(x.candidates, c) }

// decided notes what was chosen at a site, and why not otherwise.
func (x *explanation) decided(s *site) {
	switch {
	case s == nil:
		x.why = "no domain of this project serves the name"
		return
	case s.noHTTPS:
		x.why = "the HTTPS port of the domain is off"
	case x.decision.refused == handshakeFailure && x.tlcp:
		x.why = "the domain has no SM2 certificate, which TLCP needs"
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
	for _, slot := range s.speaking(!x.tlcp) {
		l := lacre.Loser{CertificateID: slot.key.id, Reason: "an SM2 certificate is presented over TLCP only"}
		if x.tlcp {
			l.Reason = "TLCP takes SM2 certificates only"
		}
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
	case c.bare:
		return "it demands an OCSP staple, and has none that is current"
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
	if !httpguts.ValidHostHeader(host) { // which net/http checks before the edge sees it
		r.Status, r.Result, r.Reason = http.StatusBadRequest, "bad_request", "the Host is malformed"
		return
	}
	h := x.decision.handshaken(x.tlcp, x.edge.cfg.Now().Add(time.Minute))
	s, why := x.edge.route(host, &h, x.version())
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

// version is versionOf for the connection of the rehearsal.
func (x *explanation) version() uint16 {
	switch {
	case x.tlcp:
		return aboveTLS
	case x.out.Handshake.Version == versionName(tls.VersionTLS13):
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
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
	c := &lacre.ServedCertificate{
		ID: v.served.key.id, Version: v.number, Fingerprint: hex.EncodeToString(sum[:]),
		Algorithm: v.algorithm, NotBefore: v.notBefore, NotAfter: v.notAfter,
	}
	if v.staple != nil {
		c.StapleEnds = v.staple.ends
	}
	return c
}
