package edge

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// past is a deadline that has passed: it ends whatever is waiting.
var past = time.Unix(1, 0)

// exchange is one request and its response. It ends a body that does not arrive and a
// response that is not taken: a timer runs only while a read or write is under way, so
// streams may be silent for as long as they like in between.
type exchange struct {
	http.ResponseWriter
	in      *http.Request
	conn    *conn
	site    *site // nil until it is known
	control http.ResponseController
	body    *body // nil when the request has none, or may be silent
	stall   time.Duration
	writing *time.Timer // nil over HTTP/1, where the connection itself does not wait for ever
	status  int         // 0 until known

	admission admission               // while it is proxied
	cancel    context.CancelCauseFunc // ends the asking of the upstream; nil unless it is proxied

	id     string        // see requestID; empty until somebody asks
	begin  time.Time     // when the header was read
	sent   atomic.Int64  // bytes of the response's body
	asked  bool          // an upstream was asked
	waited time.Duration // for the upstream's header, or its failure
}

func newExchange(w http.ResponseWriter, r *http.Request, c *conn) *exchange {
	c.handled.Store(true)
	x := &exchange{ResponseWriter: w, in: r, conn: c, control: *http.NewResponseController(w), stall: c.stall, begin: time.Now()}
	c.asking.Store(false)
	if r.ContentLength != 0 { // over HTTP/2 a request without a body has an empty one
		x.body = newBody(x, r.Body)
	}
	return x
}

// isGRPC tells whether the request, whose site is known, is one of gRPC. That is spoken over
// HTTP/2 only, on both sides: who says so otherwise pretends, and is not given the time that
// streams have. gRPC-Web is not meant: over HTTP it is like any other.
func (x *exchange) isGRPC() bool {
	kind, ok := strings.CutPrefix(x.in.Header.Get("Content-Type"), "application/grpc")
	return ok && (kind == "" || kind[0] == '+' || kind[0] == ';') &&
		x.in.ProtoMajor == 2 && x.site.upstream.speaksHTTP2()
}

// request returns the request to proxy.
func (x *exchange) request(ctx context.Context) *http.Request {
	r := x.in.WithContext(ctx)
	if x.body != nil {
		r.Body, x.body.over = x.body, ctx.Done()
	}
	return r
}

// end lets go of the request. What is left of its body is read by the HTTP server,
// which must not wait for it without a limit either.
func (x *exchange) end() {
	aborted := x.conn.edge.unfollow(x)
	if x.cancel != nil {
		x.cancel(nil)
	}
	if b := x.body; b != nil && !aborted && !b.ended.Load() && !b.stalled.Load() {
		x.conn.draining.Store(x.in.ProtoMajor == 1)
		_ = x.control.SetReadDeadline(time.Now().Add(x.stall)) // fails on a closed connection only
	}
}

// meanwhile does something unless end was called: then net/http has taken its stream back,
// and would panic, or the connection is another request's by now.
func (x *exchange) meanwhile(do func()) {
	x.admission.mu.Lock()
	defer x.admission.mu.Unlock()
	if !x.admission.over {
		do()
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader is http.ResponseWriter's. A client that waits to be asked for its body is
// asked by the HTTP server, when the body is first read: what the upstream says before
// its answer is kept from such a client, which would be asked twice or, over HTTP/1, be
// sent two lines at once; and from one of HTTP/1.0, which would take it for the answer (RFC
// 9110 section 15.2).
func (x *exchange) WriteHeader(status int) {
	interim := status < 200 && status != http.StatusSwitchingProtocols
	if interim && (x.in.Header.Get("Expect") != "" || !x.in.ProtoAtLeast(1, 1)) {
		return
	}
	if x.status == 0 && status >= 200 {
		x.status = status
		x.strictTransport()
		if x.body != nil && x.in.ProtoMajor == 1 {
			x.body.take()
		}
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write is http.ResponseWriter's. It fails when the client takes nothing for the
// length of the stall timeout.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
		x.strictTransport()
	}
	x.start()
	defer x.stop()
	n, err := x.ResponseWriter.Write(b)
	x.sent.Add(int64(n))
	return n, err
}

// aYear is what a site with HSTS says: of itself alone, since a domain here speaks for no
// name below it.
const aYear = "max-age=31536000"

// strictTransport completes the header of a response. What an upstream says itself
// holds; over plain HTTP nobody may say anything (RFC 6797 section 7.2).
func (x *exchange) strictTransport() {
	const name = "Strict-Transport-Security"
	switch h := x.Header(); {
	case x.in.TLS == nil && !x.conn.tlcp:
		h.Del(name)
	case x.site != nil && x.site.hsts && h[name] == nil:
		h.Set(name, aYear)
	}
}

// FlushError is what http.ResponseController.Flush calls.
func (x *exchange) FlushError() error {
	x.start()
	defer x.stop()
	return x.control.Flush()
}

// Hijack is http.Hijacker's. What is hijacked is nobody's response any more.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := x.control.Hijack()
	if err == nil {
		x.status = http.StatusSwitchingProtocols
	}
	return c, rw, err
}

// start starts the timer of a write or flush over HTTP/2, whose streams wait each for
// their own window. Firing sets a deadline in the past, which ends the write at once.
func (x *exchange) start() {
	switch {
	case x.in.ProtoMajor < 2: // conn.Write has a deadline
	case x.writing != nil:
		x.writing.Reset(x.stall)
	default:
		x.writing = time.AfterFunc(x.stall, func() { x.meanwhile(x.stopTaking) })
	}
}

func (x *exchange) stopTaking() {
	_ = x.control.SetWriteDeadline(past) // fails on a closed connection only
}

func (x *exchange) stop() {
	if x.writing != nil {
		x.writing.Stop()
	}
}
