package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func serveCommand(env map[string]string) *cobra.Command {
	var cfg Config
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the certificate API and the TLS edge",
		Long: `Run the certificate API and the TLS edge.

The first start on an empty store creates a project, an instance called default and an
administrator, and writes them to DATA-DIR/credentials.json; with --keystone-url these
are Keystone's. Every start writes the addresses to DATA-DIR/endpoints.json once all
listeners accept.

Every flag is also a key of the config file (data-dir: /var/lib/lacre) and a variable
(LACRE_DATA_DIR). Flags win over variables, variables over the file.`,
		Example: `  lacre serve --data-dir /var/lib/lacre
  lacre serve --data-dir ./data --api 127.0.0.1:0 --edge 127.0.0.1:0 --edge-http 127.0.0.1:0
  lacre serve --config /etc/lacre.yaml --etcd-endpoints https://etcd1:2379,https://etcd2:2379`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fill(cmd.Flags(), env); err != nil {
				return err
			}
			if err := cfg.check(cmd.Flags()); err != nil {
				return err
			}
			log, err := newLog(cmd.ErrOrStderr(), cfg)
			if err != nil {
				return err
			}
			slog.SetDefault(log) // net/http tells some faults of upstreams to package log only
			slog.SetLogLoggerLevel(slog.LevelDebug)
			return serve(cmd.Context(), cfg, log)
		},
	}
	cfg.flags(cmd.Flags())
	cmd.Flags().String("config", "", "YAML file with these settings")
	return cmd
}

func serve(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := harden(); err != nil {
		log.Warn("core dumps could not be switched off", "err", err)
	}
	loaded := tuneGC()
	n, err := open(ctx, cfg, log, time.Now)
	if err == nil {
		err = n.run(ctx, func() error {
			go loaded() // it takes as long as a collection
			return n.announce()
		})
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // asked to stop while still starting
	}
	return err
}

func newLog(w io.Writer, cfg Config) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, usagef("--log-level: expected debug, info, warn or error")
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

// announce writes endpoints.json and says where everything is.
func (n *node) announce() error {
	e := n.endpoints()
	if err := writeFile(n.cfg.DataDir, endpointsFile, e, 0o644); err != nil {
		return fmt.Errorf("announcing the endpoints: %w", err)
	}
	n.log.Info("serving", "api", e.APIURL, "edge", e.EdgeAddr, "edge_http", e.EdgeHTTPAddr, "data_dir", n.cfg.DataDir)
	return nil
}

func (n *node) endpoints() Endpoints {
	scheme := "http://"
	if n.cfg.APICert != "" {
		scheme = "https://"
	}
	e := Endpoints{APIURL: scheme + reachable(n.listeners["api"])}
	e.MetricsURL = e.APIURL + "/metrics"
	if n.edge != nil {
		e.EdgeAddr, e.EdgeHTTPAddr = reachable(n.listeners["edge"]), reachable(n.listeners["edge-http"])
	}
	return e
}

// reachable is an address that reaches l from this machine: a listener on all addresses
// is at none that a client could name.
func reachable(l net.Listener) string {
	address := l.Addr().(*net.TCPAddr)
	if address.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(address.Port))
	}
	return address.String()
}
