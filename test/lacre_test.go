package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// binaryVariable names the lacre to test. Without it one is built from the parent module.
const binaryVariable = "LACRE_BIN"

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	if os.Getenv(binaryVariable) == "" {
		dir, err := os.MkdirTemp("", "lacre-test")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		binary := filepath.Join(dir, "lacre")
		build := exec.Command("go", "build", "-C", "..", "-o", binary, "./cmd/lacre")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("building lacre: %w\n%s", err, out)
		}
		os.Setenv(binaryVariable, binary)
	}
	return m.Run(), nil
}

// lacre is a started server with an empty store, and the way into it.
type lacre struct {
	dir         string
	URL         string `json:"api_url"`
	EdgeAddr    string `json:"edge_addr"`
	ProjectID   string `json:"project_id"`
	InstanceID  string `json:"instance_id"`
	AccountName string `json:"domain_name"`
	UserName    string `json:"user_name"`
	Password    string `json:"password"`
	AccessKey   string `json:"access_key"`
	SecretKey   string `json:"secret_key"`
}

// patience bounds the start of a lacre: a machine may be busy.
const patience = 60 * time.Second

// start runs lacre serve for the length of a test.
func start(t *testing.T) *lacre {
	t.Helper()
	dir := t.TempDir()
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	serve := exec.CommandContext(ctx, os.Getenv(binaryVariable), "serve", "--data-dir", dir,
		"--api", "127.0.0.1:0", "--edge", "127.0.0.1:0", "--edge-http", "127.0.0.1:0")
	serve.Stdout, serve.Stderr = &log, &log
	serve.Cancel = func() error { return serve.Process.Signal(os.Interrupt) }
	serve.WaitDelay = patience
	if err := serve.Start(); err != nil {
		t.Fatalf("starting lacre: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		serve.Wait() // it was told to stop: how it went is for the tests of cmd/lacre
		if t.Failed() {
			t.Logf("lacre said:\n%s", log.Bytes())
		}
	})
	l := &lacre{dir: dir}
	awaitJSON(t, filepath.Join(dir, "endpoints.json"), l)
	awaitJSON(t, filepath.Join(dir, "credentials.json"), l)
	return l
}

// run runs a command of lacre as the administrator.
func (l *lacre) run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(os.Getenv(binaryVariable), append(args, "--data-dir", l.dir)...).CombinedOutput(); err != nil {
		t.Fatalf("lacre %q: %v\n%s", args, err, out)
	}
}

// awaitJSON reads a file as soon as it is there.
func awaitJSON(t *testing.T, path string, into any) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err == nil {
			if err := json.Unmarshal(text, into); err != nil {
				t.Fatalf("reading %s: %v", filepath.Base(path), err)
			}
			return
		}
		if !errors.Is(err, fs.ErrNotExist) || time.Since(begun) > patience {
			t.Fatalf("waiting for %s: %v", filepath.Base(path), err)
		}
	}
}
