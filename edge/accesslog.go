package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	accessPending = 4 << 20               // bytes of lines that wait to be written
	accessPause   = 50 * time.Millisecond // between two writes: many lines share one
	longestPath   = 2048                  // bytes of a path in a line
	longestName   = 255                   // bytes of a Host or a method
)

// accessLine is one request in the access log. A query is not in it: that is where
// clients put what must not be written down.
type accessLine struct {
	Time       string   `json:"time"` // when the header was read, RFC 3339, UTC
	RequestID  string   `json:"request_id"`
	Client     string   `json:"client"`            // IP address
	Project    string   `json:"project,omitempty"` // of the domain; both absent if no domain was found
	Domain     string   `json:"domain,omitempty"`
	Method     string   `json:"method"`
	Host       string   `json:"host"` // as sent
	Path       string   `json:"path"` // as sent, without its query
	Protocol   string   `json:"protocol"`
	TLS        string   `json:"tls,omitempty"`  // "1.3" or "TLCP"; absent over plain HTTP
	ALPN       string   `json:"alpn,omitempty"` // absent if none was agreed
	Status     int      `json:"status"`         // 499 if the client left before an answer
	Bytes      int64    `json:"bytes"`          // of the response's body
	DurationMS float64  `json:"duration_ms"`
	UpstreamMS *float64 `json:"upstream_ms,omitempty"` // until the header of its answer or its failure
}

// accessLog writes lines in a goroutine of its own. Requests never wait for the disk: when
// too much is waiting already, a line is dropped and counted.
type accessLog struct {
	edge    *Edge
	out     io.Writer
	mu      sync.Mutex
	pending []byte
	lines   int           // in pending
	wake    chan struct{} // pending is not empty
	written chan struct{} // closed when run has ended
}

func newAccessLog(e *Edge, out io.Writer) *accessLog {
	return &accessLog{edge: e, out: out, wake: make(chan struct{}, 1), written: make(chan struct{})}
}

// add takes a line, with its LF, to be written.
func (l *accessLog) add(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending)+len(line) > accessPending {
		l.edge.metrics.linesDropped.Inc()
		return
	}
	l.pending = append(l.pending, line...)
	if l.lines++; l.lines == 1 {
		select {
		case l.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// run writes what comes until ctx ends, and then what is left.
func (l *accessLog) run(ctx context.Context) {
	defer close(l.written)
	var spare []byte
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			l.flush(spare)
			return
		}
		spare = l.flush(spare)
		select {
		case <-time.After(accessPause):
		case <-ctx.Done():
		}
	}
}

// flush writes what is pending and leaves spare to collect in; it returns what it wrote,
// to be the next spare.
func (l *accessLog) flush(spare []byte) []byte {
	l.mu.Lock()
	text, lines := l.pending, l.lines
	l.pending, l.lines = spare[:0], 0
	l.mu.Unlock()
	if lines == 0 {
		return text
	}
	if _, err := l.out.Write(text); err != nil {
		l.edge.metrics.linesDropped.Add(float64(lines))
		l.edge.sampled.warn(l.edge.log, "the access log cannot be written", "err", err, "lines", lines)
	}
	return text
}

// drain waits until everything is written, unless that takes unreasonably long. Nothing
// may be added any more.
func (l *accessLog) drain() {
	if l == nil {
		return
	}
	select {
	case <-l.written:
	case <-time.After(time.Second):
	}
}

// encoders are lent to requests for their line.
var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.json = json.NewEncoder(&e.text)
	e.json.SetEscapeHTML(false) // nobody reads this as HTML
	return e
}}

type encoder struct {
	text bytes.Buffer
	json *json.Encoder
}

// record adds the line of a request that has ended.
func (l *accessLog) record(x *exchange, took time.Duration) {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.text.Reset()
	line := x.line(took)
	if err := e.json.Encode(&line); err != nil { // no field can fail to encode
		l.edge.metrics.linesDropped.Inc()
		return
	}
	l.add(e.text.Bytes())
}

func (x *exchange) line(took time.Duration) accessLine {
	r := x.in
	line := accessLine{
		Time: x.begin.UTC().Format("2006-01-02T15:04:05.000Z"), RequestID: x.requestID(),
		Client: clientIP(r.RemoteAddr).String(), Method: shortened(r.Method, longestName),
		Host: shortened(r.Host, longestName), Path: shortened(r.URL.EscapedPath(), longestPath),
		Protocol: r.Proto, Status: x.status, Bytes: x.sent.Load(), DurationMS: milliseconds(took),
	}
	if x.site != nil {
		line.Project, line.Domain = x.site.project, x.site.id
	}
	if x.conn != nil && x.conn.tlcp {
		line.TLS = "TLCP"
	} else if r.TLS != nil {
		line.TLS, line.ALPN = strings.TrimPrefix(versionName(r.TLS.Version), "TLSv"), r.TLS.NegotiatedProtocol
	}
	if x.asked {
		ms := milliseconds(x.waited)
		line.UpstreamMS = &ms
	}
	return line
}

func shortened(s string, most int) string {
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// milliseconds keeps microseconds only.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
