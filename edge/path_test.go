package edge

// This file looks at what cannot be seen from outside: what the path of a warm
// handshake costs between the client hello and the answer of configFor.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"iter"
	"testing"
	"time"

	"lacre"
	"lacre/internal/testcert"
)

// silent is a feed with nothing in it.
type silent struct{}

func (silent) LatestRevocations(context.Context, string, string) (*lacre.Revocations, int64, error) {
	return nil, 0, nil
}

func (silent) AllDomains(context.Context, func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error) {
	return 1, nil, nil
}
func (silent) LatestVersions(_ context.Context, _ string, ids []string) ([]lacre.Latest, error) {
	all := make([]lacre.Latest, len(ids))
	for i := range all {
		all[i].Err = lacre.ErrNotStored
	}
	return all, nil
}
func (silent) AllVersions(context.Context, func(*lacre.Certificate) bool, func(string, string, lacre.Latest) error) (int64, error) {
	return 1, nil
}
func (silent) AllInstances(context.Context) ([]*lacre.Instance, error) { return nil, nil }
func (silent) HostDomains(context.Context, []*lacre.Instance, ...string) ([]*lacre.Domain, error) {
	return nil, nil
}
func (silent) Watch(context.Context, int64) iter.Seq2[lacre.Change, error] {
	return func(func(lacre.Change, error) bool) {}
}

// fixed is a Sealer that holds one key.
type fixed struct{ der []byte }

func (f fixed) Seal(context.Context, string, []byte, []byte) ([]byte, error) { return []byte{1}, nil }
func (f fixed) Open(context.Context, string, []byte, []byte) ([]byte, error) {
	return append([]byte(nil), f.der...), nil
}

// warmEdge serves n hosts and as many wildcards with one certificate that is open.
func warmEdge(tb testing.TB, n int) *Edge {
	tb.Helper()
	leaf := testcert.NewCA(tb, "ca").Leaf(tb, []string{"*.example.com"})
	der, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	if err != nil {
		tb.Fatal(err)
	}
	e, err := New(Config{Feed: silent{}, Sealer: fixed{der}})
	if err != nil {
		tb.Fatal(err)
	}
	e.finder.close()
	c := e.holdings.acquire(certificateKey{"p", "c"})
	v := &lacre.Version{Number: 1, Chain: [][]byte{leaf.Cert.Raw}, SealedKey: []byte{1}}
	v.Facts.NotBefore, v.Facts.NotAfter = leaf.Cert.NotBefore, leaf.Cert.NotAfter
	if _, err := e.holdings.offer(context.Background(), c, v, newer); err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		for _, host := range []string{fmt.Sprintf("h%d.example.com", i), fmt.Sprintf("*.w%d.example.com", i)} {
			e.index.put(&site{id: host, host: host, created: time.Unix(1, 0), slots: []*served{c}})
		}
	}
	return e
}

func TestWarmPathAllocatesNothing(t *testing.T) {
	e := warmEdge(t, 10)
	for _, test := range []struct {
		name string
		most float64
	}{{"h1.example.com", 0}, {"x.w1.example.com", 0}, {"unknown.test", 0}} {
		hello := &tls.ClientHelloInfo{Conn: &conn{edge: e}}
		got := testing.AllocsPerRun(100, func() {
			hello.ServerName = test.name
			if _, err := e.configFor(hello); err != nil {
				t.Fatal(err)
			}
		})
		if got > test.most {
			t.Errorf("%s: got %v allocations, want %v at most", test.name, got, test.most)
		}
	}
}

func BenchmarkConfigFor(b *testing.B) {
	for _, size := range []int{10, 100_000} {
		e := warmEdge(b, size)
		for _, name := range []string{"h1.example.com", "x.w1.example.com", "unknown.test"} {
			b.Run(fmt.Sprintf("%d hosts/%s", 2*size, name), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					hello := &tls.ClientHelloInfo{Conn: &conn{edge: e}}
					for pb.Next() {
						hello.ServerName = name
						e.configFor(hello)
					}
				})
			})
		}
	}
}
