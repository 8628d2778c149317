package main

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		live uint64
		want int
	}{
		{0, 800}, {1 << 20, 800}, {12 << 20, 400}, {48 << 20, 100}, {1 << 30, 60}, {1 << 40, 60},
	} {
		if got := gcPercent(test.live, gcLeast); got != test.want {
			t.Errorf("with %d bytes live the heap may grow by %d %%, want %d", test.live, got, test.want)
		}
	}
}

func TestAfterGCRunsAfterEveryCollection(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	afterGC(func() { calls.Add(1) })
	for deadline := time.Now().Add(10 * time.Second); calls.Load() < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after many collections there were %d calls", calls.Load())
		}
		runtime.GC()
	}
}
