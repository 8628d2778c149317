package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/store"
)

// begin opens a store that keeps a copy, and leaves it to the test to wait for it.
func begin(tb testing.TB, dir string) *store.Opening {
	tb.Helper()
	o, err := store.Open(tb.Context(), store.EmbeddedConfig{Dir: dir, Copy: true})
	if err != nil {
		tb.Fatalf("Open: %v", err)
	}
	tb.Cleanup(func() { o.Close() })
	return o
}

// copied opens a store that keeps a copy, changes it, and closes it when the copy is there.
func copied(tb testing.TB, dir string, change func(*store.Store)) {
	tb.Helper()
	o := begin(tb, dir)
	s, err := o.Wait(soon(tb))
	if err != nil {
		tb.Fatal(err)
	}
	following(tb, o)
	change(s)
	if err := o.Close(); err != nil {
		tb.Fatalf("Close: %v", err)
	}
}

// following watches, as an edge does once it has loaded all, and waits for the copy.
func following(tb testing.TB, o *store.Opening) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	go func() {
		for range o.Watch(ctx, 0) { // as an edge does
		}
	}()
	tb.Cleanup(cancel)
	for deadline := time.Now().Add(20 * time.Second); o.CopyStatus().Revision == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatal("no copy was made within 20 s")
		}
	}
}

// hold keeps the engine from opening its files until it is called off: etcd waits for the
// lock of its database for ever.
func hold(tb testing.TB, dir string) (release func()) {
	tb.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "etcd/member/snap/db"), os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		tb.Fatal(err)
	}
	release = sync.OnceFunc(func() { f.Close() })
	tb.Cleanup(func() {
		release()
		settle(tb, dir)
	})
	return release
}

// settle waits until the directory is unlocked: an etcd that was given up while it was held
// still opens its files, and closes them, once it is let go.
func settle(tb testing.TB, dir string) {
	tb.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	for deadline := time.Now().Add(20 * time.Second); syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatal("the directory is still locked after 20 s")
		}
	}
}

// estate is what an edge reads of a project.
func estate(project string, more ...string) []lacre.Record {
	records := []lacre.Record{
		&lacre.Project{ID: project, Name: project, Created: epoch},
		&lacre.Instance{ProjectID: project, ID: id("instance"), Name: "gateway", Created: epoch},
	}
	for _, name := range append([]string{"a.test", "b.test", "*.c.test"}, more...) {
		d := domain(project, name)
		d.InstanceID, d.Bindings = id("instance"), []lacre.Binding{{CertificateID: id(name)}}
		records = append(records, d,
			&lacre.Host{ProjectID: project, InstanceID: id("instance"), Host: name, DomainID: d.ID},
			&lacre.Certificate{ProjectID: project, ID: id(name), Name: name, Version: 2, Bound: 1, Created: epoch},
			version(project, id(name), 1), version(project, id(name), 2),
			&lacre.Revocations{ProjectID: project, CertificateID: id(name), Updated: epoch,
				Lists: []lacre.RevocationList{{Issuer: "CN=ca", IssuerID: make([]byte, 32), Number: "1", DER: []byte(name)}}})
	}
	return records
}

// seen is all that an edge and a keyring get to know.
type seen struct {
	Domains     []*lacre.Domain
	Versions    map[string]lacre.Latest
	Revocations []*lacre.Revocations
	Instances   []*lacre.Instance
	Hosts       []*lacre.Domain
	Secret, Key string
}

type feed interface {
	AllDomains(ctx context.Context, visit func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error)
	AllVersions(ctx context.Context, wanted func(*lacre.Certificate) bool, visit func(string, string, lacre.Latest) error) (int64, error)
	LatestVersions(ctx context.Context, projectID string, certificateIDs []string) ([]lacre.Latest, error)
	AllInstances(ctx context.Context) ([]*lacre.Instance, error)
	HostDomains(ctx context.Context, instances []*lacre.Instance, hosts ...string) ([]*lacre.Domain, error)
	LatestRevocations(ctx context.Context, projectID, certificateID string) (*lacre.Revocations, int64, error)
	Secret(ctx context.Context, name string) ([]byte, error)
	DataKey(ctx context.Context, projectID string) ([]byte, error)
}

func look(tb testing.TB, f feed, project string) (all seen, revision int64) {
	tb.Helper()
	ctx := soon(tb)
	var errs [7]error
	var mu sync.Mutex
	all.Versions = make(map[string]lacre.Latest)
	revision, _, errs[0] = f.AllDomains(ctx, func(d *lacre.Domain) error {
		all.Domains = append(all.Domains, d)
		r, _, err := f.LatestRevocations(ctx, project, d.ID)
		all.Revocations = append(all.Revocations, r)
		return err
	})
	_, errs[1] = f.AllVersions(ctx, func(*lacre.Certificate) bool { return true }, func(_, certificate string, l lacre.Latest) error {
		mu.Lock()
		defer mu.Unlock()
		all.Versions[certificate] = l
		return nil
	})
	all.Instances, errs[2] = f.AllInstances(ctx)
	all.Hosts, errs[3] = f.HostDomains(ctx, all.Instances, "a.test", "*.c.test", "nobody.test")
	secret, err := f.Secret(ctx, "ticket")
	key, err2 := f.DataKey(ctx, project)
	errs[4], errs[5] = err, err2
	all.Secret, all.Key = string(secret), string(key)
	latest, err := f.LatestVersions(ctx, project, []string{id("b.test"), id("nobody")})
	if errs[6] = err; err == nil && (latest[0].Version == nil || !errors.Is(latest[1].Err, lacre.ErrNotStored)) {
		tb.Errorf("LatestVersions: got %+v", latest)
	}
	if err := errors.Join(errs[:]...); err != nil {
		tb.Fatalf("reading: %v", err)
	}
	return all, revision
}

// secrets stores what a keyring does.
func secrets(tb testing.TB, s *store.Store, project string) {
	tb.Helper()
	if _, err := s.CreateSecret(tb.Context(), "ticket", []byte("sealed by "+tb.Name())); err != nil {
		tb.Fatal(err)
	}
	if _, err := s.CreateDataKey(tb.Context(), project, []byte("wrapped")); err != nil {
		tb.Fatal(err)
	}
}

// TestStartFromTheCopy opens a store whose engine hangs: what an edge asks is answered all
// the same, exactly as the store answers once it is open.
func TestStartFromTheCopy(t *testing.T) {
	dir, project := t.TempDir(), id("tenant")
	records := estate(project)
	copied(t, dir, func(s *store.Store) {
		put(t, s, records...)
		secrets(t, s, project)
		d := records[2].(*lacre.Domain) // the last changes before the stop
		put(t, s, &lacre.Domain{ID: id("late"), ProjectID: project, InstanceID: id("instance"), Host: "late.test", Created: epoch})
		d = revised(d, must(s.Domain(t.Context(), project, d.ID)).Revision)
		d.VerifyClient = true
		put(t, s, d)
		commit(t, s, lacre.Tx{Forget: []lacre.Record{&lacre.Domain{ProjectID: project, ID: id("b.test")},
			&lacre.Revocations{ProjectID: project, CertificateID: id("*.c.test")}}})
		put(t, s, version(project, id("a.test"), 3), &lacre.Certificate{ProjectID: project, ID: id("a.test"), Version: 3, Bound: 1, Created: epoch,
			Revision: must(s.Certificate(t.Context(), project, id("a.test"))).Revision})
	})

	release := hold(t, dir)
	o := begin(t, dir)
	if !o.CopyStatus().Opened {
		t.Fatal("the store does not answer from its copy")
	}
	early, at := look(t, o, project)
	release()
	s, err := o.Wait(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Confirm(soon(t)); err != nil {
		t.Errorf("Confirm: got %v, want nil", err)
	}
	late, now := look(t, s, project)
	if diff := cmp.Diff(late, early); diff != "" || at != now {
		t.Errorf("the copy at revision %d differs from the store at %d (-store +copy):\n%s", at, now, diff)
	}
	names := func(d *lacre.Domain) string { return d.Host }
	var hosts []string
	for _, d := range early.Domains {
		hosts = append(hosts, names(d))
	}
	slices.Sort(hosts)
	if want := []string{"*.c.test", "a.test", "late.test"}; !slices.Equal(hosts, want) {
		t.Errorf("domains: got %v, want %v", hosts, want)
	}
	if v := early.Versions[id("a.test")].Version; v == nil || v.Number != 3 {
		t.Errorf("certificate a.test: got %+v, want version 3", v)
	}

	// And once more: the copy that was inherited is followed and marked again.
	following(t, o)
	put(t, s, &lacre.Domain{ID: id("again"), ProjectID: project, InstanceID: id("instance"), Host: "again.test", Created: epoch})
	o.Close()
	hold(t, dir)
	o = begin(t, dir)
	if d, err := o.HostDomains(soon(t), []*lacre.Instance{{ProjectID: project, ID: id("instance")}}, "a.test"); err != nil || len(d) != 1 || !d[0].VerifyClient {
		t.Errorf("the second start: got %v, %v, want a.test with client verification", d, err)
	}
	if all, _ := look(t, o, project); !slices.ContainsFunc(all.Domains, func(d *lacre.Domain) bool { return d.Host == "again.test" }) {
		t.Error("what came while the inherited copy was followed is not in it")
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// TestVeryFirstStart says nothing of a copy that there cannot be.
func TestVeryFirstStart(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []bool{false, true} {
		var log bytes.Buffer
		o, err := store.Open(t.Context(), store.EmbeddedConfig{Dir: dir, Copy: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Wait(soon(t)); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "starting without the copy"); got != want {
			t.Errorf("got it said %t, want %t:\n%s", got, want, &log)
		}
		os.Remove(filepath.Join(dir, "copy.exact"))
	}
}

// TestCopyIsNotBelieved damages one thing at a time between two starts: the store then is
// waited for, nothing of the copy is answered, and the copy is made anew.
func TestCopyIsNotBelieved(t *testing.T) {
	project := id("tenant")
	for name, damage := range map[string]func(t *testing.T, dir string){
		"no mark":        func(t *testing.T, dir string) { remove(t, dir, "copy.exact") },
		"no copy":        func(t *testing.T, dir string) { remove(t, dir, "copy.db") },
		"empty mark":     func(t *testing.T, dir string) { replaceFile(t, dir, "copy.exact", nil) },
		"truncated copy": func(t *testing.T, dir string) { truncate(t, dir, "copy.db") },
		"empty copy":     func(t *testing.T, dir string) { replaceFile(t, dir, "copy.db", nil) },
		"another's copy": func(t *testing.T, dir string) {
			other := t.TempDir()
			copied(t, other, func(s *store.Store) { put(t, s, estate(project)...) })
			transplant(t, other, dir, "copy.db")
		},
		"another's copy and mark": func(t *testing.T, dir string) {
			other := t.TempDir()
			copied(t, other, func(s *store.Store) { put(t, s, estate(project)...); secrets(t, s, project) })
			transplant(t, other, dir, "copy.db")
			transplant(t, other, dir, "copy.exact")
		},
		"the store was opened without": func(t *testing.T, dir string) { openIn(t, dir).Close() },
		"the store was changed by a program without copies": func(t *testing.T, dir string) {
			mark, err := os.ReadFile(filepath.Join(dir, "copy.exact"))
			if err != nil {
				t.Fatal(err)
			}
			copy, err := os.ReadFile(filepath.Join(dir, "copy.db"))
			if err != nil {
				t.Fatal(err)
			}
			s := openIn(t, dir)
			put(t, s, domain(project, "foreign.test"))
			s.Close()
			replaceFile(t, dir, "copy.exact", mark)
			replaceFile(t, dir, "copy.db", copy)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copied(t, dir, func(s *store.Store) { put(t, s, estate(project)...); secrets(t, s, project) })
			damage(t, dir)
			release := hold(t, dir)
			o := begin(t, dir)
			if o.CopyStatus().Opened {
				t.Error("the store answers from its copy")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if all, err := o.AllInstances(ctx); !errors.Is(err, lacre.ErrUnavailable) {
				t.Errorf("AllInstances before the store is open: got %v, %v, want ErrUnavailable", all, err)
			}
			release()
			s := must(o.Wait(soon(t)))
			if err := o.Confirm(soon(t)); err != nil {
				t.Errorf("Confirm: got %v, want nil: nothing was answered from the copy", err)
			}
			want, _ := look(t, s, project)
			following(t, o)
			o.Close()
			hold(t, dir)
			if got, _ := look(t, begin(t, dir), project); !reflect.DeepEqual(got, want) {
				t.Errorf("the copy that was made anew differs (-store +copy):\n%s", cmp.Diff(want, got))
			}
		})
	}
}

// TestCopyOfAnotherTime puts copies of other times beside a store, as only somebody could who
// makes the mark fit: they are answered from, and found out when the store is open.
func TestCopyOfAnotherTime(t *testing.T) {
	project := id("tenant")
	dir, before, after := t.TempDir(), filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")
	save := func(to string) {
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	copied(t, dir, func(s *store.Store) { put(t, s, estate(project)...); secrets(t, s, project) })
	save(before)
	copied(t, dir, func(s *store.Store) { put(t, s, domain(project, "new.test")) })
	save(after)
	elsewhere := t.TempDir()
	copied(t, elsewhere, func(s *store.Store) {
		put(t, s, estate(project)...)
		must(s.CreateSecret(t.Context(), "ticket", []byte("another")))
	})

	for name, at := range map[string]struct {
		copy, store string
		want        error
	}{
		"the store went back":       {after, before, lacre.ErrMistaken},
		"the store is another one":  {elsewhere, before, lacre.ErrMistaken},
		"the store has gone on":     {before, after, nil},
		"nothing (it is the right)": {after, after, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(at.store)); err != nil {
				t.Fatal(err)
			}
			transplant(t, at.copy, dir, "copy.db")
			transplant(t, at.copy, dir, "copy.exact")
			if err := store.Remark(dir); err != nil {
				t.Fatal(err)
			}
			o := begin(t, dir)
			if !o.CopyStatus().Opened {
				t.Fatal("the store does not answer from the copy")
			}
			if err := o.Confirm(soon(t)); !errors.Is(err, at.want) {
				t.Errorf("Confirm: got %v, want %v", err, at.want)
			}
			want, _ := look(t, must(o.Wait(soon(t))), project)
			following(t, o)
			o.Close()
			hold(t, dir)
			if got, _ := look(t, begin(t, dir), project); !reflect.DeepEqual(got, want) {
				t.Errorf("the next copy differs (-store +copy):\n%s", cmp.Diff(want, got))
			}
		})
	}
}

// TestCopyWithoutDataKey asks a copy for a data key that it does not have. It is mistaken at
// once, and the store is waited for.
func TestCopyWithoutDataKey(t *testing.T) {
	dir, project := t.TempDir(), id("tenant")
	copied(t, dir, func(s *store.Store) {
		put(t, s, estate(project)...)
		must(s.CreateSecret(t.Context(), "ticket", []byte("x")))
	})
	release := hold(t, dir)
	o := begin(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if key, err := o.DataKey(ctx, project); key != nil || !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("DataKey: got %q, %v, want ErrUnavailable", key, err)
	}
	if err := o.Confirm(soon(t)); !errors.Is(err, lacre.ErrMistaken) {
		t.Errorf("Confirm while the store is being opened: got %v, want ErrMistaken", err)
	}
	if all, err := o.AllInstances(ctx); !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("AllInstances: got %v, %v, want ErrUnavailable: the copy is not asked any more", all, err)
	}
	release()
	if key, err := o.DataKey(soon(t), project); key != nil || err != nil {
		t.Errorf("DataKey of the store: got %q, %v, want none", key, err)
	}
}

// TestFlippedBitsOfACopy flips one bit in five hundred places of the file: wherever that is, the
// copy is not believed, or what it answers is right.
func TestFlippedBitsOfACopy(t *testing.T) {
	dir, project := t.TempDir(), id("tenant")
	copied(t, dir, func(s *store.Store) {
		for i := range 60 { // enough for pages above pages
			var names []string
			for j := range 10 {
				names = append(names, fmt.Sprintf("h%d-%d.test", i, j))
			}
			put(t, s, estate(project, names...)[2+3*6:]...)
		}
		put(t, s, estate(project)...)
		secrets(t, s, project)
	})
	whole := must(os.ReadFile(filepath.Join(dir, "copy.db")))
	mark := must(os.ReadFile(filepath.Join(dir, "copy.exact")))
	hold(t, dir)
	want, _ := look(t, begin(t, dir), project)
	other := t.TempDir()
	replaceFile(t, other, "copy.exact", mark)
	believed := 0
	for at := 0; at < len(whole); at += max(17, len(whole)/500|1) {
		b := slices.Clone(whole)
		b[at] ^= 4
		os.Remove(filepath.Join(other, "copy.db")) // bbolt, when it panics, leaves its lock on the file
		replaceFile(t, other, "copy.db", b)
		if got, ok := store.Believed(other); ok {
			believed++
			if all, _ := look(t, got, project); !reflect.DeepEqual(all, want) {
				t.Errorf("with bit 2 of byte %d flipped (-want +got):\n%s", at, cmp.Diff(want, all))
			}
			got.Close()
		}
	}
	t.Logf("%d bytes, %d of the flips were of no consequence", len(whole), believed)
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func replaceFile(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, dir, name string) {
	t.Helper()
	whole := must(os.ReadFile(filepath.Join(dir, name)))
	replaceFile(t, dir, name, whole[:len(whole)/2])
}

func transplant(t *testing.T, from, to, name string) {
	t.Helper()
	replaceFile(t, to, name, must(os.ReadFile(filepath.Join(from, name))))
}
