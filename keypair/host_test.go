package keypair_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre/keypair"
)

func TestCanonicalHost(t *testing.T) {
	long := strings.Repeat("a", 63)
	name253 := strings.Join([]string{long, long, long, strings.Repeat("a", 61)}, ".")
	for name, want := range map[string]string{
		"www.a.test":               "www.a.test",
		"WWW.A.Test":               "www.a.test",
		"www.a.test.":              "www.a.test",
		"localhost":                "localhost",
		"*.b.test":                 "*.b.test",
		"*.B.test.":                "*.b.test",
		"_acme.a_b.test":           "_acme.a_b.test",
		"a_.test":                  "a_.test",
		"r3---sn-4g5e6nsy.a.test":  "r3---sn-4g5e6nsy.a.test",
		"1.a.test":                 "1.a.test",
		"1.2.3.4a":                 "1.2.3.4a",
		"axn--b.test":              "axn--b.test",
		"bücher.test":              "xn--bcher-kva.test",
		"BÜCHER.test":              "xn--bcher-kva.test",
		"bu\u0308cher.test":        "xn--bcher-kva.test",
		"xn--bcher-kva.test":       "xn--bcher-kva.test",
		"XN--BCHER-KVA.test":       "xn--bcher-kva.test",
		"*.bücher.test":            "*.xn--bcher-kva.test",
		"straße.test":              "xn--strae-oqa.test",
		"例え。テスト":                   "xn--r8jz45g.xn--zckzah",
		"例え.テスト。":                  "xn--r8jz45g.xn--zckzah",
		"ｗｗｗ．ａ．test":               "www.a.test",
		long + ".test":             long + ".test",
		name253:                    name253,
		name253 + ".":              name253,
		strings.ToUpper(name253):   name253,
		"a\u00ad\u200bb.test":      "ab.test", // soft hyphen and zero-width space are ignored
		"xn--nxasmq6b.xn--zckzah":  "xn--nxasmq6b.xn--zckzah",
		"a-b.c-d.test":             "a-b.c-d.test",
		"www.xn--fiqs8s":           "www.xn--fiqs8s",
		"*.x.b.test":               "*.x.b.test",
		"a.b.c.d.e.f.g.h.i.j.test": "a.b.c.d.e.f.g.h.i.j.test",
	} {
		got, err := keypair.CanonicalHost(name)
		if err != nil || got != want {
			t.Errorf("CanonicalHost(%+q) = %q, %v; want %q", name, got, err, want)
			continue
		}
		if again, err := keypair.CanonicalHost(got); err != nil || again != got {
			t.Errorf("CanonicalHost(%q) = %q, %v; want it unchanged", got, again, err)
		}
	}
}

func TestCanonicalHostRefuses(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, name := range []string{
		"", ".", "..", "a..test", ".a.test", "a.test..", "*", "*.", "*.test", "*.*.test", "www.*.test", "w*.a.test",
		"**.a.test", "*a.test", "*.a..test", "192.0.2.7", "192.0.2.7.", "10.1", "1", "0x7f.1", "a.1", "*.0.2.7",
		"2001:db8::1", "[2001:db8::1]", "::", "::ffff:192.0.2.7", "１９２.0.2.7", "192。0。2。7", "www.a.test:443",
		"www a.test", "www.a.test/", "http://a.test", "a@b.test", "a,b.test", "a\x00.test", "a\n.test", "\u00a0",
		"-a.test", "a-.test", "a.-test", "*.-b.test", "é-.test", long + "a.test", "ü" + long + ".test",
		strings.Join([]string{long, long, long, strings.Repeat("a", 62)}, "."), strings.Repeat("ü.", 600) + "test",
		"xn--", "xn--.test", "xn--a.test", "xn--abc-.test", "xn--\u00fc.test", "xn--zn7c.test", "\xff.test", "a\u2100b.test", "\u200d.test",
		"\u05d0a.test", "ℹ︎\ufffd.test",
	} {
		if got, err := keypair.CanonicalHost(name); err == nil || got != "" {
			t.Errorf("CanonicalHost(%+q) = %q, %v; want an error alone", name, got, err)
		}
	}
}

// The handshake looks names up: what clients send must cost no garbage.
func TestCanonicalHostAllocatesNothing(t *testing.T) {
	for _, name := range []string{"www.a.test", "www.a.test.", "*.b.test", "_a.b-c.d1.test", "", "192.0.2.7", "a..test"} {
		if got := testing.AllocsPerRun(100, func() { keypair.CanonicalHost(name) }); got != 0 {
			t.Errorf("CanonicalHost(%q): got %v allocations, want none", name, got)
		}
	}
}

func TestCovers(t *testing.T) {
	leaf := keypair.Facts{CommonName: "cn.test", SANs: []string{
		"www.a.test", "*.b.test", "WWW.Upper.test.", "xn--bcher-kva.test", "192.0.2.7",
		"w*.partial.test", "*.*.double.test", "*", "*.test", "bad..test", "*.x.c.test", "a b.test",
	}}
	onlyIP := keypair.Facts{CommonName: "cn.test", SANs: []string{"192.0.2.7", "2001:db8::1"}}
	wildCN := keypair.Facts{CommonName: "*.cn.test"}
	proseCN := keypair.Facts{CommonName: "An Example, Inc."}
	malformed := keypair.Facts{CommonName: "cn.test", SANs: []string{"bad..test"}}
	for _, c := range []struct {
		facts keypair.Facts
		host  string
		want  bool
	}{
		{leaf, "www.a.test", true},
		{leaf, "a.test", false},
		{leaf, "x.www.a.test", false},
		{leaf, "x.b.test", true},
		{leaf, "_x.b.test", true},
		{leaf, "xn--bcher-kva.b.test", true},
		{leaf, "b.test", false},
		{leaf, "x.y.b.test", false},
		{leaf, "*.b.test", true},
		{leaf, "*.a.test", false},
		{leaf, "*.x.b.test", false},
		{leaf, "*.x.c.test", true},
		{leaf, "y.x.c.test", true},
		{leaf, "x.c.test", false},
		{leaf, "www.upper.test", true},
		{leaf, "xn--bcher-kva.test", true},
		{leaf, "www.partial.test", false},
		{leaf, "x.y.double.test", false},
		{leaf, "a.test", false},
		{leaf, "192.0.2.7", false},
		{leaf, "cn.test", false},
		{leaf, "", false},
		{leaf, "test", false},
		{onlyIP, "cn.test", true},
		{onlyIP, "192.0.2.7", false},
		{wildCN, "x.cn.test", true},
		{wildCN, "cn.test", false},
		{wildCN, "*.cn.test", true},
		{proseCN, "an example, inc.", false},
		{proseCN, "", false},
		{malformed, "cn.test", false},
		{malformed, "bad..test", false},
		{keypair.Facts{}, "", false},
	} {
		if got := c.facts.Covers(c.host); got != c.want {
			t.Errorf("%v (CN %q) covers %q: got %v, want %v", c.facts.SANs, c.facts.CommonName, c.host, got, c.want)
		}
	}
}

// TestUncovered: a thousand names against ten thousand hosts, which would be seconds if
// each host went through all the names.
func TestUncovered(t *testing.T) {
	facts := keypair.Facts{SANs: []string{"*.b.test"}}
	for n := range 999 {
		facts.SANs = append(facts.SANs, fmt.Sprintf("xn--bcher-kva.h%d.a.test", n))
	}
	hosts := []string{"www.b.test", "bare.test", "*.b.test", "deep.www.b.test"}
	for n := range 10_000 {
		hosts = append(hosts, fmt.Sprintf("h%d.b.test", n))
	}
	start := time.Now()
	got := facts.Uncovered(hosts)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v, want some milliseconds", took)
	}
	if diff := cmp.Diff([]string{"bare.test", "deep.www.b.test"}, got); diff != "" {
		t.Errorf("uncovered hosts (-want +got):\n%s", diff)
	}
}
