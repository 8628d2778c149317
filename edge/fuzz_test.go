package edge_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzHostAgreesWithServerName: on a connection made for one site, a Host is answered
// only if the same text as a server name leads to that site, however either is spelled.
func FuzzHostAgreesWithServerName(f *testing.F) {
	for _, host := range []string{
		"a.example.com", "A.EXAMPLE.com", "a.example.com.", "a.example.com:443", "b.example.com", "b.example.com:",
		"*.example.com", "x.a.example.com", "", ".", "a..example.com", "[::1]", "127.0.0.1", "a.example.com:x",
		"xn--bcher-kva.example.com", "a.example.com@evil.test", "a.example.com%00", "a_b.example.com", "example.com",
	} {
		f.Add(host)
	}
	w := newWorld(f)
	w.site("a.example.com")
	w.site("*.example.com")
	f.Fuzz(func(t *testing.T, host string) {
		if strings.ContainsAny(host, "\r\n\x00 \t") || len(host) > 300 {
			t.Skip("not one header value")
		}
		name, _, _ := strings.Cut(host, ":")
		name = strings.TrimSuffix(name, ".")
		site := siteByName(w, name)
		for _, sni := range []string{"a.example.com", "some.example.com"} {
			status := statusByHost(t, w, sni, host)
			if status == 200 && site != siteByName(w, sni) {
				t.Errorf("Host %q was answered on a connection for %q; as a server name it leads to %q", host, sni, site)
			}
		}
	})
}

// siteByName returns the name on the leaf that a server name leads to, empty if none.
func siteByName(w *world, name string) string {
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if c.Handshake() != nil {
		return ""
	}
	return c.ConnectionState().PeerCertificates[0].DNSNames[0]
}

func statusByHost(t *testing.T, w *world, sni, host string) int {
	c, err := w.dial(sni, func(c *tls.Config) { c.InsecureSkipVerify = true })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
