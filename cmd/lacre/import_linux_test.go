package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestImportShowsItsProgressAtATerminal, with a rate and the time it will take; it is
// nowhere else to be seen (testdata/import.txtar).
func TestImportShowsItsProgressAtATerminal(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	person, program := terminal(t)
	seen := new(output)
	go io.Copy(seen, person)
	var stdout bytes.Buffer
	if code := run(t.Context(), []string{"import", pairs(t, 40), "--data-dir", n.cfg.DataDir}, nil, &stdout, program); code != exitDone {
		t.Fatalf("got exit code %d\n%s", code, seen)
	}
	bar := regexp.MustCompile(`certificates +[0-9]+% .*\([0-9]+/40, [0-9]+ it/s\) \[.*:.*\]`)
	eventually(t, "a progress bar", func() bool { return bar.MatchString(seen.String()) })
	eventually(t, "the summary below it", func() bool { return strings.Contains(seen.String(), "40 imported") })
	if strings.Contains(stdout.String(), "%") {
		t.Error("the bar is in the report")
	}
}
