package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lacre"
	"lacre/api"
	"lacre/edge"
	"lacre/iam"
	"lacre/keyring"
	"lacre/store"
)

// node is one running lacre: the parts and the listeners they answer on.
type node struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	opening opening          // the store, which may still be on its way up
	ring    *keyring.Keyring // the edge's
	change  *masterKeyChange // nil unless there are two master keys
	store   *store.Store     // once it is open
	service *lacre.Service
	iam     *iam.IAM   // nil with an outside Keystone
	edge    *edge.Edge // nil without the role
	roster  *roster
	metrics *prometheus.Registry

	auth     api.Authenticator // who sends a request: the iam, or an outside Keystone
	identity http.Handler      // of the identity calls

	apiServer *http.Server
	apiFiles  *keyFiles               // of the API's own certificate; nil for plain HTTP
	etcdFiles *keyFiles               // of the client certificate for an external etcd, or nil
	listeners map[string]net.Listener // "api", "edge", "edge-http"
	accessLog io.Closer               // nil unless it is a file
	parts     sync.WaitGroup          // what run has started
	stopping  context.Context         // ends when drain begins
	stop      context.CancelFunc
	failed    chan error // a part that ended on its own; has room for all
}

// open builds a node up to listening on its addresses, with an edge that can serve; run does
// the rest. Whatever it opened is closed again when it fails.
func open(ctx context.Context, cfg Config, log *slog.Logger, now func() time.Time) (n *node, err error) {
	n = &node{cfg: cfg, log: log, now: now, metrics: prometheus.NewRegistry(), listeners: map[string]net.Listener{}, failed: make(chan error, 8)}
	n.stopping, n.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			n.close()
			n = nil
		}
	}()
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := n.readKeyFiles(); err != nil {
		return n, err
	}
	if err := n.listen(ctx); err != nil {
		return n, err
	}
	if n.opening, err = n.openStore(ctx); err != nil {
		return n, err
	}
	// From here on the directory is ours, and what an earlier run announced is not true.
	if err := ignoreMissing(os.Remove(filepath.Join(cfg.DataDir, endpointsFile))); err != nil {
		return n, err
	}
	if n.ring, err = n.unlock(ctx); err != nil {
		return n, err
	}
	if n.roster, err = newRoster(n); err != nil {
		return n, err
	}
	return n, n.makeEdge(ctx, n.ring)
}

// complete waits for the store and plugs the rest together over it. Nothing is sealed, and
// nobody recognised, with what a copy said.
func (n *node) complete(ctx context.Context) (err error) {
	if n.store, err = n.opening.Wait(ctx); err != nil {
		return err
	}
	ring := n.ring
	if n.opening.CopyStatus().Opened {
		if ring, err = n.unlockFrom(ctx, n.store); err != nil {
			return keyHint(err, n.cfg)
		}
	}
	n.watchMasterKey(ring)
	n.service = lacre.NewService(lacre.Config{
		Store: n.store, Sealer: ring, Edge: n.waitFor(), Roster: n.roster, Now: n.now, Log: n.log, History: n.cfg.History,
		DomainsPerGroup: n.cfg.DomainsPerGroup, GroupsPerInstance: limit(n.cfg.GroupsPerInstance),
		InstancesPerProject: n.cfg.InstancesPerProject, CertificatesPerProject: n.cfg.Certificates, RefuseAfter2038: n.cfg.RefuseAfter2038,
	})
	if err := n.makeIAM(ctx, ring); err != nil {
		return err
	}
	n.metrics.MustRegister(storeMetrics{n.store, n.opening})
	n.makeAPI()
	return nil
}

// confirm tells the edge whether what it was answered holds. Keys that came with what does
// not are forgotten with it.
func (n *node) confirm(ctx context.Context) error {
	err := n.opening.Confirm(ctx)
	if errors.Is(err, lacre.ErrMistaken) {
		n.ring.Forget()
	}
	return err
}

// waitFor is what modifications wait for. A nil *edge.Edge in the interface would not
// be nil, hence the branch.
func (n *node) waitFor() lacre.Edge {
	if n.edge == nil {
		return nil
	}
	return n.edge
}

// ticketSecret names the cluster secret that session tickets are sealed under.
const ticketSecret = "ticket-secret"

func (n *node) makeEdge(ctx context.Context, ring *keyring.Keyring) error {
	if !n.cfg.has("edge") {
		return nil
	}
	tickets, err := ring.Secret(ctx, ticketSecret, edge.NewTicketSecret)
	if err != nil {
		return fmt.Errorf("reading the ticket secret: %w", err)
	}
	roots, err := n.upstreamRoots()
	if err != nil {
		return err
	}
	proxies, err := prefixes(n.cfg.EdgeProxyFrom)
	if err != nil {
		return err
	}
	access, err := n.openAccessLog()
	if err != nil {
		return err
	}
	minTLS := uint16(tls.VersionTLS12)
	if n.cfg.TLSMinVersion == "1.3" {
		minTLS = tls.VersionTLS13
	}
	n.edge, err = edge.New(edge.Config{
		Feed: n.opening, Confirm: n.confirm, Sealer: ring, TicketSecret: tickets, KeepConnections: n.cfg.KeepConns, Instance: n.cfg.Instance, MinTLS: minTLS, UpstreamRoots: roots,
		TLCPDefault:   n.cfg.TLCPDefault,
		AllowLoopback: n.cfg.UpstreamLocal, ProxyHTTP: n.cfg.EdgeHTTPProxy, HTTPSPort: port(n.listeners["edge"]), Log: n.log, Metrics: n.metrics, Now: n.now,
		ProxyFrom: proxies, AccessLog: access, DomainMetrics: limit(n.cfg.DomainMetrics),
	})
	return err
}

func (n *node) upstreamRoots() (*x509.CertPool, error) {
	if n.cfg.UpstreamCA == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	return readPool(pool, n.cfg.UpstreamCA)
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// limit is a setting in the form of the parts: 0 is no limit here and the default there.
func limit(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func (n *node) makeAPI() {
	cfg := api.Config{Service: n.service, Auth: n.auth, IAM: n.identity, Ready: n.ready, Metrics: n.metrics, Log: n.log, RateLimit: limit(n.cfg.RateLimit), Stopping: n.stopping}
	if !n.cfg.has("api") {
		cfg.Service, cfg.Auth, cfg.IAM = nil, nil, nil
	}
	n.apiServer = &http.Server{
		Handler: api.New(cfg), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		// The API refuses a header above 32 KiB, and OPTIONS *, in its own form.
		MaxHeaderBytes: 128 << 10, DisableGeneralOptionsHandler: true,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug), TLSConfig: n.apiTLS(),
	}
}

// readKeyFiles reads the key pairs of the process itself.
func (n *node) readKeyFiles() (err error) {
	if n.apiFiles, err = n.openKeyFiles("--api-cert and --api-key", n.cfg.APICert, n.cfg.APIKey); err != nil {
		return err
	}
	if n.apiFiles != nil {
		n.metrics.MustRegister(apiNotAfter(n.apiFiles))
	}
	if len(n.cfg.EtcdEndpoints) > 0 {
		n.etcdFiles, err = n.openKeyFiles("--etcd-cert and --etcd-key", n.cfg.EtcdCert, n.cfg.EtcdKey)
	}
	return err
}

// apiTLS is nil when the API speaks plain HTTP.
func (n *node) apiTLS() *tls.Config {
	if n.apiFiles == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: n.apiFiles.serverCertificate}
}

// ready tells why this node should get no traffic. An edge gets it as soon as it can serve
// any name, those not loaded yet by reading them first. A store that is away does not take
// the edge out: it goes on serving what it last knew.
func (n *node) ready(ctx context.Context) error {
	if n.edge != nil && !n.edge.Status().Serving {
		return errors.New("the edge cannot reach the domains yet")
	}
	if n.cfg.has("api") {
		return n.store.Health(ctx)
	}
	return nil
}
