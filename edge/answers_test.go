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

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// TestAnswersWithoutHandler: what net/http answers by itself is counted and logged, over
// TLS, TLCP and plain HTTP, also right behind another request; no other answer is twice.
func TestAnswersWithoutHandler(t *testing.T) {
	out, registry := &syncBuffer{}, prometheus.NewRegistry()
	w := newWorld(t, func(c *edge.Config) { c.AccessLog, c.Metrics = out, registry })
	w.site("a.example.com")
	ca := testcert.NewCA(t, "SM2", testcert.WithSM2())
	w.domain("sm2.example.com", []*lacre.Certificate{w.dual(ca.Dual(t, []string{"sm2.example.com"}))})
	const good = "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
	classes := map[string]float64{}
	lines := 0
	for over, dial := range map[string]func() (net.Conn, error){
		"1.3": func() (net.Conn, error) {
			return w.dial("a.example.com", func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
		},
		"TLCP": func() (net.Conn, error) { return w.dialTLCP(ca, "sm2.example.com") },
		"":     func() (net.Conn, error) { return net.Dial("tcp", w.plain) },
	} {
		for _, test := range []struct {
			sent   string
			status int
		}{
			{"GET / HTTP/1.1\r\nHost a.example.com\r\n\r\n", 400},
			{"GET / HTTP/3.0\r\nHost: a.example.com\r\n\r\n", 505},
			{"POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
			{"GET / HTTP/1.1\r\nHost: a.example.com\r\nA: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", 431},
			{"GET / HTTP/1.1\r\nHost: a.example.com\r\nExpect: a miracle\r\n\r\n", 417},
		} {
			for _, before := range []int{0, 2} {
				c, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				c.SetDeadline(time.Now().Add(10 * time.Second))
				go io.WriteString(c, strings.Repeat(good, before)+test.sent) // its reading may end before the last byte
				in := bufio.NewReader(c)
				for range before {
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Fatal(err)
					}
					io.Copy(io.Discard, resp.Body)
					classes[resp.Status[:1]+"xx"]++
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil || resp.StatusCode != test.status {
					t.Fatalf("%q: got %v, %v, want status %d", over, resp, err, test.status)
				}
				body, _ := io.ReadAll(resp.Body)
				c.Close()
				classes[resp.Status[:1]+"xx"]++
				lines += before + 1
				all := logged(t, out.String, lines)
				last := all[len(all)-1]
				tls, _ := last["tls"].(string)
				if last["status"] != float64(test.status) || tls != over || last["client"] != "127.0.0.1" || last["method"] != "" || last["bytes"] != float64(len(body)) || last["request_id"] == "" {
					t.Errorf("%q: got the line %v, want status %d and %d bytes", over, last, test.status, len(body))
				}
			}
		}
	}
	for class, want := range classes {
		if got := value(t, registry, "lacre_edge_requests_total", class); got != want {
			t.Errorf("got %v requests of class %s, want %v", got, class, want)
		}
	}
	if got := strings.Count(out.String(), "\n"); got != lines {
		t.Errorf("got %d lines, want %d", got, lines)
	}
}
