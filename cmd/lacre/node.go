package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
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
	store   *store.Store
	service *lacre.Service
	iam     *iam.IAM
	edge    *edge.Edge // nil without the role
	metrics *prometheus.Registry

	apiServer *http.Server
	listeners map[string]net.Listener // "api", "edge", "edge-http"
	failed    chan error              // a part that ended on its own
}

// open builds a node up to listening on its addresses. Whatever it opened is closed
// again when it fails.
func open(ctx context.Context, cfg Config, log *slog.Logger) (n *node, err error) {
	n = &node{cfg: cfg, log: log, metrics: prometheus.NewRegistry(), listeners: map[string]net.Listener{}, failed: make(chan error, 8)}
	defer func() {
		if err != nil {
			n.close()
			n = nil
		}
	}()
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := n.listen(); err != nil {
		return n, err
	}
	if n.store, err = openStore(ctx, cfg, log); err != nil {
		return n, err
	}
	return n, n.assemble(ctx)
}

// assemble plugs the parts together over the open store.
func (n *node) assemble(ctx context.Context) error {
	ring, err := keyring.Unlock(ctx, n.cfg.masterKey(), n.store)
	if err != nil {
		return keyHint(err, n.cfg)
	}
	if err := n.makeEdge(ring); err != nil {
		return err
	}
	n.service = lacre.NewService(lacre.Config{
		Store: n.store, Sealer: ring, Edge: n.waitFor(), Log: n.log, History: n.cfg.History,
		DomainsPerGroup: n.cfg.DomainsPerGroup, RefuseAfter2038: n.cfg.RefuseAfter2038,
	})
	if err := n.makeIAM(ctx, ring); err != nil {
		return err
	}
	n.metrics.MustRegister(storeMetrics{n.store})
	return n.makeAPI()
}

// waitFor is what modifications wait for. A nil *edge.Edge in the interface would not
// be nil, hence the branch.
func (n *node) waitFor() lacre.Edge {
	if n.edge == nil {
		return nil
	}
	return n.edge
}

func keyHint(err error, cfg Config) error {
	if errors.Is(err, keyring.ErrWrongMasterKey) || errors.Is(err, keyring.ErrMasterKeyMissing) {
		return hinted{fmt.Errorf("unlocking the keys in %s: %w", cfg.DataDir, err),
			"put back the master key this store was first started with, or name it with --master-key; without it the private keys cannot be opened"}
	}
	return fmt.Errorf("unlocking the keys in %s: %w", cfg.DataDir, err)
}

// openStore opens the embedded store or the external cluster.
func openStore(ctx context.Context, cfg Config, log *slog.Logger) (*store.Store, error) {
	if len(cfg.EtcdEndpoints) == 0 {
		return store.Embedded(ctx, store.EmbeddedConfig{Dir: cfg.DataDir, Log: log})
	}
	tlsConfig, err := etcdTLS(cfg)
	if err != nil {
		return nil, err
	}
	password, err := readOptional(cfg.EtcdPasswordFile)
	if err != nil {
		return nil, fmt.Errorf("reading the etcd password: %w", err)
	}
	return store.External(ctx, store.ExternalConfig{
		Endpoints: cfg.EtcdEndpoints, TLS: tlsConfig, Username: cfg.EtcdUser,
		Password: strings.TrimRight(string(password), "\r\n"), Log: log,
	})
}

func etcdTLS(cfg Config) (*tls.Config, error) {
	if cfg.EtcdCA == "" && cfg.EtcdCert == "" {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.EtcdCA != "" {
		pool, err := readPool(x509.NewCertPool(), cfg.EtcdCA)
		if err != nil {
			return nil, err
		}
		out.RootCAs = pool
	}
	if cfg.EtcdCert != "" {
		pair, err := tls.LoadX509KeyPair(cfg.EtcdCert, cfg.EtcdKey)
		if err != nil {
			return nil, fmt.Errorf("reading the etcd client certificate: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

func readPool(pool *x509.CertPool, path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading CA certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading CA certificates: %s holds none", path)
	}
	return pool, nil
}

func (n *node) makeEdge(sealer lacre.Sealer) error {
	if !n.cfg.has("edge") {
		return nil
	}
	roots, err := n.upstreamRoots()
	if err != nil {
		return err
	}
	minTLS := uint16(tls.VersionTLS12)
	if n.cfg.TLSMinVersion == "1.3" {
		minTLS = tls.VersionTLS13
	}
	n.edge, err = edge.New(edge.Config{
		Feed: n.store, Sealer: sealer, Instance: n.cfg.Instance, MinTLS: minTLS, UpstreamRoots: roots,
		AllowLoopback: n.cfg.UpstreamLocal, HTTPSPort: port(n.listeners["edge"]), Log: n.log, Metrics: n.metrics,
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

func (n *node) makeAPI() error {
	cfg := api.Config{Service: n.service, Auth: n.iam, IAM: n.iam, Ready: n.ready, Metrics: n.metrics, Log: n.log}
	if !n.cfg.has("api") {
		cfg.Service, cfg.Auth, cfg.IAM = nil, nil, nil
	}
	n.apiServer = &http.Server{
		Handler: api.New(cfg), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	if n.cfg.APICert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(n.cfg.APICert, n.cfg.APIKey)
	if err != nil {
		return fmt.Errorf("reading --api-cert and --api-key: %w", err)
	}
	n.apiServer.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	return nil
}

// ready tells why this node should get no traffic. A store that is away does not take
// the edge out: it goes on serving what it last knew.
func (n *node) ready(ctx context.Context) error {
	if n.edge != nil && !n.edge.Status().Ready {
		return errors.New("the edge has not loaded the domains yet")
	}
	if n.cfg.has("api") {
		return n.store.Health(ctx)
	}
	return nil
}

// listen takes the addresses first, so that a busy port is found before anything else
// happens.
func (n *node) listen() error {
	addresses := map[string]string{"api": n.cfg.API}
	if n.cfg.has("edge") {
		addresses["edge"], addresses["edge-http"] = n.cfg.Edge, n.cfg.EdgeHTTP
	}
	for _, name := range []string{"api", "edge", "edge-http"} {
		address, ok := addresses[name]
		if !ok {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return hinted{fmt.Errorf("listening for --%s: %w", name, err), "choose another address, or port 0 for a free one, with --" + name}
		}
		n.listeners[name] = l
	}
	return nil
}

// run serves until ctx ends or a part fails, then drains. started is called when all
// listeners accept and the edge serves what the store holds.
func (n *node) run(ctx context.Context, started func() error) error {
	background, stop := context.WithCancel(context.Background())
	defer stop()
	n.start(background)
	if err := n.warm(ctx); err != nil {
		return errors.Join(err, n.shutdown())
	}
	err := started()
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-n.failed:
		}
	}
	n.log.Info("shutting down", "drain_time", n.cfg.DrainTime)
	return errors.Join(err, n.shutdown())
}

func (n *node) start(ctx context.Context) {
	n.serve("api", func(l net.Listener) error {
		if n.apiServer.TLSConfig != nil {
			return n.apiServer.ServeTLS(l, "", "")
		}
		return n.apiServer.Serve(l)
	})
	if n.edge != nil {
		go n.edge.Follow(ctx)
		n.serve("edge", n.edge.ServeTLS)
		n.serve("edge-http", n.edge.ServePlain)
	}
	go n.prune(ctx)
	go n.watchStore(ctx)
}

func (n *node) serve(name string, serve func(net.Listener) error) {
	l := n.listeners[name]
	go func() {
		if err := serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.failed <- fmt.Errorf("serving --%s: %w", name, err)
		}
	}()
}

// watchStore ends the process when the embedded store has ended: it does so only when
// it can no longer write its log.
func (n *node) watchStore(ctx context.Context) {
	select {
	case <-n.store.Done():
		if err := n.store.Err(); err != nil {
			n.failed <- fmt.Errorf("the store has stopped: %w", err)
		}
	case <-ctx.Done():
	}
}

// warm waits until the edge has loaded the store.
func (n *node) warm(ctx context.Context) error {
	if n.edge == nil {
		return nil
	}
	select {
	case <-n.edge.Ready():
		return nil
	case err := <-n.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prune drops audit rows that are older than the retention, once an hour.
func (n *node) prune(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := n.store.PruneAudits(ctx, time.Now().AddDate(0, 0, -n.cfg.AuditDays)); err != nil && ctx.Err() == nil {
			n.log.Warn("old audit rows could not be dropped", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// shutdown lets requests in flight finish, then closes everything.
func (n *node) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.DrainTime)
	defer cancel()
	drained := make(chan error, 2)
	go func() { drained <- n.apiServer.Shutdown(ctx) }()
	go func() {
		if n.edge == nil {
			drained <- nil
			return
		}
		drained <- n.edge.Shutdown(ctx)
	}()
	for range 2 {
		if err := <-drained; err != nil {
			n.log.Warn("some connections were cut at the end of the drain time", "err", err)
		}
	}
	return n.close()
}

func (n *node) close() error {
	for _, l := range n.listeners {
		l.Close() // closed already after a drain
	}
	if n.store == nil {
		return nil
	}
	return n.store.Close()
}
