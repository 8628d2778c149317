package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/store"
)

// backupNode is a node that gives out backups of a store that no buffer can hold.
func backupNode(t *testing.T, dir string, log io.Writer) (n *node, stop func()) {
	t.Helper()
	s, err := store.Embedded(t.Context(), store.EmbeddedConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for i := range 40 {
		tx := lacre.Tx{Put: []lacre.Record{&lacre.Domain{ID: fmt.Sprint(i), ProjectID: "p", Upstream: strings.Repeat("x", 100<<10)}},
			Audit: lacre.Audit{Action: lacre.CanBind, Time: time.Now()}}
		if _, err := s.Commit(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
	}
	n = &node{cfg: Config{DataDir: dir}, log: slog.New(slog.NewTextHandler(log, nil)), now: time.Now, store: s}
	n.stopping, stop = context.WithCancel(t.Context())
	n.serveBackups(t.Context())
	return n, stop
}

// hung begins to take a backup and hangs.
func hung(t *testing.T, dir string) io.Reader {
	t.Helper()
	resp, err := backupClient(dir).Get("http://lacre/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp.Body
}

// TestBackupEndsWithTheNode: whoever takes one and hangs holds no stop up, and does not take
// what they have got for all.
func TestBackupEndsWithTheNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log output
	n, stop := backupNode(t, dir, &log)
	half := hung(t, dir)
	stop()
	n.parts.Wait()
	if err := n.store.Close(); err != nil {
		t.Errorf("closing the store: %v", err)
	}
	if got, err := io.ReadAll(half); err == nil {
		t.Errorf("got %d bytes and no error", len(got))
	}
	eventually(t, "a line in the log", func() bool { return strings.Contains(log.String(), "a backup was not finished") })
	path := filepath.Join(t.TempDir(), "b.db")
	if _, err := backUpTo(t.Context(), dir, path); err == nil || !strings.Contains(err.Error(), "asking for a backup") {
		t.Errorf("of a node that has stopped: got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestBackupReplacesNothing: neither what was there, for which lacre is not even asked, nor what
// came while it answered.
func TestBackupReplacesNothing(t *testing.T) {
	t.Parallel()
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "b.db")
	var asked atomic.Int32
	l, err := listenForBackups(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		if err := os.WriteFile(path, []byte("another's"), 0o600); err != nil {
			t.Error(err)
		}
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	for range 2 {
		if _, err := backUpTo(t.Context(), dir, path); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v, want that it exists", err)
		}
	}
	got, err := os.ReadFile(path)
	if left, _ := os.ReadDir(filepath.Dir(path)); string(got) != "another's" || err != nil || len(left) != 1 || asked.Load() != 1 {
		t.Errorf("got %q, %v, among %v after %d requests, want the other's, alone, after one", got, err, left, asked.Load())
	}
}

// TestBackupEndsWithTheStore: the node goes on, and half a backup is none.
func TestBackupEndsWithTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, stop := backupNode(t, dir, io.Discard)
	defer stop()
	half := hung(t, dir)
	go n.store.Close()
	<-n.store.Done()
	if got, err := io.ReadAll(half); err == nil {
		t.Errorf("got %d bytes and no error", len(got))
	}
}

// TestImpatient: an answer that nobody takes ends.
func TestImpatient(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := &impatient{w, http.NewResponseController(w), 50 * time.Millisecond}
		for {
			if _, err := out.Write(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	}))
	defer s.Close()
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want a deadline that has passed", err)
		}
	case <-time.After(patience):
		t.Fatal("it waits still")
	}
}

// TestBackupThatCannotBe: the answer says why.
func TestBackupThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, stop := backupNode(t, dir, io.Discard)
	defer stop()
	if err := n.store.Close(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := takeBackup(t.Context(), dir, &got); err == nil || !strings.Contains(err.Error(), "503 Service Unavailable") || got.Len() > 0 {
		t.Errorf("of a closed store: got %d bytes, %v, want a reason", got.Len(), err)
	}
}

// TestNoRoomForASocket: the path of a socket has some 100 bytes. Backups are not worth a node
// that does not serve.
func TestNoRoomForASocket(t *testing.T) {
	t.Parallel()
	var log output
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, stop := backupNode(t, dir, &log)
	defer stop()
	if !strings.Contains(log.String(), "no backups can be taken") {
		t.Errorf("got %q, want a warning", log.String())
	}
}

// TestBackupSocketIsTheOwners: whatever is there from before, nobody else may reach it.
func TestBackupSocketIsTheOwners(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, adminDir), 0o777); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time the socket of the first is in the way
		l, err := listenForBackups(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	info, err := os.Stat(filepath.Join(dir, adminDir))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v, %v, want 0700", info.Mode(), err)
	}
}
