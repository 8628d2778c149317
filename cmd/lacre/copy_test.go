package main

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// holdStore keeps the engine of a directory from opening its files until it is called off:
// etcd waits for the lock of its database for ever.
func holdStore(t testing.TB, dir string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "etcd/member/snap/db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { f.Close() })
	t.Cleanup(release)
	return release
}

// freeAddress is an address that nobody listens on right now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// copies waits until a copy of the store is kept.
func (w *world) copies() {
	w.t.Helper()
	eventually(w.t, "a copy of the store", func() bool { return w.metric("lacre_store_copy_revision") > 0 })
}

// TestStartServesBeforeTheStoreIsOpen stops a serve in good order and starts it again while
// its store cannot be opened: it serves what was acknowledged last. After a kill it does not.
func TestStartServesBeforeTheStoreIsOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	w := visitLacre(t, dir)
	w.copies()
	const host = "early.copy.test"
	s := w.publish(host, "", w.leaf(host, 1))
	w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 2)), 200)
	p.stop()

	release := holdStore(t, dir)
	address := freeAddress(t)
	p = launch(t, dir, "--edge", address)
	w.at.EdgeAddr = address
	eventually(t, "a handshake before the store is open", func() bool {
		_, err := w.served(host)
		return err == nil
	})
	w.wantServed(host, 2)
	if _, err := os.Stat(filepath.Join(dir, endpointsFile)); err == nil {
		t.Error("endpoints.json is there before the API answers")
	}
	release()
	eventually(t, "endpoints.json", func() bool {
		_, err := os.Stat(filepath.Join(dir, endpointsFile))
		return err == nil
	})
	w.follow(dir)
	if got := w.metric("lacre_store_copy_opened"); got != 1 {
		t.Errorf("lacre_store_copy_opened: got %v, want 1", got)
	}
	w.copies()
	w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 3)), 200)
	w.wantServed(host, 3)
	p.kill()

	release = holdStore(t, dir)
	p = launch(t, dir, "--edge", address)
	w.at.EdgeAddr = address
	w.wantNotServed(host)
	release()
	eventually(t, "endpoints.json", func() bool {
		_, err := os.Stat(filepath.Join(dir, endpointsFile))
		return err == nil
	})
	w.follow(dir)
	w.wantServed(host, 3)
	if got := w.metric("lacre_store_copy_opened"); got != 0 {
		t.Errorf("lacre_store_copy_opened after a kill: got %v, want 0", got)
	}
	p.stop()
}

// wantNotServed fails the test if a handshake for host succeeds within a second.
func (w *world) wantNotServed(host string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{ServerName: host, RootCAs: w.ca.Pool()}}
	for ctx.Err() == nil {
		if c, err := d.DialContext(ctx, "tcp", w.at.EdgeAddr); err == nil {
			c.Close()
			w.t.Error("a handshake succeeded before the store was open")
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestStartFailsWhileServing damages the store behind a copy: what was served until that is
// found out ends with the same error and exit code as without a copy.
func TestStartFailsWhileServing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	w := visitLacre(t, dir)
	w.copies()
	p.stop()
	wal, err := filepath.Glob(filepath.Join(dir, "etcd/member/wal/*.wal"))
	if err != nil || len(wal) == 0 {
		t.Fatalf("no log: %v, %v", wal, err)
	}
	info, err := os.Stat(wal[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(wal[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 64), 16); err != nil { // its first records
		t.Fatal(err)
	}
	f.Close()
	// As the disk would do it: without a trace in the directory.
	if err := os.Chtimes(wal[0], info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	p = launch(t, dir)
	if code := p.exit(); code != exitFailed {
		t.Errorf("got exit code %d, want %d", code, exitFailed)
	}
	p.says("starting from the copy", "lacre: starting the store in", "restore it from a backup")
}

// TestStopWhileServingFromTheCopy ends a serve that serves from its copy, in good order.
func TestStopWhileServingFromTheCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	w := visitLacre(t, dir)
	w.copies()
	const host = "stop.copy.test"
	w.publish(host, "", w.leaf(host, 1))
	p.stop()
	release := holdStore(t, dir)
	address := freeAddress(t)
	p = launch(t, dir, "--edge", address)
	w.at.EdgeAddr = address
	eventually(t, "a handshake before the store is open", func() bool {
		_, err := w.served(host)
		return err == nil
	})
	p.stop()
	release()
	p = start(t, dir)
	w.follow(dir)
	w.wantServed(host, 1)
	p.stop()
}

// TestFaultyCopy has something in the copy's place that cannot be one: a warning is all that
// comes of it.
func TestFaultyCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "copy.db", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir)
	w := visitLacre(t, dir)
	const host = "faulty.copy.test"
	s := w.publish(host, "", w.leaf(host, 1))
	w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 2)), 200)
	w.wantServed(host, 2)
	eventually(t, "the warning", func() bool { return w.metric("lacre_store_copy_revision") == 0 })
	p.stop()
	p.says("no copy of the store is kept")
}
