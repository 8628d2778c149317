package edge

import (
	"context"
	"fmt"
	"runtime"
	"testing"
)

// TestInventedNamesAreBounded: who asks for ever new names while everything is loaded, and
// hangs up, leaves a bounded number of look-ups behind.
func TestInventedNamesAreBounded(t *testing.T) {
	e, err := New(Config{Feed: silent{}, Sealer: fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	before := runtime.NumGoroutine()
	for n := range 2 * looksWaiting {
		e.finder.look(gone, fmt.Sprintf("n%d.example.com", n))
	}
	if got := runtime.NumGoroutine() - before; got > looksWaiting+100 {
		t.Errorf("%d names left %d goroutines, want %d at most", 2*looksWaiting, got, looksWaiting)
	}
}
