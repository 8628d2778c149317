package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// showHardening is a program of its own: it hardens itself and says whether its memory
// can be dumped, 0 or 1.
func showHardening() {
	err := harden()
	dumpable, errno := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || errno != nil {
		fmt.Println(err, errno)
		os.Exit(exitFailed)
	}
	fmt.Println(dumpable)
}

// TestCanaryCoreDump looks at a serve from outside: the limit of core dumps, and that
// what sets the limit also makes the process undumpable.
func TestCanaryCoreDump(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(limits)) {
		if strings.HasPrefix(line, "Max core file size") {
			got = strings.Fields(line)[4:6]
		}
	}
	if len(got) != 2 || got[0] != "0" || got[1] != "0" {
		t.Errorf("got core dump limits %v, want 0 and 0", got)
	}
	out, err := exec.Command("hardened").Output()
	if err != nil || strings.TrimSpace(string(out)) != "0" {
		t.Errorf("dumpable: got %s, %v, want 0", out, err)
	}
}
