package lacre_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"lacre"
)

// askedEdge is an Edge that keeps what it was asked.
type askedEdge struct {
	lacre.Edge
	project, host string
	hello         lacre.ClientHello
}

func (e *askedEdge) Explain(_ context.Context, project string, hello lacre.ClientHello, host string) (*lacre.Explanation, error) {
	e.project, e.hello, e.host = project, hello, host
	return &lacre.Explanation{}, nil
}

func TestExplainSpellings(t *testing.T) {
	t.Parallel()
	e := &askedEdge{}
	w := newWorld(t, func(c *lacre.Config) { c.Edge = e })
	ask := func(q lacre.Question) error {
		_, err := w.Explain(t.Context(), w.admin, w.project, q)
		return err
	}
	w.ok(ask(lacre.Question{ServerName: "www.a.test",
		Versions:            []string{"TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3", "0x0304", "771", "0x7f1c"},
		CipherSuites:        []string{"TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "4865", "0xC02B", "0"},
		SignatureAlgorithms: []string{"ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "0x0807", "65535"},
	}))
	got := e.hello
	for _, c := range []struct {
		name      string
		got, want []uint16
	}{
		{"versions", got.Versions, []uint16{0x0301, 0x0302, 0x0303, 0x0304, 0x0304, 0x0303, 0x7f1c}},
		{"cipher_suites", got.CipherSuites, []uint16{0x1301, 0xc013, 0x1301, 0xc02b, 0}},
		{"signature_algorithms", got.SignatureAlgorithms, []uint16{0x0403, 0x0804, 0x0807, 0xffff}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: got %#x, want %#x", c.name, c.got, c.want)
		}
	}
	if e.project != w.project || got.ServerName != "www.a.test" || e.host != "www.a.test" {
		t.Errorf("asked for %q, Host %q of project %s, want www.a.test for both and %s", got.ServerName, e.host, e.project, w.project)
	}
	other := "other.a.test:8443"
	w.ok(ask(lacre.Question{Host: &other}))
	if e.host != other || e.hello.ServerName != "" || len(e.hello.Versions) != 2 || len(e.hello.CipherSuites) != 9 || len(e.hello.SignatureAlgorithms) == 0 {
		t.Errorf("asked with %+v, Host %q, want no name, what browsers offer and %s", e.hello, e.host, other)
	}
}

// TestExplainTLCPSpellings: TLCP has suites of its own and no signature algorithms, and does
// not go with TLS.
func TestExplainTLCPSpellings(t *testing.T) {
	t.Parallel()
	e := &askedEdge{}
	w := newWorld(t, func(c *lacre.Config) { c.Edge = e })
	ask := func(q lacre.Question) error {
		_, err := w.Explain(t.Context(), w.admin, w.project, q)
		return err
	}
	w.ok(ask(lacre.Question{Versions: []string{"TLCPv1.1"}}))
	if h := e.hello; !h.TLCP() || !slices.Equal(h.CipherSuites, []uint16{0xe053, 0xe013, 0xe051, 0xe011}) || h.SignatureAlgorithms != nil {
		t.Errorf("got %+v, want TLCP with its four suites", h)
	}
	w.ok(ask(lacre.Question{Versions: []string{"0x0101"}, CipherSuites: []string{"ECDHE_SM4_CBC_SM3", "0xe013"}}))
	if h := e.hello; !h.TLCP() || !slices.Equal(h.CipherSuites, []uint16{0xe011, 0xe013}) {
		t.Errorf("got %+v, want TLCP with two suites", h)
	}
	for field, q := range map[string]lacre.Question{
		"versions":             {Versions: []string{"TLCPv1.1", "TLSv1.2"}},
		"signature_algorithms": {Versions: []string{"TLCPv1.1"}, SignatureAlgorithms: []string{"sm2sig_sm3"}},
	} {
		err := ask(q)
		wantCode(t, err, lacre.CodeInvalidField)
		if got := fieldOf(err); got != field {
			t.Errorf("got an error about %q, want one about %q", got, field)
		}
	}
}

func TestExplainRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *lacre.Config) { c.Edge = &askedEdge{} })
	long := strings.Repeat("a", 1025)
	for field, q := range map[string]lacre.Question{
		"sni":                  {ServerName: long},
		"host":                 {Host: &long},
		"versions":             {Versions: []string{"TLS 1.2"}},
		"cipher_suites":        {CipherSuites: []string{"TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"}},
		"signature_algorithms": {SignatureAlgorithms: []string{}},
	} {
		_, err := w.Explain(t.Context(), w.admin, w.project, q)
		wantCode(t, err, lacre.CodeInvalidField)
		if got := fieldOf(err); got != field {
			t.Errorf("got an error about %q, want one about %q", got, field)
		}
	}
	for _, text := range []string{"", "65536", "-1", "+1", "0x", "0x10000", "1e3", " 4865", "TLSv1"} {
		_, err := w.Explain(t.Context(), w.admin, w.project, lacre.Question{Versions: []string{text}})
		if lacre.CodeOf(err) != lacre.CodeInvalidField {
			t.Errorf("version %q: got %v, want it refused", text, err)
		}
	}
	w.Edge = nil
	_, err := w.Explain(t.Context(), w.admin, w.project, lacre.Question{ServerName: "www.a.test"})
	wantCode(t, err, lacre.CodeUnsupportedKind)
}
