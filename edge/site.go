package edge

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"lacre"
	"lacre/keypair"
)

// site is a domain as the edge serves it. It is immutable: a domain that changes
// becomes another site with the same id.
type site struct {
	id, project, instance string
	host                  string // canonical, may start with "*."
	created               time.Time
	revision              int64

	minTLS       uint16
	verifyClient bool
	hsts         bool
	redirect     bool
	noHTTP       bool      // the domain's HTTP port is -1: nothing over plain HTTP
	noHTTPS      bool      // the domain's HTTPS port is -1: no handshake
	upstream     *upstream // nil shows the built-in page
	slots        []*served // ECC, RSA, SM2
	forTLS       int       // how many of slots TLS can use; the others are SM2, for TLCP

	seen uint32 // round of the last compare that came across it; guarded by holdings.mu
}

// upstream is where a site's requests go.
type upstream struct {
	url *url.URL // http or https
	h2c bool     // HTTP/2 without TLS
	own bool     // each client has connections of its own, which begin with a PROXY v2 header
	err error    // why the domain's upstream cannot be used; the rest is unset
}

// newSite reads d and acquires its certificates. What it keeps is copied where it would
// hold on to more than itself. It needs mu.
func (h *holdings) newSite(d *lacre.Domain) *site {
	s := &site{
		id: strings.Clone(d.ID), project: h.name(d.ProjectID), instance: h.name(d.InstanceID), host: d.Host,
		created: d.Created, revision: d.Revision,
		minTLS: tlsVersion(d.MinTLS), verifyClient: d.VerifyClient, redirect: d.RedirectHTTPS, hsts: d.HSTS,
		noHTTP: d.HTTPPort == -1, noHTTPS: d.HTTPSPort == -1,
		upstream: h.upstreams.intern(d.Upstream),
	}
	if ordered := byPreference(d.Bindings); len(ordered) > 0 {
		s.slots = make([]*served, len(ordered))
		for i, b := range ordered {
			s.slots[i] = h.acquire(certificateKey{s.project, b.CertificateID})
			if b.Algorithm != keypair.SM2 {
				s.forTLS++
			}
		}
	}
	return s
}

// name returns an id of a project or an instance as the one string of that content that is
// held: very many sites have the same. It needs mu.
func (h *holdings) name(id string) string {
	held, ok := h.names[id]
	if !ok {
		held = strings.Clone(id)
		h.names[held] = held
	}
	return held
}

// upstreams holds an upstream that many sites share once, as bundles does.
type upstreams struct {
	mu   sync.Mutex
	held map[string]weak.Pointer[upstream]
}

func (us *upstreams) intern(text string) *upstream {
	if text == "" {
		return nil
	}
	us.mu.Lock()
	defer us.mu.Unlock()
	if u := us.held[text].Value(); u != nil {
		return u
	}
	u := parseUpstream(text)
	if us.held == nil {
		us.held = make(map[string]weak.Pointer[upstream])
	}
	us.held[text] = weak.Make(u)
	runtime.AddCleanup(u, us.forget, text)
	return u
}

func (us *upstreams) forget(text string) {
	us.mu.Lock()
	defer us.mu.Unlock()
	if us.held[text].Value() == nil { // not interned anew meanwhile
		delete(us.held, text)
	}
}

// byPreference orders the bindings: those that TLS can use first, the best in front.
func byPreference(bindings []lacre.Binding) []lacre.Binding {
	ordered := slices.Clone(bindings)
	slices.SortStableFunc(ordered, func(a, b lacre.Binding) int {
		return cmp.Compare(a.Algorithm, b.Algorithm) // "ECC" < "RSA" < "SM2"
	})
	return ordered
}

// tlsVersion reads a domain's MinTLS. Anything but TLS 1.3 is left to the edge's own
// floor, "TLSv1.1" included: it is stored for the API and not spoken.
func tlsVersion(name string) uint16 {
	if name == "TLSv1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// parseUpstream reads a domain's upstream. What cannot be used is kept with its reason:
// the domain is served all the same, and its requests answered 502.
func parseUpstream(text string) *upstream {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return &upstream{err: errors.New("upstream: not a URL")} // url.Parse would quote its password
	case u.Host == "" || u.User != nil:
		return &upstream{err: fmt.Errorf("upstream %q: want scheme://host[:port][/path]", u.Redacted())}
	}
	scheme, own := strings.CutSuffix(u.Scheme, proxySuffix)
	switch scheme {
	case "http", "https":
		u.Scheme = scheme
		return &upstream{url: u, own: own}
	case "h2c":
		u.Scheme = "http"
		return &upstream{url: u, h2c: true, own: own}
	}
	return &upstream{err: fmt.Errorf("upstream scheme %q: want http, https or h2c, or one of them and +proxyv2", u.Scheme)}
}

// speaksHTTP2 tells whether the upstream may speak HTTP/2. For gRPC one of https must.
func (u *upstream) speaksHTTP2() bool { return u.err == nil && (u.h2c || u.url.Scheme == "https") }

// String is the upstream as the domain names it.
func (u *upstream) String() string {
	shown := *u.url
	if u.h2c {
		shown.Scheme = "h2c"
	}
	if u.own {
		shown.Scheme += proxySuffix
	}
	return shown.Redacted()
}

// proxySuffix ends the scheme of an upstream that wants the PROXY protocol, version 2.
const proxySuffix = "+proxyv2"

// before tells whether s has the older claim to a host that both name.
func (s *site) before(other *site) bool {
	return lacre.Claim{Created: s.created, DomainID: s.id}.Before(lacre.Claim{Created: other.created, DomainID: other.id})
}

// speaking are the certificates of one of the two protocols.
func (s *site) speaking(tlcp bool) []*served {
	if tlcp {
		return s.slots[s.forTLS:]
	}
	return s.slots[:s.forTLS]
}

// trusts tells whether client certificates verified against roots, over one of the two
// protocols, satisfy the site as it is now.
func (s *site) trusts(roots *bundle, tlcp bool) bool {
	return roots != nil && slices.ContainsFunc(s.speaking(tlcp), func(c *served) bool {
		v := c.current.Load()
		return v != nil && v.roots == roots
	})
}
