package tlcp

import (
	"errors"
	"io"
	"net"
)

// input buffers what comes from the connection. What peek returned stays valid until
// the next peek.
type input struct {
	buf  []byte
	from int
	to   int
}

const (
	firstBuffer = 2 << 10 // enough for a handshake; a connection that waits keeps it
	wholeBuffer = recordHeaderLen + maxCiphertext
)

// peek returns the next n bytes, n at most wholeBuffer, and reads as little as that takes
// but as much as there is. An error leaves what was read for the next call.
func (i *input) peek(conn net.Conn, n int) ([]byte, error) {
	i.makeRoom(n)
	for i.to-i.from < n {
		got, err := conn.Read(i.buf[i.to:])
		if i.to += got; err != nil && i.to-i.from < n {
			return i.buf[i.from:i.to], err
		}
	}
	return i.buf[i.from : i.from+n], nil
}

func (i *input) makeRoom(n int) {
	if i.from == i.to {
		i.from, i.to = 0, 0
	}
	switch {
	case i.from+n <= len(i.buf):
	case n <= len(i.buf):
		i.to = copy(i.buf, i.buf[i.from:i.to])
		i.from = 0
	default:
		size := firstBuffer
		if n > size {
			size = wholeBuffer
		}
		buf := make([]byte, size)
		i.to = copy(buf, i.buf[i.from:i.to])
		i.buf, i.from = buf, 0
	}
}

// readRecord returns the next record, without its protection. The data stays valid until
// the next call.
func (c *Conn) readRecord() (recordType, []byte, error) {
	if c.in.err != nil {
		return 0, nil, c.in.err
	}
	header, err := c.raw.peek(c.conn, recordHeaderLen)
	if err != nil {
		return 0, nil, c.ended(err, len(header) == 0 && !c.established.Load())
	}
	typ, n, err := c.checkHeader(header)
	if err != nil {
		return 0, nil, err
	}
	record, err := c.raw.peek(c.conn, recordHeaderLen+n)
	if err != nil {
		return 0, nil, c.ended(err, false)
	}
	c.raw.from += len(record)
	data, err := c.in.open(typ, record[recordHeaderLen:])
	return typ, data, err
}

// ended names the end of a connection: the end of the stream is expected between the
// records of a handshake only, where it is a client that changed its mind.
func (c *Conn) ended(err error, expected bool) error {
	if errors.Is(err, io.EOF) && !expected {
		return io.ErrUnexpectedEOF
	}
	return err
}

var errNotTLCP = errors.New("tlcp: the first record is neither of TLCP nor of TLS")

func (c *Conn) checkHeader(header []byte) (typ recordType, n int, err error) {
	typ = recordType(header[0])
	version := uint16(header[1])<<8 | uint16(header[2])
	n = int(header[3])<<8 | int(header[4])
	limit := maxCiphertext
	if c.in.protect == nil {
		limit = maxPlaintext
	}
	switch {
	case !c.isClient && c.suite == 0 && c.in.seq == 0 && header[1] != 1 && header[1] != 3:
		return 0, 0, errNotTLCP // no alert for who could not read it
	case version != Version:
		return 0, 0, refuse(AlertProtocolVersion, "a record has version 0x%04X, want 0x%04X", version, Version)
	case typ < recordChangeCipherSpec || typ > recordApplicationData:
		return 0, 0, refuse(AlertUnexpectedMessage, "a record has the unknown type %d", typ)
	case n > limit:
		return 0, 0, refuse(AlertRecordOverflow, "a record has %d bytes, want at most %d", n, limit)
	}
	return typ, n, nil
}

// maxUseless is how many records in a row may bring nothing: Tongsuo sends an empty one
// before each with data, which is fine; a stream of them only costs.
const maxUseless = 16

// next returns the next record that means something: no warning, no empty record.
func (c *Conn) next() (recordType, []byte, error) {
	for {
		typ, data, err := c.readRecord()
		switch {
		case err != nil:
			return 0, nil, err
		case typ == recordAlert:
			if err := takeAlert(data); err != nil {
				return 0, nil, err
			}
		case typ != recordApplicationData || len(data) > 0 || !c.established.Load():
			return typ, data, nil
		}
		if c.useless++; c.useless > maxUseless {
			return 0, nil, refuse(AlertUnexpectedMessage, "%d records in a row brought nothing", c.useless)
		}
	}
}

// takeAlert returns what an alert means: io.EOF, a failure, or nil for a warning.
func takeAlert(data []byte) error {
	const warning, fatal = 1, 2
	switch {
	case len(data) != 2:
		return refuse(AlertUnexpectedMessage, "an alert has %d bytes, want 2", len(data))
	case Alert(data[1]) == AlertCloseNotify:
		return io.EOF
	case data[0] == fatal:
		return &AlertError{Alert: Alert(data[1]), Remote: true}
	case data[0] != warning:
		return refuse(AlertIllegalParameter, "an alert has level %d, want 1 or 2", data[0])
	}
	return nil
}

// readData reads until there is application data. After the handshake the peer may ask
// for another, which is declined.
func (c *Conn) readData() error {
	typ, data, err := c.next()
	switch {
	case err != nil:
		return err
	case typ == recordApplicationData && len(c.hand) == 0:
		c.unread, c.useless = data, 0
		return nil
	case typ == recordHandshake && len(data) > 0:
		return c.decline(data)
	}
	return refuse(AlertUnexpectedMessage, "a record of type %d comes after the handshake", typ)
}

// maxHello bounds a handshake message before it is known what it is.
const maxHello = 64 << 10

// decline answers a wish for another handshake with no_renegotiation.
func (c *Conn) decline(data []byte) error {
	wish := typeClientHello
	if c.isClient {
		wish = typeHelloRequest
	}
	c.hand = append(c.hand, data...)
	for len(c.hand) >= 4 {
		n := 4 + int(c.hand[1])<<16 + int(c.hand[2])<<8 + int(c.hand[3])
		if c.hand[0] != wish || n > maxHello {
			return refuse(AlertUnexpectedMessage, "handshake message %d comes after the handshake", c.hand[0])
		}
		if len(c.hand) < n {
			return nil
		}
		if c.hand = c.hand[n:]; len(c.hand) == 0 {
			c.hand = nil
		}
		if c.useless++; c.useless > maxUseless {
			return refuse(AlertUnexpectedMessage, "the peer insists on another handshake")
		}
		c.sendAlert(AlertNoRenegotiation)
	}
	return nil
}
