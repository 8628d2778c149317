//go:build !race

package keypair_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

// TestWorstUploadsAreCheap parses what costs most within the limits: the budget is 50 ms.
// Four times that are allowed here, for slow machines; the figures are logged. The
// race detector makes big numbers fifty times dearer, so the file is left out with it.
func TestWorstUploadsAreCheap(t *testing.T) {
	deep := func(key testcert.Option) *testcert.Leaf {
		ca := testcert.NewCA(t, "root", key)
		for n := range 9 {
			ca = ca.Intermediate(t, fmt.Sprint("intermediate ", n), key)
		}
		return ca.Leaf(t, hosts, key)
	}
	ca := testcert.NewCA(t, "root")
	long := strings.Repeat("b.", 20) + "test"
	names := make([]string, 1000)
	for n := range names {
		names[n] = fmt.Sprintf("%s%04d.%s", strings.Repeat("a", 40), n, long)
	}
	p521, rsa := deep(testcert.WithECC(elliptic.P521())), deep(testcert.WithKey(testcert.RSAKey(4096, 0)))
	many := ca.Leaf(t, names)
	crowded := ca.Leaf(t, hosts, testcert.With(func(template *x509.Certificate) {
		for n := range 8000 {
			template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: []int{1, 3, 6, 1, 4, 1, 99, n}, Value: []byte{5, 0}})
		}
	}))
	for _, row := range []struct {
		what, cert, key string
		accepted        bool
	}{
		{"ten certificates on P-521", p521.ChainPEM(), p521.KeyPEM(), true},
		{"ten certificates of RSA-4096", rsa.ChainPEM(), rsa.KeyPEM(), true},
		{"a thousand long names", many.CertPEM(), many.KeyPEM(), true},
		{"eight thousand extensions", crowded.CertPEM(), crowded.KeyPEM(), true},
		{"nothing but line breaks", strings.Repeat(`\n`, 120_000), many.KeyPEM(), false},
		{"nothing but begins", strings.Repeat("-----BEGIN ", 20_000), many.KeyPEM(), false},
		{"nothing but headers", "-----BEGIN CERTIFICATE-----" + strings.Repeat(":\n", 100_000) + "-----END CERTIFICATE-----", many.KeyPEM(), false},
		{"a key of zeros", many.CertPEM(), "-----BEGIN EC PRIVATE KEY-----" + strings.Repeat("A", 200_000) + "-----END EC PRIVATE KEY-----", false},
	} {
		best := time.Hour
		for range 5 {
			start := used(t)
			if _, err := keypair.Parse(row.cert, row.key, time.Now()); (err == nil) != row.accepted {
				t.Fatalf("%s: got %v, want it accepted: %t", row.what, err, row.accepted)
			}
			best = min(best, used(t)-start)
		}
		t.Logf("%s: %v of CPU for %d KiB", row.what, best, (len(row.cert)+len(row.key))>>10)
		if best > 200*time.Millisecond {
			t.Errorf("%s: got %v of CPU, want the order of 50 ms", row.what, best)
		}
	}
}

// used is the time that the CPUs have worked for this process.
func used(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
