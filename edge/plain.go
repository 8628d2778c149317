package edge

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"lacre/keypair"
)

// plainServer serves what comes in over plain HTTP. Unless it proxies, a request that
// comes with a body is no reason to wait.
func (e *Edge) plainServer(proxy http.Handler) *http.Server {
	s := e.httpServer(func(w http.ResponseWriter, r *http.Request) { e.servePlain(w, r, proxy) })
	if !e.cfg.ProxyHTTP {
		s.ReadTimeout = e.cfg.Timeouts.Header
	}
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connContext{}, c.(answeringPlain).conn)
	}
	s.ConnState = func(c net.Conn, state http.ConnState) { c.(answeringPlain).follow(state) }
	return s
}

// servePlain answers one request over plain HTTP: a known host that wants it is
// redirected to HTTPS, others are proxied if the edge does that at all. A host that
// verifies its clients never is: over plain HTTP nobody is verified.
func (e *Edge) servePlain(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	x := newExchange(w, r, r.Context().Value(connContext{}).(*conn))
	defer e.finish(x)
	host, _, ok := splitHost(r.Host)
	s := e.find(r.Context(), host)
	x.site = s
	switch {
	case !ok || s == nil || s.noHTTP:
		nothingHere(x)
	case s.redirect && !s.noHTTPS:
		e.redirect(x, r, host)
	case e.proxiesPlain(s):
		e.pass(x, s, proxy)
	default:
		nothingHere(x)
	}
}

// proxiesPlain tells whether requests of s over plain HTTP are proxied.
func (e *Edge) proxiesPlain(s *site) bool {
	return e.cfg.ProxyHTTP && !s.noHTTP && !s.redirect && !s.verifyClient
}

func nothingHere(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, "There is nothing here over plain HTTP.")
}

// redirect sends a client to the same place over HTTPS. 308 keeps method and body where
// 301 would not.
func (e *Edge) redirect(w http.ResponseWriter, r *http.Request, host string) {
	canonical, err := keypair.CanonicalHost(host)
	if err != nil {
		nothingHere(w)
		return
	}
	if p := e.cfg.HTTPSPort; p != 0 && p != 443 {
		canonical = net.JoinHostPort(canonical, strconv.Itoa(p))
	}
	to := url.URL{Scheme: "https", Host: canonical, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	status := http.StatusPermanentRedirect
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		status = http.StatusMovedPermanently
	}
	http.Redirect(w, r, to.String(), status)
}
