package edge

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// slowBody gives one piece when it is told to, and ends when it is closed.
type slowBody chan string

func (s slowBody) Read(p []byte) (int, error) {
	piece, more := <-s
	if !more {
		return 0, io.EOF
	}
	return copy(p, piece), nil
}

func (s slowBody) Close() error { return nil }

// of is the body of a request of that length.
func (s slowBody) of(length int64) (b *body, over func()) {
	x := &exchange{in: httptest.NewRequest("POST", "/", nil), stall: time.Minute, control: *http.NewResponseController(httptest.NewRecorder())}
	x.in.ContentLength = length
	done := make(chan struct{})
	b = newBody(x, s)
	b.over = done
	return b, func() { close(done) }
}

// TestTakeOfNothing: what is at its end already has that end for the transport as well, and
// nothing else has.
func TestTakeOfNothing(t *testing.T) {
	for rest, want := range map[string]error{"": io.EOF, "rest": http.ErrBodyReadAfterClose} {
		source := make(slowBody, 1)
		if rest != "" {
			source <- rest
		}
		close(source)
		b, over := source.of(-1)
		b.take()
		over()
		if n, err := b.Read(make([]byte, 9)); n > 0 || !errors.Is(err, want) {
			t.Errorf("after %q: got %d bytes, %v, want none and %v", rest, n, err, want)
		}
	}
}

// TestTakeComesAfterTheReadUnderWay: what net/http reads then is behind what the transport got,
// and the transport gets no more.
func TestTakeComesAfterTheReadUnderWay(t *testing.T) {
	source := make(slowBody)
	b, over := source.of(1 << 20) // more than net/http would read
	read := make(chan error)
	go func() {
		for p := make([]byte, 9); ; {
			_, err := b.Read(p)
			if read <- err; err != nil {
				return
			}
		}
	}()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		waits = b.waits
		b.mu.Unlock()
	}
	taken := make(chan struct{})
	go func() { b.take(); close(taken) }()
	select {
	case <-taken:
		t.Error("taken while it is read")
	case <-time.After(50 * time.Millisecond):
	}
	source <- "piece"
	<-taken
	if err := <-read; err != nil {
		t.Errorf("the read under way: got %v", err)
	}
	select {
	case source <- "stolen":
		t.Error("read on after it was taken")
	case <-time.After(50 * time.Millisecond):
	}
	over()
	if err := <-read; !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("got %v, want no end", err)
	}
}

// readLimits notes the read deadlines that are set.
type readLimits struct {
	http.ResponseWriter
	set []time.Time
}

func (d *readLimits) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// TestHurryTakesNothingBack: a request that has had its stall, or whose client is not let in any
// more, is given no other limit.
func TestHurryTakesNothingBack(t *testing.T) {
	for what, had := range map[string]func(*body){
		"stalled":             func(b *body) { b.stalled.Store(true) },
		"not let in any more": func(b *body) { b.of.admission.ended = true },
		"":                    func(*body) {},
	} {
		b, _ := make(slowBody).of(1 << 20)
		w := &readLimits{ResponseWriter: httptest.NewRecorder()}
		b.of.control = *http.NewResponseController(w)
		had(b)
		b.take()
		if want := what == ""; (len(w.set) > 0) != want {
			t.Errorf("%q: got a limit %t, want %t", what, len(w.set) > 0, want)
		}
	}
}
