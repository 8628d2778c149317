package edge

// From outside, a clock cannot be set back: time.Now is used where deadlines of the
// system are.

import (
	"bytes"
	"log/slog"
	"net"
	"testing"
	"time"
)

// deadlines is a connection that remembers its write deadline.
type deadlines struct {
	net.Conn
	last time.Time
}

func (d *deadlines) Write(b []byte) (int, error)        { return len(b), nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.last = t; return nil }

// TestClockSetBack: what was noted before the clock was set back lies in the future
// afterwards, which must neither end connections nor silence the log for that long.
func TestClockSetBack(t *testing.T) {
	future := time.Now().AddDate(1, 0, 0).UnixNano()

	under := &deadlines{}
	c := &conn{Conn: under, stall: time.Minute}
	c.extended.Store(future)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if until := time.Until(under.last); until < 50*time.Second || until > time.Minute {
		t.Errorf("got a write deadline %v away, want the stall timeout", until)
	}

	var out bytes.Buffer
	var s sampler
	s.last.Store(future)
	s.warn(slog.New(slog.NewTextHandler(&out, nil)), "something")
	if out.Len() == 0 {
		t.Error("got no line, want the sampler to go on")
	}
}
