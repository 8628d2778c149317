//go:build profile

package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"syscall"
)

// A build with the tag profile, which no release has, begins a CPU profile at every odd
// SIGUSR1 and ends it at the next. LACRE_CPUPROFILE names the files: process id and a
// number follow it. See `make pgo`.
func init() {
	path := os.Getenv("LACRE_CPUPROFILE")
	if path == "" {
		return
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go profile(path, signals)
}

func profile(path string, signals <-chan os.Signal) {
	for n := 0; ; n++ {
		<-signals
		f, err := os.Create(fmt.Sprintf("%s.%d.%d", path, os.Getpid(), n))
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "profiling:", err)
			return
		}
		<-signals
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that is cut short does not parse
		if f, err = os.Create(fmt.Sprintf("%s.heap.%d.%d", path, os.Getpid(), n)); err == nil {
			runtime.GC()
			_ = pprof.WriteHeapProfile(f)
			_ = f.Close()
		}
	}
}
