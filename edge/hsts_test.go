package edge_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"lacre"
	"lacre/edge"
)

// TestStrictTransport: the header is on every answer of the domain over HTTPS, once, and
// on none over plain HTTP.
func TestStrictTransport(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.ProxyHTTP = true })
	const year, own = "max-age=31536000", "max-age=1; includeSubDomains"
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			rw.Header().Set("Strict-Transport-Security", own)
		}
		io.WriteString(rw, "hello")
	})
	on := func(d *lacre.Domain) { d.HSTS = true }
	w.site("on.example.com", upstream(b.URL), on)
	w.site("off.example.com", upstream(b.URL))
	w.site("page.example.com", on)
	w.site("gone.example.com", upstream("http://127.0.0.1:1"), on)
	for _, test := range []struct{ url, want string }{
		{"https://on.example.com/", year},
		{"https://on.example.com/own", own},
		{"https://off.example.com/", ""},
		{"https://off.example.com/own", own},
		{"https://page.example.com/", year},
		{"https://gone.example.com/", year}, // 502
	} {
		eachHTTP(t, func(t *testing.T, http2 bool) {
			resp, err := w.client(http2).Get(test.url)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := strings.Join(resp.Header.Values("Strict-Transport-Security"), "|"); got != test.want {
				t.Errorf("%s: got %q, want %q", test.url, got, test.want)
			}
		})
	}
	ca := newSMCA(t)
	w.domain("sm.example.com", []*lacre.Certificate{w.dual(ca.Dual(t, []string{"sm.example.com"}))}, on)
	resp, err := w.clientTLCP(ca).Get("https://sm.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Strict-Transport-Security"); got != year {
		t.Errorf("over TLCP: got %q, want %q", got, year)
	}
	for _, path := range []string{"/", "/own"} {
		r, _ := http.NewRequest("GET", "http://"+w.plain+path, nil)
		r.Host = "on.example.com"
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got, has := resp.Header["Strict-Transport-Security"]; has || string(body) != "hello" {
			t.Errorf("plain HTTP %s: got %q in answer %q, want the answer without it", path, got, body)
		}
	}
}
