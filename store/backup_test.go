package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"lacre"
	"lacre/store"
)

// backup takes one and returns its file.
func backup(tb testing.TB, s *store.Store) string {
	tb.Helper()
	var text bytes.Buffer
	if n, err := s.Backup(soon(tb), &text); err != nil || n != int64(text.Len()) {
		tb.Fatalf("Backup: got %d bytes of %d, %v", n, text.Len(), err)
	}
	file := filepath.Join(tb.TempDir(), "backup")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// restored is the store made from a backup.
func restored(tb testing.TB, file string) *store.Store {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "new")
	if _, err := store.Restore(soon(tb), dir, file, nil); err != nil {
		tb.Fatalf("Restore: %v", err)
	}
	return openIn(tb, dir)
}

// TestBackup takes one of each kind of store: what was restored from it holds the same, and
// takes changes.
func TestBackup(t *testing.T) {
	t.Parallel()
	project := id("tenant")
	for kind, s := range map[string]*store.Store{
		"embedded": open(t), "external": external(t, serve(t, false)), "of a cluster with users": external(t, serve(t, true)),
	} {
		t.Run(kind, func(t *testing.T) {
			put(t, s, estate(project)...)
			secrets(t, s, project)
			mustReport(t, s.Presence("n1"), node("n1"))
			want, _ := look(t, s, project)
			file := backup(t, s)
			put(t, s, domain(project, "later.test"))
			dir := t.TempDir()
			found, err := store.Restore(soon(t), dir, file, nil)
			if err != nil || found.Domains != 3 || found.Certificates != 3 || found.Unreadable != 0 || found.Revision == 0 {
				t.Fatalf("Restore: got %+v, %v, want three of each", found, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "format")); err != nil {
				t.Errorf("the directory does not say that there is data: %v", err)
			}
			fresh := openIn(t, dir)
			got, at := look(t, fresh, project)
			if diff := cmp.Diff(want, got); diff != "" || at != found.Revision {
				t.Errorf("at revision %d of %d (-want +got):\n%s", at, found.Revision, diff)
			}
			wantNodes(t, fresh)
			if left, err := fresh.KV().Get(t.Context(), "/lacre/alive/", clientv3.WithPrefix()); err != nil || left.Count > 0 {
				t.Errorf("taken for alive: %v, %v", left, err)
			}
			put(t, fresh, domain(project, "after.test"))
			if _, err := os.Stat(filepath.Join(dir, "restoring")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the restore left something behind: %v", err)
			}
		})
	}
}

// TestBackupOfDamage: what cannot be read is in the backup as it is, and is counted.
func TestBackupOfDamage(t *testing.T) {
	t.Parallel()
	s, project := open(t), id("tenant")
	put(t, s, estate(project)...)
	secrets(t, s, project)
	for _, r := range []lacre.Record{domain(project, "a.test"), version(project, id("b.test"), 2)} {
		if _, err := s.KV().Put(t.Context(), must(store.KeyOf(r)), "junk"); err != nil {
			t.Fatal(err)
		}
	}
	found, err := store.Restore(soon(t), t.TempDir(), backup(t, s), nil)
	if err != nil || found.Domains != 2 || found.Certificates != 3 || found.Unreadable != 2 {
		t.Errorf("got %+v, %v, want two domains, three certificates and two unreadable", found, err)
	}
}

// TestBackupIntoACluster: the tool of etcd's own operators takes it.
func TestBackupIntoACluster(t *testing.T) {
	t.Parallel()
	s, project := open(t), id("tenant")
	put(t, s, estate(project)...)
	secrets(t, s, project)
	want, _ := look(t, s, project)
	dir := filepath.Join(t.TempDir(), "member")
	err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{SnapshotPath: backup(t, s), OutputDataDir: dir,
		Name: "default", InitialCluster: "default=http://localhost:2380", PeerURLs: []string{"http://localhost:2380"}})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{}
	c.start(t, dir, url.URL{Scheme: "http", Host: "127.0.0.1:0"}, false)
	got, _ := look(t, external(t, c), project)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in a cluster (-want +got):\n%s", diff)
	}
}

// TestBackupUnderChanges: it is of one moment. All that was acknowledged before it began is in
// it, and of a change all or nothing.
func TestBackupUnderChanges(t *testing.T) {
	t.Parallel()
	s, project := open(t), id("tenant")
	put(t, s, &lacre.Project{ID: project, Name: project, Created: epoch})
	secrets(t, s, project)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	acknowledged, done := make(chan int, 1), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			name := fmt.Sprintf("n%d.test", i)
			tx := lacre.Tx{Put: []lacre.Record{domain(project, name), version(project, id(name), 1),
				&lacre.Certificate{ProjectID: project, ID: id(name), Name: name, Version: 1, Created: epoch}}, Audit: auditOf(project)}
			if _, err := s.Commit(t.Context(), tx); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-acknowledged:
			default:
			}
			acknowledged <- i + 1
		}
	}()
	for range 5 {
		time.Sleep(20 * time.Millisecond)
		least := <-acknowledged
		all, _ := look2(t, restored(t, backup(t, s)))
		if len(all.Domains) < least || len(all.Domains) != len(all.Versions) {
			t.Errorf("got %d domains and %d certificates, want %d of each at least, and as many", len(all.Domains), len(all.Versions), least)
		}
	}
	cancel()
	<-done
}

// look2 is look of a store that has only domains and certificates.
func look2(tb testing.TB, s *store.Store) (all seen, err error) {
	tb.Helper()
	all.Versions = make(map[string]lacre.Latest)
	_, _, err = s.AllDomains(soon(tb), func(d *lacre.Domain) error {
		l, err := s.LatestVersions(soon(tb), d.ProjectID, []string{d.ID})
		if err == nil && l[0].Err == nil {
			all.Domains, all.Versions[d.ID] = append(all.Domains, d), l[0]
		}
		return err
	})
	return all, err
}

// TestDamagedBackups: what is not whole is refused, and nothing is left of it.
func TestDamagedBackups(t *testing.T) {
	t.Parallel()
	s, project := open(t), id("tenant")
	put(t, s, estate(project)...)
	secrets(t, s, project)
	whole, err := os.ReadFile(backup(t, s))
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	noise := bytes.Repeat([]byte("noise "), 1<<12)
	sum := sha256.Sum256(noise)
	for what, content := range map[string][]byte{
		"empty": nil, "short": []byte("short"), "cut": whole[:len(whole)/2], "without checksum": whole[:len(whole)-32],
		"a flipped bit": flipped, "cut by one page": whole[:len(whole)-4096], "noise": append(noise[:len(noise):len(noise)], sum[:]...),
	} {
		t.Run(what, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "backup")
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if _, err := store.Restore(soon(t), dir, file, nil); err == nil || !strings.Contains(err.Error(), "no whole backup") {
				t.Errorf("got %v, want it refused", err)
			}
			wantNothing(t, dir)
		})
	}
}

// TestRestoreOnlyWhereNothingIs: a store is never replaced, nor one that runs; one that is lost
// is, beside what else the directory has.
func TestRestoreOnlyWhereNothingIs(t *testing.T) {
	t.Parallel()
	dir, project := t.TempDir(), id("tenant")
	copied(t, dir, func(s *store.Store) {
		put(t, s, estate(project)...)
		secrets(t, s, project)
	})
	s := openIn(t, dir)
	file := backup(t, s)
	if _, err := store.Restore(soon(t), dir, file, nil); !errors.Is(err, store.ErrInUse) {
		t.Errorf("while it runs: got %v, want ErrInUse", err)
	}
	s.Close()
	if _, err := store.Restore(soon(t), dir, file, nil); !errors.Is(err, store.ErrOccupied) {
		t.Errorf("over a store: got %v, want ErrOccupied", err)
	}
	settle(t, dir)
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"master.key", "copy.db", "copy.exact"} {
		replaceFile(t, dir, name, []byte("key"))
	}
	os.Mkdir(filepath.Join(dir, "restoring"), 0o700) // by a restore that was killed
	replaceFile(t, dir, "restoring/junk", []byte("junk"))
	if _, err := store.Restore(soon(t), dir, file, nil); err != nil {
		t.Fatalf("where it was lost: %v", err)
	}
	if key, err := os.ReadFile(filepath.Join(dir, "master.key")); string(key) != "key" {
		t.Errorf("the key beside it: got %q, %v", key, err)
	}
	for _, name := range []string{"copy.db", "copy.exact", "restoring"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	look(t, openIn(t, dir), project)
}

// TestRestoreBehindADanglingLink: the store is on a disk that is not mounted. It stays where
// it is, and so does its copy.
func TestRestoreBehindADanglingLink(t *testing.T) {
	t.Parallel()
	s := open(t)
	secrets(t, s, "p")
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	replaceFile(t, dir, "copy.db", []byte("copy"))
	if _, err := store.Restore(soon(t), dir, backup(t, s), nil); !errors.Is(err, store.ErrOccupied) {
		t.Errorf("got %v, want ErrOccupied", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "copy.db")); err != nil {
		t.Errorf("the copy: %v", err)
	}
}

// TestKilledRestore: no empty store is begun where one was to be. The next restore puts an end
// to it, or whoever deletes what is left of it.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	s := open(t)
	secrets(t, s, "p")
	file, dir, other := backup(t, s), t.TempDir(), t.TempDir()
	for _, dir := range []string{dir, other} {
		if err := os.Mkdir(filepath.Join(dir, "restoring"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Embedded(soon(t), store.EmbeddedConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "restore again") {
			t.Fatalf("got %v, want it refused", err)
		}
	}
	if _, err := store.Restore(soon(t), dir, file, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "restoring"), 0o700); err != nil { // killed after its end
		t.Fatal(err)
	}
	openIn(t, dir)
	if err := os.Remove(filepath.Join(other, "restoring")); err != nil {
		t.Fatal(err)
	}
	openIn(t, other)
}

// TestRestoreByRoot into the directory of a service's user would leave a store that only root
// can open.
func TestRestoreByRoot(t *testing.T) {
	t.Parallel()
	dir, uid := t.TempDir(), os.Geteuid()
	if err := store.MayRestore(dir, uid); err != nil {
		t.Errorf("into one's own: %v", err)
	}
	if uid == 0 { // then the way from Restore is tested as well
		uid = 65534
		if err := os.Chown(dir, uid, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Restore(soon(t), dir, "no file", nil); err == nil || !strings.Contains(err.Error(), "run this as that user") {
			t.Errorf("got %v, want it refused", err)
		}
	}
	for path, want := range map[string]bool{dir: false, filepath.Join(dir, "new"): true} {
		if err := store.MayRestore(path, 0); (err == nil) != want {
			t.Errorf("root into %s: got %v", path, err)
		}
	}
	for _, other := range []int{uid, uid + 1} { // the group may have been let in
		if err := store.MayRestore(dir, other); err != nil {
			t.Errorf("user %d: %v", other, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestRestoreOfSomethingElse: a snapshot of an etcd that is not Lacre's, and a directory of
// another format.
func TestRestoreOfSomethingElse(t *testing.T) {
	t.Parallel()
	other := backup(t, open(t))
	if _, err := store.Restore(soon(t), t.TempDir(), other, nil); err == nil || !strings.Contains(err.Error(), "no store of Lacre's") {
		t.Errorf("got %v, want it refused", err)
	}
	s := open(t)
	secrets(t, s, "p")
	dir := t.TempDir()
	replaceFile(t, dir, "format", []byte("2\n"))
	if _, err := store.Restore(soon(t), dir, backup(t, s), nil); err == nil || !strings.Contains(err.Error(), "format") {
		t.Errorf("into another format: got %v, want it refused", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir = t.TempDir()
	if _, err := store.Restore(ctx, dir, backup(t, s), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: got %v", err)
	}
	wantNothing(t, dir)
}

// TestRestoreCalledOff while etcd starts: what it makes is gone, and stays away.
func TestRestoreCalledOff(t *testing.T) {
	t.Parallel()
	s := open(t)
	secrets(t, s, "p")
	dir, file := t.TempDir(), backup(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(dir, "restoring", "lock")); err == nil {
				cancel()
			}
		}
	}()
	if _, err := store.Restore(ctx, dir, file, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	for range 20 {
		wantNothing(t, dir)
		time.Sleep(10 * time.Millisecond)
	}
}

// TestBackupEnds with its context, its writer and the store, and keeps none of them.
func TestBackupEnds(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i := range 40 { // more than any buffer between the two
		d := domain("p", fmt.Sprintf("n%d.test", i))
		d.Upstream = strings.Repeat("x", 100<<10)
		put(t, s, d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Backup(ctx, after(func([]byte) (int, error) { cancel(); return 0, nil })); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	gone := errors.New("gone")
	if _, err := s.Backup(soon(t), after(func([]byte) (int, error) { return 0, gone })); !errors.Is(err, gone) {
		t.Errorf("got %v, want the writer's error", err)
	}
	closed := make(chan error)
	_, err := s.Backup(soon(t), after(func(b []byte) (int, error) {
		go func() { closed <- s.Close() }()
		<-s.Done()
		select {
		case err := <-closed:
			t.Errorf("the store was closed under a backup, %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		return len(b), nil
	}))
	if err == nil {
		t.Error("got a backup of a store that was closed meanwhile")
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := s.Backup(soon(t), io.Discard); !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("of a closed store: got %v, want ErrUnavailable", err)
	}
}

// after is a writer that takes a first piece and does something at the second.
func after(do func([]byte) (int, error)) io.Writer { return &second{do: do} }

type second struct {
	began bool
	do    func([]byte) (int, error)
}

func (s *second) Write(b []byte) (int, error) {
	if s.began {
		n, err := s.do(b)
		s.do = func(b []byte) (int, error) { return len(b), nil }
		return n, err
	}
	s.began = true
	return len(b), nil
}
