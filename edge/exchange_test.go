package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestLateTimers: a timer that fires when the handler is done touches nothing. Of HTTP/2,
// net/http has taken the stream back by then, and panics; of HTTP/1.1 the connection is the
// next request's.
func TestLateTimers(t *testing.T) {
	const stall = 20 * time.Millisecond
	e, err := New(Config{Feed: silent{}, Sealer: fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	for _, http2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := newExchange(w, r, &conn{edge: e, stall: stall})
			defer x.end()
			if r.URL.Path == "/late" {
				x.start()
				x.body.start()
				return
			}
			time.Sleep(5 * stall)
			if err := r.Context().Err(); err != nil || (r.ProtoMajor == 2) != http2 {
				t.Errorf("%s: the next request ended: %v", r.Proto, err)
			}
		}))
		s.EnableHTTP2 = http2
		s.StartTLS()
		defer s.Close()
		for _, path := range []string{"/late", "/next"} {
			resp, err := s.Client().Post(s.URL+path, "text/plain", strings.NewReader("some"))
			if err != nil {
				t.Fatalf("HTTP/2 %t, %s: %v", http2, path, err)
			}
			resp.Body.Close()
		}
	}
}

// TestBodyStaysAtItsEnd: net/http closes a body when it answers over HTTP/1.1, and a transport
// reads behind the last piece, which the upstream may have answered by then. An error there
// would tear the answer.
func TestBodyStaysAtItsEnd(t *testing.T) {
	e, err := New(Config{Feed: silent{}, Sealer: fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := newExchange(w, r, &conn{edge: e, stall: time.Minute})
		defer x.end()
		body := x.request(r.Context()).Body
		if got, err := io.ReadAll(body); string(got) != "some" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		x.WriteHeader(http.StatusOK)
		if err := x.FlushError(); err != nil {
			t.Error(err)
		}
		if _, err := r.Body.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
			t.Errorf("net/http's body: %v, want it closed, or this test shows nothing", err)
		}
		if n, err := body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d bytes, %v", n, err)
		}
	}))
	defer s.Close()
	resp, err := s.Client().Post(s.URL, "text/plain", strings.NewReader("some"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
