package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestAccessLogOfTheProcess: the file that --access-log names has a line as documented for
// each request, the last one before the stop included, and goes on in a new file when it is
// moved away. The query is in none.
func TestAccessLogOfTheProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	p := start(t, filepath.Join(dir, "data"), "--access-log", path)
	w := visitLacre(t, p.dir)
	const host = "log.access.test"
	ctx, leave := context.WithCancel(t.Context())
	client := (&rotated{site: w.publish(host, echoHTTP(t), w.leaf(host, 1))}).client(ctx, w, true)
	ask := func() {
		resp, err := client.Get("https://" + host + "/echo?token=hidden")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("got %s", resp.Status)
		}
	}
	before := time.Now()
	ask()
	eventually(t, "the first line", func() bool { return len(lines(t, path)) == 1 })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	ask()
	leave()
	p.stop()
	moved, last := lines(t, path+".1"), lines(t, path)
	if len(moved) != 1 || len(last) != 1 {
		t.Fatalf("got %d lines in the moved file and %d in the new one, want one each", len(moved), len(last))
	}
	for _, line := range append(moved, last...) {
		wantLine(t, line, host, before)
	}
}

func wantLine(t *testing.T, line []byte, host string, before time.Time) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if bytes.Contains(line, []byte("hidden")) {
		t.Errorf("the query is in %s", line)
	}
	for name, want := range map[string]any{
		"client": "127.0.0.1", "method": "GET", "host": host, "path": "/echo", "protocol": "HTTP/2.0", "tls": "1.3", "alpn": "h2", "status": 200.0, "bytes": 5.0,
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"request_id", "project", "domain"} {
		if text, _ := got[name].(string); len(text) < 32 {
			t.Errorf("%s: got %v, want an id", name, got[name])
		}
	}
	took, _ := got["duration_ms"].(float64)
	if waited, ok := got["upstream_ms"].(float64); !ok || waited > took {
		t.Errorf("got %v ms until the upstream's header of %v ms", got["upstream_ms"], took)
	}
	text, _ := got["time"].(string)
	if at, err := time.Parse(time.RFC3339, text); err != nil || at.Before(before.Add(-time.Second)) || at.After(time.Now()) {
		t.Errorf("got time %q, want that of the request", text)
	}
}

// lines are those of a file, none while it is not there.
func lines(t *testing.T, path string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		t.Fatalf("the last line of %s is not whole", path)
	}
	return slices.Collect(bytes.Lines(text))
}
