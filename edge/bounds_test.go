package edge

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"
)

// TestInventedNamesAreBounded: who asks for ever new names while everything is loaded, and
// hangs up, leaves a bounded number of look-ups behind.
func TestInventedNamesAreBounded(t *testing.T) {
	e, err := New(Config{Feed: silent{}, Sealer: fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	before := runtime.NumGoroutine()
	for n := range 2 * looksWaiting {
		e.finder.look(gone, fmt.Sprintf("n%d.example.com", n))
	}
	if got := runtime.NumGoroutine() - before; got > looksWaiting+100 {
		t.Errorf("%d names left %d goroutines, want %d at most", 2*looksWaiting, got, looksWaiting)
	}
}

// TestZonedProxy: a listed proxy on a link is listed by whatever interface it comes in.
func TestZonedProxy(t *testing.T) {
	e := &Edge{cfg: Config{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("fe80::/64")}}}
	for address, want := range map[string]bool{"fe80::1": true, "fe80::1%eth0": true, "fe80:1::1%eth0": false, "127.0.0.1": false} {
		if got := e.mustIntroduce(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %t, want %t", address, got, want)
		}
	}
}

// TestPanicsAreNotForged: what a client makes net/http say is no panic, whatever it says.
func TestPanicsAreNotForged(t *testing.T) {
	for line, want := range map[string]bool{
		"http: panic serving 127.0.0.1:1: boom":                         true,
		"http2: panic serving 127.0.0.1:1: boom":                        true,
		"http: invalid Cookie http: panic serving 127.0.0.1:1: forged":  false,
		"http2: received GOAWAY, debug=\"http2: panic serving forged\"": false,
	} {
		var out bytes.Buffer
		e := &Edge{log: slog.New(slog.NewTextHandler(&out, nil))}
		serverLog{e}.Write([]byte(line))
		if got := strings.Contains(out.String(), "a request panicked"); got != want {
			t.Errorf("%s: got an error logged %t, want %t", line, got, want)
		}
	}
}
