package tlcp

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// A Conn is a TLCP connection; it implements net.Conn. Read, Write and Close may be
// called concurrently.
type Conn struct {
	conn     net.Conn
	isClient bool
	config   *Config

	handshaking  sync.Mutex // held during a handshake
	established  atomic.Bool
	handshakeErr error

	inMutex sync.Mutex
	in      half
	raw     input
	hand    []byte // handshake bytes not looked at yet
	unread  []byte // application data not read yet; part of raw
	useless int    // records in a row that brought nothing

	outMutex sync.Mutex
	out      half
	flight   []byte // handshake records not written yet

	closing    atomic.Bool
	closeSent  bool // under outMutex
	sessionKey string

	// Set by the handshake, not changed afterwards.
	suite      uint16
	resumed    bool
	serverName string
	proto      string
	peer       []*smx509.Certificate
	chains     [][]*smx509.Certificate // of the signing certificate
	encChains  [][]*smx509.Certificate
}

// Server returns a connection that waits for a client's handshake. The config must have
// a KeyPair or a GetConfigForClient.
func Server(conn net.Conn, config *Config) *Conn { return &Conn{conn: conn, config: config} }

// Client returns a connection that begins a handshake. The config must have a ServerName
// or InsecureSkipVerify.
func Client(conn net.Conn, config *Config) *Conn {
	return &Conn{conn: conn, config: config, isClient: true}
}

// Handshake is HandshakeContext without a context.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext runs the handshake if it has not run yet; the first Read or Write does
// it too. When ctx ends before the handshake, the connection is closed.
func (c *Conn) HandshakeContext(ctx context.Context) (err error) {
	if c.established.Load() {
		return nil
	}
	c.handshaking.Lock()
	defer c.handshaking.Unlock()
	if c.established.Load() || c.handshakeErr != nil {
		return c.handshakeErr
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() }) // the handshake sees it
		defer func() {
			if !stop() {
				err = ctx.Err()
			}
		}()
	}
	c.inMutex.Lock()
	defer c.inMutex.Unlock()
	if err := c.handshake(); err != nil {
		c.handshakeErr = c.fail(err)
		return c.handshakeErr
	}
	c.flight, c.hand = nil, nil
	c.established.Store(true)
	return nil
}

func (c *Conn) handshake() error {
	if c.isClient {
		return c.clientHandshake()
	}
	return c.serverHandshake()
}

// Read reads application data, after the handshake if there was none yet. It returns
// io.EOF after the peer's close_notify; a connection that ends without one is cut off,
// which is io.ErrUnexpectedEOF.
func (c *Conn) Read(b []byte) (int, error) {
	switch err := c.Handshake(); {
	case errors.Is(err, io.EOF): // to who reads data this would be its orderly end
		return 0, io.ErrUnexpectedEOF
	case err != nil:
		return 0, err
	}
	if len(b) == 0 {
		return 0, nil
	}
	c.inMutex.Lock()
	defer c.inMutex.Unlock()
	for len(c.unread) == 0 {
		if err := c.readData(); err != nil {
			return 0, c.fail(err)
		}
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// fail answers err with an alert if it is our refusal, and remembers it unless it is a
// deadline that can be moved. It returns err.
func (c *Conn) fail(err error) error {
	alert, isAlert := errors.AsType[*AlertError](err)
	if timeout, ok := errors.AsType[net.Error](err); !isAlert && ok && timeout.Timeout() {
		return err
	}
	if c.in.err == nil {
		c.in.err = err
		if isAlert && !alert.Remote {
			c.sendAlert(alert.Alert)
		}
		if isAlert {
			c.forgetSession()
		}
	}
	return err
}

// maxBatch is how much application data goes out in one write to the connection.
const maxBatch = 4 * maxPlaintext

var batches = sync.Pool{New: func() any {
	b := make([]byte, 0, 4*(recordHeaderLen+maxPlaintext+maxOverhead))
	return &b
}}

// Write writes application data, after the handshake if there was none yet. After an
// error, a passed deadline included, nothing more can be written.
func (c *Conn) Write(b []byte) (n int, err error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.outMutex.Lock()
	defer c.outMutex.Unlock()
	if c.closeSent {
		return 0, net.ErrClosed
	}
	batch := batches.Get().(*[]byte)
	defer batches.Put(batch)
	for n < len(b) && c.out.err == nil {
		chunk := b[n:min(len(b), n+maxBatch)]
		records, err := c.out.appendRecords((*batch)[:0], c.config.rand(), recordApplicationData, chunk)
		if err == nil {
			_, err = c.conn.Write(records)
		}
		if c.out.err = err; err == nil {
			n += len(chunk)
		}
	}
	return n, c.out.err
}

// sendAlert sends an alert that nothing depends on: who is not reached learns by the
// connection's end.
func (c *Conn) sendAlert(a Alert) {
	c.outMutex.Lock()
	defer c.outMutex.Unlock()
	c.alert(a)
}

// alert does it under outMutex.
func (c *Conn) alert(a Alert) {
	const warning, fatal = 1, 2
	level := byte(fatal)
	if a == AlertCloseNotify || a == AlertNoRenegotiation {
		level = warning
	}
	if c.out.err != nil {
		return
	}
	record, err := c.out.appendRecord(nil, c.config.rand(), recordAlert, []byte{level, byte(a)})
	if err == nil {
		_, err = c.conn.Write(record)
	}
	if c.out.err = err; err == nil && level == fatal {
		c.out.err = net.ErrClosed
	}
}

// closeTimeout is how long Close waits to get close_notify out.
const closeTimeout = 5 * time.Second

// CloseWrite sends close_notify: the peer reads io.EOF, and may go on writing.
func (c *Conn) CloseWrite() error {
	if !c.established.Load() {
		return errors.New("tlcp: CloseWrite before the handshake")
	}
	c.outMutex.Lock()
	defer c.outMutex.Unlock()
	return c.closeNotify()
}

func (c *Conn) closeNotify() error {
	if c.closeSent {
		return nil
	}
	c.closeSent = true
	_ = c.conn.SetWriteDeadline(time.Now().Add(closeTimeout)) // fails only if closed; so does the write
	c.alert(AlertCloseNotify)
	return c.out.err
}

// Close sends close_notify, unless a Write is under way, and closes the connection.
func (c *Conn) Close() error {
	if !c.closing.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	if c.established.Load() && c.outMutex.TryLock() {
		_ = c.closeNotify() // the close says the same, if less politely
		c.outMutex.Unlock()
	}
	return c.conn.Close()
}

// ConnectionState returns what is known of the connection; before the handshake, nothing.
func (c *Conn) ConnectionState() ConnectionState {
	c.handshaking.Lock()
	defer c.handshaking.Unlock()
	return c.state()
}

func (c *Conn) state() ConnectionState {
	return ConnectionState{
		HandshakeComplete: c.established.Load(), DidResume: c.resumed, Version: Version, CipherSuite: c.suite,
		ServerName: c.serverName, NegotiatedProtocol: c.proto, PeerCertificates: c.peer,
		VerifiedChains: c.chains, EncryptionChains: c.encChains,
	}
}

// NetConn returns the connection underneath. What is written to it or read from it breaks
// this one.
func (c *Conn) NetConn() net.Conn { return c.conn }

// LocalAddr is that of the connection underneath.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr is that of the connection underneath.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline is net.Conn's. After a Write has timed out nothing more can be written.
func (c *Conn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline is net.Conn's.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline is net.Conn's. After a Write has timed out nothing more can be written.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

var (
	_ net.Conn  = (*Conn)(nil)
	_ io.Reader = (*Conn)(nil)
)
