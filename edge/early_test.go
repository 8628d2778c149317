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

// An upstream may answer before it has read a request. Over HTTP/1 net/http would take the rest
// of the request away then.

// TestEarlyAnswer: the upstream gets all of the request.
func TestEarlyAnswer(t *testing.T) {
	w := newWorld(t)
	bodies := make(chan string, 1)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		http.NewResponseController(rw).EnableFullDuplex()
		rw.WriteHeader(200)
		rw.(http.Flusher).Flush()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the request broke off: %v", err)
		}
		bodies <- string(body)
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
		if got := <-bodies; got != want {
			t.Fatalf("the upstream got %d bytes of %d", len(got), len(want))
		}
		c.Close()
	}
}

// TestAnswerKeepsTheConnection when it comes behind the request, as it does nearly always.
func TestAnswerKeepsTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.site("a.example.com", upstream(backend(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }).URL))
	c := w.connect("a.example.com")
	in := bufio.NewReader(c)
	for range 5 {
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 4\r\n\r\nsome")
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 200 || resp.Close {
			t.Fatalf("got %v, %v, want 200 and the connection kept", resp, err)
		}
		io.Copy(io.Discard, resp.Body)
	}
}

// TestAnswerOfOurOwnKeepsTheConnection: nobody wants the rest of the request, which net/http
// takes away. One that does not come holds the answer up for no longer than a stall.
func TestAnswerOfOurOwnKeepsTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Stall = time.Second })
	w.site("page.example.com")
	w.site("down.example.com", upstream("http://127.0.0.1:1"))
	for host, want := range map[string]int{"page.example.com": 200, "down.example.com": 502} {
		for kind, request := range halves {
			if kind == "last" || kind == "asking" { // those end with the answer
				continue
			}
			c := w.connect(host)
			in := bufio.NewReader(c)
			for _, more := range []bool{true, true, false} {
				io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+host+"\r\n"+request[0])
				if more {
					time.AfterFunc(20*time.Millisecond, func() { io.WriteString(c, request[1]) })
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil || resp.StatusCode != want || resp.Close == more {
					t.Fatalf("%s, %s: got %v, %v, want %d and the connection kept: %t", host, kind, resp, err, want, more)
				}
				io.Copy(io.Discard, resp.Body)
			}
		}
	}
}

// halves are requests in two halves.
var halves = map[string][2]string{
	"length": {"Content-Length: 20000\r\n\r\n" + strings.Repeat("a", 10000), strings.Repeat("a", 10000)},
	"last":   {"Connection: close\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("a", 10000), strings.Repeat("a", 10000)},
	"chunks": {"Transfer-Encoding: chunked\r\n\r\n5\r\npiece\r\n", "5\r\npiece\r\n0\r\n\r\n"},
	"asking": {"Expect: 100-continue\r\nContent-Length: 6\r\n\r\n", "pieces"},
}

// refusing is an upstream that refuses a request at once, at length, and closes the connection
// or reads the rest.
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
			time.Sleep(time.Millisecond / 4)
		}
		if reads {
			io.Copy(io.Discard, r.Body)
		}
	}).URL
}

// TestEarlyAnswerIsWhole, whether or not the client sends the rest, and comes at once.
func TestEarlyAnswerIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Stall = 2 * time.Second })
	const size = 300 << 10
	w.site("reads.example.com", upstream(refusing(t, size, true)))
	w.site("closes.example.com", upstream(refusing(t, size, false)))
	for kind, request := range halves {
		for _, host := range []string{"reads.example.com", "closes.example.com"} {
			for _, more := range []bool{true, false} {
				t.Run(fmt.Sprint(kind, host, more), func(t *testing.T) {
					t.Parallel()
					c := w.connect(host)
					io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+host+"\r\n"+request[0])
					if more {
						time.AfterFunc(20*time.Millisecond, func() { io.WriteString(c, request[1]) })
					}
					in := bufio.NewReader(c)
					resp, err := http.ReadResponse(in, nil)
					for err == nil && resp.StatusCode == http.StatusContinue {
						resp, err = http.ReadResponse(in, nil)
					}
					if err != nil {
						t.Fatal(err)
					}
					n, err := io.Copy(io.Discard, resp.Body)
					if err != nil || n != size || resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
						t.Errorf("got %d, %d bytes of %d, %v, the connection ends: %t", resp.StatusCode, n, size, err, resp.Close)
					}
					// And it does end, also when the client is silent and waits for that.
					c.SetReadDeadline(time.Now().Add(10 * time.Second))
					if _, err := in.ReadByte(); err != io.EOF {
						t.Errorf("behind the answer: got %v, want EOF", err)
					}
				})
			}
		}
	}
}
