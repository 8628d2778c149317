package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// configured reads a configuration from a file, variables and flags.
func configured(t *testing.T, file string, env map[string]string, args ...string) (Config, error) {
	t.Helper()
	var c Config
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.flags(f)
	f.String("config", "", "")
	if file != "" {
		path := filepath.Join(t.TempDir(), "lacre.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := fill(f, env); err != nil {
		return c, err
	}
	return c, c.check(f)
}

func TestConfigPrecedence(t *testing.T) {
	file := "data-dir: file\nhistory: 3\nroles: [edge]\naudit-days: 7\ndrain-time: 3s\napi-insecure: true"
	env := map[string]string{"LACRE_DATA_DIR": "variable", "LACRE_HISTORY": "4", "LACRE_ETCD_ENDPOINTS": "http://a,http://b"}
	got, err := configured(t, file, env, "--data-dir", "flag")
	if err != nil {
		t.Fatal(err)
	}
	want := demoConfig("flag") // the defaults of serve, but for what follows
	want.API, want.Edge, want.EdgeHTTP = "127.0.0.1:8080", ":8443", ":8081"
	want.History, want.Roles, want.AuditDays, want.DrainTime, want.APIInsecure = 4, []string{"edge"}, 7, 3e9, true
	want.EtcdEndpoints = []string{"http://a", "http://b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestConfigRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		env  map[string]string
		args []string
	}{
		"no data directory":       {},
		"unknown key":             {file: "data_dir: d"},
		"help as a key":           {file: "data-dir: d\nhelp: true"},
		"config as a key":         {file: "data-dir: d\nconfig: other"},
		"a list where one value":  {file: "data-dir: d\nhistory: [1, 2]"},
		"a map where one value":   {file: "data-dir: d\napi: {host: x}"},
		"a map in a list":         {file: "data-dir: d\nroles: [{api: yes}]"},
		"no YAML":                 {file: "data-dir: ["},
		"bad variable":            {env: map[string]string{"LACRE_DATA_DIR": "d", "LACRE_API_INSECURE": "maybe"}},
		"half a key pair":         {args: []string{"--data-dir", "d", "--api-key", "k"}},
		"half an etcd key pair":   {args: []string{"--data-dir", "d", "--etcd-cert", "c"}},
		"all addresses in clear":  {args: []string{"--data-dir", "d", "--api", "[::]:80"}},
		"a name in clear":         {args: []string{"--data-dir", "d", "--api", "lacre.internal:80"}},
		"no port":                 {args: []string{"--data-dir", "d", "--edge", "127.0.0.1"}},
		"a negative rate":         {args: []string{"--data-dir", "d", "--rate-limit", "-1"}},
		"negative groups":         {args: []string{"--data-dir", "d", "--groups-per-instance", "-1"}},
		"negative certificates":   {args: []string{"--data-dir", "d", "--certificates-per-project", "-1"}},
		"a proxy's name":          {args: []string{"--data-dir", "d", "--edge-proxy-from", "10.0.0.1,balancer"}},
		"a range too long":        {args: []string{"--data-dir", "d", "--edge-proxy-from", "10.0.0.0/33"}},
		"a mapped range":          {args: []string{"--data-dir", "d", "--edge-proxy-from", "::ffff:10.0.0.0/104"}},
		"negative domain metrics": {args: []string{"--data-dir", "d", "--domain-metrics", "-1"}},
		"no instances":            {args: []string{"--data-dir", "d", "--instances-per-project", "0"}},
		"a wildcard for TLCP":     {args: []string{"--data-dir", "d", "--edge-tlcp-default", "*.example.com"}},
		"an address for TLCP":     {args: []string{"--data-dir", "d", "--edge-tlcp-default", "10.0.0.1"}},
		"no versions":             {args: []string{"--data-dir", "d", "--history", "0"}},
		"too many versions":       {args: []string{"--data-dir", "d", "--history", "51"}},
		"too many domains":        {args: []string{"--data-dir", "d", "--domains-per-group", "16"}},
		"nodes forgotten at once": {args: []string{"--data-dir", "d", "--forget-node-after", "14m"}},
		"no room at all":          {args: []string{"--data-dir", "d", "--store-quota", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := configured(t, c.file, c.env, c.args...)
			if _, ok := errors.AsType[usageError](err); !ok {
				t.Errorf("got %+v, %v, want wrong usage", got, err)
			}
		})
	}
}

func TestConfigExposure(t *testing.T) {
	for _, args := range [][]string{
		{"--api", "127.0.0.1:80"}, {"--api", "127.8.8.8:80"}, {"--api", "[::1]:80"}, {"--api", "localhost:80"},
		{"--api", ":80", "--api-insecure"}, {"--api", ":80", "--api-cert", "c", "--api-key", "k"},
		{"--api", ":80", "--roles", "edge"},
	} {
		if _, err := configured(t, "", nil, append(args, "--data-dir", "d")...); err != nil {
			t.Errorf("%q: got %v, want it allowed", args, err)
		}
	}
}
