package edge

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"lacre/tlcp"
)

// What net/http answers by itself never gets to a handler: requests that it cannot read
// (400, 431, 501, 505), an expectation it does not know (417), OPTIONS *. It is
// counted and logged as it is written, by these connections below HTTP/1. They are of one
// pointer, and so cost no memory.
type (
	answeringTLS   struct{ *tls.Conn }
	answeringTLCP  struct{ *tlcp.Conn }
	answeringPlain struct{ *conn }
)

// answering is what the HTTP server gets for a connection of TLS. It speaks HTTP/2 over
// *tls.Conn itself only, and answers nothing by itself there but resets.
func answering(c *tls.Conn, protocol string) net.Conn {
	if protocol == "h2" {
		return c
	}
	return answeringTLS{c}
}

// Read is net.Conn's.
func (a answeringTLS) Read(b []byte) (int, error) {
	return a.NetConn().(*conn).requests(a.Conn, b)
}

// Read is net.Conn's.
func (a answeringTLCP) Read(b []byte) (int, error) {
	return a.NetConn().(*conn).requests(a.Conn, b)
}

// Read is net.Conn's.
func (a answeringPlain) Read(b []byte) (int, error) { return a.requests(a.conn, b) }

// requests reads HTTP/1 requests from what is on top of the connection, and whatever comes
// once it has left HTTP.
func (c *conn) requests(from io.Reader, b []byte) (int, error) {
	if c.upgraded.Load() && !c.framing.refused {
		return from.Read(b)
	}
	return c.framing.read(from, b)
}

// Write is net.Conn's.
func (a answeringTLS) Write(b []byte) (int, error) {
	a.NetConn().(*conn).answers(a.Conn, b)
	return a.Conn.Write(b)
}

// Write is net.Conn's.
func (a answeringTLCP) Write(b []byte) (int, error) {
	a.NetConn().(*conn).answers(nil, b)
	return a.Conn.Write(b)
}

// Write is net.Conn's.
func (a answeringPlain) Write(b []byte) (int, error) {
	a.answers(nil, b)
	return a.conn.Write(b)
}

// answers notes an answer that no handler gives.
func (c *conn) answers(secured *tls.Conn, b []byte) {
	if c.handled.Load() || len(b) < len("HTTP/1.1 400") || !bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return
	}
	status, err := strconv.Atoi(string(b[9:12]))
	if err != nil {
		return
	}
	c.edge.metrics.request(status)
	if c.edge.access == nil {
		return
	}
	r := &http.Request{RemoteAddr: c.RemoteAddr().String(), URL: &url.URL{}, Proto: string(b[:8])}
	if secured != nil {
		state := secured.ConnectionState()
		r.TLS = &state
	}
	_, text, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	x := &exchange{in: r, conn: c, begin: time.Now(), status: status}
	x.sent.Store(int64(len(text)))
	c.edge.access.record(x, 0)
}
