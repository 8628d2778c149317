package edge_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lacre/edge"
)

// TestUnreadRequestsAreCounted: those that net/http refuses by itself, over both listeners,
// and none that was served, kept waiting or never begun.
func TestUnreadRequestsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorld(t, func(c *edge.Config) { c.Metrics = registry })
	w.site("a.example.com")
	const good = "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
	want := 0.0
	for _, test := range []struct {
		name, sent string
		statuses   []int
		counted    bool
	}{
		{"good ones", good + good, nil, false},
		{"nothing", "", nil, false},
		{"no field", "GET / HTTP/1.1\r\nHost a.example.com\r\n\r\n", []int{400}, true},
		{"another version", "GET / HTTP/3.0\r\nHost: a.example.com\r\n\r\n", []int{505}, true},
		{"a large header", "GET / HTTP/1.1\r\nHost: a.example.com\r\nA: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", []int{431}, true},
		{"half a header", "GET / HTTP/1.1\r\nHost: a.exam", nil, true},
	} {
		for _, over := range []string{w.addr, w.plain} {
			raw, err := net.Dial("tcp", over)
			if err != nil {
				t.Fatal(err)
			}
			raw.SetDeadline(time.Now().Add(10 * time.Second))
			c := raw
			if over == w.addr {
				c = tls.Client(raw, &tls.Config{ServerName: "a.example.com", RootCAs: w.ca.Pool(), NextProtos: []string{"http/1.1"}})
			}
			in := bufio.NewReader(c)
			parts := strings.SplitAfter(test.sent, good)
			for _, part := range parts { // one after the other: what comes with another is in one reading
				io.WriteString(c, part)
				if part == good {
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Fatalf("%s: %v", test.name, err)
					}
					io.Copy(io.Discard, resp.Body)
				}
			}
			for _, status := range test.statuses {
				if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != status {
					t.Errorf("%s: got %v, %v, want status %d", test.name, resp, err, status)
				}
			}
			c.Close()
			if test.counted {
				want++
			}
			eventually(t, test.name+" to be counted", func() bool { return value(t, registry, "lacre_edge_requests_unread_total") >= want })
		}
	}
	eventually(t, "all connections to end", func() bool { return w.edge.Status().Connections == 0 })
	if got := value(t, registry, "lacre_edge_requests_unread_total"); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
