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
		live, room uint64
		want       int
	}{
		{0, gcRoom, 800}, {1 << 20, gcRoom, 800}, {12 << 20, gcRoom, 400}, {48 << 20, gcRoom, 100}, {1 << 30, gcRoom, 60},
		{12 << 20, gcLoading, 800}, {64 << 20, gcLoading, 400}, {256 << 20, gcLoading, 100}, {3 << 30, gcLoading, 60}, {1 << 40, gcLoading, 60},
	} {
		if got := gcPercent(test.live, test.room); got != test.want {
			t.Errorf("with %d bytes live and room for %d the heap may grow by %d %%, want %d", test.live, test.room, got, test.want)
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
