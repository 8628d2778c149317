package tlcp

import (
	"bytes"
	"errors"
	"hash"
	"io"
	"net"
	"testing"
)

// tee is a hash that also keeps what it hashes.
type tee struct {
	hash.Hash
	raw *bytes.Buffer
}

func (t tee) Write(b []byte) (int, error) {
	t.raw.Write(b)
	return t.Hash.Write(b)
}

// Numbers are those of the negative checklist: the end of the handshake.
func TestHostileFinish(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	before := func(act func(p *peer)) func(p *peer) {
		return func(p *peer) {
			p.hello(nil)
			p.exchange()
			act(p)
		}
	}
	finishedWith := func(make func(p *peer) []byte) func(p *peer) {
		return before(func(p *peer) {
			m := make(p)
			p.changeCipherSpec()
			p.record(recordHandshake, m)
		})
	}
	unexpected, decode, decrypt := []Alert{AlertUnexpectedMessage}, []Alert{AlertDecodeError}, []Alert{AlertDecryptError}
	k.run(t, []hostile{
		{name: "100 Finished without CCS", act: before(func(p *peer) { p.record(recordHandshake, p.finished()) }), alerts: unexpected},
		{name: "101 data instead of Finished", act: before(func(p *peer) {
			p.changeCipherSpec()
			p.record(recordApplicationData, []byte("x"))
		}), alerts: unexpected},
		{name: "101 empty data instead of Finished", act: before(func(p *peer) {
			p.changeCipherSpec()
			p.record(recordApplicationData, nil)
		}), alerts: unexpected},
		{name: "102 CCS of 02", act: before(func(p *peer) { p.record(recordChangeCipherSpec, []byte{2}) }), alerts: unexpected},
		{name: "103 CCS of 01 01", act: before(func(p *peer) { p.record(recordChangeCipherSpec, []byte{1, 1}) }), alerts: unexpected},
		{name: "103 CCS of nothing", act: before(func(p *peer) { p.record(recordChangeCipherSpec, nil) }), alerts: unexpected},
		{name: "104 CCS twice in the clear", act: before(func(p *peer) {
			p.record(recordChangeCipherSpec, []byte{1})
			p.record(recordChangeCipherSpec, []byte{1})
		}), alerts: []Alert{AlertBadRecordMAC}},
		{name: "104 CCS twice", act: before(func(p *peer) {
			p.changeCipherSpec()
			p.record(recordChangeCipherSpec, []byte{1})
		}), alerts: unexpected},
		{name: "105 CCS before the CKE", act: func(p *peer) {
			p.hello(nil)
			p.record(recordChangeCipherSpec, []byte{1})
		}, alerts: unexpected},
		{name: "106 CCS in a message", act: before(func(p *peer) {
			p.record(recordHandshake, []byte{typeFinished, 0, 0})
			p.record(recordChangeCipherSpec, []byte{1})
		}), alerts: unexpected},
		{name: "107 Finished is wrong", act: finishedWith(func(p *peer) []byte {
			m := p.finished()
			m[len(m)-1] ^= 1
			return m
		}), alerts: decrypt},
		{name: "108 Finished of 11 bytes", act: finishedWith(func(p *peer) []byte {
			return message(typeFinished, p.finished()[4:15])
		}), alerts: decode},
		{name: "108 Finished of 13 bytes", act: finishedWith(func(p *peer) []byte {
			return message(typeFinished, append(p.finished()[4:], 0))
		}), alerts: decode},
		{name: "109 the server's label", act: finishedWith(func(p *peer) []byte {
			verify := verifyData(&p.h.master, labelServer, p.h.transcript.sum())
			return message(typeFinished, verify[:])
		}), alerts: decrypt},
		{name: "110 message behind Finished", act: finishedWith(func(p *peer) []byte {
			return append(p.finished(), p.finished()...)
		}), alerts: unexpected},
		{name: "111 Finished of another connection", act: before(func(p *peer) {
			other := newPeerWith(p.t, &Config{KeyPair: k.server}, p.c.config)
			other.hello(nil)
			other.exchange()
			other.changeCipherSpec()
			p.record(recordChangeCipherSpec, []byte{1})
			p.send(other.sealed(recordHandshake, other.finished()))
		}), alerts: []Alert{AlertBadRecordMAC}},
		{name: "another message instead of Finished", act: finishedWith(func(*peer) []byte {
			return message(typeHelloRequest, nil)
		}), alerts: unexpected},
	})
}

// What may not come after the handshake.
func TestHostileAfter(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	after := func(act func(p *peer)) func(p *peer) {
		return func(p *peer) {
			p.connect()
			act(p)
		}
	}
	unexpected := []Alert{AlertUnexpectedMessage}
	hello := message(typeClientHello, helloBody())
	declined := func(p *peer) {
		p.t.Helper()
		typ, data, err := p.c.readRecord()
		if err != nil || typ != recordAlert || !bytes.Equal(data, []byte{1, byte(AlertNoRenegotiation)}) {
			p.t.Fatalf("got record %d %x, %v, want the warning no_renegotiation", typ, data, err)
		}
	}
	k.run(t, []hostile{
		{name: "112 CCS", act: after(func(p *peer) { p.record(recordChangeCipherSpec, []byte{1}) }), alerts: unexpected},
		{name: "113 ClientHello", act: after(func(p *peer) {
			p.record(recordHandshake, hello[:9])
			p.record(recordHandshake, hello[9:])
			declined(p)
			p.echoed()
			p.record(recordHandshake, hello)
			declined(p)
			p.echoed()
		})},
		{name: "113 ClientHello for ever", act: after(func(p *peer) {
			for range 40 {
				if _, err := p.tcp.Write(p.sealed(recordHandshake, hello)); err != nil {
					break
				}
			}
		}), alerts: unexpected},
		{name: "114 1 MB of handshake", act: after(func(p *peer) {
			p.record(recordHandshake, []byte{typeClientHello, 0x10, 0, 0})
			for range 64 {
				if _, err := p.tcp.Write(p.sealed(recordHandshake, make([]byte, maxPlaintext))); err != nil {
					break
				}
			}
		}), alerts: unexpected},
		{name: "114 data in a message", act: after(func(p *peer) {
			p.record(recordHandshake, hello[:9])
			p.record(recordApplicationData, []byte("x"))
		}), alerts: unexpected},
		{name: "114 empty handshake", act: after(func(p *peer) { p.record(recordHandshake, nil) }), alerts: unexpected},
		{name: "115 HelloRequest", act: after(func(p *peer) { p.record(recordHandshake, message(typeHelloRequest, nil)) }), alerts: unexpected},
		{name: "121 data after close_notify", act: after(func(p *peer) {
			p.record(recordAlert, []byte{1, 0})
			p.record(recordApplicationData, []byte("too late\n"))
			if err := p.wantClose(); err != nil {
				p.t.Errorf("got %v, want an orderly end", err)
			}
		})},
		{name: "122 FIN without close_notify", act: after(func(p *peer) {
			p.must(p.tcp.(*net.TCPConn).CloseWrite())
			if err := p.wantClose(); !errors.Is(err, io.ErrUnexpectedEOF) {
				p.t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
			}
		})},
		{name: "122 FIN in a record", act: after(func(p *peer) {
			p.send(header(23, Version, 100))
			p.must(p.tcp.(*net.TCPConn).CloseWrite())
			if err := p.wantClose(); !errors.Is(err, io.ErrUnexpectedEOF) {
				p.t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
			}
		})},
	})
}

// 119: in a resumed handshake the server finishes first, and a client that does not wait
// for it is out of order; 116, 117, 118 and 120 are in resume_test.go.
func TestHostileResume(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	cache := NewSessionCache(1)
	sc := &Config{KeyPair: k.server, SessionCache: cache}
	cc := &Config{InsecureSkipVerify: true, ServerName: testName, ClientSessionCache: NewClientSessionCache(1)}
	mustShake(t, cc, sc)
	session, ok := cc.ClientSessionCache.Get(testName)
	if !ok {
		t.Fatal("got no session")
	}
	resume := func(p *peer) {
		p.sendHello(func(h *clientHello) { h.sessionID = session.id })
		p.must(p.h.readHello())
		p.c.suite, p.h.master = p.h.answer.suite, session.state.master
		p.must(p.h.deriveKeys())
		typ, _, err := p.c.readRecord()
		p.must(err)
		if typ != recordChangeCipherSpec {
			t.Fatalf("got record %d, want the server's ChangeCipherSpec", typ)
		}
		p.c.in.switchTo(p.h.inward)
	}
	k.run(t, []hostile{
		{name: "119 Finished too early", config: func(c *Config) { c.SessionCache = cache }, act: func(p *peer) {
			resume(p)
			p.finish() // over a transcript without the server's Finished
		}, alerts: []Alert{AlertDecryptError}},
		{name: "key exchange in a resumed handshake", config: func(c *Config) { c.SessionCache = cache }, act: func(p *peer) {
			resume(p)
			p.write(message(typeClientKeyExchange, []byte{0, 1, 0}))
		}, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "without the master secret", config: func(c *Config) { c.SessionCache = cache }, act: func(p *peer) {
			resume(p)
			p.h.outward = newGCM(make([]byte, 16), make([]byte, 4))
			p.finish()
		}, alerts: []Alert{AlertBadRecordMAC}},
	})
}
