package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxHeaderBytes = 64 << 10
	maxFields      = 256              // header fields of one request that is proxied
	maxStreams     = 250              // HTTP/2 requests at once on one connection
	pingAfter      = 30 * time.Second // of silence on an HTTP/2 connection
	pingTimeout    = 15 * time.Second
)

type (
	connContext     struct{} // context key of the *conn a request came in on
	exchangeContext struct{} // context key of the *exchange a request is proxied for
)

// httpServer has the limits that both servers share. What they leave open, a body or a
// response that does not move, is ended by exchange and conn.
func (e *Edge) httpServer(handler http.HandlerFunc) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: e.cfg.Timeouts.Header,
		IdleTimeout:       e.cfg.Timeouts.Idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(serverLog{e}, "", 0),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			SendPingTimeout:      pingAfter,
			PingTimeout:          pingTimeout,
		},
	}
}

// serverLog is where net/http complains. A panic is ours to mend; the rest is caused by
// clients, who may have it say anything further on, and sampled.
type serverLog struct{ edge *Edge }

// Write is io.Writer's.
func (l serverLog) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("http: panic serving ")) || bytes.HasPrefix(line, []byte("http2: panic serving ")) {
		l.edge.log.Error("a request panicked", "err", string(line))
	} else {
		l.edge.sampled.debug(l.edge.log, "http", "err", string(line))
	}
	return len(line), nil
}

// secureServer serves connections that are through their handshake.
func (e *Edge) secureServer(proxy http.Handler) *http.Server {
	s := e.httpServer(func(w http.ResponseWriter, r *http.Request) { e.serve(w, r, proxy) })
	s.TLSConfig = &tls.Config{NextProtos: protocols} // makes Serve speak HTTP/2 too
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connContext{}, underTLS(c))
	}
	s.ConnState = func(c net.Conn, state http.ConnState) { underTLS(c).follow(state) }
	return s
}

// underTLS is the connection below one of TLS or TLCP.
func underTLS(c net.Conn) *conn { return c.(interface{ NetConn() net.Conn }).NetConn().(*conn) }

// serve answers one request: the site as it is now decides, and it must be the site
// that the handshake was for.
func (e *Edge) serve(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	c := r.Context().Value(connContext{}).(*conn)
	x := newExchange(w, r, c)
	defer e.finish(x)
	e.finder.know(r.Context(), r.Host)
	s, why := e.route(r.Host, &c.handshaken, versionOf(c, r.TLS))
	if why != "" {
		misdirected(x, why)
		return
	}
	e.pass(x, s, proxy)
}

// misdirected answers 421. When the policy has changed, the connection serves no more.
func misdirected(w http.ResponseWriter, why string) {
	if why == policyChanged {
		w.Header().Set("Connection", "close")
	}
	refuse(w, http.StatusMisdirectedRequest, why)
}

// finish lets go of a request that was answered, counts it and notes it in the access log.
func (e *Edge) finish(x *exchange) {
	x.end()
	took := time.Since(x.begin)
	e.metrics.request(x.status)
	if x.site != nil {
		e.metrics.domains.of(x.site).add(x.status, x.sent.Load(), took)
	}
	if e.access != nil {
		e.access.record(x, took)
	}
}

// Why a request is answered 421 (RFC 9110 section 15.5.20).
const (
	otherHost     = "This connection was not made for the requested host."
	policyChanged = "The policy of this host has changed: connect again."
)

// route returns the site that a request for hostport is for, or why it cannot be served
// on a connection with that handshake: another host, also one that the certificate
// covers, has another policy.
func (e *Edge) route(hostport string, h *handshaken, version uint16) (s *site, misdirected string) {
	host, _, ok := splitHost(hostport)
	if ok {
		s = e.index.resolve(host)
	}
	switch {
	case s == nil || s.id != h.site.id:
		return nil, otherHost
	case !e.accepts(s, h, version):
		return nil, policyChanged
	}
	return s, ""
}

// pass answers with what the site shows: its upstream, or the built-in page.
func (e *Edge) pass(x *exchange, s *site, proxy http.Handler) {
	x.site = s
	switch {
	case x.in.Method == http.MethodConnect:
		refuse(x, http.StatusMethodNotAllowed, "CONNECT is not supported.")
	case x.in.Method == "PRI": // net/http takes it for HTTP/2, over HTTP/1.1 too
		x.Header().Set("Connection", "close")
		refuse(x, http.StatusHTTPVersionNotSupported, "HTTP/2 begins otherwise.")
	case s.upstream == nil:
		builtInPage(x, s)
	default:
		e.relay(x, proxy)
	}
}

// relay has a request answered by the upstream, for as long as its connection may.
func (e *Edge) relay(x *exchange, proxy http.Handler) {
	ctx, cancel := context.WithCancelCause(context.WithValue(x.in.Context(), exchangeContext{}, x))
	x.cancel = cancel
	if x.isGRPC() { // the silence of its client between two messages is part of the protocol
		x.body = nil
	}
	if !e.follow(x) {
		misdirected(x, policyChanged)
		return
	}
	proxy.ServeHTTP(x, x.request(ctx))
}

// accepts tells whether a connection made earlier satisfies the policy as it is now:
// a policy that became stricter, other trust roots or lists end old connections.
func (e *Edge) accepts(s *site, h *handshaken, version uint16) bool {
	return !s.noHTTPS && version >= s.minTLS && (!s.verifyClient || e.admits(s, h.who))
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // nobody is left to tell
}

// builtInPage is what a domain without an upstream shows.
func builtInPage(w http.ResponseWriter, s *site) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	name := html.EscapeString(s.host)
	_, _ = io.WriteString(w, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>"+name+ // as above
		"</title><h1>"+name+"</h1><p>This domain is served by Lacre and has no upstream yet.</p></html>\n")
}

// splitHost splits the Host of a request. It is not ok when the port is no port; an
// IPv6 literal is one such case.
func splitHost(hostport string) (host, port string, ok bool) {
	host, port, found := strings.Cut(hostport, ":")
	if !found {
		return host, "", true
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return host, port, err == nil
}
