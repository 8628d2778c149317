package main

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	const rest = " S 41 42 42 0 -1 4194560 9 8 7 6 150 25 3 4 20 0 12 0 77 1 2"
	want := stat{pid: 43, parent: 41, cpu: 1750 * time.Millisecond}
	for _, command := range []string{"(lacre)", "(tmux: server)", "(a) b (c)", "()"} {
		got, err := parseStat("43 " + command + rest)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", command, got, err, want)
		}
	}
}

func TestParseStatRefuses(t *testing.T) {
	for _, text := range []string{
		"", "43", "43 lacre S 41", "43 )(", "x (lacre) S 1 2 3 4 5 6 7 8 9 10 11 12",
		"43 (lacre) S 41 42", "43 (lacre) S x 42 42 0 -1 4 9 8 7 6 150 25", "43 (lacre) S 41 42 42 0 -1 4 9 8 7 6 x 25",
	} {
		if got, err := parseStat(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

func TestParseMemory(t *testing.T) {
	got, err := parseMemory("00400000-7ffd ---p 00000000 00:00 0 [rollup]\nRss:   90000 kB\nPss_Anon:   71234 kB\nPss_File:   18766 kB\n")
	if want := (memory{anonymous: 71234 << 10, file: 18766 << 10}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"", "\nPss_Anon: 1 kB\n", "\nPss_Anon: 12\nPss_File: 1 kB\n", "\nPss_Anon: x kB\nPss_File: 1 kB\n"} {
		if got, err := parseMemory(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

func TestDescendants(t *testing.T) {
	all := []stat{{pid: 1}, {pid: 9, parent: 7}, {pid: 5, parent: 1}, {pid: 7, parent: 5}, {pid: 8, parent: 5}, {pid: 6, parent: 1}}
	var got []int
	for _, s := range descendants(5, all) {
		got = append(got, s.pid)
	}
	if diff := cmp.Diff([]int{5, 7, 8, 9}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := descendants(4, all); got != nil {
		t.Errorf("of a process that is not there: got %v, want none", got)
	}
}

// TestOwnProcess reads the files of this very process: the parsers fit this kernel.
func TestOwnProcess(t *testing.T) {
	family, err := tree(os.Getpid())
	if err != nil || len(family) == 0 || family[0].parent != os.Getppid() {
		t.Fatalf("got %+v, %v, want this process, started by %d", family, err, os.Getppid())
	}
	if got, err := memoryOf(os.Getpid()); err != nil || got.anonymous < 100<<10 || got.file < 100<<10 {
		t.Errorf("memory: got %+v, %v, want more than 100 KiB of both", got, err)
	}
	if _, err := cpuOf(os.Getpid()); err != nil {
		t.Errorf("CPU time: %v", err)
	}
	if _, err := tree(1 << 30); err == nil {
		t.Error("a process that cannot be: got no error")
	}
}
