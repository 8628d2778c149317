package tlcp

type serverHello struct {
	version     uint16
	random      [32]byte
	sessionID   []byte
	suite       uint16
	compression byte

	named   bool   // the name was recognised
	proto   string // ALPN; "" without
	tickets bool   // a NewSessionTicket follows
}

// marshal makes the whole message. Without anything to answer it has no extensions at
// all: some old clients choke on an empty block.
func (h *serverHello) marshal() []byte {
	b := startMessage(typeServerHello, 128)
	b = append(appendUint16(b, int(h.version)), h.random[:]...)
	b = appendVector8(b, h.sessionID)
	b = append(appendUint16(b, int(h.suite)), h.compression)
	var ext []byte
	if h.named {
		ext = appendUint16(appendUint16(ext, extServerName), 0)
	}
	if h.tickets {
		ext = appendUint16(appendUint16(ext, extSessionTicket), 0)
	}
	if h.proto != "" {
		ext = appendALPN(ext, []string{h.proto})
	}
	if len(ext) > 0 {
		b = appendVector16(b, ext)
	}
	return finishMessage(b)
}

// parseServerHello takes the body of a message apart.
func parseServerHello(body []byte) (*serverHello, error) {
	r, h := reader(body), new(serverHello)
	version, ok1 := r.uint(2)
	random, ok2 := r.fixed(32)
	id, ok3 := r.vector(1)
	suite, ok4 := r.uint(2)
	compression, ok5 := r.uint(1)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || len(id) > 32 {
		return nil, refuse(AlertDecodeError, "the ServerHello is malformed")
	}
	h.version, h.sessionID, h.suite, h.compression = uint16(version), id, uint16(suite), byte(compression)
	copy(h.random[:], random)
	return h, eachExtension(r, h.parseExtension)
}

// parseExtension takes an answer. What the client never asks for is refused
// (RFC 5246 section 7.4.1.4).
func (h *serverHello) parseExtension(typ int, data reader) error {
	switch typ {
	case extServerName, extSessionTicket:
		if len(data) != 0 {
			return refuse(AlertDecodeError, "the answer to extension %d has %d bytes, want none", typ, len(data))
		}
		h.named, h.tickets = h.named || typ == extServerName, h.tickets || typ == extSessionTicket
	case extALPN:
		protos, err := parseProtocols(data)
		if err != nil {
			return err
		}
		if len(protos) != 1 {
			return refuse(AlertDecodeError, "the server chose %d protocols, want one", len(protos))
		}
		h.proto = protos[0]
	default:
		return refuse(AlertUnsupportedExtension, "the server answers extension %d, which was not sent", typ)
	}
	return nil
}
