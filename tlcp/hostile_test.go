package tlcp

import "testing"

// hostile is a case of the negative checklist: what a client does, and the alert it gets.
type hostile struct {
	name   string // with the number in the checklist
	config func(*Config)
	client func(*Config)
	act    func(p *peer)
	alerts []Alert // any of them; none: the case looks by itself
}

// testPKI is what the cases share; making it takes the most time.
type testPKI struct {
	ca, other      *authority
	server, client *KeyPair
}

func newTestPKI(t testing.TB) *testPKI {
	t.Helper()
	ca := newAuthority(t, "root", nil)
	return &testPKI{ca: ca, other: newAuthority(t, "other root", nil), server: ca.pair(t, testName), client: ca.pair(t, "client")}
}

func (k *testPKI) run(t *testing.T, cases []hostile) {
	t.Helper()
	for _, h := range cases {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			config := &Config{KeyPair: k.server, ClientCAs: k.ca.pool, NextProtos: []string{"h2"}}
			client := &Config{InsecureSkipVerify: true, ServerName: testName, KeyPair: k.client}
			if h.config != nil {
				h.config(config)
			}
			if h.client != nil {
				h.client(client)
			}
			p := newPeerWith(t, config, client)
			h.act(p)
			if len(h.alerts) > 0 {
				p.wantAlert(h.alerts...)
			}
		})
	}
}

func only(suite uint16) func(*Config) {
	return func(c *Config) { c.CipherSuites = []uint16{suite} }
}

func mutual(c *Config) { c.ClientAuth = RequireAndVerifyClientCert }

func mutualWith(suite uint16) func(*Config) {
	return func(c *Config) {
		mutual(c)
		c.CipherSuites = []uint16{suite}
	}
}
