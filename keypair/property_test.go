package keypair_test

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

// Every order of a leaf, its intermediates and their root gives the same chain.
func TestEveryOrderGivesTheSameChain(t *testing.T) {
	root := testcert.NewCA(t, "root")
	leaf := root.Intermediate(t, "policy").Intermediate(t, "regional").Intermediate(t, "issuing").Leaf(t, hosts)
	tried := 0
	permute(append(slices.Clone(leaf.Chain), root.Cert), func(certs []*x509.Certificate) {
		tried++
		checkPair(t, parse(t, pemOf(certs...), leaf.KeyPEM()), leaf)
	})
	if tried != 120 {
		t.Errorf("tried %d orders, want 120", tried)
	}
}

// permute calls visit with every order of s (Heap's algorithm).
func permute(s []*x509.Certificate, visit func([]*x509.Certificate)) {
	var generate func(n int)
	generate = func(n int) {
		if n == 1 {
			visit(s)
			return
		}
		for i := range n {
			generate(n - 1)
			if n%2 == 0 {
				s[i], s[n-1] = s[n-1], s[i]
			} else {
				s[0], s[n-1] = s[n-1], s[0]
			}
		}
	}
	generate(len(s))
}

// TestAcceptedChainsVerify: crypto/x509 builds and verifies every chain that Parse accepted.
func TestAcceptedChainsVerify(t *testing.T) {
	root := testcert.NewCA(t, "root", testcert.WithRSA(2048))
	short := root.Leaf(t, hosts)
	long := root.Intermediate(t, "policy").Intermediate(t, "issuing", testcert.WithRSA(3072)).Leaf(t, hosts)
	for name, leaf := range map[string]*testcert.Leaf{"short": short, "long": long} {
		pair := parse(t, pemOf(append([]*x509.Certificate{root.Cert}, leaf.Chain...)...), leaf.KeyPEM())
		between := x509.NewCertPool()
		for _, cert := range pair.Chain[1:] {
			between.AddCert(cert)
		}
		_, err := pair.Chain[0].Verify(x509.VerifyOptions{DNSName: "www.a.test", Roots: root.Pool(), Intermediates: between})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No bit can be flipped in a leaf or an intermediate without the pair being refused. One
// bit of each byte is tried.
func TestNoChangedByteGoesUnnoticed(t *testing.T) {
	leaf := testcert.NewCA(t, "root").Intermediate(t, "policy").Intermediate(t, "issuing").Leaf(t, hosts)
	own, issuing := leaf.Chain[0], leaf.Chain[1]
	for name, c := range map[string]struct {
		position int // in the chain
		cert     *x509.Certificate
	}{"leaf": {0, own}, "intermediate": {1, issuing}} {
		for i := range c.cert.Raw {
			changed := slices.Clone(c.cert.Raw)
			changed[i] ^= 1 << (i % 8)
			text := ""
			for position, cert := range leaf.Chain {
				der := cert.Raw
				if position == c.position {
					der = changed
				}
				text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
			}
			if pair, err := keypair.Parse(text, leaf.KeyPEM(), time.Now()); err == nil {
				t.Errorf("%s with byte %d changed was accepted with warnings %q", name, i, pair.Warnings)
			}
		}
	}
}

// No changed byte of a private key gives a pair with another key.
func TestNoChangedByteOfAKeyGivesAnotherKey(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	for name, leaf := range map[string]*testcert.Leaf{
		"P-256": ca.Leaf(t, hosts), "RSA": ca.Leaf(t, hosts, testcert.WithRSA(2048)),
	} {
		der := decode(leaf.KeyPEM())
		step := 1 + len(der)/400 // RSA keys are long and slow
		for i := 0; i < len(der); i += step {
			changed := slices.Clone(der)
			changed[i] ^= 1 << (i % 8)
			pair, err := keypair.Parse(leaf.CertPEM(), keyPEM(changed), time.Now())
			if err != nil {
				reason(t, err, "private_key")
			} else if testcert.KeyPEM(pair.Key) != leaf.KeyPEM() { // such as a byte of the unused public half
				t.Errorf("%s: byte %d changed gave another key", name, i)
			}
		}
	}
}

// Parse says the same as crypto/x509 about which hosts a leaf is for, on names that both
// take for host names.
func TestCoversAgreesWithTheStandardLibrary(t *testing.T) {
	leaf := testcert.SelfSigned(t, []string{"www.a.test", "*.b.test", "UPPER.test", "*.x.c.test", "xn--bcher-kva.test", "_u.test"})
	facts := parse(t, leaf.CertPEM(), leaf.KeyPEM()).Facts
	labels := []string{"www", "x", "a", "b", "c", "test", "upper", "xn--bcher-kva", "_u"}
	for _, first := range labels {
		for _, second := range labels {
			for _, third := range labels {
				for _, host := range []string{first, first + "." + second, first + "." + second + "." + third,
					first + "." + second + "." + third + ".test"} {
					want := leaf.Cert.VerifyHostname(host) == nil
					if got := facts.Covers(host); got != want {
						t.Errorf("Covers(%q): got %v, want %v", host, got, want)
					}
				}
			}
		}
	}
}
