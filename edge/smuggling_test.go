package edge_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// witness is an upstream that notes what it is sent, request by request, in the words of
// its own reading: method, target, framing and body. It leaves out those that break off:
// the edge streams, so it may learn in the middle that the rest will not come.
type witness struct {
	mu   sync.Mutex
	sent []string
}

func newWitness(t *testing.T) (*witness, string) {
	w := &witness{}
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		note := fmt.Sprintf("%s %s %d%v %q", r.Method, r.RequestURI, r.ContentLength, r.TransferEncoding, body)
		if err != nil {
			return
		}
		for _, name := range []string{"X", "X ", "Y"} {
			for _, value := range r.Header[name] {
				note += fmt.Sprintf(" %s=%q", name, value)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, note)
	})
	return w, b.URL
}

// take returns what was sent since the last call.
func (w *witness) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := strings.Join(w.sent, "; ")
	w.sent = nil
	return sent
}

// TestSmuggling sends requests on whose length, target or header two readers could
// disagree. Each is refused with nothing sent on, or sent on in one meaning only, which
// is the one that the edge itself acted on.
func TestSmuggling(t *testing.T) {
	w := newWorld(t)
	upstreamSaw, address := newWitness(t)
	w.site("a.example.com", upstream(address))
	const (
		host  = "Host: a.example.com\r\n"
		post  = "POST /p HTTP/1.1\r\n" + host
		get   = "GET /p HTTP/1.1\r\n" + host
		inner = "GET /smuggled HTTP/1.1\r\n" + host + "\r\n"
	)
	chunked := func(headers, body string) string { return post + headers + "Transfer-Encoding: chunked\r\n\r\n" + body }
	for _, test := range []struct {
		name, sent string
		status     int
		want       string // at the upstream
	}{
		{"two lengths", post + "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello", 400, ""},
		{"two lengths in one field", post + "Content-Length: 0, 5\r\n\r\nhello", 400, ""},
		{"the same length twice", post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 200, `POST /p 5[] "hello"`},
		{"a signed length", post + "Content-Length: +5\r\n\r\nhello", 400, ""},
		{"a negative length", post + "Content-Length: -5\r\n\r\nhello", 400, ""},
		{"a length in hex", post + "Content-Length: 0x5\r\n\r\nhello", 400, ""},
		{"an empty length", post + "Content-Length: \r\n\r\n" + inner, 400, ""},
		{"a length past 64 bits", post + "Content-Length: 18446744073709551621\r\n\r\nhello", 400, ""},
		{"a length with a blank before the colon", post + "Content-Length : 5\r\n\r\nhello", 400, ""},
		{"a length with a tab before the colon", post + "Content-Length\t: 5\r\n\r\nhello", 400, ""},
		{"a length beside chunks", chunked("Content-Length: 3\r\n", "5\r\nhello\r\n0\r\n\r\n"), 400, ""},
		{"a bad length beside chunks", chunked("Content-Length: 3, 4\r\n", "0\r\n\r\n"), 400, ""},

		{"an unknown coding", post + "Transfer-Encoding: xchunked\r\n\r\nhello", 501, ""},
		{"an unknown coding beside a length", post + "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nhello", 400, ""},
		{"a coding with a control character", post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"a quoted coding", post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501, ""},
		{"two codings", post + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, ""},
		{"chunked twice", chunked("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), 501, ""},
		{"a list of codings", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, ""},
		{"chunked not last", post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501, ""},
		{"an empty coding", post + "Transfer-Encoding:\r\n\r\nhello", 501, ""},
		{"a coding with a blank before the colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"a coding on a line of its own", post + "Transfer-Encoding\r\n: chunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"a coding spelled with an underscore", post + "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", 200, `POST /p 5[] "hello"`},
		{"a coding in HTTP/1.0", "POST /p HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", 400, ""},
		{"a coding alone in HTTP/1.0", "POST /p HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"a length in HTTP/1.0", "POST /p HTTP/1.0\r\n" + host + "Content-Length: 5\r\n\r\nhello", 200, `POST /p 5[] "hello"`},
		{"a length before chunks", post + "content-length: 3\r\nX: a\r\nTRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n", 400, ""},

		{"a chunk size that is none", chunked("", "xyz\r\nhello\r\n0\r\n\r\n"), 400, ""},
		{"a chunk size with 0x", chunked("", "0x5\r\nhello\r\n0\r\n\r\n"), 400, ""},
		{"a negative chunk size", chunked("", "-1\r\nhello\r\n0\r\n\r\n"), 400, ""},
		{"a chunk size past 64 bits", chunked("", "10000000000000005\r\nhello\r\n0\r\n\r\n"), 400, ""},
		{"a chunk longer than its size", chunked("", "3\r\nhello\r\n0\r\n\r\n"), 400, ""},
		{"a chunk that ends in LF", chunked("", "5\r\nhello\n0\r\n\r\n"), 400, ""},
		{"a chunk size that ends in LF", chunked("", "5\nhello\r\n0\r\n\r\n"), 400, ""},
		{"a chunk extension with a LF", chunked("", "5;x\nGET /smuggled\r\nhello\r\n0\r\n\r\n"), 400, ""},
		{"a chunk extension with a CR", chunked("", "5;x\ry\r\nhello\r\n0\r\n\r\n"), 400, ""},
		{"a chunk extension", chunked("", "5;x=y\r\nhello\r\n0\r\n\r\n"), 200, `POST /p -1[chunked] "hello"`},
		{"a length in the trailer", chunked("Trailer: Content-Length\r\n", "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"), 400, ""},

		{"a folded field", get + "X: a\r\n b\r\n\r\n", 400, ""},
		{"a folded coding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 400, ""},
		{"a field folded by a tab", get + "X: a\r\n\tb\r\n\r\n", 400, ""},
		{"a folded field of a trailer", chunked("", "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n"), 400, ""},
		{"a trailer whose lines end in LF", chunked("", "5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n"), 400, ""},
		{"a fold before the first field", "GET /p HTTP/1.1\r\n X: a\r\n" + host + "\r\n", 400, ""},
		{"a field without a name", get + ": a\r\n\r\n", 400, ""},
		{"a field without a colon", get + "X\r\n\r\n", 400, ""},
		{"a blank before the colon", get + "X : a\r\n\r\n", 400, ""},
		{"a control character in a name", get + "X\x00: a\r\n\r\n", 400, ""},
		{"a NUL in a value", get + "X: a\x00b\r\n\r\n", 400, ""},
		{"a CR in a value", get + "X: a\rY: b\r\n\r\n", 400, ""},
		{"lines that end in LF", "GET /p HTTP/1.1\nHost: a.example.com\nX: a\n\n", 400, ""},
		{"a request line that ends in LF", "GET /p HTTP/1.1\n" + host + "\r\n", 400, ""},
		{"a head that ends in LF", get + "\n", 400, ""},
		{"a CR before the end of a head", get + "\r\r\n", 400, ""},
		{"a LF in a value", get + "X: a\nY: b\r\n\r\n", 400, ""},

		{"two hosts", get + "Host: b.example.com\r\n\r\n", 400, ""},
		{"no host", "GET /p HTTP/1.1\r\n\r\n", 400, ""},
		{"a host with a path", "GET /p HTTP/1.1\r\nHost: a.example.com/x\r\n\r\n", 400, ""},
		{"a host with a user", "GET /p HTTP/1.1\r\nHost: x@a.example.com\r\n\r\n", 400, ""},
		{"a host with a blank", "GET /p HTTP/1.1\r\nHost: a.example.com b\r\n\r\n", 400, ""},
		{"another host in the target", "GET http://b.example.com/p HTTP/1.1\r\n" + host + "\r\n", 421, ""},
		{"a target with a user", "GET http://x@a.example.com/p HTTP/1.1\r\n" + host + "\r\n", 200, `GET /p 0[] ""`},
		{"a target without a slash", "GET p HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"a target with a fragment", "GET /p#/smuggled HTTP/1.1\r\n" + host + "\r\n", 200, `GET /p%23/smuggled 0[] ""`},
		{"a target with a control character", "GET /p\x01 HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"two blanks before the version", "GET /p  HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"an asterisk", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", 200, ""},
		{"a method that is no token", "G(T /p HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"HTTP/0.9", "GET /p\r\n\r\n", 400, ""},
		{"HTTP/1.2", "GET /p HTTP/1.2\r\n" + host + "\r\n", 200, `GET /p 0[] ""`},
		{"HTTP/2 in clear letters", "GET /p HTTP/2.0\r\n" + host + "\r\n", 505, ""},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421, ""},
		{"the preface of HTTP/2 with a host", "PRI * HTTP/2.0\r\n" + host + "Content-Length: 5\r\n\r\nhello", 505, ""},
		{"a body of GET", get + "Content-Length: 5\r\n\r\nhello", 200, `GET /p 5[] "hello"`},
		{"a length that Connection names", post + "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", 200, `POST /p 5[] "hello"`},
		{"a host that Connection names", get + "Connection: Host\r\n\r\n", 200, `GET /p 0[] ""`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := w.connect("a.example.com")
			io.WriteString(c, test.sent)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			if got := upstreamSaw.take(); resp.StatusCode != test.status || got != test.want {
				t.Errorf("got %d, the upstream was sent %q, want %d, %q", resp.StatusCode, got, test.status, test.want)
			}
		})
	}
}

// TestSmugglingOverHTTP2: fields that would mean something else in the HTTP/1.1 that the
// upstream speaks never get there.
func TestSmugglingOverHTTP2(t *testing.T) {
	w := newWorld(t)
	upstreamSaw, address := newWitness(t)
	w.site("a.example.com", upstream(address))
	good := []string{":method", "GET", ":scheme", "https", ":authority", "a.example.com", ":path", "/p"}
	with := func(fields ...string) []string { return append(good[:len(good):len(good)], fields...) }
	for _, test := range []struct {
		name   string
		fields []string
		body   string
		want   string // at the upstream
	}{
		{"a good one", with("x", "a"), "", `GET /p 0[] "" X="a"`},
		{"connection", with("connection", "close"), "", ""},
		{"keep-alive", with("keep-alive", "x"), "", ""},
		{"proxy-connection", with("proxy-connection", "close"), "", ""},
		{"upgrade", with("upgrade", "h2c"), "", ""},
		{"transfer-encoding", with("transfer-encoding", "chunked"), "", ""},
		{"te", with("te", "gzip"), "", ""},
		{"te trailers", with("te", "trailers"), "", `GET /p 0[] ""`},
		{"CRLF in a value", with("x", "a\r\nY: b"), "", ""},
		{"LF in a value", with("x", "a\nY: b"), "", ""},
		{"CR in a value", with("x", "a\rb"), "", ""},
		{"NUL in a value", with("x", "a\x00b"), "", ""},
		{"CRLF in a name", with("x: a\r\ny", "b"), "", ""},
		{"a colon in a name", with("x:y", "b"), "", ""},
		{"a blank in a name", with("x ", "b"), "", ""},
		{"capitals in a name", with("X", "b"), "", ""},
		{"an empty name", with("", "b"), "", ""},
		{"another host", with("host", "b.example.com"), "", `GET /p 0[] ""`},
		{"a body", with("x", "a"), "hello", `GET /p -1[chunked] "hello" X="a"`},
		{"a length", with("content-length", "5"), "hello", `GET /p 5[] "hello"`},
		{"two lengths", with("content-length", "5", "content-length", "4"), "hello", ""},
		{"a length too short", with("content-length", "3"), "hello", ""},
		{"a length too long", with("content-length", "7"), "hello", ""},
		{"a bad length", with("content-length", "+5"), "hello", ""},
		{"a length without a body", with("content-length", "5"), "", `GET /p 0[] ""`}, // END_STREAM is what counts
		{"an unknown pseudo field", with(":x", "b"), "", ""},
		{"a pseudo field after a field", with("x", "b", ":path", "/q"), "", ""},
		{"two paths", append([]string{":path", "/q"}, good...), "", ""},
		{"CRLF in the path", append(good[:6:6], ":path", "/p HTTP/1.1\r\nY: b\r\n\r\n"), "", ""},
		{"a blank in the path", append(good[:6:6], ":path", "/p?q HTTP/1.0"), "", ""},
		{"a path without a slash", append(good[:6:6], ":path", "p"), "", ""},
		{"an absolute path", append(good[:6:6], ":path", "http://b.example.com/p"), "", ""},
		{"no path", good[:6], "", ""},
		{"CRLF in the method", append([]string{":method", "GET /smuggled HTTP/1.1\r\nY: b\r\n\r\nGET"}, good[2:]...), "", ""},
		{"a blank in the method", append([]string{":method", "GET /smuggled"}, good[2:]...), "", ""},
		{"CRLF in the authority", append([]string{":authority", "a.example.com\r\nY: b"}, append(good[:4:4], good[6:]...)...), "", ""},
		{"a blank in the authority", append([]string{":authority", "a.example.com b"}, append(good[:4:4], good[6:]...)...), "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			status := w.headers(t, test.fields, test.body)
			if got := upstreamSaw.take(); got != test.want || (status == "200") != (test.want != "") {
				t.Errorf("got %s, the upstream was sent %q, want %q", status, got, test.want)
			}
		})
	}
}

// headers sends one request over a new HTTP/2 connection, unchecked, and returns its
// status or how it ended.
func (w *world) headers(t *testing.T, fields []string, body string) string {
	t.Helper()
	f := w.framer(t)
	block := encode(fields)
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: body == ""}); err != nil {
		t.Fatal(err)
	}
	if body != "" {
		f.WriteData(1, true, []byte(body))
	}
	return ending(f, 1)
}

// framer opens an HTTP/2 connection that can be told to break its rules.
func (w *world) framer(t *testing.T) *http2.Framer {
	t.Helper()
	c := w.connect("a.example.com", h2Only)
	c.SetDeadline(time.Now().Add(15 * time.Second))
	io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	f.AllowIllegalWrites = true
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

func encode(fields []string) []byte {
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return []byte(block.String())
}

// ending reads frames until stream is answered or ends, or the connection does.
func ending(f *http2.Framer, stream uint32) string {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			return "GOAWAY " + frame.ErrCode.String()
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return "RST_STREAM " + frame.ErrCode.String()
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamID == stream {
				return frame.PseudoValue("status")
			}
		}
	}
}

func h2Only(c *tls.Config) { c.NextProtos = []string{"h2"} }
