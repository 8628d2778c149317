package edge_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"lacre/edge"
)

// TestUpstreamConnectionsAreCapped: one client connection asks for more connections to an
// upstream than there may be, and they are given back when it goes.
func TestUpstreamConnectionsAreCapped(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.MaxConns = 10 })
	var reached atomic.Int64
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			reached.Add(1)
			<-r.Context().Done()
		}
	})
	w.site("a.example.com", upstream(b.URL))
	client := w.client(true)
	if status, err := request(t, client, "https://a.example.com/"); status != 200 { // one connection from here on
		t.Fatalf("got %d, %v, want 200", status, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var refused atomic.Int64
	var waiting sync.WaitGroup
	for range 30 {
		waiting.Go(func() {
			r, _ := http.NewRequestWithContext(ctx, "GET", "https://a.example.com/slow", nil)
			resp, err := client.Do(r)
			if err != nil {
				return // called off below
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusBadGateway {
				refused.Add(1)
			}
		})
	}
	eventually(t, "10 of 30 requests to be under way and the others refused", func() bool {
		return reached.Load() == 10 && refused.Load() == 20
	})
	cancel()
	waiting.Wait()
	eventually(t, "a place for another request", func() bool {
		status, _ := request(t, client, "https://a.example.com/")
		return status == 200
	})
}
