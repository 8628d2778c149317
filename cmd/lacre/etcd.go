package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"lacre/edge"
	"lacre/keyring"
	"lacre/store"
)

// opening is a store that may still be on its way up: *store.Opening is one that answers an
// edge and a keyring already.
type opening interface {
	edge.Feed
	keyring.Wrapped
	Confirm(ctx context.Context) error
	Mistake(reason error) bool
	Wait(ctx context.Context) (*store.Store, error)
	CopyStatus() store.CopyStatus
	Close() error
}

// openStore begins to open the embedded store, or opens the external cluster. Only an edge
// has a use for a copy.
func (n *node) openStore(ctx context.Context) (opening, error) {
	if len(n.cfg.EtcdEndpoints) > 0 {
		s, err := n.openCluster(ctx)
		if err != nil {
			return nil, err
		}
		return opened{s}, nil
	}
	o, err := store.Open(ctx, store.EmbeddedConfig{Dir: n.cfg.DataDir, QuotaBytes: int64(n.cfg.StoreQuota) << 30, Log: n.log, Now: n.now, Copy: n.cfg.has("edge")})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// opened is an opening that is over: a cluster is up already.
type opened struct{ *store.Store }

// Confirm has nothing to confirm: all that was answered is the store's word.
func (opened) Confirm(context.Context) error { return nil }

// Mistake never has a copy to give up.
func (opened) Mistake(error) bool { return false }

// Wait does not.
func (o opened) Wait(context.Context) (*store.Store, error) { return o.Store, nil }

// CopyStatus says that there is no copy.
func (opened) CopyStatus() store.CopyStatus { return store.CopyStatus{} }

func (n *node) openCluster(ctx context.Context) (*store.Store, error) {
	if err := os.MkdirAll(n.cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the data directory: %w", err)
	}
	tlsConfig, err := n.etcdTLS()
	if err != nil {
		return nil, err
	}
	password, err := readOptional(n.cfg.EtcdPasswordFile)
	if err != nil {
		return nil, fmt.Errorf("reading the etcd password: %w", err)
	}
	return store.External(ctx, store.ExternalConfig{
		Endpoints: n.cfg.EtcdEndpoints, TLS: tlsConfig, Username: n.cfg.EtcdUser,
		Password: strings.TrimRight(string(password), "\r\n"), Log: n.log, Now: n.now,
	})
}

func (n *node) etcdTLS() (*tls.Config, error) {
	if n.cfg.EtcdCA == "" && n.etcdFiles == nil {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if n.cfg.EtcdCA != "" {
		pool, err := readPool(x509.NewCertPool(), n.cfg.EtcdCA)
		if err != nil {
			return nil, err
		}
		out.RootCAs = pool
	}
	if n.etcdFiles != nil {
		out.GetClientCertificate = n.etcdFiles.clientCertificate
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
