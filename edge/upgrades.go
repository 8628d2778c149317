package edge

import (
	"context"
	"sync"
)

// upgrades is the set of open connections that left HTTP (WebSocket); the HTTP server
// forgets those.
type upgrades struct {
	mu    sync.Mutex
	open  map[*conn]struct{}
	empty chan struct{} // non-nil while drain waits
}

// add is called when the HTTP server lets go of c; c.Close takes it out again.
func (u *upgrades) add(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open == nil {
		u.open = make(map[*conn]struct{})
	}
	u.open[c] = struct{}{}
	c.upgraded.Store(true)
}

func (u *upgrades) remove(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, c)
	if len(u.open) == 0 && u.empty != nil {
		close(u.empty)
		u.empty = nil
	}
}

// drain waits for the last one to be closed. When ctx ends first it closes them all.
func (u *upgrades) drain(ctx context.Context) error {
	empty := u.whenEmpty()
	if empty == nil {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	for _, c := range u.snapshot() {
		_ = c.Close() // the peer learns it from the close itself
	}
	return ctx.Err()
}

// whenEmpty returns a channel that is closed with the last connection, nil if there
// is none now.
func (u *upgrades) whenEmpty() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.open) == 0 {
		return nil
	}
	u.empty = make(chan struct{})
	return u.empty
}

func (u *upgrades) snapshot() []*conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	conns := make([]*conn, 0, len(u.open))
	for c := range u.open {
		conns = append(conns, c)
	}
	return conns
}
