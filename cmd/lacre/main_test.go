package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary the program lacre for whoever runs it by that name, so
// that the tests drive the real program as a process of its own.
func TestMain(m *testing.M) {
	os.Setenv(raceVariable, raceOptions)
	keyFilesPeriod = 100 * time.Millisecond
	testscript.Main(m, map[string]func(){"lacre": main, "hardened": showHardening})
}

// A program that watches for data races sleeps at its end, a second unless told otherwise: the
// scripts run some two hundred.
const raceVariable, raceOptions = "GORACE", "atexit_sleep_ms=10"

// nightly tells whether the long runs were asked for.
func nightly() bool { return os.Getenv("LACRE_NIGHTLY") != "" }

// patience bounds every wait for another process: a machine may be busy.
const patience = 60 * time.Second

// eventually waits until done says so.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// cannot skips a test for want of something of this machine, which a build machine has
// to have.
func cannot(t *testing.T, why string, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s: %v", why, err)
	}
	t.Skipf("%s: %v", why, err)
}

// output collects what a process writes while others read it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is a lacre serve.
type process struct {
	t    testing.TB
	dir  string
	cmd  *exec.Cmd
	talk output // stdout and stderr
	done chan struct{}
	err  error // of Wait, once done is closed
}

// free is what a serve in a test listens on.
var free = []string{"--api", "127.0.0.1:0", "--edge", "127.0.0.1:0", "--edge-http", "127.0.0.1:0"}

// launch starts a serve and does not wait for it. It is killed at the end of the test.
func launch(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, done: make(chan struct{})}
	p.cmd = exec.Command("lacre", append(append([]string{"serve", "--data-dir", dir}, free...), args...)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.talk, &p.talk
	os.Remove(filepath.Join(dir, endpointsFile)) // of an earlier run; start waits for the new one
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if strings.Contains(p.talk.String(), "DATA RACE") {
			t.Errorf("lacre serve has a data race:\n%s", &p.talk)
		}
	})
	return p
}

// start launches a serve and waits until it serves.
func start(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := launch(t, dir, args...)
	eventually(t, "endpoints.json", func() bool {
		select {
		case <-p.done:
			t.Fatalf("lacre serve ended while starting: %v\n%s", p.err, &p.talk)
		default:
		}
		_, err := os.Stat(filepath.Join(dir, endpointsFile))
		return err == nil
	})
	return p
}

func readInto(t testing.TB, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end of the process and returns its exit code, -1 for a signal.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("lacre serve still runs after %v\n%s", patience, &p.talk)
	}
	if failed, ok := errors.AsType[*exec.ExitError](p.err); ok {
		return failed.ExitCode()
	}
	if p.err != nil {
		p.t.Fatal(p.err)
	}
	return 0
}

// stop ends the process in good order.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		p.t.Fatalf("after SIGTERM: got exit code %d, want 0\n%s", code, &p.talk)
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.exit()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("sending %v: %v\n%s", s, err, &p.talk)
	}
}

// says fails the test unless the process wrote every one of the texts.
func (p *process) says(texts ...string) {
	p.t.Helper()
	got := p.talk.String()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			p.t.Errorf("got output\n%s\nwant %q in it", got, text)
		}
	}
}
