package tlcp

import (
	"bytes"
	"strings"
	"testing"
)

// sendBody sends a ClientHello with this body.
func (p *peer) sendBody(body []byte) {
	p.t.Helper()
	p.write(message(typeClientHello, body))
}

// helloBody is the body of a good hello up to its extensions.
func helloBody() []byte {
	h := &clientHello{version: Version, compressions: []byte{0}, suites: []uint16{ECC_SM4_GCM_SM3}}
	return h.marshal()[4:]
}

func withExtensions(extensions ...[]byte) []byte {
	return appendVector16(helloBody(), bytes.Join(extensions, nil))
}

func extension(typ int, data []byte) []byte { return appendVector16(appendUint16(nil, typ), data) }

func nameExtension(name string) []byte {
	entry := appendVector16([]byte{0}, []byte(name))
	return extension(extServerName, appendVector16(nil, entry))
}

// answered reads the server's flight after a hello sent by hand.
func (p *peer) answered() {
	p.t.Helper()
	p.must(p.h.readHello())
	p.c.suite = p.h.answer.suite
	p.must(p.h.readFlight())
	p.certificate()
	p.exchange()
	p.proof()
	p.finish()
	p.accepted()
	p.echoed()
}

// Numbers are those of the negative checklist: hellos that are refused.
func TestHostileHellos(t *testing.T) {
	t.Parallel()
	hello := func(change func(*clientHello)) func(*peer) {
		return func(p *peer) { p.sendHello(change) }
	}
	body := func(b []byte) func(*peer) { return func(p *peer) { p.sendBody(b) } }
	decode := []Alert{AlertDecodeError}
	newTestPKI(t).run(t, []hostile{
		{name: "34 empty handshake record", act: func(p *peer) { p.record(recordHandshake, nil) }, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "35 length ffffff", act: func(p *peer) { p.record(recordHandshake, []byte{1, 0xff, 0xff, 0xff}) }, alerts: decode},
		{name: "36 over 64 KiB", act: body(make([]byte, maxHello+1)), alerts: decode},
		{name: "37 version 0303", act: hello(func(h *clientHello) { h.version = 0x0303 }), alerts: []Alert{AlertProtocolVersion}},
		{name: "38 version 0100", act: hello(func(h *clientHello) { h.version = 0x0100 }), alerts: []Alert{AlertProtocolVersion}},
		{name: "40 no common suite", act: hello(func(h *clientHello) { h.suites = []uint16{0x1301, 0xc02b} }), alerts: []Alert{AlertHandshakeFailure}},
		{name: "41 no suites", act: hello(func(h *clientHello) { h.suites = nil }), alerts: decode},
		{name: "42 odd suites", act: func(p *peer) {
			b := append(helloBody()[:35], 0, 3, 0xe0, 0x53, 0xe0, 1, 0)
			p.sendBody(b)
		}, alerts: decode},
		{name: "45 byte after the extensions", act: body(append(withExtensions(nameExtension(testName)), 0)), alerts: decode},
		{name: "46 extension overruns", act: body(withExtensions([]byte{0, 99, 0, 9, 1})), alerts: decode},
		{name: "46 extensions overrun", act: body(append(helloBody(), 0, 9, 0, 0)), alerts: decode},
		{name: "46 half an extension", act: body(withExtensions([]byte{0, 99, 0})), alerts: decode},
		{name: "46 name overruns", act: body(withExtensions(extension(extServerName, []byte{0, 4, 0, 0, 9, 'x'}))), alerts: decode},
		{name: "46 no names", act: body(withExtensions(extension(extServerName, []byte{0, 0}))), alerts: decode},
		{name: "46 no protocols", act: body(withExtensions(extension(extALPN, []byte{0, 0}))), alerts: decode},
		{name: "46 empty protocol", act: body(withExtensions(extension(extALPN, []byte{0, 1, 0}))), alerts: decode},
		{name: "47 name twice", act: body(withExtensions(nameExtension(testName), nameExtension(testName))), alerts: []Alert{AlertIllegalParameter}},
		{name: "48 no compressions", act: hello(func(h *clientHello) { h.compressions = nil }), alerts: decode},
		{name: "49 compression without null", act: hello(func(h *clientHello) { h.compressions = []byte{1} }), alerts: []Alert{AlertHandshakeFailure}},
		{name: "50 session ID of 33", act: hello(func(h *clientHello) { h.sessionID = make([]byte, 33) }), alerts: decode},
		{name: "52 cut in the random", act: body(helloBody()[:20]), alerts: decode},
		{name: "52 empty", act: body(nil), alerts: decode},
		{name: "57 ServerHello", act: func(p *peer) { p.write((&serverHello{version: Version}).marshal()) }, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "58 garbage behind the hello", act: func(p *peer) {
			p.record(recordHandshake, append(message(typeClientHello, helloBody()), 0xff, 0xff))
		}, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "59 ECDHE without client authentication", act: hello(func(h *clientHello) {
			h.suites = []uint16{ECDHE_SM4_GCM_SM3, ECDHE_SM4_CBC_SM3}
		}), alerts: []Alert{AlertHandshakeFailure}},
		{name: "60 RSA and IBC only", act: hello(func(h *clientHello) {
			h.suites = []uint16{0xe019, 0xe059, 0xe01c, 0xe05a, 0xe015, 0xe055, 0xe017, 0xe057}
		}), alerts: []Alert{AlertHandshakeFailure}},
	})
}

// Hellos that are odd, and good.
func TestOddHellos(t *testing.T) {
	t.Parallel()
	hello := func(change func(*clientHello)) func(*peer) {
		return func(p *peer) {
			p.sendHello(change)
			p.answered()
		}
	}
	body := func(b []byte) func(*peer) {
		return func(p *peer) {
			p.h.client = [32]byte(b[2:34])
			p.h.hello = clientHello{suites: []uint16{ECC_SM4_GCM_SM3}, serverName: testName, protos: []string{"h2"}}
			p.sendBody(b)
			p.answered()
		}
	}
	newTestPKI(t).run(t, []hostile{
		{name: "33 one byte a record", act: func(p *peer) {
			m := message(typeClientHello, helloBody())
			p.h.hello.suites = []uint16{ECC_SM4_GCM_SM3}
			p.h.transcript.add(m)
			for i := range m {
				p.record(recordHandshake, m[i:i+1])
			}
			p.answered()
		}},
		{name: "39 version 0102", act: hello(func(h *clientHello) { h.version = 0x0102 })},
		{name: "43 GREASE and SCSV", act: hello(func(h *clientHello) { h.suites = []uint16{0x8a8a, 0x00ff, ECC_SM4_CBC_SM3} })},
		{name: "44 no extensions", act: hello(func(h *clientHello) { h.serverName = "" })},
		{name: "51 unknown session ID", config: func(c *Config) { c.SessionCache = NewSessionCache(1) },
			act: hello(func(h *clientHello) { h.sessionID = bytes.Repeat([]byte{7}, 32) })},
		{name: "51 unknown ticket", config: func(c *Config) { sealed(c) },
			act: hello(func(h *clientHello) { h.tickets, h.ticket = true, []byte("not of your making") })},
		{name: "53 EMS and EtM", act: body(withExtensions(extension(23, nil), extension(22, nil), nameExtension(testName)))},
		{name: "54 name with NUL", act: body(withExtensions(nameExtension("gw\x00.example.com")))},
		{name: "54 name of 300", act: body(withExtensions(nameExtension(strings.Repeat("a", 300))))},
		{name: "54 IP address", act: body(withExtensions(nameExtension("192.0.2.1")))},
		{name: "54 IPv6 address", act: body(withExtensions(nameExtension("2001:db8::1")))},
		{name: "55 unknown name", act: body(withExtensions(nameExtension("other.example.com")))},
		{name: "56 ALPN without overlap", act: func(p *peer) {
			hello(func(h *clientHello) { h.protos = []string{"spdy/1"} })(p)
			if p.c.proto != "" || p.h.answer.proto != "" {
				p.t.Errorf("got protocol %q, want none", p.h.answer.proto)
			}
		}},
	})
}

func TestHostName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"GW.Example.COM.": testName, "a_b.example.com": "a_b.example.com", "": "", ".": "", "192.0.2.1": "", "a b": "", "a\x00b": "",
		"xn--fiq228c.example": "xn--fiq228c.example", "中文.example": "", strings.Repeat("a", 254): "", "::1": "",
	} {
		if got := hostName(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
