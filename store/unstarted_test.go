package store_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"

	"lacre/store"
)

// TestStartAfterAKilledFirstStart: a log of etcd's that has no entry was left by a first start
// that was killed, and one begins anew; a log with entries is kept, with or without the file
// that says so.
func TestStartAfterAKilledFirstStart(t *testing.T) {
	dir := t.TempDir()
	logs := filepath.Join(dir, "etcd", "member", "wal")
	if err := os.MkdirAll(filepath.Dir(logs), 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := wal.Create(zap.NewNop(), logs, []byte("metadata"))
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := store.Embedded(ctx, store.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatalf("after a killed first start: %v", err)
	}
	project := id("tenant")
	put(t, s, estate(project)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "format")); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Embedded(ctx, store.EmbeddedConfig{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if all, err := s.AllInstances(ctx); err != nil || len(all) != 1 {
		t.Errorf("got %d instances, %v, want what was stored", len(all), err)
	}
}
