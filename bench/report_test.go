package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReportComparesWithLacre(t *testing.T) {
	r := &Report{}
	r.gather("edges", "rate", "lacre", "1/s", 100)
	r.gather("edges", "rate", "nginx", "1/s", 300)
	r.gather("edges", "memory", "lacre", "MiB", 7)
	r.gather("edges", "rate", "lacre", "1/s", 300)
	r.add("put", "rate", "lacre", "1/s", "≥ 1", 5)
	r.add("put", "nothing measured", "lacre", "1/s", "")
	r.finish()
	type row struct {
		Part, What, Who string
		N               int
		Median, Versus  float64
	}
	var got []row
	for _, f := range r.Figures {
		got = append(got, row{f.Part, f.What, f.Who, f.N, f.Median, f.VersusUs})
	}
	want := []row{
		{"edges", "rate", "lacre", 2, 200, 0},
		{"edges", "rate", "nginx", 1, 300, 1.5},
		{"edges", "memory", "lacre", 1, 7, 0},
		{"put", "rate", "lacre", 1, 5, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReportIsSavedTwice(t *testing.T) {
	r := &Report{Command: "bench -x", Machine: []string{"machine: small"}, Versions: map[string]string{"nginx": "nginx/1"}}
	r.missing("caddy: it is not installed here")
	r.gather("edges", "rate", "lacre", "1/s", 1234.5)
	dir := filepath.Join(t.TempDir(), "results")
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "latest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Figures) != 1 || back.Figures[0].Median != 1234.5 || back.Command != r.Command {
		t.Errorf("got back %+v", back)
	}
	page, err := os.ReadFile(filepath.Join(dir, "latest.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"bench -x", "machine: small", "nginx/1", "not measured: caddy", "| rate | lacre | 1 | 1234 |"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("latest.md has no %q:\n%s", want, page)
		}
	}
}

func TestDigits(t *testing.T) {
	for value, want := range map[float64]string{0.0123: "0.01", 1.005: "1.00", 12.34: "12.3", 1234.6: "1235"} {
		if got := digits(value); got != want {
			t.Errorf("%v: got %s, want %s", value, got, want)
		}
	}
}
