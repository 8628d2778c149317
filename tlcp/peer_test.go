package tlcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// peer is a client that does what it is told, step by step, to a server of ours that
// sends back what it reads.
type peer struct {
	t      *testing.T
	tcp    net.Conn
	c      *Conn
	h      *clientHandshake
	result chan error // how the server's connection ended
}

func newPeer(t *testing.T, config *Config) *peer {
	t.Helper()
	return newPeerWith(t, config, &Config{InsecureSkipVerify: true, ServerName: testName})
}

// newPeerWith has a client config of its own; it verifies nothing unless told.
func newPeerWith(t *testing.T, config, client *Config) *peer {
	t.Helper()
	c, s := tcpPair(t)
	p := &peer{t: t, tcp: c, c: Client(c, client), result: make(chan error, 1)}
	p.h = &clientHandshake{handshake: handshake{c: p.c, transcript: newTranscript()}}
	go func() {
		p.result <- echo(Server(s, config))
		_ = s.(*net.TCPConn).CloseWrite() // not Close: a reset would eat the alert
	}()
	return p
}

func echo(c *Conn) error {
	if err := c.Handshake(); err != nil {
		return err
	}
	_, err := io.Copy(c, c)
	return err
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// send writes bytes as they are.
func (p *peer) send(b []byte) {
	p.t.Helper()
	_, err := p.tcp.Write(b)
	p.must(err)
}

// record sends one record, protected if that is on.
func (p *peer) record(typ recordType, data []byte) {
	p.t.Helper()
	p.send(p.sealed(typ, data))
}

func (p *peer) sealed(typ recordType, data []byte) []byte {
	p.t.Helper()
	b, err := p.c.out.appendRecord(nil, p.c.config.rand(), typ, data)
	p.must(err)
	return b
}

// write sends a handshake message, and counts it.
func (p *peer) write(m []byte) {
	p.t.Helper()
	p.must(p.h.write(m))
	p.must(p.h.flush())
}

// sendHello sends a hello after change; nil is none.
func (p *peer) sendHello(change func(*clientHello)) {
	p.t.Helper()
	h := &p.h.hello
	*h = clientHello{version: Version, compressions: []byte{0}, suites: p.h.suites(), serverName: testName}
	h.random[0] = 7
	if change != nil {
		change(h)
	}
	p.h.client = h.random
	p.write(h.marshal())
}

// hello sends a hello and reads the server's flight.
func (p *peer) hello(change func(*clientHello)) {
	p.t.Helper()
	p.sendHello(change)
	p.must(p.h.readHello())
	p.c.suite, p.c.proto = p.h.answer.suite, p.h.answer.proto
	p.must(p.h.readFlight())
}

// certificate answers the server's request, if there was one.
func (p *peer) certificate() {
	p.t.Helper()
	if p.h.asked {
		m := marshalCertificates(nil)
		if pair := p.c.config.KeyPair; pair != nil {
			m = pair.message
		}
		p.write(m)
	}
}

// exchange sends a right ClientKeyExchange.
func (p *peer) exchange() {
	p.t.Helper()
	p.must(p.h.writeKeyExchange())
	p.must(p.h.flush())
}

// keys derives the keys from a pre-master secret.
func (p *peer) keys(secret []byte) {
	p.t.Helper()
	p.h.master = masterSecret(secret, &p.h.client, &p.h.server)
	p.must(p.h.deriveKeys())
}

// proof sends a right CertificateVerify, if it is due.
func (p *peer) proof() {
	p.t.Helper()
	if pair := p.c.config.KeyPair; p.h.asked && pair != nil {
		signature, err := pair.signParts(p.c.config.rand(), p.h.transcript.sum())
		p.must(err)
		p.write(message(typeCertificateVerify, appendVector16(nil, signature)))
	}
}

// finish sends ChangeCipherSpec and Finished.
func (p *peer) finish() {
	p.t.Helper()
	p.must(p.h.writeFinished())
	p.must(p.h.flush())
}

// changeCipherSpec sends that alone, and switches.
func (p *peer) changeCipherSpec() {
	p.t.Helper()
	p.record(recordChangeCipherSpec, []byte{1})
	p.c.out.switchTo(p.h.outward)
}

func (p *peer) finished() []byte {
	verify := verifyData(&p.h.master, labelClient, p.h.transcript.sum())
	return message(typeFinished, verify[:])
}

// connect runs the whole handshake.
func (p *peer) connect() {
	p.t.Helper()
	p.hello(nil)
	p.certificate()
	p.exchange()
	p.proof()
	p.finish()
	p.accepted()
}

// accepted reads the server's Finished.
func (p *peer) accepted() {
	p.t.Helper()
	_, err := p.h.readTicket()
	p.must(err)
	p.must(p.h.readFinished())
	p.c.established.Store(true)
}

// echoed sends a line and reads it again: the connection works.
func (p *peer) echoed() {
	p.t.Helper()
	line := []byte("hello tlcp\n")
	p.record(recordApplicationData, line)
	got := make([]byte, len(line))
	_, err := io.ReadFull(p.c, got)
	p.must(err)
	if !bytes.Equal(got, line) {
		p.t.Fatalf("got %q, want %q", got, line)
	}
}

// message reads the next handshake message, which must have the type.
func (p *peer) message(typ byte) []byte {
	p.t.Helper()
	body, err := p.h.expect(typ, maxHello)
	p.must(err)
	return body
}

// wantAlert reads until the connection's end, which must be one of the alerts, sent by the
// server and known to it. It returns the server's reason.
func (p *peer) wantAlert(alerts ...Alert) string {
	p.t.Helper()
	err := p.end()
	got, ok := errors.AsType[*AlertError](err)
	if !ok || !got.Remote || !containsAlert(alerts, got.Alert) {
		p.t.Fatalf("client: got %v, want alert %v", err, alerts)
	}
	_ = p.tcp.(*net.TCPConn).CloseWrite()
	serverErr := <-p.result
	ours, ok := errors.AsType[*AlertError](serverErr)
	if !ok || ours.Remote || ours.Alert != got.Alert {
		p.t.Fatalf("server: got %v, want alert %v sent", serverErr, got.Alert)
	}
	return ours.Err.Error()
}

func containsAlert(alerts []Alert, a Alert) bool {
	return bytes.IndexByte(alertBytes(alerts), byte(a)) >= 0
}

func alertBytes(alerts []Alert) (b []byte) {
	for _, a := range alerts {
		b = append(b, byte(a))
	}
	return b
}

// end reads until the connection's end.
func (p *peer) end() error {
	for {
		if _, _, err := p.c.recordOrAlert(); err != nil {
			return err
		}
	}
}

// recordOrAlert is next without a limit on what brings nothing.
func (c *Conn) recordOrAlert() (recordType, []byte, error) {
	typ, data, err := c.readRecord()
	if err == nil && typ == recordAlert {
		err = takeAlert(data)
	}
	return typ, data, err
}

// wantClose wants the end of the connection without an alert.
func (p *peer) wantClose() error {
	p.t.Helper()
	if err := p.end(); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		p.t.Fatalf("client: got %v, want the end without an alert", err)
	}
	select {
	case err := <-p.result:
		return err
	case <-time.After(10 * time.Second):
		p.t.Fatal("server: got no end")
		return nil
	}
}
