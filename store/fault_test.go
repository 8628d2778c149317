package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"lacre"
	"lacre/store"
)

// fault is what happens to the next transaction on its way.
type fault int32

const (
	none  fault = iota
	lost        // it never arrives
	deaf        // it is applied, the answer is lost
	stuck       // it hangs and heeds nobody
)

// faulty is an etcd client with a bad connection.
type faulty struct {
	clientv3.KV
	next    atomic.Int32
	release chan struct{} // closed to end what is stuck
}

func (f *faulty) Txn(ctx context.Context) clientv3.Txn {
	return &faultyTxn{Txn: f.KV.Txn(ctx), fault: fault(f.next.Swap(int32(none))), release: f.release}
}

func (f *faulty) Get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if f.next.CompareAndSwap(int32(stuck), int32(none)) {
		<-f.release
	}
	return f.KV.Get(ctx, key, options...)
}

type faultyTxn struct {
	clientv3.Txn
	fault   fault
	release chan struct{}
}

func (x *faultyTxn) If(c ...clientv3.Cmp) clientv3.Txn  { x.Txn = x.Txn.If(c...); return x }
func (x *faultyTxn) Then(o ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Then(o...); return x }
func (x *faultyTxn) Else(o ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Else(o...); return x }

func (x *faultyTxn) Commit() (*clientv3.TxnResponse, error) {
	broken := status.Error(codes.Unavailable, "connection reset by peer")
	switch x.fault {
	case lost:
		return nil, broken
	case deaf:
		if _, err := x.Txn.Commit(); err != nil {
			return nil, err
		}
		return nil, broken
	case stuck:
		<-x.release
	}
	return x.Txn.Commit()
}

func withFaults(t *testing.T) (*store.Store, *faulty) {
	t.Helper()
	s, f := open(t), &faulty{release: make(chan struct{})}
	s.Wrap(func(kv clientv3.KV) clientv3.KV { f.KV = kv; return f })
	return s, f
}

// After either fault the caller knows nothing; doing the same again must tell the two
// apart and apply the change once.
func TestWriteFaultsBothWays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		fault   fault
		applied bool
	}{{"lost", lost, false}, {"applied but reported failed", deaf, true}} {
		s, f := withFaults(t)
		d := domain("p1", "a.example")
		tx := lacre.Tx{Put: []lacre.Record{d}, Audit: auditOf("p1")}
		f.next.Store(int32(c.fault))
		if _, err := s.Commit(t.Context(), tx); !errors.Is(err, lacre.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", c.name, err)
		}
		_, err := s.Commit(t.Context(), tx)
		if _, conflict := errors.AsType[*lacre.ConflictError](err); conflict != c.applied || err != nil && !conflict {
			t.Errorf("%s, again: got %v; want a conflict: %v", c.name, err, c.applied)
		}
		if _, err := s.Domain(t.Context(), "p1", d.ID); err != nil {
			t.Errorf("%s: after both: %v", c.name, err)
		}
		if rows := audits(t, s, "p1"); len(rows) != 1 {
			t.Errorf("%s: got %d audit rows, want 1: the change happened once", c.name, len(rows))
		}
	}
}

func TestSecretFaultsBothWays(t *testing.T) {
	t.Parallel()
	for _, fault := range []fault{lost, deaf} {
		s, f := withFaults(t)
		f.next.Store(int32(fault))
		if _, err := s.CreateSecret(t.Context(), "ticket", []byte("first")); !errors.Is(err, lacre.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
		want := map[bool]string{true: "first", false: "second"}[fault == deaf]
		if got, err := s.CreateSecret(t.Context(), "ticket", []byte("second")); err != nil || string(got) != want {
			t.Errorf("again: got %q, %v; want %q", got, err, want)
		}
	}
}

// Context cancellation ends every call, even when the engine heeds nobody.
func TestNobodyWaitsForAStuckEngine(t *testing.T) {
	t.Parallel()
	s, f := withFaults(t)
	for name, call := range map[string]func(context.Context) error{
		"Commit": func(ctx context.Context) error {
			_, err := s.Commit(ctx, lacre.Tx{Put: []lacre.Record{domain("p1", "a.example")}, Audit: auditOf("p1")})
			return err
		},
		"Domain": func(ctx context.Context) error { _, err := s.Domain(ctx, "p1", "d"); return err },
		"Health": s.Health,
	} {
		f.next.Store(int32(stuck))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := call(ctx)
		cancel()
		if !errors.Is(err, lacre.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want ErrUnavailable and the context's error", name, err)
		}
	}
	f.next.Store(int32(stuck))
	ended := make(chan error)
	go func() { _, err := s.Domain(t.Context(), "p1", "d"); ended <- err }()
	time.Sleep(10 * time.Millisecond)
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	if err := <-ended; !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("a call under way when the store closes: got %v, want ErrUnavailable", err)
	}
	close(f.release) // the engine is closed once the last call has left it
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}

// Closing takes the engine away from under nobody: calls end with an outage, not a panic.
func TestClosingUnderLoad(t *testing.T) {
	t.Parallel()
	s := open(t)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for n := 0; ; n++ {
				d := domain("p1", fmt.Sprintf("%d.%d.example", i, n))
				_, err := s.Commit(t.Context(), lacre.Tx{Put: []lacre.Record{d}, Audit: auditOf("p1")})
				if err == nil {
					_, err = s.Domains(t.Context(), "p1", []string{d.ID})
				}
				if errors.Is(err, lacre.ErrUnavailable) {
					return
				}
				if err != nil {
					t.Errorf("got %v, want success or ErrUnavailable", err)
					return
				}
			}
		})
	}
	group.Go(func() {
		if err := firstError(t.Context(), s, 0); !errors.Is(err, lacre.ErrUnavailable) {
			t.Errorf("Watch: got %v, want ErrUnavailable", err)
		}
	})
	time.Sleep(50 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	group.Wait()
}

// The engine may be quicker than the news that the caller has gone: it is not asked.
func TestACancelledContextIsAnOutage(t *testing.T) {
	t.Parallel()
	s, f := withFaults(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.next.Store(int32(lost))
	_, read := s.Domain(ctx, "p1", "d")
	_, written := s.Commit(ctx, lacre.Tx{Put: []lacre.Record{domain("p1", "d")}, Audit: auditOf("p1")})
	for _, err := range []error{read, written} {
		if !errors.Is(err, lacre.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want ErrUnavailable and context.Canceled", err)
		}
	}
	if err := s.Close(); err != nil { // every call has ended then
		t.Fatal(err)
	}
	if f.next.Load() != int32(lost) {
		t.Error("the engine was asked to write for a caller that had gone before")
	}
}

func TestAnEngineThatGivesUp(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, err := store.Embedded(t.Context(), store.EmbeddedConfig{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	watched := make(chan error, 1)
	go func() { watched <- firstError(t.Context(), s, 0) }()
	fire := errors.New("no space left on device")
	s.GiveUp(fire)
	<-s.Done()
	if err := s.Err(); !errors.Is(err, fire) {
		t.Errorf("Err: got %v, want the cause", err)
	}
	_, err = s.Domain(t.Context(), "p1", "d")
	if !errors.Is(err, lacre.ErrUnavailable) || !errors.Is(err, fire) {
		t.Errorf("reading: got %v, want ErrUnavailable with the cause", err)
	}
	if err := <-watched; !errors.Is(err, fire) {
		t.Errorf("watching: got %v, want the cause", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if said := log.String(); !strings.Contains(said, "level=ERROR") || !strings.Contains(said, fire.Error()) {
		t.Errorf("log: got %q, want the cause as an error", said)
	}
}
