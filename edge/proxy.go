package edge

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// statusClientGone counts a client that left before the answer; nobody receives it.
const statusClientGone = 499

// newProxy returns the handler that forwards a request to the upstream of the site in
// its context.
func (e *Edge) newProxy() http.Handler {
	return e.guarded(&httputil.ReverseProxy{
		Rewrite:   e.rewrite,
		Transport: &routers{edge: e},
		// Event streams and bodies of unknown length are flushed at once in any case. One
		// of known length waits this long for more, which spares a flush of its own for
		// the header of every small response.
		FlushInterval:  10 * time.Millisecond,
		BufferPool:     &buffers{},
		ModifyResponse: checkStatus,
		ErrorHandler:   e.upstreamFailed,
		ErrorLog:       log.New(serverLog{e}, "", 0),
	})
}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeContext{}).(*exchange) }

func siteOf(ctx context.Context) *site { return exchangeOf(ctx).site }

// rewrite turns the request around: to the upstream's address, with the client's path,
// query and Host, and with headers about the client that can be relied upon.
func (e *Edge) rewrite(r *httputil.ProxyRequest) {
	if u := siteOf(r.In.Context()).upstream; u.err == nil { // else the router refuses
		r.Out.URL.RawQuery = r.In.URL.RawQuery // as sent: nothing here reads it
		r.SetURL(u.url)
	}
	if x := exchangeOf(r.In.Context()); r.Out.Body != nil && x.site.upstream.speaksHTTP2() {
		r.Out.Body = lent{r.Out.Body, x}
	}
	r.Out.Host = r.In.Host
	// Behind any other upgrade (h2c) a client would talk to the upstream past everything
	// that is checked and set here.
	if !strings.EqualFold(r.Out.Header.Get("Upgrade"), "websocket") {
		for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
			r.Out.Header.Del(name)
		}
	}
	forward(r.Out.Header, r.In, r.In.TLS != nil || exchangeOf(r.In.Context()).conn.tlcp)
	identify(r.Out.Header, r.In)
	r.Out.Header.Add(loopHeader, e.id)
	r.Out.Header.Set(requestIDHeader, exchangeOf(r.In.Context()).requestID())
}

// forward replaces everything a client could say about itself by what this connection
// shows. Nothing that came from outside is trusted, so nothing is appended to. net/http
// does not know that a TLCP connection is secure.
func forward(h http.Header, in *http.Request, secure bool) {
	for name := range h {
		if isOurs(name) {
			delete(h, name)
		}
	}
	scheme, usual := "https", "443"
	if !secure {
		scheme, usual = "http", "80"
	}
	_, port, _ := splitHost(in.Host)
	client := clientIP(in.RemoteAddr)
	address := client.String()
	values := [...]string{address, in.Host, scheme, cmp.Or(port, usual), forwarded(client, address, in.Host, scheme)}
	h["X-Forwarded-For"], h["X-Real-Ip"] = values[0:1:1], values[0:1:1]
	h["X-Forwarded-Host"], h["X-Forwarded-Proto"] = values[1:2:2], values[2:3:3]
	h["X-Forwarded-Port"], h["Forwarded"] = values[3:4:4], values[4:5:5]
}

// identify says who the client is when it was verified (RFC 9440): its certificate, and
// what is between that and the trust root.
func identify(h http.Header, in *http.Request) {
	c := exchangeOf(in.Context()).conn
	if c.who == nil || !siteOf(in.Context()).verifyClient {
		return
	}
	who := cmp.Or(c.who.under(siteOf(in.Context())), c.who) // the latter if trust has changed since
	h.Set("Client-Cert", who.cert)
	if who.chain != "" {
		h.Set("Client-Cert-Chain", who.chain)
	}
}

// isOurs tells whether a header, spelled in any way that a lenient upstream reads as the
// same name (CGI knows letters, digits and one sign for all others), is for this edge to
// set: who the client is by X-Forwarded-*, X-Real-IP, Forwarded (RFC 7239) and Client-Cert*
// (RFC 9440), the id of the request, and how long it is, which the transport says. Proxy is
// nobody's: CGI would read the address of a proxy there (httpoxy, CVE-2016-5385).
func isOurs(name string) bool {
	switch name = strings.Map(plainSign, name); name {
	case "forwarded", "x-real-ip", "x-request-id", "content-length", "transfer-encoding", "proxy":
		return true
	}
	return strings.HasPrefix(name, "x-forwarded-") || strings.HasPrefix(name, "client-cert")
}

func plainSign(c rune) rune {
	switch {
	case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		return c
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	}
	return '-'
}

func clientIP(remote string) netip.Addr {
	ap, _ := netip.ParseAddrPort(remote) // always one: a TCP peer
	return ap.Addr().Unmap().WithZone("")
}

// forwarded is RFC 7239 section 4; IPv6 is bracketed and quoted (section 6).
func forwarded(client netip.Addr, node, host, scheme string) string {
	if client.Is6() {
		node = `"[` + node + `]"`
	}
	return `for=` + node + `;host="` + host + `";proto=` + scheme
}

// upstreamFailed answers for an upstream that did not. The reason goes to the log;
// the client learns no more than whose fault it is.
func (e *Edge) upstreamFailed(w http.ResponseWriter, r *http.Request, err error) {
	x := w.(*exchange)
	switch {
	case context.Cause(r.Context()) == errPolicyChanged:
		misdirected(w, policyChanged)
		return
	case x.body != nil && x.body.stalled.Load():
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusRequestTimeout, "The request body stopped arriving.")
		return
	case x.in.Context().Err() != nil:
		w.WriteHeader(statusClientGone)
		return
	case x.body != nil && x.body.broken.Load():
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusBadRequest, "The request body is malformed.")
		return
	}
	e.sampled.warn(e.log, "upstream failed", "domain", siteOf(r.Context()).id, "err", err)
	if isTimeout(err) {
		refuse(w, http.StatusGatewayTimeout, "The upstream did not answer in time.")
		return
	}
	refuse(w, http.StatusBadGateway, "The upstream could not be reached.")
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return (ok && timeout.Timeout()) || errors.Is(err, os.ErrDeadlineExceeded)
}

// buffers lends the proxy its copy buffers.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get is httputil.BufferPool's.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

// Put is httputil.BufferPool's.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
