package main

import (
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lacre/keyring"
	"lacre/store"
)

// newMasterKey writes a key file as docs/operate.md says, and returns its source.
func newMasterKey(t *testing.T, dir, name string) string {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

// wantChanged waits until all that is stored is under the master key.
func (w *world) wantChanged() {
	w.t.Helper()
	eventually(w.t, "a changed master key", func() bool { return w.metric("lacre_master_key_changed") == 1 })
}

// wantOld fails the test unless what was made before a change is served and believed: the
// certificate of host, and the token.
func (w *world) wantOld(dir, host string) {
	w.t.Helper()
	w.follow(dir)
	w.wantServed(host, 1)
	w.ask("GET", "/certificates?instance_id=", nil, 200) // with the token of the first run
}

// TestMasterKeyIsChanged: what was there before is there afterwards, sessions of users
// included, also where the edge begins from the exact copy, and from a backup.
func TestMasterKeyIsChanged(t *testing.T) {
	t.Parallel()
	const host = "changed.key.test"
	dir, keys := t.TempDir(), t.TempDir()
	old, next := newMasterKey(t, keys, "old"), newMasterKey(t, keys, "next")
	p := start(t, dir, "--master-key", old)
	w := visitLacre(t, dir)
	w.publish(host, "", w.leaf(host, 1))
	w.copies()
	backup := filepath.Join(keys, "under-old.db")
	if _, err := backUpTo(t.Context(), dir, backup); err != nil {
		t.Fatal(err)
	}
	p.stop()

	p = start(t, dir, "--master-key", next, "--other-master-key", old)
	w.wantOld(dir, host)
	w.wantChanged()
	w.copies()
	p.stop()
	p = start(t, dir, "--master-key", next)
	w.wantOld(dir, host)
	if got := w.metric("lacre_store_copy_opened"); got != 1 {
		t.Errorf("lacre_store_copy_opened: got %v, want 1", got)
	}
	w.login()
	const late = "late.key.test"
	w.publish(late, "", w.leaf(late, 1))
	w.wantServed(late, 1)
	p.stop()
	if code := launch(t, dir, "--master-key", old).exit(); code != exitFailed {
		t.Errorf("the old key alone: got exit code %d, want %d", code, exitFailed)
	}

	restored := t.TempDir()
	if _, err := store.Restore(t.Context(), restored, backup, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	p = start(t, restored, "--master-key", next, "--other-master-key", old)
	w.wantOld(restored, host)
	w.wantChanged()
	p.stop()
	p = start(t, restored, "--master-key", next)
	w.wantOld(restored, host)
	p.stop()
}

// TestMasterKeyOfACluster goes through the phases of docs/operate.md, and is stopped where it
// hurts: a node of phase 1 makes a data key after one of phase 2 was done, and one is killed.
func TestMasterKeyOfACluster(t *testing.T) {
	t.Parallel()
	const host = "cluster.key.test"
	etcd, keys := serveEtcd(t), t.TempDir()
	old, next := newMasterKey(t, keys, "old"), newMasterKey(t, keys, "next")
	dirs := []string{t.TempDir(), t.TempDir()}
	node := func(i int, keys ...string) *process {
		return start(t, dirs[i], append([]string{"--etcd-endpoints", etcd}, keys...)...)
	}
	phase1, phase2 := []string{"--master-key", old, "--other-master-key", next}, []string{"--master-key", next, "--other-master-key", old}

	p := []*process{node(0, phase1...), node(1, phase1...)}
	w := visitLacre(t, dirs[0])
	w.publish(host, "", w.leaf(host, 1))
	p[0].kill()
	p[0] = node(0, phase2...)
	w.wantOld(dirs[0], host)
	w.wantChanged()

	s, err := store.External(t.Context(), store.ExternalConfig{Endpoints: []string{etcd}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ring, err := keyring.UnlockBoth(t.Context(), old, next, s) // of a node of phase 1
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := ring.Seal(t.Context(), "late", []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.wantOld(dirs[1], host)
	p[1].stop()
	p[1] = node(1, phase2...)
	w.wantOld(dirs[1], host)
	w.wantChanged()
	if ring, err = keyring.Unlock(t.Context(), next, s); err != nil {
		t.Fatal(err)
	}
	if got, err := ring.Open(t.Context(), "late", sealed, nil); err != nil || string(got) != "x" {
		t.Errorf("what was made late: got %q, %v, want x", got, err)
	}
	for i := range p {
		p[i].stop()
		p[i] = node(i, "--master-key", next)
		w.wantOld(dirs[i], host)
	}
}

// TestMasterKeyChangeSaysWhatIsLeft: the log names what stays as it is, tries again, and says
// when another node has turned the change round.
func TestMasterKeyChangeSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	etcd, keys := serveEtcd(t), t.TempDir()
	old, next := newMasterKey(t, keys, "old"), newMasterKey(t, keys, "next")
	s, err := store.External(t.Context(), store.ExternalConfig{Endpoints: []string{etcd}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ringOf := func(source, other string) *keyring.Keyring {
		ring, err := keyring.UnlockBoth(t.Context(), source, other, s)
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	ringOf(old, "")
	if _, err := etcdClient(t, etcd).Put(t.Context(), "/lacre/p/broken/datakey", "damaged"); err != nil {
		t.Fatal(err)
	}
	var log output
	c := &masterKeyChange{change: ringOf(next, old).Change(s), log: slog.New(slog.NewTextHandler(&log, nil))}
	wantLast := func(done bool, want string) {
		t.Helper()
		got := c.pass(t.Context(), time.Hour)
		if !strings.Contains(log.String(), want) || got != done || c.done.Load() != done {
			t.Errorf("got %v and the log %q, want %v and %q in it", got, log.String(), done, want)
		}
	}
	wantLast(false, `level=ERROR msg="not all that is stored could be wrapped under the master key; --other-master-key is still needed" err="1 values could not be wrapped again and are as they were: the data key of project \"broken\"`)
	if _, err := etcdClient(t, etcd).Delete(t.Context(), "/lacre/p/broken/datakey"); err != nil {
		t.Fatal(err)
	}
	if _, err := ringOf(old, next).Change(s).Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantLast(false, "level=WARN")
	if _, err := ringOf(next, old).Change(s).Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.run(t.Context())
	wantLast(true, "level=INFO")
}
