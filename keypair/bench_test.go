package keypair_test

import (
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

func BenchmarkParse(b *testing.B) {
	ca := testcert.NewCA(b, "root").Intermediate(b, "issuing")
	for name, leaf := range map[string]*testcert.Leaf{
		"P-256":    ca.Leaf(b, hosts),
		"RSA-2048": ca.Leaf(b, hosts, testcert.WithRSA(2048)),
	} {
		b.Run(name, func(b *testing.B) {
			chain, key, now := leaf.ChainPEM(), leaf.KeyPEM(), time.Now()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := keypair.Parse(chain, key, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCanonicalHost(b *testing.B) {
	for _, name := range []string{"www.a.test", "WWW.A.TEST.", "xn--bcher-kva.test", "bücher.test"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := keypair.CanonicalHost(name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCovers(b *testing.B) {
	facts := keypair.Facts{SANs: append(manyHosts(100), "*.b.test")}
	b.ReportAllocs()
	for b.Loop() {
		if !facts.Covers("www.b.test") {
			b.Fatal("not covered")
		}
	}
}
