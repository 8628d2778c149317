package lacre_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every metric that some package names is explained to operators.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	named, found := regexp.MustCompile(`"(lacre_[a-z_]+)"`), 0
	for _, pattern := range []string{"api/*.go", "edge/*.go", "cmd/lacre/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range named.FindAllSubmatch(text, -1) {
				found++
				if !regexp.MustCompile(string(m[1]) + `\b`).Match(page) {
					t.Errorf("docs/operate.md does not name %s of %s", m[1], file)
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("got %d metrics, want all of them: at least 30", found)
	}
}
