package edge

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// slowBody gives one piece when it is told to.
type slowBody chan string

func (s slowBody) Read(p []byte) (int, error) { return copy(p, <-s), nil }
func (s slowBody) Close() error               { return nil }

// TestTakeComesAfterTheReadUnderWay: what net/http reads then is behind what the transport got,
// and the transport gets no more.
func TestTakeComesAfterTheReadUnderWay(t *testing.T) {
	x := &exchange{in: httptest.NewRequest("POST", "/", nil), stall: time.Minute, control: *http.NewResponseController(httptest.NewRecorder())}
	x.in.ContentLength = 1 << 20 // more than net/http would read
	source, over := make(slowBody), make(chan struct{})
	b := newBody(x, source)
	b.over = over
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
	close(over)
	if err := <-read; !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("got %v, want no end", err)
	}
}
