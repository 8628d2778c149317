package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTargetOfADataDirectory: what is asked, and whose password it is sent.
func TestTargetOfADataDirectory(t *testing.T) {
	dir := t.TempDir()
	here := Endpoints{APIURL: "http://here"}
	admin := Credentials{ProjectID: "p", DomainName: "lacre", UserName: "admin", Password: "secret"}
	for name, content := range map[string]any{endpointsFile: here, credentialsFile: admin} {
		if err := writeFile(dir, name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		given target
		env   map[string]string
		want  target
	}{
		"alone": {target{}, nil, target{APIURL: "http://here", User: "admin", Password: "secret"}},
		"a variable names another API": {target{APIURL: "http://other"}, map[string]string{"LACRE_API_URL": "http://other"},
			target{APIURL: "http://here", User: "admin", Password: "secret"}},
		"a flag names another API": {target{APIURL: "https://here.example"}, map[string]string{"LACRE_API_URL": "http://other"},
			target{APIURL: "https://here.example", User: "admin", Password: "secret"}},
		"another user": {target{User: "ci"}, map[string]string{"LACRE_PASSWORD": "ci's"},
			target{APIURL: "http://here", User: "ci", Password: "ci's"}},
		"another user without a password": {target{User: "ci"}, map[string]string{"LACRE_TOKEN": "t"},
			target{APIURL: "http://here", User: "ci", Token: "t"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := test.given, test.want
			got.DataDir = dir
			if err := got.complete(test.env); err != nil {
				t.Fatal(err)
			}
			want.DataDir, want.Project, want.Account = dir, "p", "lacre"
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("target (-want +got):\n%s", diff)
			}
		})
	}
}
