package tlcp

import (
	"net/netip"
	"strings"
)

// Extensions we look at (IANA numbers); others are ignored.
const (
	extServerName    = 0
	extALPN          = 16
	extSessionTicket = 35
)

type clientHello struct {
	version      uint16
	random       [32]byte
	sessionID    []byte
	suites       []uint16
	compressions []byte

	serverName string // "" if absent or no host name
	protos     []string
	tickets    bool // the extension was sent
	ticket     []byte
}

// parseClientHello takes the body of a message apart. Its errors carry the alert.
func parseClientHello(body []byte) (*clientHello, error) {
	r, h := reader(body), new(clientHello)
	version, ok1 := r.uint(2)
	random, ok2 := r.fixed(32)
	id, ok3 := r.vector(1)
	suites, ok4 := r.vector(2)
	compressions, ok5 := r.vector(1)
	switch {
	case !ok1 || !ok2 || !ok3 || !ok4 || !ok5:
		return nil, refuse(AlertDecodeError, "the ClientHello is cut short")
	case len(id) > 32:
		return nil, refuse(AlertDecodeError, "the session ID has %d bytes, want at most 32", len(id))
	case len(suites) == 0 || len(suites)%2 != 0:
		return nil, refuse(AlertDecodeError, "the cipher suites take %d bytes, want a positive even number", len(suites))
	case len(compressions) == 0:
		return nil, refuse(AlertDecodeError, "the ClientHello has no compression methods, want null")
	}
	h.version, h.sessionID, h.compressions = uint16(version), id, compressions
	copy(h.random[:], random)
	h.suites = make([]uint16, len(suites)/2)
	for i := range h.suites {
		h.suites[i] = uint16(suites[2*i])<<8 | uint16(suites[2*i+1])
	}
	return h, h.parseExtensions(r)
}

// parseExtensions reads what follows the compression methods: nothing at all, or one
// block that ends the message.
func (h *clientHello) parseExtensions(rest reader) error {
	return eachExtension(rest, func(typ int, data reader) error {
		switch typ {
		case extServerName:
			return h.parseServerName(data)
		case extALPN:
			return h.parseALPN(data)
		case extSessionTicket:
			h.tickets, h.ticket = true, data
		}
		return nil
	})
}

// eachExtension calls f for each extension of a block that ends a hello.
func eachExtension(rest reader, f func(typ int, data reader) error) error {
	if len(rest) == 0 {
		return nil
	}
	block, ok := rest.vector(2)
	if !ok || len(rest) != 0 {
		return refuse(AlertDecodeError, "the extensions do not end with the message")
	}
	seen := make(map[int]bool)
	for len(block) > 0 {
		typ, _ := block.uint(2)
		data, ok := block.vector(2)
		if !ok {
			return refuse(AlertDecodeError, "an extension overruns the message")
		}
		if seen[typ] {
			return refuse(AlertIllegalParameter, "extension %d comes twice", typ)
		}
		seen[typ] = true
		if err := f(typ, data); err != nil {
			return err
		}
	}
	return nil
}

// parseServerName reads the list of RFC 6066 section 3 and keeps its first host name.
func (h *clientHello) parseServerName(data reader) error {
	list, ok := data.vector(2)
	if !ok || len(data) != 0 || len(list) == 0 {
		return refuse(AlertDecodeError, "the server_name extension is malformed")
	}
	for first := true; len(list) > 0; {
		typ, _ := list.uint(1)
		name, ok := list.vector(2)
		if !ok || len(name) == 0 {
			return refuse(AlertDecodeError, "the server_name extension is malformed")
		}
		if typ == 0 && first {
			h.serverName, first = hostName(string(name)), false
		}
	}
	return nil
}

// hostName returns a name as it is compared, or "" for what is no host name: a client
// that sends its IP address sends no name (RFC 6066 section 3).
func hostName(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if len(name) == 0 || len(name) > 253 {
		return ""
	}
	for i := range len(name) {
		c := name[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return ""
		}
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return ""
	}
	return name
}

// parseALPN reads the list of RFC 7301 section 3.1.
func (h *clientHello) parseALPN(data reader) (err error) {
	h.protos, err = parseProtocols(data)
	return err
}

func parseProtocols(data reader) (protos []string, err error) {
	list, ok := data.vector(2)
	if !ok || len(data) != 0 || len(list) == 0 {
		return nil, refuse(AlertDecodeError, "the ALPN extension is malformed")
	}
	for len(list) > 0 {
		proto, ok := list.vector(1)
		if !ok || len(proto) == 0 {
			return nil, refuse(AlertDecodeError, "the ALPN extension is malformed")
		}
		protos = append(protos, string(proto))
	}
	return protos, nil
}

// marshal makes the whole message.
func (h *clientHello) marshal() []byte {
	b := startMessage(typeClientHello, 512)
	b = append(appendUint16(b, int(h.version)), h.random[:]...)
	b = appendVector8(b, h.sessionID)
	b = appendUint16(b, 2*len(h.suites))
	for _, suite := range h.suites {
		b = appendUint16(b, int(suite))
	}
	b = appendVector8(b, h.compressions)
	if ext := h.extensions(); len(ext) > 0 {
		b = appendVector16(b, ext)
	}
	return finishMessage(b)
}

func (h *clientHello) extensions() (b []byte) {
	if h.serverName != "" {
		n := len(h.serverName)
		b = appendUint16(appendUint16(appendUint16(b, extServerName), n+5), n+3)
		b = appendVector16(append(b, 0), []byte(h.serverName))
	}
	if h.tickets {
		b = appendVector16(appendUint16(b, extSessionTicket), h.ticket)
	}
	return appendALPN(b, h.protos)
}

func appendALPN(b []byte, protos []string) []byte {
	if len(protos) == 0 {
		return b
	}
	var list []byte
	for _, p := range protos {
		list = appendVector8(list, []byte(p))
	}
	b = appendUint16(appendUint16(b, extALPN), len(list)+2)
	return appendVector16(b, list)
}
