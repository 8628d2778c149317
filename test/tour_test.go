package test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTourOfTheReadme types the tour of the README into a shell, as it is printed but for
// the addresses, in the directory of a server.
func TestTourOfTheReadme(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl", "openssl", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	l := start(t)
	home := t.TempDir()
	data := filepath.Join(home, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	credentials, err := json.Marshal(l) // the members are those of credentials.json
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "credentials.json"), credentials, 0o600); err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer("http://127.0.0.1:8080", l.URL, "127.0.0.1:8443", l.EdgeAddr).Replace(tour(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	shell.Dir = home
	out, err := shell.Output()
	if err != nil {
		t.Fatalf("got %v and %s", err, out)
	}
	if !strings.Contains(string(out), "This domain is served by Lacre") {
		t.Errorf("got %s, want the page of the domain", out)
	}
	serials := regexp.MustCompile(`(?m)^serial=(\w+)$`).FindAllStringSubmatch(string(out), -1)
	if len(serials) != 2 || serials[0][1] != serials[1][1] {
		t.Errorf("got serials %v in %s, want that of new.pem twice", serials, out)
	}
}

// tour is the shell block of the README's tour.
func tour(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)\n## Two minutes with curl\n.*?```sh\n(.*?)```\n").FindSubmatch(readme)
	if found == nil {
		t.Fatal("the README has no tour")
	}
	return string(found[1])
}
