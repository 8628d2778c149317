package edge

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errUpstreamsFull = errors.New("too many connections to upstreams of this project are open")

// shares counts the connections to upstreams by the project that made them, which may have
// as many as are free: one alone takes half of them, another half of what that leaves, and
// so on. After ten such there are 64 left for whoever comes with few.
type shares struct {
	mu  sync.Mutex
	all int
	of  map[string]int // project -> its part of all, never 0
}

// take takes a place for a connection of a project, unless it has its share of most in all.
func (s *shares) take(project string, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[project] >= most-s.all {
		return false
	}
	if s.of == nil {
		s.of = make(map[string]int)
	}
	s.of[project]++
	s.all++
	return true
}

// leave gives a place back.
func (s *shares) leave(project string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.of[project]--; s.of[project] == 0 {
		delete(s.of, project)
	}
}

// dial connects to an upstream of the site in ctx, unless its project has its share of the
// MaxConns connections to upstreams. One client connection can ask for maxStreams of them,
// and the descriptors that they take are missed by everything else in the process.
func (e *Edge) dial(ctx context.Context, network, address string) (net.Conn, error) {
	project := siteOf(ctx).project
	if !e.dialled.take(project, e.cfg.MaxConns) {
		return nil, errUpstreamsFull
	}
	dialer := net.Dialer{Timeout: e.cfg.Timeouts.Dial, Control: e.refuseAddress}
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		e.dialled.leave(project)
		return nil, err
	}
	return &outward{Conn: c, edge: e, project: project}, nil
}

// dialNaming connects to an upstream and tells it for whom.
func (c *conn) dialNaming(ctx context.Context, network, address string) (net.Conn, error) {
	out, err := c.edge.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if _, err := out.Write(proxyHeader(addrPort(c.RemoteAddr()), addrPort(c.LocalAddr()))); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// outward is a connection to an upstream. Closing it gives its place back.
type outward struct {
	net.Conn
	edge    *Edge
	project string
	closed  sync.Once
}

// Close is net.Conn's.
func (o *outward) Close() error {
	o.closed.Do(func() { o.edge.dialled.leave(o.project) })
	return o.Conn.Close()
}
