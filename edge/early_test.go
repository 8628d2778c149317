package edge_test

import (
	"bufio"
	"fmt"
	"io"
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
