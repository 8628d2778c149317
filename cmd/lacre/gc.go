package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// The collector's work is bought with memory. Go's default lets the heap double, which
// for a small one means collecting all the time: at 100 a modification costs a quarter
// more CPU than at 400 (docs/performance.md). So the heap may grow by gcRoom before it
// is collected, by gcLeast percent of what is live if that is more, and by gcMost
// percent at most. While everything is loaded it only grows, and there is little to find:
// until then it has the room of gcLoading.
const (
	gcRoom    = 48 << 20  // bytes
	gcLoading = 256 << 20 // bytes
	gcLeast   = 60        // percent
	gcMost    = 800       // percent
)

// tuneGC sets the percentage anew after every collection, unless the operator has set
// GOGC. GOMEMLIMIT is the runtime's and holds beside it. loaded says that the heap has
// grown to what it will be, and gives back what the loading took beyond that.
func tuneGC() (loaded func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	var room atomic.Uint64
	room.Store(gcLoading)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	set := gcMost
	debug.SetGCPercent(set)
	afterGC(func() {
		metrics.Read(live)
		// Setting it stops the world for a moment: not for a small difference.
		if percent := gcPercent(live[0].Value.Uint64(), room.Load()); percent*10 > set*11 || percent*10 < set*9 {
			set = percent
			debug.SetGCPercent(set)
		}
	})
	return func() {
		room.Store(gcRoom)
		debug.FreeOSMemory()
	}
}

// gcPercent is how much the heap may grow when live bytes of it are in use and room bytes
// are there for it.
func gcPercent(live, room uint64) int {
	return int(min(max(room*100/max(live, 1), gcLeast), gcMost))
}

// afterGC calls tune after every collection: an object that nobody holds is found by
// each, and its finalizer leaves another one behind. Finalizers run one at a time.
func afterGC(tune func()) {
	type sentinel struct{ _ *int } // a pointer in it: tiny objects share an allocation
	var again func(*sentinel)
	again = func(*sentinel) {
		tune()
		runtime.SetFinalizer(new(sentinel), again)
	}
	runtime.SetFinalizer(new(sentinel), again)
}
