package tlcp

// reader takes a message apart. A failed read leaves it empty and returns false.
type reader []byte

func (r *reader) fixed(n int) ([]byte, bool) {
	if n < 0 || len(*r) < n {
		*r = nil
		return nil, false
	}
	out := (*r)[:n:n]
	*r = (*r)[n:]
	return out, true
}

func (r *reader) uint(size int) (n int, ok bool) {
	b, ok := r.fixed(size)
	for _, x := range b {
		n = n<<8 | int(x)
	}
	return n, ok
}

// vector reads a vector whose length takes size bytes.
func (r *reader) vector(size int) (reader, bool) {
	n, ok := r.uint(size)
	if !ok {
		return nil, false
	}
	b, ok := r.fixed(n)
	return b, ok
}

func appendUint16(b []byte, n int) []byte { return append(b, byte(n>>8), byte(n)) }

func appendUint24(b []byte, n int) []byte { return append(b, byte(n>>16), byte(n>>8), byte(n)) }

func appendVector8(b, v []byte) []byte { return append(append(b, byte(len(v))), v...) }

func appendVector16(b, v []byte) []byte { return append(appendUint16(b, len(v)), v...) }

func appendVector24(b, v []byte) []byte { return append(appendUint24(b, len(v)), v...) }

// handshake types (section 6.4.5.2 of the standard, and RFC 5077).
const (
	typeHelloRequest       byte = 0
	typeClientHello        byte = 1
	typeServerHello        byte = 2
	typeNewSessionTicket   byte = 4
	typeCertificate        byte = 11
	typeServerKeyExchange  byte = 12
	typeCertificateRequest byte = 13
	typeServerHelloDone    byte = 14
	typeCertificateVerify  byte = 15
	typeClientKeyExchange  byte = 16
	typeFinished           byte = 20
)

// startMessage begins a handshake message; finishMessage writes its length.
func startMessage(typ byte, capacity int) []byte {
	return append(make([]byte, 0, 4+capacity), typ, 0, 0, 0)
}

func finishMessage(m []byte) []byte {
	appendUint24(m[:1], len(m)-4)
	return m
}

// message makes a handshake message of a finished body.
func message(typ byte, body []byte) []byte {
	return append(appendUint24(append(make([]byte, 0, 4+len(body)), typ), len(body)), body...)
}
