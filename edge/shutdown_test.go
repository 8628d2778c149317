package edge_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestShutdownDrains(t *testing.T) {
	eachHTTP(t, func(t *testing.T, http2 bool) {
		w := newWorld(t)
		started, finish := make(chan struct{}), make(chan struct{})
		b := backend(t, func(rw http.ResponseWriter, _ *http.Request) {
			close(started)
			<-finish
			io.WriteString(rw, "whole")
		})
		w.site("a.example.com", upstream(b.URL))
		idle := w.connect("a.example.com")
		type answer struct {
			body string
			err  error
		}
		answers := make(chan answer, 1)
		go func() {
			resp, err := w.client(http2).Get("https://a.example.com/")
			if err != nil {
				answers <- answer{"", err}
				return
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			answers <- answer{string(body), err}
		}()
		<-started
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			done <- w.edge.Shutdown(ctx)
		}()
		eventually(t, "new connections are refused", func() bool {
			c, err := w.dial("a.example.com")
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		select {
		case err := <-done:
			t.Errorf("Shutdown returned %v with a request in flight", err)
		default:
		}
		close(finish)
		if got := <-answers; got.body != "whole" || got.err != nil {
			t.Errorf("the request in flight: got %q, %v, want all of it", got.body, got.err)
		}
		idle.Close()
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := w.edge.Applied(context.Background(), 1<<60); err == nil {
			t.Error("Applied waits on an edge that was shut down, want an error")
		}
	})
}

func TestShutdownClosesWebSocketsAfterTheGrace(t *testing.T) {
	w := newWorld(t)
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Read(r.Context())
	})
	w.site("a.example.com", upstream(b.URL))
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "wss://a.example.com/", &websocket.DialOptions{HTTPClient: w.client(false)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	closed := make(chan time.Time, 1)
	go func() {
		c.Read(ctx)
		closed <- time.Now()
	}()
	const grace = 500 * time.Millisecond
	begin := time.Now()
	short, done := context.WithTimeout(ctx, grace)
	defer done()
	if err := w.edge.Shutdown(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: got %v, want context.DeadlineExceeded", err)
	}
	if took := (<-closed).Sub(begin); took < grace {
		t.Errorf("the WebSocket was closed after %v, want its grace of %v", took, grace)
	}
	if ctx.Err() != nil {
		t.Error("the WebSocket was left open")
	}
}
