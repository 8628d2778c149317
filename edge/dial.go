package edge

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errUpstreamsFull = errors.New("too many connections to upstreams are open")

// dial connects to an upstream, unless MaxConns connections to upstreams are open. One
// client connection can ask for maxStreams of them, and the descriptors that they take
// are missed by everything else in the process.
func (e *Edge) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if e.dialled.Add(1) > int64(e.cfg.MaxConns) {
		e.dialled.Add(-1)
		return nil, errUpstreamsFull
	}
	dialer := net.Dialer{Timeout: e.cfg.Timeouts.Dial, Control: e.refuseAddress}
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		e.dialled.Add(-1)
		return nil, err
	}
	return &outward{Conn: c, edge: e}, nil
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
	edge   *Edge
	closed sync.Once
}

// Close is net.Conn's.
func (o *outward) Close() error {
	o.closed.Do(func() { o.edge.dialled.Add(-1) })
	return o.Conn.Close()
}
