package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ, 100 on every Linux there is.
const tick = 10 * time.Millisecond

// stat is what /proc/PID/stat says that is of use here (proc(5)).
type stat struct {
	pid, parent int
	cpu         time.Duration // user and system, all threads, children not counted
}

// parseStat reads the text of a stat file. The command in parentheses may hold anything,
// parentheses and spaces too: the fields are counted from its end.
func parseStat(text string) (stat, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, errors.New("no command in parentheses")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text[:open]))
	if err != nil {
		return stat{}, fmt.Errorf("reading the process id: %w", err)
	}
	fields := strings.Fields(text[end+1:]) // from field 3, the state
	if len(fields) < 13 {
		return stat{}, fmt.Errorf("%d fields after the command, expected 13", len(fields))
	}
	var numbers [3]int64
	for i, at := range []int{1, 11, 12} { // fields 4, 14 and 15: ppid, utime, stime
		if numbers[i], err = strconv.ParseInt(fields[at], 10, 64); err != nil {
			return stat{}, fmt.Errorf("reading field %d: %w", at+3, err)
		}
	}
	return stat{pid: pid, parent: int(numbers[0]), cpu: time.Duration(numbers[1]+numbers[2]) * tick}, nil
}

// memory is resident memory in bytes: the process's own, and pages of files it has mapped,
// which the kernel takes back when it needs them.
type memory struct{ anonymous, file int64 }

// parseMemory reads the text of /proc/PID/smaps_rollup. A page that n processes share since
// a fork counts as 1/n in each (Pss), so that sums are right.
func parseMemory(text string) (m memory, err error) {
	for _, field := range []struct {
		name  string
		value *int64
	}{{"Pss_Anon:", &m.anonymous}, {"Pss_File:", &m.file}} {
		_, after, found := strings.Cut(text, "\n"+field.name)
		line, _, _ := strings.Cut(after, "\n")
		kB, ok := strings.CutSuffix(strings.TrimSpace(line), " kB")
		if !found || !ok {
			return m, fmt.Errorf("no %s in kB", field.name)
		}
		n, err := strconv.ParseInt(kB, 10, 64)
		if err != nil {
			return m, fmt.Errorf("reading %s: %w", field.name, err)
		}
		*field.value = n << 10
	}
	return m, nil
}

// tree returns the process and everything it started that still runs.
func tree(root int) ([]stat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var all []stat
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		s, err := parseStat(string(text))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		all = append(all, s)
	}
	family := descendants(root, all)
	if len(family) == 0 {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	return family, nil
}

// descendants are the process root, its children, theirs and so on.
func descendants(root int, all []stat) []stat {
	var family []stat
	for _, s := range all {
		if s.pid == root {
			family = append(family, s)
		}
	}
	for i := 0; i < len(family); i++ {
		for _, s := range all {
			if s.parent == family[i].pid {
				family = append(family, s)
			}
		}
	}
	return family
}

// cpuOf is the CPU time that a process and its living descendants have used, to a tick
// for each.
func cpuOf(pid int) (time.Duration, error) {
	family, err := tree(pid)
	var sum time.Duration
	for _, s := range family {
		sum += s.cpu
	}
	return sum, err
}

// memoryOf is the resident memory of a process and its living descendants.
func memoryOf(pid int) (sum memory, err error) {
	family, err := tree(pid)
	if err != nil {
		return sum, err
	}
	for _, s := range family {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.pid))
		if err != nil {
			return sum, err
		}
		m, err := parseMemory(string(text))
		if err != nil {
			return sum, fmt.Errorf("process %d: %w", s.pid, err)
		}
		sum.anonymous, sum.file = sum.anonymous+m.anonymous, sum.file+m.file
	}
	return sum, nil
}

func mebi(bytes int64) float64 { return float64(bytes) / (1 << 20) }
