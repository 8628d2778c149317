package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/storage/wal"

	"lacre"
	"lacre/store"
)

// The test binary also serves as the process that is killed: LACRE_STORE_CHILD says what
// it does, in the directory LACRE_STORE_DIR.
//
// Every store here starts with small segments of its write-ahead log, where etcd would
// reserve 128 MB on the disk for each: it keeps the tests fast, and they cross segments.
func TestMain(m *testing.M) {
	wal.SegmentSizeBytes = 2 << 20
	switch os.Getenv("LACRE_STORE_CHILD") {
	case "write":
		os.Exit(writeUntilKilled(os.Getenv("LACRE_STORE_DIR")))
	case "":
		os.Exit(m.Run())
	}
}

// writeUntilKilled writes numbered versions and says each number once it is
// acknowledged. It ends with 1 and a line on standard error when the store gives up.
func writeUntilKilled(dir string) int {
	ctx := context.Background()
	s, err := store.Embedded(ctx, store.EmbeddedConfig{Dir: dir, ReserveBytes: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, "opening:", err)
		return 1
	}
	if limit, err := strconv.ParseUint(os.Getenv("LACRE_STORE_FSIZE"), 10, 64); err == nil {
		if err := limitFiles(limit); err != nil {
			fmt.Fprintln(os.Stderr, "limiting:", err)
			return 1
		}
	}
	from, err := next(ctx, s)
	for n := from; err == nil; n++ {
		v := version("p1", "c1", n)
		v.SealedKey = make([]byte, 3500)
		_, err = s.Commit(ctx, lacre.Tx{Put: []lacre.Record{v}, Audit: auditOf("p1")})
		if err == nil {
			fmt.Println(n)
		}
	}
	<-s.Done()
	fmt.Fprintln(os.Stderr, s.Err())
	return 1
}

func next(ctx context.Context, s *store.Store) (int, error) {
	versions, err := s.Versions(ctx, "p1", "c1")
	if err != nil || len(versions) == 0 {
		return 1, err
	}
	return versions[0].Number + 1, nil
}

// limitFiles makes writes beyond a file size fail, as those to a full disk do.
func limitFiles(bytes uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes})
}

func child(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(soon(t), os.Args[0])
	c.Env = append(os.Environ(), append(env, "LACRE_STORE_CHILD=write", "LACRE_STORE_DIR="+dir)...)
	return c
}

// Twenty times a writer is killed at an arbitrary moment. Whatever it said was
// acknowledged must be there, and no version after it may be missing in between.
func TestNothingAcknowledgedIsLostToAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := 0
	for kill := range 20 {
		acknowledged = max(acknowledged, writeAndKill(t, dir, time.Duration(kill%7)*5*time.Millisecond))
	}
	if acknowledged == 0 {
		t.Fatal("nothing was ever acknowledged")
	}
	s := openIn(t, dir)
	versions, err := s.Versions(t.Context(), "p1", "c1")
	if err != nil {
		t.Fatal(err)
	}
	if len(versions) < acknowledged {
		t.Errorf("%d versions were acknowledged, %d are there", acknowledged, len(versions))
	}
	for i, v := range versions {
		if want := len(versions) - i; v.Number != want || len(v.SealedKey) != 3500 {
			t.Fatalf("got version %d with %d bytes, want version %d whole", v.Number, len(v.SealedKey), want)
		}
	}
	if rows := audits(t, s, "p1"); len(rows) != len(versions) {
		t.Errorf("got %d audit rows, want one for each of %d versions", len(rows), len(versions))
	}
}

// writeAndKill lets a writer go on for a while after its first acknowledgement and
// returns the last number it said.
func writeAndKill(t *testing.T, dir string, while time.Duration) (last int) {
	t.Helper()
	c := child(t, dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if last == 0 {
			time.AfterFunc(while, func() { c.Process.Kill() })
		}
		if last, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
	}
	c.Wait() // it was killed: its error says so
	return last
}

// A disk that refuses a write ends the store, not with a stack trace but with a reason,
// and the process can exit in order. Nothing acknowledged is lost.
func TestAFullDiskEndsInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openIn(t, dir).Close() // what there is at the start is there before the limit
	c := child(t, dir, "LACRE_STORE_FSIZE=400000")
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 {
		t.Errorf("got %v, want exit code 1", err)
	}
	if said := errs.String(); !strings.Contains(said, "file too large") || strings.Contains(said, "goroutine") {
		t.Errorf("standard error: got %q, want the reason and no stack trace", said)
	}
	acknowledged := strings.Count(string(out), "\n")
	s := openIn(t, dir)
	versions, err := s.Versions(t.Context(), "p1", "c1")
	if err != nil || len(versions) < acknowledged || acknowledged == 0 {
		t.Errorf("%d versions were acknowledged, %d are there, %v", acknowledged, len(versions), err)
	}
}
