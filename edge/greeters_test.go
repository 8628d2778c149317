package edge

import (
	"sync"
	"testing"
	"time"
)

// Goroutines that greet are used again, are as many as there are connections to greet at
// once, and do not stay in any number when a crowd has gone.
func TestGreeters(t *testing.T) {
	const crowd = 3 * idleGreeters
	var greeted sync.WaitGroup
	leave := make(chan struct{})
	g := greeters{next: make(chan *conn), greet: func(*conn) {
		greeted.Done()
		<-leave
	}}
	greeted.Add(crowd)
	for range crowd {
		g.take(new(conn))
	}
	greeted.Wait() // nobody waits for anybody
	close(leave)
	waiting(t, &g, idleGreeters)

	for range crowd { // one at a time: those that wait suffice
		greeted.Add(1)
		g.take(new(conn))
		greeted.Wait()
	}
	waiting(t, &g, idleGreeters)
	close(g.next)
	waiting(t, &g, 0)
}

func waiting(t *testing.T, g *greeters, want int32) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); g.idle.Load() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines wait, want %d", g.idle.Load(), want)
		}
	}
}
