package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// fillEtcd has an etcd say that it is full.
func fillEtcd(t *testing.T, endpoint string) {
	t.Helper()
	etcd := etcdClient(t, endpoint)
	full := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE}
	if _, err := pb.NewMaintenanceClient(etcd.ActiveConnection()).Alarm(t.Context(), full); err != nil {
		t.Fatal(err)
	}
}

// TestEnter: a node is listed before its edge serves, if the store takes that within a short
// while; and no longer is the edge kept from serving.
func TestEnter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		fault  func(ctx context.Context, attempt int64) error
		tries  int64 // at least; exactly when it is one
		listed int
		says   string
	}{
		{"the first report fails", failing(1, errors.New("no leader")), 2, 1, "will try again"},
		{"all fail", failing(1000, errors.New("no leader")), 2, 0, "is not listed"},
		{"the store is full", failing(1000, rpctypes.ErrGRPCNoSpace), 1, 0, "is not listed"},
		{"its user may only read", failing(1000, rpctypes.ErrGRPCPermissionDenied), 1, 0, "is not listed"},
		{"the store does not answer", func(ctx context.Context, _ int64) error { <-ctx.Done(); return ctx.Err() }, 1, 0, "is not listed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int64
			n, talk := nodeOver(t, serveEtcd(t, grantsFail(&tries, test.fault)))
			begun := time.Now()
			err := n.roster.enter(t.Context())
			nodes, listErr := n.roster.Nodes(t.Context())
			got := tries.Load()
			if err != nil || listErr != nil || len(nodes) != test.listed || got < test.tries || test.tries == 1 && got > 1 {
				t.Errorf("got %v, %d nodes (%v), %d attempts, want %d nodes, %d attempts", err, len(nodes), listErr, got, test.listed, test.tries)
			}
			if took := time.Since(begun); took > 2*enterWithin {
				t.Errorf("the edge was kept from serving for %v, want %v at most", took, enterWithin)
			}
			if !strings.Contains(talk.String(), test.says) {
				t.Errorf("got the log\n%s\nwant %q in it", talk, test.says)
			}
		})
	}
}

// TestEnterIsCutShort: whoever stops a node while it tries to report does not wait for that.
func TestEnterIsCutShort(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	var tries atomic.Int64
	n, talk := nodeOver(t, serveEtcd(t, grantsFail(&tries, func(context.Context, int64) error {
		time.AfterFunc(enterPause/10, stop)
		return errors.New("no leader")
	})))
	if err := n.roster.enter(ctx); !errors.Is(err, context.Canceled) || strings.Contains(talk.String(), "is not listed") {
		t.Errorf("got %v, and the log\n%s\nwant that it was canceled", err, talk)
	}
}

// failing fails so many attempts.
func failing(most int64, err error) func(context.Context, int64) error {
	return func(_ context.Context, attempt int64) error {
		if attempt <= most {
			return err
		}
		return nil
	}
}

// grantsFail has an etcd fail in granting a lease, which is what a report begins with. Every
// attempt is counted.
func grantsFail(tries *atomic.Int64, fault func(context.Context, int64) error) grpc.ServerOption {
	return grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if _, grant := req.(*pb.LeaseGrantRequest); grant {
			if err := fault(ctx, tries.Add(1)); err != nil {
				return nil, err
			}
		}
		return next(ctx, req)
	})
}

// nodeOver opens a node that is not run, and returns what it logs, too.
func nodeOver(t *testing.T, endpoint string) (*node, *output) {
	t.Helper()
	cfg, talk := demoConfig(t.TempDir()), &output{}
	cfg.EtcdEndpoints = []string{endpoint}
	n, err := open(t.Context(), cfg, slog.New(slog.NewTextHandler(talk, nil)), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close() })
	n.store, err = n.opening.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n, talk
}

// TestRestartOverAFullStore: the edge serves before it tries a second time to be listed.
func TestRestartOverAFullStore(t *testing.T) {
	t.Parallel()
	endpoint, dir := serveEtcd(t), t.TempDir()
	p := start(t, dir, "--etcd-endpoints", endpoint)
	w := visitLacre(t, dir)
	const host = "full.roster.test"
	w.publish(host, "", w.leaf(host, 1))
	p.stop()
	fillEtcd(t, endpoint)
	p = start(t, dir, "--etcd-endpoints", endpoint)
	w.at = endpointsOf(t, dir)
	w.wantServed(host, 1)
	unlisted, again := strings.Index(p.talk.String(), "is not listed"), strings.Index(p.talk.String(), "will try again")
	if unlisted < 0 || again >= 0 && again < unlisted {
		t.Errorf("got output\n%s\nwant that it serves unlisted at once", &p.talk)
	}
	p.stop()
}
