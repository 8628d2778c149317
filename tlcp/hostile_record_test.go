package tlcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func header(typ byte, version uint16, length int) []byte {
	return []byte{typ, byte(version >> 8), byte(version), byte(length >> 8), byte(length)}
}

// Numbers are those of the negative checklist in the protocol notes: what is wrong with
// records before anything is protected.
func TestHostileRecords(t *testing.T) {
	t.Parallel()
	newTestPKI(t).run(t, []hostile{
		{name: "1 CCS first", act: func(p *peer) { p.record(recordChangeCipherSpec, []byte{1}) }, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "2 data first", act: func(p *peer) { p.record(recordApplicationData, []byte("x")) }, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "2 empty data first", act: func(p *peer) { p.record(recordApplicationData, nil) }, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "3 unknown type", act: func(p *peer) { p.record(24, []byte("x")) }, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "4 site2site", act: func(p *peer) { p.record(recordSite2Site, []byte("x")) }, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "5 HTTP", act: func(p *peer) {
			p.send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			if err := p.wantClose(); !errors.Is(err, errNotTLCP) {
				p.t.Errorf("got %v, want %v", err, errNotTLCP)
			}
		}},
		{name: "6 SSLv2", act: func(p *peer) {
			p.send([]byte("\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00"))
			if err := p.wantClose(); !errors.Is(err, errNotTLCP) {
				p.t.Errorf("got %v, want %v", err, errNotTLCP)
			}
		}},
		{name: "7 record version 0303", act: func(p *peer) {
			hello := p.sealed(recordHandshake, (&clientHello{version: Version, suites: defaultSuites, compressions: []byte{0}}).marshal())
			hello[1], hello[2] = 3, 3
			p.send(hello)
		}, alerts: []Alert{AlertProtocolVersion}},
		{name: "8 plaintext of 16385", act: func(p *peer) { p.send(header(22, Version, maxPlaintext+1)) }, alerts: []Alert{AlertRecordOverflow}},
		{name: "9 length 18433", act: func(p *peer) {
			p.connect()
			p.send(header(23, Version, maxCiphertext+1))
		}, alerts: []Alert{AlertRecordOverflow}},
		{name: "28 alert of 3 bytes", act: func(p *peer) { p.record(recordAlert, []byte{1, 90, 0}) }, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "29 alert of level 3", act: func(p *peer) { p.record(recordAlert, []byte{3, 90}) }, alerts: []Alert{AlertIllegalParameter}},
		{name: "30 cut in a record", act: func(p *peer) {
			p.send(append(header(22, Version, 100), 1, 0))
			p.must(p.tcp.(*net.TCPConn).CloseWrite())
			if err := p.wantClose(); !errors.Is(err, io.ErrUnexpectedEOF) {
				p.t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
			}
		}},
		{name: "31 a byte at a time", act: func(p *peer) {
			p.c.conn = dribble{p.tcp}
			p.connect()
			p.echoed()
		}},
	})
}

// dribble writes a byte at a time.
type dribble struct{ net.Conn }

func (d dribble) Write(b []byte) (int, error) {
	for i := range b {
		if n, err := d.Conn.Write(b[i : i+1]); err != nil {
			return i + n, err
		}
	}
	return len(b), nil
}

// What is wrong with protected records.
func TestHostileProtectedRecords(t *testing.T) {
	t.Parallel()
	flip := func(at func([]byte) int) func(*peer) {
		return func(p *peer) {
			p.connect()
			record := p.sealed(recordApplicationData, []byte("hello\n"))
			record[at(record)] ^= 1
			p.send(record)
		}
	}
	bad := []Alert{AlertBadRecordMAC}
	newTestPKI(t).run(t, []hostile{
		{name: "10 plaintext of 16385", act: func(p *peer) {
			p.connect()
			p.record(recordApplicationData, make([]byte, maxPlaintext+1))
		}, alerts: []Alert{AlertRecordOverflow}},
		{name: "11 version 0303", act: func(p *peer) {
			p.connect()
			record := p.sealed(recordApplicationData, []byte("x"))
			record[1], record[2] = 3, 3
			p.send(record)
		}, alerts: []Alert{AlertProtocolVersion}},
		{name: "12 GCM of 23 bytes", act: func(p *peer) {
			p.connect()
			p.send(append(header(23, Version, 23), make([]byte, 23)...))
		}, alerts: bad},
		{name: "13 GCM tag", act: flip(func(r []byte) int { return len(r) - 1 }), alerts: bad},
		{name: "13 GCM nonce", act: flip(func([]byte) int { return recordHeaderLen }), alerts: bad},
		{name: "14 replayed", act: func(p *peer) {
			p.connect()
			record := p.sealed(recordApplicationData, []byte("hello\n"))
			p.send(append(record, record...))
		}, alerts: bad},
		{name: "15 swapped", act: func(p *peer) {
			p.connect()
			first := p.sealed(recordApplicationData, []byte("first\n"))
			p.send(append(p.sealed(recordApplicationData, []byte("second\n")), first...))
		}, alerts: bad},
		{name: "16 another type", act: flip(func([]byte) int { return 0 }), alerts: bad},
		{name: "25 forty empty records", act: func(p *peer) {
			p.connect()
			for range 40 {
				if _, err := p.tcp.Write(p.sealed(recordApplicationData, nil)); err != nil {
					break // it has hung up
				}
			}
		}, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "26 empty before each with data", act: func(p *peer) {
			p.connect()
			for range 1000 {
				p.record(recordApplicationData, nil)
				p.echoed()
			}
		}},
		{name: "27 forty warnings", act: func(p *peer) {
			p.connect()
			for range 40 {
				if _, err := p.tcp.Write(p.sealed(recordAlert, []byte{1, 90})); err != nil {
					break
				}
			}
		}, alerts: []Alert{AlertUnexpectedMessage}},
		{name: "27 a few warnings", act: func(p *peer) {
			p.connect()
			for range 4 {
				p.record(recordAlert, []byte{1, 90})
			}
			p.echoed()
		}},
	})
}

// cbcRecord seals as the peer's CBC would, with whatever change makes of data, MAC and
// padding before they are encrypted.
func cbcRecord(p *peer, plain []byte, change func(data []byte) []byte) []byte {
	p.t.Helper()
	c, ok := p.c.out.protect.(*cbc)
	if !ok {
		p.t.Fatal("got no CBC")
	}
	data := cbcPlain(c, p.c.out.seq, plain, 0)
	p.c.out.seq++
	if change != nil {
		data = change(data)
	}
	iv := make([]byte, cbcIVLen)
	c.encrypt(iv, data)
	record := append(header(23, Version, cbcIVLen+len(data)), iv...)
	return append(record, data...)
}

// cbcPlain is what CBC encrypts: data, MAC and padding, with blocks more than needed.
func cbcPlain(c *cbc, seq uint64, plain []byte, blocks int) []byte {
	var more [authenticatedLen]byte
	authenticated(more[:], seq, recordApplicationData, len(plain))
	c.mac.Reset()
	c.mac.Write(more[:])
	c.mac.Write(plain)
	data := c.mac.Sum(bytes.Clone(plain))
	padding := cbcBlock - len(data)%cbcBlock + blocks*cbcBlock
	return append(data, bytes.Repeat([]byte{byte(padding - 1)}, padding)...)
}

// What is wrong with CBC records: all of it is one alert, with one reason.
func TestHostileCBC(t *testing.T) {
	t.Parallel()
	keys := newTestPKI(t)
	reasons := make(map[string]bool)
	bad := func(name string, plain int, change func(data []byte) []byte) {
		t.Run(name, func(t *testing.T) {
			p := newPeerWith(t, &Config{KeyPair: keys.server}, &Config{InsecureSkipVerify: true, ServerName: testName, CipherSuites: []uint16{ECC_SM4_CBC_SM3}})
			p.connect()
			p.send(cbcRecord(p, make([]byte, plain), change))
			reasons[p.wantAlert(AlertBadRecordMAC)] = true
		})
	}
	xor := func(fromEnd int) func([]byte) []byte {
		return func(d []byte) []byte { d[len(d)-fromEnd] ^= 1; return d }
	}
	bad("18 too short", 5, func(d []byte) []byte { return d[:32] })
	bad("19 MAC", 7, func(d []byte) []byte { d[7] ^= 1; return d })
	bad("19 last byte of the MAC", 7, func(d []byte) []byte { d[7+31] ^= 1; return d })
	bad("19 data", 7, func(d []byte) []byte { d[0] ^= 1; return d })
	bad("20 first byte of the padding", 7, xor(9))
	bad("20 length of the padding", 7, xor(1))
	bad("21 padding longer than the record", 7, func(d []byte) []byte { d[len(d)-1] = 255; return d })
	bad("21 no room for a MAC", 7, func(d []byte) []byte {
		return bytes.Repeat([]byte{byte(len(d) - 1 - 16)}, len(d))
	})
	bad("21 padding is everything", 7, func(d []byte) []byte {
		return bytes.Repeat([]byte{byte(len(d) - 1)}, len(d))
	})
	if len(reasons) != 1 {
		t.Errorf("got the reasons %v, want one", reasons)
	}
	keys.run(t, []hostile{
		{name: "17 length of no block", client: only(ECC_SM4_CBC_SM3), act: func(p *peer) {
			p.connect()
			record := cbcRecord(p, []byte("x"), nil)
			binary.BigEndian.PutUint16(record[3:], uint16(len(record)-recordHeaderLen-1))
			p.send(record[:len(record)-1])
		}, alerts: []Alert{AlertBadRecordMAC}},
		{name: "22 longer padding", client: only(ECC_SM4_CBC_SM3), act: func(p *peer) { longPadding(p, 13) }},
		{name: "23 full padding", client: only(ECC_SM4_CBC_SM3), act: func(p *peer) { longPadding(p, 15) }},
	})
}

func longPadding(p *peer, blocks int) {
	p.t.Helper()
	p.connect()
	plain := []byte("0123456789abcdef") // with the MAC, padding begins with a block of its own
	p.send(cbcRecord(p, plain, func([]byte) []byte {
		return cbcPlain(p.c.out.protect.(*cbc), p.c.out.seq-1, plain, blocks)
	}))
	got := make([]byte, len(plain))
	_, err := io.ReadFull(p.c, got)
	p.must(err)
	equal(p.t, "echo", got, plain)
}

// 32: a client that says nothing is cut off by the deadline.
func TestHostileSilence(t *testing.T) {
	t.Parallel()
	_, s := tcpPair(t)
	_ = s.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if err := Server(s, &Config{KeyPair: newTestPKI(t).server}).Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}
