package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"lacre/store"
)

// openStore opens the embedded store or the external cluster.
func openStore(ctx context.Context, cfg Config, log *slog.Logger, now func() time.Time) (*store.Store, error) {
	if len(cfg.EtcdEndpoints) == 0 {
		return store.Embedded(ctx, store.EmbeddedConfig{Dir: cfg.DataDir, Log: log, Now: now})
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the data directory: %w", err)
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
		Password: strings.TrimRight(string(password), "\r\n"), Log: log, Now: now,
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

// readPool adds the CA certificates of a file to pool.
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
