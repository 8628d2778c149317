package edge

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// accept takes connections from l and has each greeted in a goroutine of its own, after
// which an HTTP server has it. It is the one place through which connections come in.
func (e *Edge) accept(l net.Listener, h *handoff, greet func(*conn, *handoff)) {
	g := greeters{next: make(chan *conn), greet: func(c *conn) { greet(c, h) }}
	defer close(g.next)
	var pause time.Duration
	for {
		raw, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			_ = h.Close() // l is closed already
			return
		case err != nil: // out of descriptors, or a client that was gone at once
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			e.log.Warn("accepting failed", "err", err, "pause", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		if c, ok := e.admit(raw); ok {
			g.take(c)
		}
	}
}

// idleGreeters is how many goroutines wait for the next connection.
const idleGreeters = 64

// greeters greet connections, each goroutine one at a time and then the next one: a new
// goroutine begins with a small stack, and a handshake would have it copied four times.
type greeters struct {
	next  chan *conn // closed when there will be none
	greet func(*conn)
	idle  atomic.Int32 // goroutines that wait, or are about to end
}

// take has c greeted and does not wait for it. It is for one goroutine.
func (g *greeters) take(c *conn) {
	select {
	case g.next <- c:
	default:
		go g.run(c)
	}
}

func (g *greeters) run(c *conn) {
	for ; c != nil; c = g.wait() {
		g.greet(c)
	}
}

// wait returns the next connection, nil when this goroutine is not needed any more.
func (g *greeters) wait() *conn {
	defer g.idle.Add(-1)
	if g.idle.Add(1) > idleGreeters {
		return nil
	}
	return <-g.next
}

// greetPlain hands on a connection of the plain listener.
func (e *Edge) greetPlain(c *conn, h *handoff) {
	_ = c.SetDeadline(time.Now().Add(e.cfg.Timeouts.Handshake)) // fails only if closed; so does the next read
	if e.introduce(c) {
		_ = c.SetDeadline(time.Time{}) // as above
		h.give(answeringPlain{c})
	}
}

// handshake runs in a goroutine of its own and ends with the handshake: the HTTP server
// has another for what follows.
func (e *Edge) handshake(c *conn, h *handoff) {
	start := time.Now()
	// A deadline instead of a context: crypto/tls spends a goroutine on a context.
	_ = c.SetDeadline(start.Add(e.cfg.Timeouts.Handshake)) // fails only if closed; so does the handshake
	if !e.introduce(c) {
		return
	}
	c.first.unknown = true
	secured := tls.Server(c, e.base)
	err := secured.Handshake()
	if c.tlcp {
		e.handshakeTLCP(c, h, start)
		return
	}
	state := secured.ConnectionState()
	result := outcomeOf(c, err, state.DidResume)
	e.metrics.handshake(result, state.Version, time.Since(start))
	if err != nil {
		e.sampled.debug(e.log, "handshake failed", "result", result, "err", err, "remote", c.RemoteAddr())
		tellPlainHTTP(c, err)
		if result == clientAuth {
			c.linger()
		}
		_ = secured.Close()
		return
	}
	_ = c.SetDeadline(time.Time{}) // fails only if closed; so does the next read
	h.give(answering(secured, state.NegotiatedProtocol))
}

// lingering bounds what is read of a client that was refused, and for how long.
const (
	lingeringTime = time.Second
	lingeringSize = 64 << 10
)

// linger waits for a client to hear that it was refused. It sends on meanwhile, over TLS 1.3
// its request: a close would have that answered by a reset, and most do not read the alert
// when they cannot write.
func (c *conn) linger() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingeringTime)) // fails only if closed; so does the read
	_, _ = io.CopyN(io.Discard, c.Conn, lingeringSize)   // whatever ends it ends the waiting
}

// tellPlainHTTP answers a client that speaks HTTP where TLS is spoken, as net/http
// does; TLS has read five bytes by then.
func tellPlainHTTP(c *conn, err error) {
	header, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || header.Conn == nil {
		return
	}
	switch string(header.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		_, _ = io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks HTTPS.\n") // a courtesy
	}
}

// outcome is how a handshake ended, as the metrics name it.
type outcome uint8

const (
	succeeded outcome = iota
	resumed
	unrecognizedName
	noCertificate
	handshakeFailure // the domain has certificates for the other protocol only
	clientAuth
	timedOut
	closedEarly
	failed
	outcomes
)

var outcomeNames = [outcomes]string{
	"ok", "resumed", "unrecognized_name", "no_certificate", "handshake_failure", "client_auth", "timeout", "closed", "failed",
}

func (o outcome) String() string { return outcomeNames[o] }

// outcomeOf names the end of a handshake. What crypto/tls does not tell by type is
// judged by how far the handshake had come.
func outcomeOf(c *conn, err error, didResume bool) outcome {
	switch {
	case err == nil && didResume:
		return resumed
	case err == nil:
		return succeeded
	case errors.Is(err, os.ErrDeadlineExceeded):
		return timedOut
	case c.refused != succeeded:
		return c.refused
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return closedEarly
	case c.site != nil && c.site.verifyClient:
		return clientAuth
	}
	return failed
}

// handoff is the listener from which the HTTP server takes connections that are
// through their handshake.
type handoff struct {
	source net.Listener
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func newHandoff(source net.Listener) *handoff {
	return &handoff{source: source, conns: make(chan net.Conn), done: make(chan struct{})}
}

// give hands c over, or closes it if nobody accepts any more.
func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		_ = c.Close() // the edge is going away; the client connects elsewhere
	}
}

// Accept returns the next connection.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close stops accepting; it closes the listener underneath.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return h.source.Close()
}

// Addr is the address of the listener underneath.
func (h *handoff) Addr() net.Addr { return h.source.Addr() }
