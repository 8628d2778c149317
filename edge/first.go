package edge

import (
	"errors"

	"lacre/tlcp"
)

// errTLCP ends the handshake of crypto/tls before it has begun.
var errTLCP = errors.New("TLCP")

// helloMark is how many bytes tell TLCP from TLS: the type and the version of a record.
const helloMark = 3

// first is what a connection began with, until it is known whether it speaks TLS or
// TLCP (GB/T 38636). crypto/tls is given the bytes as they come, and looks at none before
// it has five: a client of TLS costs one comparison, not a read or a copy more than it
// would without TLCP. When they turn out to be TLCP's, crypto/tls gets an error instead,
// to which it answers nothing, and TLCP all of them.
type first struct {
	mark  [helloMark]byte
	seen  int
	stash []byte // TLCP only: what is to be read before the connection
}

// Read is net.Conn's.
func (c *conn) Read(b []byte) (int, error) {
	if c.first == nil {
		return c.Conn.Read(b)
	}
	return c.first.read(c, b)
}

func (f *first) read(c *conn, b []byte) (int, error) {
	if len(f.stash) > 0 {
		n := copy(b, f.stash)
		if f.stash = f.stash[n:]; len(f.stash) == 0 {
			c.first = nil
		}
		return n, nil
	}
	n, err := c.Conn.Read(b)
	before := f.seen
	f.seen += copy(f.mark[f.seen:], b[:n])
	switch {
	case f.seen < helloMark: // the rest may still come
	case tlcp.IsRecord(f.mark[:]):
		f.stash = append(append(f.stash, f.mark[:before]...), b[:n]...)
		c.tlcp = true
		return 0, errTLCP
	default:
		c.first = nil
	}
	return n, err
}
