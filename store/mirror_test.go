package store_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// busy is a client of a store that is too busy for some requests.
type busy struct {
	clientv3.KV
	left atomic.Int32 // requests that fail
}

func (b *busy) Get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if b.left.Add(-1) >= 0 {
		return nil, context.DeadlineExceeded
	}
	return b.KV.Get(ctx, key, options...)
}

// A store that does not answer in time is no reason to go without a copy for good.
func TestCopyIsMadeOfABusyStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := begin(t, dir)
	s := must(o.Wait(t.Context()))
	put(t, s, &lacre.Project{ID: "p1"}, domain("p1", "a.example"))
	var slow *busy
	s.Wrap(func(kv clientv3.KV) clientv3.KV {
		slow = &busy{KV: kv}
		slow.left.Store(2)
		return slow
	})
	following(t, o) // the copy is made from here on
	if left := slow.left.Load(); left >= 0 {
		t.Fatalf("%d requests were still to fail", left)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "copy.exact")); err != nil {
		t.Errorf("after a stop in order the copy is not exact: %v", err)
	}
}
