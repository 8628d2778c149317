package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlots(t *testing.T) {
	var r Report
	const what = "process start to first handshake"
	r.add("1000 certificates", what, "lacre", "ms", "", 100)
	r.add("1000 certificates", what, "a <peer> & more", "ms", "", 100000)
	dir := t.TempDir()
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "start.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
	for _, want := range []string{"100 ms", "100000 ms", "lacre"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the plot does not say %q", want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "memory.svg")); !os.IsNotExist(err) {
		t.Errorf("a plot without figures: %v, want none", err)
	}
	one := bars("one bar", r.Figures[:1])
	if strings.Contains(one, "NaN") {
		t.Error("one bar has no length")
	}
}
