package edge

import (
	"bytes"
	"io"
)

// framing follows HTTP/1 requests as they come in and stops at what net/http would mend
// where RFC 9112 lets a server refuse: a line that ends in a bare LF (section 2.2), a folded
// field (5.2), a length beside a coding and a coding in HTTP/1.0 (6.1). Who stands before
// this edge may have read such a request otherwise. All else, and the answer, is left to
// net/http, which finds the same ends of heads, bodies and chunks.
type framing struct {
	in   part
	last [2]byte // the latest two bytes of this line, the latest first

	name   [len("transfer-encoding")]byte // of the field, in lower case
	named  int                            // its bytes
	left   uint64                         // bytes of the body or chunk; first the number that says so
	digits int                            // of a chunk's size

	old      bool // HTTP/1.0
	length   bool // a Content-Length was seen
	coding   bool // a Transfer-Encoding was seen
	sizing   bool // the field is the Content-Length
	trailing bool // the fields are those of a trailer

	refused bool
	bait    string // what net/http reads instead of the rest
}

// part is what a byte of a request belongs to.
type part uint8

const (
	between     part = iota // requests
	requestLine             // behind its first byte
	fieldBegin
	fieldName
	fieldValue
	fieldsEnd // behind the CR of an empty line
	sizedBody
	chunkSize
	chunkExtension
	chunkData
)

// read reads from a connection and keeps back what is refused.
func (f *framing) read(from io.Reader, b []byte) (int, error) {
	if f.refused {
		return f.end(b)
	}
	n, err := from.Read(b)
	good := f.follow(b[:n])
	if good == n {
		return n, err
	}
	f.refuse()
	n, err = f.end(b[good:])
	if good > 0 {
		err = nil // the next read says it
	}
	return good + n, err
}

// refuse has net/http find a field without a name or a chunk size that is none, which it
// answers 400.
func (f *framing) refuse() {
	f.refused = true
	switch f.in {
	case fieldBegin:
		f.bait = ":\r\n\r\n"
	case chunkSize, chunkExtension:
		f.bait = "\rx\r\n"
	default:
		f.bait = "\r\n:\r\n\r\n"
	}
}

// end reads the bait, and then the end.
func (f *framing) end(b []byte) (n int, err error) {
	n = copy(b, f.bait)
	f.bait = f.bait[n:]
	if n == 0 && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

// follow returns how many bytes of b, from its begin, are not refused.
func (f *framing) follow(b []byte) int {
	for i := 0; i < len(b); {
		n, ok := f.step(b[i:])
		if !ok {
			return i
		}
		i += n
	}
	return len(b)
}

// step reads at least one byte of b, unless it is refused.
func (f *framing) step(b []byte) (n int, ok bool) {
	switch f.in {
	case sizedBody, chunkData:
		return f.skipData(b), true
	case requestLine, fieldValue, chunkExtension:
		if n := f.skipText(b); n > 0 {
			return n, true
		}
	}
	ok = f.one(b[0])
	f.last = [2]byte{b[0], f.last[0]}
	return 1, ok
}

// skipData passes over bytes that mean nothing here.
func (f *framing) skipData(b []byte) int {
	n := min(uint64(len(b)), f.left)
	f.left -= n
	switch {
	case f.left > 0:
	case f.in == chunkData:
		f.in = chunkSize
	default:
		f.in = between
	}
	return int(n)
}

// skipText passes over text that means nothing here, up to the end of its line.
func (f *framing) skipText(b []byte) int {
	if f.sizing && f.in == fieldValue {
		return 0
	}
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		n = len(b)
	}
	for _, c := range b[max(n-2, 0):n] {
		f.last = [2]byte{c, f.last[0]}
	}
	return n
}

// one reads one byte of a line, and tells whether it may stand there.
func (f *framing) one(c byte) bool {
	if c == '\n' {
		return f.in == between || f.last[0] == '\r' && f.endLine()
	}
	switch f.in {
	case between:
		f.begin(c)
	case fieldBegin:
		return f.beginField(c)
	case fieldName:
		return f.nameField(c)
	case fieldValue:
		f.sizeBody(c)
	case fieldsEnd:
		return false
	case chunkSize:
		return f.sizeChunk(c)
	}
	return true
}

// begin begins a request. Empty lines before it are net/http's affair.
func (f *framing) begin(c byte) {
	if c != '\r' {
		*f = framing{in: requestLine}
	}
}

func (f *framing) endLine() bool {
	switch f.in {
	case requestLine:
		f.old = f.last[1] == '0'
		f.in = fieldBegin
	case fieldsEnd:
		f.endFields()
	case chunkSize, chunkExtension:
		return f.endSize()
	default:
		f.in = fieldBegin
	}
	return true
}

func (f *framing) endFields() {
	switch {
	case f.coding && !f.trailing:
		f.in, f.left, f.digits = chunkSize, 0, 0
	case f.length && f.left > 0:
		f.in = sizedBody
	default:
		f.in = between
	}
}

func (f *framing) beginField(c byte) bool {
	f.in, f.named, f.sizing = fieldName, 0, false
	switch c {
	case '\r':
		f.in = fieldsEnd
		return true
	case ' ', '\t':
		f.in = fieldBegin
		return false
	}
	return f.nameField(c)
}

// nameField reads a byte of a field's name, or the colon behind it.
func (f *framing) nameField(c byte) bool {
	if c == ':' {
		f.in = fieldValue
		return f.trailing || f.note()
	}
	if f.named < len(f.name) {
		f.name[f.named] = lower(c)
	}
	f.named++
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// note takes note of the field that was named, and tells whether it may stand there.
func (f *framing) note() bool {
	switch {
	case f.named > len(f.name):
	case string(f.name[:f.named]) == "content-length":
		f.length, f.sizing, f.left = true, true, 0
	case string(f.name[:f.named]) == "transfer-encoding":
		f.coding = true
	}
	return !f.coding || !f.length && !f.old
}

// sizeBody reads a digit of a Content-Length. One that has anything but digits, is none or
// is past 63 bits is refused by net/http.
func (f *framing) sizeBody(c byte) {
	const most = (1<<63 - 1) / 10
	if f.sizing && '0' <= c && c <= '9' && f.left <= most {
		f.left = f.left*10 + uint64(c-'0')
	}
}

// sizeChunk reads a byte of a chunk's size in hexadecimal, or one behind it.
func (f *framing) sizeChunk(c byte) bool {
	digit := bytes.IndexByte([]byte("0123456789abcdef"), lower(c))
	switch {
	case digit >= 0:
		f.left = f.left<<4 | uint64(digit)
		f.digits++
	case c != '\r':
		f.in = chunkExtension
	}
	return f.digits <= 16
}

func (f *framing) endSize() bool {
	size, digits := f.left, f.digits
	f.left, f.digits = size+uint64(len("\r\n")), 0
	f.in = chunkData
	if size == 0 {
		f.in, f.trailing = fieldBegin, true
	}
	return digits > 0 && size < 1<<63
}
