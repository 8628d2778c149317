package lacre_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

// Whoever adds a permission must add it to the list, or no role could be made of it.
func TestPermissionsAreAllThatAreDeclared(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "caller.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Permission" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, text)
		}
		return true
	})
	var listed []string
	for _, p := range lacre.Permissions() {
		listed = append(listed, string(p))
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if diff := cmp.Diff(declared, listed); diff != "" || len(declared) < 20 {
		t.Errorf("declared (-) and listed (+):\n%s", diff)
	}
}

func TestPermissionsAreACopy(t *testing.T) {
	lacre.Permissions()[0] = "changed"
	if slices.Contains(lacre.Permissions(), "changed") {
		t.Error("a caller can change the list")
	}
	if lacre.Permission("changed").Known() || !lacre.CanListCertificates.Known() {
		t.Error("Known disagrees with the list")
	}
}

// What a caller may do is the role's or the group's, and the empty caller may nothing.
func TestCallerAllows(t *testing.T) {
	group := &lacre.PermissionGroup{Name: "creator", Permissions: []lacre.Permission{lacre.CanCreateCertificate}}
	for _, tt := range []struct {
		name   string
		caller lacre.Caller
		want   map[lacre.Permission]bool
	}{
		{"nobody", lacre.Caller{}, map[lacre.Permission]bool{lacre.CanListCertificates: false, "": false}},
		{"viewer", lacre.Caller{Role: lacre.RoleViewer}, map[lacre.Permission]bool{lacre.CanListCertificates: true, lacre.CanCreateCertificate: false}},
		{"creator", lacre.Caller{Role: "creator", Group: group}, map[lacre.Permission]bool{lacre.CanListCertificates: false, lacre.CanCreateCertificate: true, "": false}},
		{"creator of a group that is gone", lacre.Caller{Role: "creator"}, map[lacre.Permission]bool{lacre.CanCreateCertificate: false}},
	} {
		for p, want := range tt.want {
			if got := tt.caller.Allows(p); got != want {
				t.Errorf("%s: Allows(%q) = %t, want %t", tt.name, p, got, want)
			}
		}
	}
}

// The Service asks the group of permissions where there is one.
func TestTheServiceObeysGroups(t *testing.T) {
	w := newWorld(t)
	c := w.create(w.upload("web_cert", "*.a.test"))
	by := w.caller("reader")
	by.Group = &lacre.PermissionGroup{Name: "reader", Permissions: []lacre.Permission{lacre.CanGetCertificate}}
	if _, err := w.ShowCertificate(t.Context(), by, w.project, c.ID); err != nil {
		t.Errorf("what the group grants: error = %v, want none", err)
	}
	if err := w.DeleteCertificate(t.Context(), by, w.project, c.ID, lacre.WriteOptions{}); lacre.CodeOf(err) != lacre.CodeForbidden {
		t.Errorf("what it does not: error = %v, want forbidden", err)
	}
	if _, err := w.ShowCertificate(t.Context(), by, lacre.NewID(), c.ID); lacre.CodeOf(err) != lacre.CodeForbidden {
		t.Errorf("in another project: error = %v, want forbidden", err)
	}
}
