package edge

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// conn is an accepted TCP connection: it knows what its handshake chose, and it does
// not let a write wait for ever. TLS runs on top of it.
type conn struct {
	net.Conn
	edge *Edge

	// Set by introduce, not valid unless a proxy before this edge has named them.
	client netip.AddrPort // whom it speaks for
	server netip.AddrPort // what that client had connected to

	// Set by configFor during the handshake, not changed afterwards.
	handshaken
	refused outcome // why no certificate was chosen, ok otherwise

	first first // what it began with
	tlcp  bool  // that was TLCP's

	framing framing // of its HTTP/1 requests, for one reader at a time

	stall    time.Duration
	upgraded atomic.Bool  // it left HTTP (WebSocket)
	handled  atomic.Bool  // the request on it got to a handler; see answers
	asking   atomic.Bool  // a request has begun to come in and is not served yet
	draining atomic.Bool  // net/http reads what is left of a request over HTTP/1, which was answered
	explicit atomic.Bool  // somebody above set a write deadline of their own
	extended atomic.Int64 // Unix nanoseconds at which the write deadline was last moved
	closed   sync.Once

	own   atomic.Pointer[ownRouter] // to upstreams that are told for whom a connection is
	owner sync.Mutex                // taken to make own
}

// ownRouter is a router for one client, and one project: over plain HTTP a client may ask for
// hosts of several.
type ownRouter struct {
	*router
	project string
}

// routerOfItsOwn returns a router whose connections are for this client alone, and begin
// by naming it. The idle ones end with c, any other once it is idle for too long.
func (c *conn) routerOfItsOwn(project string) *router {
	c.owner.Lock()
	defer c.owner.Unlock()
	own := c.own.Load()
	if own == nil || own.project != project {
		if own != nil {
			own.close()
		}
		own = &ownRouter{c.edge.newRouter(c.dialNaming), project}
		c.own.Store(own)
	}
	return own.router
}

// RemoteAddr is net.Conn's: the client's address, not that of a proxy which named it.
func (c *conn) RemoteAddr() net.Addr {
	if c.client.IsValid() {
		return net.TCPAddrFromAddrPort(c.client)
	}
	return c.Conn.RemoteAddr()
}

// LocalAddr is net.Conn's: what the client had connected to, as for RemoteAddr.
func (c *conn) LocalAddr() net.Addr {
	if c.server.IsValid() {
		return net.TCPAddrFromAddrPort(c.server)
	}
	return c.Conn.LocalAddr()
}

// addrPort reads a TCP address, with IPv4 as such. It is not valid for any other kind.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Write fails when not one record gets through within the stall timeout.
func (c *conn) Write(b []byte) (int, error) {
	if !c.explicit.Load() {
		now := time.Now()
		// Less than nothing has passed when the clock was set back.
		if passed := now.UnixNano() - c.extended.Load(); passed < 0 || passed > int64(c.stall/8) {
			c.extended.Store(now.UnixNano())
			if err := c.Conn.SetWriteDeadline(now.Add(c.stall)); err != nil {
				return 0, err
			}
		}
	}
	return c.Conn.Write(b)
}

// SetDeadline is net.Conn's. A zero time gives writes their rolling deadline back.
func (c *conn) SetDeadline(t time.Time) error {
	c.release(t)
	return c.Conn.SetDeadline(t)
}

// SetWriteDeadline is net.Conn's. A zero time gives writes their rolling deadline back.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.release(t)
	return c.Conn.SetWriteDeadline(t)
}

// SetReadDeadline is net.Conn's. net/http takes the deadline off before it reads what is left of
// a request, and would wait for that for ever.
func (c *conn) SetReadDeadline(t time.Time) error {
	if t.IsZero() && c.draining.Load() {
		t = time.Now().Add(c.stall)
	}
	return c.Conn.SetReadDeadline(t)
}

// release takes note of who decides about the write deadline from now on: whoever set
// one above (the handshake's timeout, the close of TLS), or Write if they took it off.
func (c *conn) release(t time.Time) {
	c.explicit.Store(!t.IsZero())
	c.extended.Store(0)
}

// Close closes the connection and gives its place back.
func (c *conn) Close() error {
	c.closed.Do(func() {
		c.edge.conns.Add(-1)
		if c.upgraded.Load() {
			c.edge.upgrades.remove(c)
		}
		if own := c.own.Load(); own != nil {
			own.close()
		}
	})
	return c.Conn.Close()
}

// admit wraps a new connection, or closes it when there are too many.
func (e *Edge) admit(raw net.Conn) (*conn, bool) {
	c := &conn{Conn: raw, edge: e, stall: e.cfg.Timeouts.Stall}
	if e.conns.Add(1) > int64(e.cfg.MaxConns) {
		e.metrics.overload.Inc()
		_ = c.Close() // the peer sees the close, which is all there is to tell it
		return nil, false
	}
	return c, true
}
