package edge

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errStalled = errors.New("the request body stopped arriving")
	errTaken   = errors.New("net/http reads the rest of the request body")
)

// body is a request body whose reads end when nothing arrives for a while, unless its answer is
// under way already and makes progress.
type body struct {
	io.ReadCloser
	of       *exchange
	over     <-chan struct{} // closed when the exchange is over
	unwanted chan struct{}   // closed when the upstream wants no more of it
	giving   sync.Once       // closes unwanted

	turn    sync.Mutex    // held while it is read
	got     int64         // bytes of it; guarded by turn
	ended   atomic.Bool   // the transport has come to its end; written under turn
	taken   atomic.Bool   // the transport gets no more of it
	settled chan struct{} // closed when take has returned

	stalled atomic.Bool // written by the timer
	broken  atomic.Bool // it could not be read: bad chunks, or another length than declared

	mu    sync.Mutex
	timer *time.Timer // of the read under way; guarded by mu
	waits bool        // there is one; guarded by mu
	seen  int64       // what was sent of the answer when the timer fired; guarded by mu
}

func newBody(x *exchange, r io.ReadCloser) *body {
	return &body{ReadCloser: r, of: x, unwanted: make(chan struct{}), settled: make(chan struct{})}
}

// Read is io.Reader's. After its end a body stays at it: the transport asks for more than
// was declared behind the last piece, when the answer to that may be under way and net/http
// have closed the body, which is not the end of the transport's connection.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.read(p)
	if err == errTaken {
		err = b.hold()
	}
	return n, err
}

func (b *body) read(p []byte) (int, error) {
	b.turn.Lock()
	defer b.turn.Unlock()
	switch {
	case b.ended.Load():
		return 0, io.EOF
	case b.taken.Load():
		return 0, errTaken
	}
	n, err := b.piece(p)
	switch {
	case err == io.EOF:
		b.ended.Store(true)
	case err != nil && b.stalled.Load():
		err = errStalled
	case err != nil && b.isUnwanted():
		err = http.ErrBodyReadAfterClose
	case err != nil && err != http.ErrBodyReadAfterClose: // closed: nobody wants the rest
		b.broken.Store(true)
	}
	return n, err
}

// piece reads what comes next, and waits for it no longer than a stall. It needs turn.
func (b *body) piece(p []byte) (int, error) {
	b.start()
	n, err := b.ReadCloser.Read(p)
	b.stop()
	b.got += int64(n)
	return n, err
}

// take keeps the rest of the body from the transport. net/http reads it before it sends the header
// of an answer over HTTP/1: what the transport read meanwhile might not be what comes next, nor the
// end be the end. So the read under way is the transport's last, and comes first. net/http has no
// limit on the time; what it would read is read here. If that is nothing, the end is the
// transport's, too.
func (b *body) take() {
	defer close(b.settled)
	if b.isLeftAlone() {
		return
	}
	b.taken.Store(true)
	b.turn.Lock()
	defer b.turn.Unlock()
	if b.ended.Load() {
		return
	}
	at := b.got
	switch {
	case !b.drain(): // for what net/http reads all the same
		b.of.meanwhile(b.hurry)
	case b.got == at:
		b.ended.Store(true)
	}
}

// maxDrained is how much net/http reads of a request to keep its connection.
const maxDrained = 256 << 10

// drain reads the rest unless that is more than net/http would, and tells whether there is no
// more. It needs turn.
func (b *body) drain() bool {
	if b.of.in.ContentLength-b.got >= maxDrained {
		return false
	}
	p := make([]byte, 8<<10)
	for most := b.got + maxDrained; b.got < most; {
		if _, err := b.piece(p); err != nil {
			return err == io.EOF
		}
	}
	return false
}

// hurry gives the rest of a request a stall, unless it has had that, or its client is not let in
// any more.
func (b *body) hurry() {
	if !b.stalled.Load() && !b.of.admission.ended {
		_ = b.of.control.SetReadDeadline(time.Now().Add(b.of.stall)) // fails on a closed connection only
	}
}

// isLeftAlone tells whether net/http reads nothing of the body before it answers, because the
// connection ends with the answer.
func (b *body) isLeftAlone() bool {
	in := b.of.in
	return in.ProtoAtLeast(1, 1) && (in.Close || in.Header.Get("Expect") != "")
}

// hold keeps a transport from the end that its request cannot have any more, until the answer
// has been sent: it would close the upstream's connection under that. Where the answer makes no
// progress the upstream may be waiting for the rest. It returns io.EOF if there was none.
func (b *body) hold() error {
	select {
	case <-b.settled:
	case <-b.unwanted:
		return http.ErrBodyReadAfterClose
	}
	if b.ended.Load() {
		return io.EOF
	}
	progress := time.NewTicker(b.of.stall)
	defer progress.Stop()
	for sent := int64(-1); sent != b.of.sent.Load(); {
		sent = b.of.sent.Load()
		select {
		case <-b.over:
			return http.ErrBodyReadAfterClose
		case <-b.unwanted:
			return http.ErrBodyReadAfterClose
		case <-progress.C:
		}
	}
	return http.ErrBodyReadAfterClose
}

// start starts the timer of a read.
func (b *body) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits = true
	if b.timer == nil {
		b.timer = time.AfterFunc(b.of.stall, func() { b.of.meanwhile(b.giveUp) })
	} else {
		b.timer.Reset(b.of.stall)
	}
}

func (b *body) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits = false
	b.timer.Stop()
}

// giveUp ends the read under way, and over HTTP/1 the connection. A client that has its answer
// before it has sent everything may stop (RFC 9112 section 9.3): it gets all of that.
func (b *body) giveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	sent := b.of.sent.Load()
	switch {
	case !b.waits: // it has ended just now
	case sent != b.seen:
		b.seen = sent
		b.timer.Reset(b.of.stall)
	default:
		b.stalled.Store(true)
		_ = b.of.control.SetReadDeadline(past) // fails on a closed connection only
	}
}

func (b *body) isUnwanted() bool {
	select {
	case <-b.unwanted:
		return true
	default:
		return false
	}
}

// lent is the body of a request to an upstream of HTTP/2. Its transport closes that when the
// upstream wants no more of it, waits for the read under way, and keeps the end of the answer
// back until then.
type lent struct {
	io.ReadCloser
	of *exchange
}

// Close is io.Closer's. It ends the read under way where that ends nothing else: over HTTP/1
// the client's connection would go with it.
func (l lent) Close() error {
	if b := l.of.body; b != nil {
		b.giving.Do(func() { close(b.unwanted) })
	}
	if l.of.in.ProtoMajor == 2 {
		l.of.meanwhile(func() { _ = l.of.control.SetReadDeadline(past) }) // of its stream alone
	}
	return l.ReadCloser.Close()
}

// unhurried is the answer of an upstream of HTTP/2 to a request with a body. Closing it waits for
// the request's, which may take as long as its client likes.
type unhurried struct{ io.ReadCloser }

// Close is io.Closer's.
func (u unhurried) Close() error {
	go u.ReadCloser.Close() // until the exchange is over at the latest
	return nil
}
