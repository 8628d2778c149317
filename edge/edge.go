package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lacre"
	"lacre/tlcp"
)

// Config says what an Edge serves. Feed and Sealer are required; every other zero
// value is usable.
type Config struct {
	Feed Feed
	// Confirm is asked once, beside the first load, whether what the Feed answered until then
	// is what it should have: nil confirms it, lacre.ErrMistaken has all of it dropped at once
	// and loaded again. Until it is confirmed the edge serves, but is not Ready. If Confirm is
	// nil there is nothing to confirm.
	Confirm func(context.Context) error
	Sealer  lacre.Sealer
	// Instance restricts the edge to the domains of one instance. Empty serves all.
	Instance string
	// MinTLS is the lowest TLS version spoken whatever a domain says, TLS 1.2 if zero.
	MinTLS uint16
	// HTTPSPort is the port that redirects from plain HTTP name. 0 and 443 are left out.
	HTTPSPort int
	// ProxyHTTP proxies plain HTTP for the domains that do not redirect it to HTTPS and do
	// not verify clients. Without it such requests are answered 404.
	ProxyHTTP bool
	// ProxyFrom lists the sources whose connections begin with a PROXY protocol header of
	// version 2, on both listeners. One without it is closed; from any other source such a
	// header is as wrong as any other junk.
	ProxyFrom []netip.Prefix
	// MaxConns is how many connections may be open at once over all listeners, and again
	// to all upstreams; what comes above is closed, or answered 502. 65,536 if zero.
	MaxConns int
	// OpenKeys is how many private keys are kept open in memory, 16,384 if zero.
	OpenKeys int
	// UpstreamRoots verifies https upstreams. Nil means the roots of the system.
	UpstreamRoots *x509.CertPool
	// TicketSecret is what session tickets are sealed under, 32 bytes or more. Edges with
	// the same one resume each other's sessions. If empty it is made anew at each start.
	TicketSecret []byte
	// KeepConnections lets the client of an open connection go on after trust roots or
	// revocation lists have changed, if it is verified under the new ones too. Without it
	// the connection has ended for requests. Whoever is revoked is refused either way.
	KeepConnections bool
	// TLCPDefault is the host that TLCP clients without a server name are taken to ask for,
	// since some SM2 browsers send none. If empty they are refused, as TLS clients are.
	TLCPDefault string
	// AllowLoopback lets domains name upstreams on this machine's loopback addresses.
	// It is off because tenants choose upstreams and an operator's own services (the
	// store, an admin port) trust loopback.
	AllowLoopback bool
	Timeouts      Timeouts
	// AccessLog gets a line of JSON for each request that was read, see accessLine, many
	// lines in one Write. Nil writes none. See OpenLog for a file that is rotated.
	AccessLog io.Writer
	// DomainMetrics is how many domains have metrics of their own, 1,000 if zero, none if
	// negative; the others share one series.
	DomainMetrics int
	Log           *slog.Logger          // discards if nil
	Metrics       prometheus.Registerer // not registered anywhere if nil
	Now           func() time.Time      // time.Now if nil
}

// Timeouts bounds how long a peer may take. A zero value means the default.
type Timeouts struct {
	Handshake time.Duration // from accept to the end of the TLS handshake; 10 s
	Header    time.Duration // to read the header of a request; 10 s
	Idle      time.Duration // between two requests of a connection; 2 min
	Stall     time.Duration // without a byte of a body or response going through; 60 s
	Dial      time.Duration // to connect to an upstream, and again for its TLS; 5 s
	Response  time.Duration // from a request sent to the upstream's header; 2 min
	Retry     time.Duration // longest pause before the Feed is asked again, and between two looks at what was not presented; 5 s
	Compare   time.Duration // between two full compares with the Feed, or 20 times what one takes, up to an hour; 5 min
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Handshake: cmp.Or(t.Handshake, 10*time.Second),
		Header:    cmp.Or(t.Header, 10*time.Second),
		Idle:      cmp.Or(t.Idle, 2*time.Minute),
		Stall:     cmp.Or(t.Stall, time.Minute),
		Dial:      cmp.Or(t.Dial, 5*time.Second),
		Response:  cmp.Or(t.Response, 2*time.Minute),
		Retry:     cmp.Or(t.Retry, 5*time.Second),
		Compare:   cmp.Or(t.Compare, 5*time.Minute),
	}
}

// Edge is a TLS data plane. It is safe for concurrent use.
type Edge struct {
	id      string // in loopHeader, made anew at each start
	cfg     Config
	log     *slog.Logger
	sampled sampler
	metrics *metrics

	index    *index
	keys     *keys
	holdings *holdings
	finder   *finder
	prover   *prover
	progress progress

	base     *tls.Config // asks configFor
	refuse   *tls.Config // has no certificate: crypto/tls answers unrecognized_name
	mismatch *tls.Config // has no key exchange: crypto/tls answers handshake_failure
	tlcp     *tlcp.Config
	sessions tlcp.SessionCache // of TLCP, by ID

	conns    atomic.Int64 // from clients
	dialled  shares       // to upstreams
	upgrades upgrades
	running  *running
	secure   *http.Server
	plain    *http.Server
	access   *accessLog             // nil writes none
	project  atomic.Pointer[string] // of Config.Instance, see Project
	stop     context.CancelFunc     // ends what outlives a request at Shutdown
	stopped  context.Context
}

// New makes an Edge that serves nothing until Follow has loaded the Feed.
func New(cfg Config) (*Edge, error) {
	switch {
	case cfg.Feed == nil || cfg.Sealer == nil:
		return nil, errors.New("edge: Feed and Sealer are required")
	case len(cfg.TicketSecret) > 0 && len(cfg.TicketSecret) < TicketSecretSize:
		return nil, fmt.Errorf("edge: TicketSecret has %d bytes, want at least %d", len(cfg.TicketSecret), TicketSecretSize)
	}
	if err := prepareSigning(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	e := &Edge{id: "lacre-" + lacre.NewID(), cfg: cfg, log: cfg.Log, index: newIndex(), progress: newProgress(), running: newRunning()}
	e.stopped, e.stop = context.WithCancel(context.Background())
	e.keys = &keys{max: cfg.OpenKeys, sealer: cfg.Sealer, now: cfg.Now}
	e.holdings, e.finder, e.prover = newHoldings(e), newFinder(e), newProver(e)
	e.metrics = newMetrics(e)
	e.base, e.refuse, e.mismatch = e.baseTLS(), e.refusingTLS(), e.mismatchTLS()
	e.tlcp, e.sessions = e.baseTLCP(), tlcp.NewSessionCache(maxSessions)
	proxy := e.newProxy()
	e.secure, e.plain = e.secureServer(proxy), e.plainServer(proxy)
	if err := e.metrics.register(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("edge: registering metrics: %w", err)
	}
	if cfg.AccessLog != nil {
		e.access = newAccessLog(e, cfg.AccessLog)
		go e.access.run(e.stopped)
	}
	return e, nil
}

func (c Config) withDefaults() Config {
	c.MinTLS = max(c.MinTLS, tls.VersionTLS12)
	c.MaxConns = cmp.Or(c.MaxConns, 0x10000)
	c.OpenKeys = cmp.Or(c.OpenKeys, 0x4000)
	c.DomainMetrics = cmp.Or(c.DomainMetrics, 1000)
	c.Timeouts = c.Timeouts.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if len(c.TicketSecret) == 0 {
		c.TicketSecret = newTicketSecret()
	}
	return c
}

// Status is what an edge knows about itself.
type Status struct {
	Serving      bool      // any name is served; before Ready it may have to be looked up first
	Ready        bool      // the first load is done and confirmed
	Connected    bool      // the watch is up: Revision follows the store
	Revision     int64     // everything up to this store revision is served
	Changed      int64     // the last of those revisions that brought something an edge serves
	Contact      time.Time // when the Feed last answered; zero before it ever did
	Sites        int       // host names served
	Certificates int       // certificates held
	Damaged      int       // records that cannot be read or keys that cannot be opened
	Connections  int       // open connections
}

// Status reports the state of the edge at this moment.
func (e *Edge) Status() Status {
	s := e.progress.status()
	s.Sites, s.Connections = e.index.len(), int(e.conns.Load())
	s.Certificates, s.Damaged = e.holdings.counts()
	return s
}

// Ready is closed once the first load is done and confirmed.
func (e *Edge) Ready() <-chan struct{} { return e.progress.ready }

// Applied returns nil once every change up to the store revision is served: a
// handshake that starts afterwards sees it. It waits until then, or until ctx ends or
// the edge is shut down. It is an error when a version of just that revision could not be
// taken, because its key does not open: then the one before is still served.
func (e *Edge) Applied(ctx context.Context, revision int64) error {
	if err := e.progress.wait(ctx, e.stopped, revision); err != nil {
		return err
	}
	return e.holdings.unserved(revision)
}

// Project is the project whose instance the edge is restricted to, empty if it is not, or as
// long as that instance has not been found.
func (e *Edge) Project() string {
	if p := e.project.Load(); p != nil {
		return *p
	}
	return ""
}

// note finds the project among all instances.
func (e *Edge) note(all []*lacre.Instance) {
	for _, i := range all {
		if i.ID == e.cfg.Instance {
			e.project.Store(&i.ProjectID)
		}
	}
}

// findProject looks for the project as long as it is not known. Only reports need it.
func (e *Edge) findProject(ctx context.Context) {
	if e.cfg.Instance == "" || e.project.Load() != nil {
		return
	}
	all, err := e.cfg.Feed.AllInstances(ctx)
	if err != nil && ctx.Err() == nil {
		e.log.Warn("the project of this edge could not be looked up", "err", err)
	}
	e.note(all)
}

// Shutdown stops accepting, lets requests in flight finish and closes idle
// connections. Upgraded connections (WebSocket) may go on until ctx ends; whatever is
// open then is closed, and the error is ctx's.
func (e *Edge) Shutdown(ctx context.Context) error {
	plain := make(chan error, 1)
	go func() { plain <- e.plain.Shutdown(ctx) }()
	err := errors.Join(e.secure.Shutdown(ctx), <-plain, e.upgrades.drain(ctx))
	if err != nil {
		err = errors.Join(err, e.secure.Close(), e.plain.Close())
	}
	e.stop()
	e.access.drain()
	return err
}

// ServeTLS accepts TLS and TLCP connections from l until Shutdown, and then returns
// http.ErrServerClosed. It takes l over.
func (e *Edge) ServeTLS(l net.Listener) error {
	h := newHandoff(l)
	go e.accept(l, h, e.handshake)
	return e.secure.Serve(h)
}

// ServePlain accepts plain HTTP connections from l until Shutdown, and then returns
// http.ErrServerClosed. It takes l over. Known hosts that want it are redirected to
// HTTPS; see Config.ProxyHTTP for the others.
func (e *Edge) ServePlain(l net.Listener) error {
	h := newHandoff(l)
	go e.accept(l, h, e.greetPlain)
	return e.plain.Serve(h)
}
