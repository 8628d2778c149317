package lacre_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowed are the packages of Lacre that each package may import: nouns and rules at the
// top know keypair only, and the outer packages never know each other. cmd/lacre plugs
// everything together.
var allowed = map[string][]string{
	"lacre":         {"lacre/keypair"},
	"lacre/keypair": {},
	"lacre/keyring": {},
	"lacre/tlcp":    {},
	"lacre/layout":  {},
	"lacre/store":   {"lacre", "lacre/keypair"},
	"lacre/iam":     {"lacre", "lacre/keypair"},
	"lacre/api":     {"lacre", "lacre/keypair"},
	"lacre/edge":    {"lacre", "lacre/keypair", "lacre/tlcp"},
	"lacre/console": {"lacre", "lacre/keypair"},
}

const testOnly = "lacre/internal/testcert"

// outside says which packages have no rule: the program, test helpers, benchmarks and
// the tests with peers.
func outside(path string) bool {
	return slices.ContainsFunc([]string{"lacre/cmd/", "lacre/internal/", "lacre/bench/", "lacre/test/"},
		func(prefix string) bool { return strings.HasPrefix(path+"/", prefix) })
}

func TestImports(t *testing.T) {
	t.Parallel()
	command := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./...")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var seen int
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; seen++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		checkImports(t, p.ImportPath, p.Imports)
	}
	if seen < 5 {
		t.Errorf("got %d packages, want all of them", seen)
	}
}

func checkImports(t *testing.T, path string, imports []string) {
	t.Helper()
	may, known := allowed[path]
	if !known && !outside(path) {
		t.Errorf("%s is a new package: say here what it may import", path)
		return
	}
	for _, imported := range imports {
		ours := imported == "lacre" || strings.HasPrefix(imported, "lacre/")
		if imported == testOnly || ours && known && !slices.Contains(may, imported) {
			t.Errorf("%s imports %s, want only %v of Lacre", path, imported, may)
		}
	}
}

// House rule 1: no file grows over 500 lines.
func TestFileLength(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if n := bytes.Count(text, []byte("\n")); n > 500 {
			t.Errorf("%s has %d lines, want at most 500", path, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
