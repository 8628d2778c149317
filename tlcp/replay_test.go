package tlcp

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"
)

// playback is a connection from which a captured direction is read; what is written to
// it is kept.
type playback struct {
	net.Conn // nil: deadlines and addresses are not asked for
	in, out  bytes.Buffer
}

func (p *playback) Read(b []byte) (int, error)       { return p.in.Read(b) }
func (p *playback) Write(b []byte) (int, error)      { return p.out.Write(b) }
func (p *playback) SetWriteDeadline(time.Time) error { return nil }

func (v *vector) playback(dir string) *playback {
	p := new(playback)
	for _, r := range v.Records {
		if r.Dir == dir {
			p.in.Write(r.Hex)
		}
	}
	return p
}

// until returns the captured messages of one side before the type, or before Finished.
func until(list []vectorMessage, dir string, typ byte) (found []vectorMessage) {
	for _, m := range list {
		if m.dir == dir {
			if m.raw[0] == typ || m.raw[0] == typeFinished {
				break
			}
			found = append(found, m)
		}
	}
	return found
}

func mustDo(t *testing.T, steps ...func() error) {
	t.Helper()
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
}

func writeAll(t *testing.T, h *handshake, list []vectorMessage) {
	t.Helper()
	for _, m := range list {
		mustDo(t, func() error { return h.write(m.raw) })
	}
}

// checkReplay compares what our side makes of the rest: its Finished is the captured
// one, and what the other side said is read to its close_notify.
func (v *vector) checkReplay(t *testing.T, h *handshake, other string, finished []byte) {
	t.Helper()
	conn := h.c.conn.(*playback)
	h.c.established.Store(true)
	got, err := io.ReadAll(h.c)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, p := range v.Plain {
		if p.Dir == other && recordType(p.Type) == recordApplicationData {
			want = append(want, p.Hex...)
		}
	}
	equal(t, "application data", got, want)
	client, server := directions(v.KeyBlock, v.suite(t))
	opener := client
	if !h.c.isClient {
		opener = server
	}
	written := conn.out.Bytes()
	var last []byte // the last record is our Finished
	for len(written) > 0 {
		n := recordHeaderLen + int(written[3])<<8 + int(written[4])
		last, written = written[:n], written[n:]
	}
	plain, ok := opener.open(0, recordHandshake, last[recordHeaderLen:])
	if !ok {
		t.Fatal("got a Finished that does not open with the captured keys")
	}
	equal(t, "Finished", plain, finished)
}

// Our server goes through every captured handshake with what the client sent then. Only
// its random, its ephemeral key and its signatures are those captured.
func TestReplayServer(t *testing.T) {
	t.Parallel()
	eachVector(t, func(t *testing.T, v *vector) {
		list := v.messages(t)
		config := &Config{
			KeyPair: v.pair(t, &v.Server), ClientCAs: v.pool(t), Time: vectorTime, CipherSuites: []uint16{v.suite(t)},
			Rand: io.MultiReader(bytes.NewReader(v.ServerRandom), rand.Reader),
		}
		if v.Authenticated {
			config.ClientAuth = RequireAndVerifyClientCert
		}
		c := Server(v.playback("c2s"), config)
		h := &serverHandshake{handshake: handshake{c: c, transcript: newTranscript()}}
		mustDo(t, h.readHello, h.chooseSuite)
		if isECDHE(c.suite) {
			h.ephemeral = ephemeralKey(t, v.ServerEphemeral)
		}
		writeAll(t, &h.handshake, until(list, "s2c", typeNewSessionTicket))
		if v.Resumed {
			h.master = [masterLen]byte(v.Master)
			mustDo(t, h.deriveKeys, h.writeFinished, h.flush, h.readFinished)
		} else {
			mustDo(t, h.readClient, h.readFinished)
			for _, m := range list {
				if m.raw[0] == typeNewSessionTicket {
					writeAll(t, &h.handshake, []vectorMessage{m})
				}
			}
			mustDo(t, h.writeFinished, h.flush)
		}
		equal(t, "master secret", h.master[:], v.Master)
		v.checkReplay(t, &h.handshake, "c2s", find(t, list, "s2c", typeFinished).raw)
	})
}

// Our client goes through every captured handshake with what the server sent then. Only
// its hello, its key exchange and its signature are those captured.
func TestReplayClient(t *testing.T) {
	t.Parallel()
	eachVector(t, func(t *testing.T, v *vector) {
		list := v.messages(t)
		c := Client(v.playback("s2c"), &Config{RootCAs: v.pool(t), ServerName: testName, Time: vectorTime})
		if v.Authenticated {
			c.config.KeyPair = v.pair(t, v.Client)
		}
		h := &clientHandshake{handshake: handshake{c: c, transcript: newTranscript(), client: [32]byte(v.ClientRandom)}}
		sent := until(list, "c2s", typeFinished)
		offered, err := parseClientHello(sent[0].raw[4:])
		if err != nil {
			t.Fatal(err)
		}
		h.hello = *offered
		writeAll(t, &h.handshake, sent[:1])
		mustDo(t, h.readHello)
		c.suite = h.answer.suite
		if v.Resumed {
			equal(t, "session ID", h.answer.sessionID, h.hello.sessionID)
			h.master = [masterLen]byte(v.Master)
			_, err := h.readTicket()
			mustDo(t, h.deriveKeys, func() error { return err }, h.readFinished, h.writeFinished, h.flush)
		} else {
			mustDo(t, h.readFlight)
			writeAll(t, &h.handshake, sent[1:])
			v.deriveClient(t, h)
			mustDo(t, h.deriveKeys, h.writeFinished, h.flush)
			_, err := h.readTicket()
			mustDo(t, func() error { return err }, h.readFinished)
		}
		equal(t, "master secret", h.master[:], v.Master)
		v.checkReplay(t, &h.handshake, "s2c", find(t, list, "c2s", typeFinished).raw)
	})
}

// deriveClient derives the master secret on the client's side.
func (v *vector) deriveClient(t *testing.T, h *clientHandshake) {
	t.Helper()
	secret := []byte(v.PreMaster)
	if isECDHE(h.c.suite) {
		var err error
		if secret, err = agree(h.c.config.KeyPair, ephemeralKey(t, v.ClientEphemeral), h.c.peer[1], h.point, true); err != nil {
			t.Fatal(err)
		}
	}
	h.master = masterSecret(secret, &h.client, &h.server)
}
