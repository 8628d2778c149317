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
	unknown bool // its first bytes have not been seen
	seen    uint8
	mark    [helloMark]byte
	stash   *[]byte // TLCP only: what is to be read before the connection
}

// Read is net.Conn's.
func (c *conn) Read(b []byte) (int, error) {
	switch {
	case c.first.stash != nil:
		return c.first.again(b), nil
	case c.first.unknown:
		return c.first.read(c, b)
	}
	return c.Conn.Read(b)
}

func (f *first) read(c *conn, b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	before := f.seen
	f.seen += uint8(copy(f.mark[f.seen:], b[:n]))
	switch {
	case f.seen < helloMark: // the rest may still come
	case tlcp.IsRecord(f.mark[:]):
		stash := append(f.mark[:before:before], b[:n]...)
		f.unknown, f.stash, c.tlcp = false, &stash, true
		return 0, errTLCP
	default:
		f.unknown = false
	}
	return n, err
}

// again reads from the stash.
func (f *first) again(b []byte) int {
	n := copy(b, *f.stash)
	if *f.stash = (*f.stash)[n:]; len(*f.stash) == 0 {
		f.stash = nil
	}
	return n
}
