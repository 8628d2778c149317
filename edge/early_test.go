package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lacre/edge"
)

// An upstream may answer before it has read a request. Over HTTP/1.1 net/http takes the rest of
// the request away then.

// TestEarlyAnswer: the upstream must never believe that it has all of it.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Stall = 300 * time.Millisecond })
	whole, broken := make(chan string, 1), make(chan error, 1)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		http.NewResponseController(rw).EnableFullDuplex()
		rw.WriteHeader(200)
		rw.(http.Flusher).Flush()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			broken <- err
			return
		}
		whole <- string(body)
	})
	w.site("a.example.com", upstream(b.URL))
	const pieces = 50
	want := strings.Repeat("piece", pieces)
	for range 20 {
		c := w.connect("a.example.com")
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range pieces {
			io.WriteString(c, "5\r\npiece\r\n")
			time.Sleep(time.Millisecond / 4)
		}
		io.WriteString(c, "0\r\n\r\n")
		select {
		case got := <-whole:
			if got != want {
				t.Fatalf("the upstream got %d of %d bytes as the whole body", len(got), len(want))
			}
		case <-broken:
		}
		c.Close()
	}
}

// halves are requests in two halves.
var halves = map[string][2]string{
	"length": {"Content-Length: 20000\r\n\r\n" + strings.Repeat("a", 10000), strings.Repeat("a", 10000)},
	"last":   {"Connection: close\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("a", 10000), strings.Repeat("a", 10000)},
	"chunks": {"Transfer-Encoding: chunked\r\n\r\n5\r\npiece\r\n", "5\r\npiece\r\n0\r\n\r\n"},
}

// refusing is an upstream that refuses a request at once, at length and for longer than a stall,
// and reads on or closes the connection.
func refusing(t *testing.T, size int, reads bool) string {
	return backend(t, func(rw http.ResponseWriter, r *http.Request) {
		http.NewResponseController(rw).EnableFullDuplex()
		rw.Header().Set("Content-Length", fmt.Sprint(size))
		if !reads {
			rw.Header().Set("Connection", "close")
		}
		rw.WriteHeader(http.StatusRequestEntityTooLarge)
		for range size / 1024 {
			io.WriteString(rw, strings.Repeat("x", 1024))
			rw.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
		if reads {
			io.Copy(io.Discard, r.Body)
		}
	}).URL
}

// TestEarlyAnswerIsWhole, however long it takes, and a connection that can be kept is.
func TestEarlyAnswerIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Stall = 500 * time.Millisecond })
	const size = 300 << 10
	w.site("reads.example.com", upstream(refusing(t, size, true)))
	w.site("closes.example.com", upstream(refusing(t, size, false)))
	for kind, request := range halves {
		for _, host := range []string{"reads.example.com", "closes.example.com"} {
			t.Run(kind+" "+host, func(t *testing.T) {
				t.Parallel()
				c := w.connect(host)
				io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+host+"\r\n"+request[0])
				time.AfterFunc(20*time.Millisecond, func() { io.WriteString(c, request[1]) })
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				if err != nil || n != size || resp.StatusCode != http.StatusRequestEntityTooLarge {
					t.Errorf("got %d, %d bytes of %d, %v", resp.StatusCode, n, size, err)
				}
				if resp.Close != (kind == "last") {
					t.Errorf("the connection is kept: %t", !resp.Close)
				}
			})
		}
	}
}

// TestEarlyAnswerEndsItsRequest: nothing waits for a stall once the answer was sent.
func TestEarlyAnswerEndsItsRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ended := make(chan error, 1)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		http.NewResponseController(rw).EnableFullDuplex()
		rw.Header().Set("Content-Length", "5")
		io.WriteString(rw, "early")
		rw.(http.Flusher).Flush()
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	})
	w.site("a.example.com", upstream(b.URL))
	c := w.connect("a.example.com")
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("a", 10000))
	time.AfterFunc(50*time.Millisecond, func() { io.WriteString(c, strings.Repeat("a", 10000)) })
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != "early" || resp.Close {
		t.Errorf("got %q, %v, the connection is kept: %t", got, err, !resp.Close)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the upstream got half a request for the whole")
		}
	case <-time.After(15 * time.Second):
		t.Error("the upstream is kept waiting for the rest")
	}
}

// TestEarlyAnswerToWhoStops: a client that has its answer may stop sending (RFC 9112 section 9.3),
// and gets all of it. It must be seeing it: net/http reads on before it answers on a connection
// that is kept.
func TestEarlyAnswerToWhoStops(t *testing.T) {
	t.Parallel()
	const size = 300 << 10 // for longer than two stalls
	w := newWorld(t, stalling(500*time.Millisecond))
	w.site("a.example.com", upstream(refusing(t, size, true)))
	whole := func(t *testing.T, resp *http.Response, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
			t.Errorf("got %d bytes of %d, %v", n, size, err)
		}
	}
	for kind, fields := range map[string]string{"close": "Connection: close\r\n", "asked": "Expect: 100-continue\r\n"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := w.connect("a.example.com")
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\n"+fields+"Content-Length: 20000\r\n\r\n"+strings.Repeat("a", 10000))
			in := bufio.NewReader(c)
			resp, err := http.ReadResponse(in, nil)
			if err == nil && resp.StatusCode == http.StatusContinue {
				resp, err = http.ReadResponse(in, nil)
			}
			whole(t, resp, err)
		})
	}
	t.Run("HTTP 2", func(t *testing.T) {
		t.Parallel()
		resp, err := w.client(true).Post("https://a.example.com/", "text/plain", pausing(t, 10000))
		whole(t, resp, err)
	})
}

func stalling(d time.Duration) func(*edge.Config) {
	return func(c *edge.Config) { c.Timeouts.Stall = d }
}

// pausing is a body of which n bytes come, and then nothing.
func pausing(t *testing.T, n int) io.Reader {
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	go w.Write(make([]byte, n))
	return r
}

// TestEarlyAnswerLetsGo: however little of a request comes after its answer, nothing is kept for
// longer than it takes to see that.
func TestEarlyAnswerLetsGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stalling(300*time.Millisecond))
	w.site("a.example.com", upstream(hasty(t, "HTTP/1.1 401 No\r\nContent-Length: 5000\r\n\r\n"+strings.Repeat("x", 5000))))
	for what, request := range map[string][]string{
		"a byte more":         {"Content-Length: 20000\r\n\r\n" + strings.Repeat("a", 100), "b"},
		"a byte more of much": {"Content-Length: 20000\r\n\r\n" + strings.Repeat("a", 10000), "b"},
		"nothing":             {"Content-Length: 20000\r\n\r\n" + strings.Repeat("a", 10000)},
		"nothing more, asked": {"Expect: 100-continue\r\nContent-Length: 20000\r\n\r\n", strings.Repeat("a", 100)},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := w.connect("a.example.com")
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\n"+request[0])
			for _, more := range request[1:] {
				time.Sleep(100 * time.Millisecond) // for the answer
				io.WriteString(c, more)
			}
			closesWithin(t, c)
		})
	}
}

// hasty is an upstream that answers as soon as it has some of a body, and reads on.
func hasty(t *testing.T, answer string) string {
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if r.Header.Get("Expect") != "" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		in.ReadByte()
		io.WriteString(c, answer)
		io.Copy(io.Discard, in)
	}
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			go serve(c)
		}
	}()
	return "http://" + l.Addr().String()
}

// TestLastChunkAfterTheAnswer: what ends a request a moment after its answer has begun is its
// end, and the answer may be silent from there on.
func TestLastChunkAfterTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stalling(300*time.Millisecond))
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		http.NewResponseController(rw).EnableFullDuplex()
		rw.Header().Set("Content-Type", "text/event-stream")
		r.Body.Read(make([]byte, 3))
		for range 3 {
			io.WriteString(rw, "event")
			rw.(http.Flusher).Flush()
			time.Sleep(time.Second)
		}
		io.Copy(io.Discard, r.Body)
	})
	w.site("a.example.com", upstream(b.URL))
	c := w.connect("a.example.com")
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n")
	time.Sleep(50 * time.Millisecond)
	io.WriteString(c, "0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != "eventeventevent" || err != nil {
		t.Errorf("got %q, %v, want all events", got, err)
	}
}

// TestKeptAfterAnEarlyAnswer: the limit on what is left of a request is none on the next one.
func TestKeptAfterAnEarlyAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stalling(300*time.Millisecond))
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			time.Sleep(time.Second)
			return
		}
		http.NewResponseController(rw).EnableFullDuplex()
		rw.Header().Set("Content-Length", "5")
		io.WriteString(rw, "early")
		rw.(http.Flusher).Flush()
		io.Copy(io.Discard, r.Body)
	})
	w.site("a.example.com", upstream(b.URL))
	c := w.connect("a.example.com")
	in := bufio.NewReader(c)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("a", 10000))
	time.AfterFunc(50*time.Millisecond, func() { // one piece ends the read under way, net/http reads the next
		io.WriteString(c, strings.Repeat("a", 5000))
		time.Sleep(50 * time.Millisecond)
		io.WriteString(c, strings.Repeat("a", 5000)+"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
	})
	for _, request := range []string{"POST", "GET"} {
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: got %v, %v", request, resp, err)
		}
		io.Copy(io.Discard, resp.Body)
	}
}

// TestEarlyAnswerToASlowClient: who sends on, however slowly, has the whole answer.
func TestEarlyAnswerToASlowClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stalling(400*time.Millisecond))
	w.site("a.example.com", upstream(hasty(t, "HTTP/1.1 401 No\r\nContent-Length: 5000\r\n\r\n"+strings.Repeat("x", 5000))))
	c := w.connect("a.example.com")
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 2000\r\n\r\n")
	go func() {
		for range 20 {
			io.WriteString(c, strings.Repeat("a", 100))
			time.Sleep(100 * time.Millisecond)
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != 5000 || err != nil || resp.Close {
		t.Errorf("got %d bytes, %v, the connection is kept: %t", n, err, !resp.Close)
	}
}

// TestStalledRequestHasNoSecondStall: its connection ends with the answer that says so.
func TestStalledRequestHasNoSecondStall(t *testing.T) {
	t.Parallel()
	const stall = 3 * time.Second
	w := newWorld(t, stalling(stall))
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	w.site("a.example.com", upstream(b.URL))
	c, begin := w.connect("a.example.com"), time.Now()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("a", 100))
	if got := closesWithin(t, c); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("got %q, want 408", got)
	}
	if took := time.Since(begin); took > stall*3/2 {
		t.Errorf("the connection lived for %v after a stall of %v", took, stall)
	}
}
