package store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lacre"
	"lacre/store"
)

// used makes a directory in which a store has kept one domain, and closes it.
func used(t *testing.T) (dir string, kept *lacre.Domain) {
	t.Helper()
	dir, kept = filepath.Join(t.TempDir(), "data"), domain("p1", "kept.example")
	s := openIn(t, dir)
	put(t, s, kept)
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return dir, kept
}

func tryOpen(t *testing.T, dir string) error {
	t.Helper()
	s, err := store.Embedded(soon(t), store.EmbeddedConfig{Dir: dir})
	if err == nil {
		s.Close()
	}
	return err
}

func TestItIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	dir, kept := used(t)
	s := openIn(t, dir)
	if _, err := s.Domain(t.Context(), "p1", kept.ID); err != nil {
		t.Errorf("Domain after a restart: %v", err)
	}
	for _, name := range []string{dir, filepath.Join(dir, "etcd")} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: got %v, %v; want it private", name, info.Mode(), err)
		}
	}
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openIn(t, dir)
	if err := tryOpen(t, dir); !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), "(pid ") {
		t.Errorf("got %v, want ErrInUse with a pid", err)
	}
}

func TestDirectoriesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		dir  string
		want error
	}{
		"a file":                    {file, syscall.ENOTDIR},
		"below a file":              {filepath.Join(file, "data"), syscall.ENOTDIR},
		"where nothing can be made": {"/proc/lacre", fs.ErrNotExist},
	} {
		if err := tryOpen(t, c.dir); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.dir) {
			t.Errorf("%s: got %v, want %v and the path", name, err, c.want)
		}
	}
	if err := tryOpen(t, ""); err == nil {
		t.Error("no directory: got success")
	}
}

// What is missing or mangled must be said, and nothing empty may be put in its place.
func TestADamagedDirectoryIsNotReplaced(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   error // nil for any
	}{
		{"no etcd directory", func(d string) error { return os.RemoveAll(filepath.Join(d, "etcd")) }, store.ErrDamaged},
		{"no write-ahead log", func(d string) error { return os.RemoveAll(filepath.Join(d, "etcd/member/wal")) }, store.ErrDamaged},
		{"no database", func(d string) error { return os.Remove(filepath.Join(d, "etcd/member/snap/db")) }, store.ErrDamaged},
		{"a mangled database", func(d string) error { return overwrite(filepath.Join(d, "etcd/member/snap/db"), 0, 32<<10) }, nil},
		{"a mangled write-ahead log", func(d string) error {
			return overwrite(filepath.Join(d, "etcd/member/wal/0000000000000000-0000000000000000.wal"), 8, 2048)
		}, nil},
		{"a newer format", func(d string) error { return os.WriteFile(filepath.Join(d, "format"), []byte("2\n"), 0o600) }, nil},
	} {
		dir, _ := used(t)
		if err := c.damage(dir); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		err := tryOpen(t, dir)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got %v, want an error with the path", c.name, err)
		}
		if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "goroutine") {
			t.Errorf("%s: got %v, want what is wrong, soon", c.name, err)
		}
	}
}

// overwrite puts noise into a file.
func overwrite(name string, from int64, n int) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	noise := make([]byte, n)
	for i := range noise {
		noise[i] = byte(i*7 + 13)
	}
	_, err = f.WriteAt(noise, from)
	return errors.Join(err, f.Close())
}

// A first start that was cut short left nothing that was acknowledged: start over.
func TestAFirstStartThatWasCutShort(t *testing.T) {
	t.Parallel()
	dir, _ := used(t)
	for _, name := range []string{"format", "etcd/member/wal"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "etcd/member/snap/db")); err != nil {
		t.Fatal(err)
	}
	if err := tryOpen(t, dir); err != nil {
		t.Errorf("got %v, want a fresh start", err)
	}
}

func TestAStartThatIsCalledOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Embedded(ctx, store.EmbeddedConfig{Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// Before the disk is full writes are refused, reads go on, and when there is space
// again nothing needs to be restarted.
func TestLittleDiskSpaceStopsWritesOnly(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := domain("p1", "a.example")
	put(t, s, d)
	s.SetReserve(1 << 62)
	_, err := s.Commit(t.Context(), lacre.Tx{Put: []lacre.Record{domain("p1", "b.example")}, Audit: auditOf("p1")})
	if !errors.Is(err, lacre.ErrUnavailable) || !strings.Contains(err.Error(), "the store is full") {
		t.Errorf("writing: got %v, want ErrUnavailable that says full", err)
	}
	if err := s.Health(t.Context()); !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("Health: got %v, want ErrUnavailable", err)
	}
	if _, err := s.Domain(t.Context(), "p1", d.ID); err != nil {
		t.Errorf("reading: %v", err)
	}
	s.SetReserve(1)
	put(t, s, domain("p1", "b.example"))
}

// A database at its quota refuses writes and goes on reading. The next start drops history,
// which is enough if there is any; otherwise the quota has to be larger.
func TestAFullDatabase(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		next  func(n int) int // which version the nth write is
		quota int64           // of the next start
		want  bool            // it can write a megabyte
	}{
		{"of history", func(int) int { return 1 }, smallQuota, true},
		{"of records", func(n int) int { return n }, smallQuota, false},
		{"of records, with a larger quota", func(n int) int { return n }, 2 * smallQuota, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			fillUp(t, dir, test.next)
			s := openWithin(t, dir, test.quota)
			if _, err := s.Version(t.Context(), "p1", "c1", 1); err != nil {
				t.Fatalf("reading after the start: %v", err)
			}
			var err error
			for n := 0; n < 4 && err == nil; n++ {
				err = write(t, s, 1000+n)
			}
			if (err == nil) != test.want {
				t.Errorf("writing after the start: got %v, want success: %t", err, test.want)
			}
			if err := s.Health(t.Context()); (err == nil) != test.want {
				t.Errorf("Health after the start: got %v, want health: %t", err, test.want)
			}
		})
	}
}

const smallQuota = 4 << 20

func openWithin(t *testing.T, dir string, quota int64) *store.Store {
	t.Helper()
	s, err := store.Embedded(t.Context(), store.EmbeddedConfig{Dir: dir, QuotaBytes: quota, ReserveBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fillUp writes until a store refuses, as it should, and closes it.
func fillUp(t *testing.T, dir string, next func(n int) int) {
	t.Helper()
	s := openWithin(t, dir, smallQuota)
	var full error
	for n := 1; n < 100 && full == nil; n++ {
		full = write(t, s, next(n))
	}
	if !errors.Is(full, lacre.ErrUnavailable) || !strings.Contains(full.Error(), "the store is full") {
		t.Fatalf("writing: got %v, want ErrUnavailable that says full", full)
	}
	if err := s.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "the store is full") {
		t.Errorf("Health: got %v, want that it says full", err)
	}
	if _, err := s.Version(t.Context(), "p1", "c1", 1); err != nil {
		t.Errorf("reading: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// write writes a version of a certificate, of 256 KiB. etcd counts its database when it writes
// it, every 100 ms: on a fast disk the next writes would go far beyond the quota before that.
func write(t *testing.T, s *store.Store, number int) error {
	defer time.Sleep(150 * time.Millisecond)
	v, err := s.Version(t.Context(), "p1", "c1", number)
	if err != nil {
		v = version("p1", "c1", number)
	}
	v.SealedKey = make([]byte, 256<<10)
	_, err = s.Commit(t.Context(), lacre.Tx{Put: []lacre.Record{v}, Audit: auditOf("p1")})
	return err
}

// More changes than etcd keeps in its log: after a restart they come from its snapshot.
func TestARestartAfterASnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir)
	const writers, writes = 64, 40
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range writes {
				put(t, s, domain("p1", fmt.Sprintf("%d.%d.example", w, i)))
			}
		})
	}
	group.Wait()
	put(t, s, &lacre.Project{ID: "p1"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if snapshots, _ := filepath.Glob(filepath.Join(dir, "etcd/member/snap/*.snap")); len(snapshots) == 0 {
		t.Error("no snapshot was taken: the test tests nothing")
	}
	count := 0
	s = openIn(t, dir)
	_, _, err := s.AllDomains(t.Context(), func(*lacre.Domain) error { count++; return nil })
	if err != nil || count != writers*writes {
		t.Errorf("got %d domains, %v; want %d", count, err, writers*writes)
	}
}
