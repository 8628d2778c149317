package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// TestExpectContinue: the body of a client that waits to be asked is only sent when the
// upstream asks for it.
func TestExpectContinue(t *testing.T) {
	w := newWorld(t)
	decide := make(chan bool)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") != "100-continue" {
			t.Errorf("the upstream got Expect %q, want 100-continue", r.Header.Get("Expect"))
		}
		if <-decide {
			io.Copy(rw, r.Body)
			return
		}
		rw.WriteHeader(http.StatusUnauthorized)
	})
	w.site("a.example.com", upstream(b.URL))
	begin := func() (*bufio.Reader, func(string)) {
		c := w.connect("a.example.com")
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		return bufio.NewReader(c), func(s string) { io.WriteString(c, s) }
	}
	t.Run("the upstream wants it", func(t *testing.T) {
		in, send := begin()
		decide <- true
		if line, err := in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("got %q, %v, want 100 Continue", line, err)
		}
		in.ReadString('\n')
		send("hello")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "hello" {
			t.Errorf("got %d %q, want 200 and the body", resp.StatusCode, body)
		}
	})
	t.Run("the upstream does not", func(t *testing.T) {
		in, _ := begin()
		decide <- false
		if line, err := in.ReadString('\n'); line != "HTTP/1.1 401 Unauthorized\r\n" {
			t.Errorf("got %q, %v, want 401 without 100 before", line, err)
		}
	})
}

// TestExpectContinueOnce: a client is asked for its body once, whatever the upstream says.
func TestExpectContinueOnce(t *testing.T) {
	w := newWorld(t)
	const again = "HTTP/1.1 100 Continue\r\n\r\n"
	address, _ := rawUpstream(t, again+again+emptyAnswer)
	w.site("a.example.com", upstream(address))
	c := w.connect("a.example.com")
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 5\r\n"+
		"Connection: close\r\nExpect: 100-continue\r\n\r\nhello")
	answer, _ := io.ReadAll(c)
	if n := strings.Count(string(answer), again); n > 1 || !strings.Contains(string(answer), "HTTP/1.1 200 OK") {
		t.Errorf("got %q, want 200 after at most one 100", answer)
	}
}

// TestEarlyHints: what the upstream says before its answer arrives before it.
func TestEarlyHints(t *testing.T) {
	w := newWorld(t)
	proceed := make(chan struct{})
	b := backend(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</style.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Del("Link")
		<-proceed
		io.WriteString(rw, "page")
	})
	w.site("a.example.com", upstream(b.URL))
	eachHTTP(t, func(t *testing.T, http2 bool) {
		var hints []string
		r, _ := http.NewRequest("GET", "https://a.example.com/", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, header["Link"]))
				proceed <- struct{}{}
				return nil
			},
		}))
		resp, err := w.client(http2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		want := []string{"103 [</style.css>; rel=preload]"}
		if body, _ := io.ReadAll(resp.Body); string(body) != "page" || !slices.Equal(hints, want) || resp.Header["Link"] != nil {
			t.Errorf("got hints %q, then %q with Link %q, want %q, then the page without", hints, body, resp.Header["Link"], want)
		}
	})
}

// TestEarlyHintsOfHTTP10: a client of HTTP/1.0 would take them for the answer.
func TestEarlyHintsOfHTTP10(t *testing.T) {
	w := newWorld(t)
	address, _ := rawUpstream(t, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"+emptyAnswer)
	w.site("a.example.com", upstream(address))
	c := w.connect("a.example.com")
	io.WriteString(c, "GET / HTTP/1.0\r\nHost: a.example.com\r\n\r\n")
	if got := closesWithin(t, c); !strings.HasPrefix(got, "HTTP/1.0 200 ") {
		t.Errorf("got %q, want the answer alone", got)
	}
}
