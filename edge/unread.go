package edge

import "net/http"

// follow takes note of the state of a connection. What net/http cannot read it answers by
// itself (400, 417, 431, 501, 505, or nothing when it comes too slowly) and tells no handler: it is known by a connection that
// closes although a request has begun to come in on it and was not served. One that came
// whole, right behind another, is missed: net/http does not say that it has begun.
func (c *conn) follow(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.asking.Store(true)
	case http.StateIdle:
		c.asking.Store(false)
		c.handled.Store(false)
		c.draining.Store(false)
	case http.StateHijacked:
		c.edge.upgrades.add(c)
	case http.StateClosed:
		if c.asking.Load() {
			c.edge.metrics.unread.Inc()
		}
	}
}
