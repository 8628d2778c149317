package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	idlePerUpstream  = 512
	idlePerTransport = 1024
	idleUpstream     = 90 * time.Second
)

// router sends a request over the transport its upstream needs. gRPC to upstreams of h2c and
// https has transports of its own, over HTTP/2 and without a limit on the time to the first
// header: a stream may begin with silence.
type router struct {
	web, webGRPC *http.Transport // http and https; https
	h2c, h2cGRPC *http.Transport // HTTP/2 without TLS
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// newRouter makes a router whose connections dial makes.
func (e *Edge) newRouter(dial dialFunc) *router {
	overTLS, cleartext := new(http.Protocols), new(http.Protocols)
	overTLS.SetHTTP2(true)
	cleartext.SetUnencryptedHTTP2(true)
	patience := e.cfg.Timeouts.Response
	t := &router{
		web: e.newTransport(dial, nil, patience), webGRPC: e.newTransport(dial, overTLS, 0),
		h2c: e.newTransport(dial, cleartext, patience), h2cGRPC: e.newTransport(dial, cleartext, 0),
	}
	t.webGRPC.TLSClientConfig.VerifyConnection = wantHTTP2
	return t
}

// wantHTTP2 is tls.Config.VerifyConnection. A server that knows no ALPN agrees to anything,
// and net/http goes on in HTTP/1.1.
func wantHTTP2(cs tls.ConnectionState) error {
	if cs.NegotiatedProtocol != "h2" {
		return errors.New("gRPC: the upstream does not speak HTTP/2")
	}
	return nil
}

// routers has a router for each project, so that none uses the connections of another, on
// which a request may have left more than its answer. One is a few kilobytes, and is kept.
type routers struct {
	edge *Edge
	of   sync.Map // project -> *router
}

func (all *routers) router(x *exchange) *router {
	if x.site.upstream.own {
		return x.conn.routerOfItsOwn(x.site.project)
	}
	if t, ok := all.of.Load(x.site.project); ok {
		return t.(*router)
	}
	t, _ := all.of.LoadOrStore(x.site.project, all.edge.newRouter(all.edge.dial))
	return t.(*router)
}

// RoundTrip is http.RoundTripper's. It notes how long the upstream took.
func (all *routers) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	begin := time.Now()
	resp, err := all.router(x).choose(x.site.upstream, x.isGRPC(), r)
	x.asked, x.waited = true, time.Since(begin)
	if err == nil && resp.ProtoMajor == 2 && r.Body != nil {
		resp.Body = unhurried{resp.Body}
	}
	return resp, err
}

func (t *router) choose(u *upstream, grpc bool, r *http.Request) (*http.Response, error) {
	switch {
	case u.err != nil:
		return nil, u.err
	case u.h2c && grpc:
		return t.h2cGRPC.RoundTrip(r)
	case u.h2c:
		return t.h2c.RoundTrip(r)
	case grpc:
		return t.webGRPC.RoundTrip(r)
	}
	return t.web.RoundTrip(r)
}

// close closes the connections that are idle.
func (t *router) close() {
	for _, transport := range []*http.Transport{t.web, t.webGRPC, t.h2c, t.h2cGRPC} {
		transport.CloseIdleConnections()
	}
}

// newTransport makes a transport; patience is how long it waits for a response's header
// after the request was sent, 0 for ever. It never uses a proxy from the environment.
func (e *Edge) newTransport(dial dialFunc, protocols *http.Protocols, patience time.Duration) *http.Transport {
	limits := e.cfg.Timeouts
	return &http.Transport{
		Protocols:              protocols,
		ForceAttemptHTTP2:      true,
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: e.cfg.UpstreamRoots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    limits.Dial,
		ResponseHeaderTimeout:  patience,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConns:           idlePerTransport,
		MaxIdleConnsPerHost:    idlePerUpstream,
		IdleConnTimeout:        idleUpstream,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // what the client asked for is passed on as it is
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}

// metadata are addresses at which clouds hand out credentials outside the link-local
// ranges: AWS and Google over IPv6, Alibaba Cloud, Azure's WireServer.
var metadata = [...]netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"),
	netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"),
}

// nat64 leads to the IPv4 address in its last four octets (RFC 6052 section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// destination is where a packet to addr arrives in the end.
func destination(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if octets := addr.As16(); nat64.Contains(addr) {
		return netip.AddrFrom4([4]byte(octets[12:]))
	}
	return addr
}

// refuseAddress is the dialer's last look at where a tenant's upstream really leads,
// after name resolution, so that a name cannot hide an address.
func (e *Edge) refuseAddress(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("upstream address %q: %w", address, err)
	}
	addr := destination(ap.Addr())
	switch {
	case addr.IsLinkLocalUnicast(), addr.IsMulticast(), addr.IsUnspecified(),
		slices.Contains(metadata[:], addr),
		addr.IsLoopback() && !e.cfg.AllowLoopback:
		return fmt.Errorf("upstream address %s is not allowed", addr)
	}
	return nil
}
