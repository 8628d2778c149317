package api_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"lacre/api"
)

func TestTheDocumentIsValid(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatalf("loading: %v", err)
	}
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Errorf("got %v, want a valid document", err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("got OpenAPI %s, want 3.1.0", doc.OpenAPI)
	}
}

func TestTheDocumentDescribesExactlyWhatIsServed(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for path, item := range doc.Paths.Map() {
		if !strings.HasPrefix(path, "/v2/") {
			continue
		}
		for method := range item.Operations() {
			for _, product := range []string{"apic", "apigw"} {
				documented = append(documented, method+" "+strings.Replace(path, "{product}", product, 1))
			}
		}
	}
	slices.Sort(documented)
	documented = slices.Compact(documented)
	served := api.Routes()
	slices.Sort(served)
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("served (-) and documented (+) operations differ:\n%s", diff)
	}
}

func TestOperationalPagesAreServedAsDocumented(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.yaml"} {
		a := w.as("").get(w.url + path).ok(200) // the contract transport compares it
		if len(a.raw) == 0 || a.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: got an empty answer or no request id", path)
		}
	}
	if got := w.as("").get(w.url + "/openapi.yaml").raw; string(got) != string(api.OpenAPI) {
		t.Errorf("got %d bytes of openapi.yaml, want the embedded document", len(got))
	}
}

// Every code the rest of Lacre can produce must have a meaning on the wire.
func TestEveryCodeHasAMeaning(t *testing.T) {
	files := token.NewFileSet()
	root, err := parser.ParseFile(files, "../error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	table, err := parser.ParseFile(files, "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared, given := map[string]bool{}, map[string]bool{}
	ast.Inspect(root, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Code") {
			declared[spec.Names[0].Name] = true
		}
		return true
	})
	ast.Inspect(table, func(n ast.Node) bool {
		if pair, ok := n.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.SelectorExpr); ok {
				given[key.Sel.Name] = true
			}
		}
		return true
	})
	if len(declared) < 30 {
		t.Fatalf("got %d codes in error.go, want all of them", len(declared))
	}
	if diff := cmp.Diff(declared, given); diff != "" {
		t.Errorf("declared (-) and given a meaning (+):\n%s", diff)
	}
}

func TestReadyzGivesTheReason(t *testing.T) {
	w := newWorld(t, notReady)
	a := w.as("").get(w.url + "/readyz").ok(http.StatusServiceUnavailable)
	if got, want := a.text("reason"), "the store did not answer"; got != want {
		t.Errorf("got reason %q, want %q", got, want)
	}
	w.as("").get(w.url + "/healthz").ok(200)
}
