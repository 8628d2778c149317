package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// describe puts into the report what the figures depend on.
func (b *bench) describe() error {
	info, err := buildinfo.ReadFile(b.binary)
	if err != nil {
		return fmt.Errorf("%s is not there, or no Go binary (make build): %w", b.binary, err)
	}
	b.report.Versions = map[string]string{"lacre": "lacre built with " + info.GoVersion + revisionOf(info)}
	cpu, err1 := valueOf("/proc/cpuinfo", "model name")
	memory, err2 := valueOf("/proc/meminfo", "MemTotal")
	kernel, err3 := os.ReadFile("/proc/sys/kernel/osrelease")
	busy, err4 := os.ReadFile("/proc/loadavg")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	b.report.Machine = []string{
		fmt.Sprintf("machine: %s, %d cores, %s memory, Linux %s", cpu, runtime.NumCPU(), memory, strings.TrimSpace(string(kernel))),
		"load average when the run began: " + strings.Join(strings.Fields(string(busy))[:3], ", ") + " (0 would be a machine of our own)",
	}
	if text, err := os.ReadFile("/proc/self/autogroup"); err == nil && !strings.HasSuffix(strings.TrimSpace(string(text)), "nice 0") {
		b.report.Machine = append(b.report.Machine, "scheduling priority of the run is not the usual one: "+strings.TrimSpace(string(text)))
	}
	return nil
}

// revisionOf is the commit the binary was built from.
func revisionOf(info *buildinfo.BuildInfo) string {
	text := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			text = ", commit " + s.Value[:12] + text
		case s.Key == "vcs.modified" && s.Value == "true":
			text += " with changes"
		}
	}
	return text
}

// valueOf is the first value of a key in a file of "key : value" lines.
func valueOf(file, key string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s has no %q", file, key)
}
