package store

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// defaultMaxOps is etcd's own --max-txn-ops.
const defaultMaxOps = 128

// ExternalConfig says where an etcd cluster is.
type ExternalConfig struct {
	Endpoints []string    // host:port or https://host:port
	TLS       *tls.Config // nil is clear text
	Username  string      // empty when the cluster has no authentication
	Password  string
	MaxOps    int              // the cluster's --max-txn-ops; 0 is its default, 128
	Log       *slog.Logger     // nil discards
	Now       func() time.Time // nil is time.Now
	Random    io.Reader        // of audit ids; nil is crypto/rand
}

// External opens the store in an etcd cluster and makes sure that it answers. The
// cluster's quota, compaction and backups are its operator's.
func External(ctx context.Context, c ExternalConfig) (*Store, error) {
	if len(c.Endpoints) == 0 {
		return nil, errors.New("opening the store: no etcd endpoints")
	}
	s := newStore(c.Log, c.Now, c.Random)
	config := clientv3.Config{
		Context:              s.life,
		Endpoints:            c.Endpoints,
		TLS:                  c.TLS,
		Username:             c.Username,
		Password:             c.Password,
		DialTimeout:          patience,
		DialKeepAliveTime:    10 * time.Second, // a dead peer is noticed, not waited for
		DialKeepAliveTimeout: 5 * time.Second,
		// Three seconds of retries outlive the election of a leader.
		MaxUnaryRetries:    30,
		BackoffWaitBetween: 100 * time.Millisecond,
		DialOptions:        []grpc.DialOption{grpc.WithChainUnaryInterceptor(failFast)},
		Logger:             newZap(s.log, zap.WarnLevel, s.died),
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd at %s: %w", strings.Join(c.Endpoints, ", "), err)
	}
	s.connect(client, external{client, config})
	s.maxOps = defaultMaxOps
	if c.MaxOps > 0 {
		s.maxOps = c.MaxOps
	}
	if _, err := s.revision(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("connecting to etcd at %s: %w", strings.Join(c.Endpoints, ", "), err)
	}
	return s, nil
}

// failFast makes a call fail with what is really wrong with the connection (refused, a
// strange certificate), where etcd's client would wait until the call times out.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, append(options, grpc.WaitForReady(false))...)
}

// newStore makes a store without an engine, with what was left out filled in.
func newStore(log *slog.Logger, now func() time.Time, random io.Reader) *Store {
	s := &Store{log: log, now: now, random: random, silence: silence}
	if log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		s.now = time.Now
	}
	if random == nil {
		s.random = rand.Reader
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	return s
}

// connect gives a store its engine. The parts of the client are kept, not the client:
// tests put faults between.
func (s *Store) connect(client *clientv3.Client, e engine) {
	s.kv, s.watcher, s.lease, s.engine = client.KV, client.Watcher, client.Lease, e
	s.close = sync.OnceValue(s.stop)
}

// external is the engine of a cluster: others look after its disks.
type external struct {
	client *clientv3.Client
	config clientv3.Config // as the client was made with
}

// room has nothing to say: a cluster refuses by its quota, see explain.
func (e external) room() error { return nil }

func (e external) close() error { return e.client.Close() }

// status is that of the first member that answers.
func (e external) status(ctx context.Context) (*clientv3.StatusResponse, error) {
	var errs []error
	for _, endpoint := range e.client.Endpoints() {
		status, err := e.client.Status(ctx, endpoint)
		if err == nil {
			return status, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", endpoint, err))
	}
	return nil, errors.Join(errs...)
}
