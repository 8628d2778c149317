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
	p521, rsa := deep(testcert.WithECC(elliptic.P521())), deep(testcert.WithKey(testcert.RSAKey(4096, 0)))
	many := ca.Leaf(t, longNames())
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
		isCheap(t, row.what, len(row.cert)+len(row.key), row.accepted, func() error {
			_, err := keypair.Parse(row.cert, row.key, time.Now())
			return err
		})
	}
}

// TestWorstUploadsOfSM2AreCheap is that for the two pairs of an SM2 certificate. The length
// that the API allows the signing pair is left out of account: it only makes less of it.
func TestWorstUploadsOfSM2AreCheap(t *testing.T) {
	root := testcert.NewCA(t, "root", testcert.WithSM2())
	ca := root
	for n := range 9 {
		ca = ca.Intermediate(t, fmt.Sprint("intermediate ", n), testcert.WithSM2())
	}
	deep, many, alien := ca.Dual(t, hosts), root.Dual(t, longNames()), ca.Dual(t, hosts)
	twins := deep.Enc.CertPEM()
	for range 11 { // as many as fit, each of which might be the key's
		twins += ca.Dual(t, hosts).Enc.CertPEM()
	}
	for _, row := range []struct {
		what, cert, key, signCert, signKey string
		accepted                           bool
	}{
		{"two chains of ten", deep.Enc.ChainPEM(), deep.Enc.KeyPEM(), deep.Sign.ChainPEM(), deep.Sign.KeyPEM(), true},
		{"intermediates in one of the two", deep.Enc.CertPEM(), deep.Enc.KeyPEM(), deep.Sign.ChainPEM(), deep.Sign.KeyPEM(), true},
		{"a thousand long names, twice", many.Enc.CertPEM(), many.Enc.KeyPEM(), many.Sign.CertPEM(), many.Sign.KeyPEM(), true},
		{"twelve leaves", twins, deep.Enc.KeyPEM(), deep.Sign.ChainPEM(), deep.Sign.KeyPEM(), false},
		{"two chains of ten, swapped", deep.Sign.ChainPEM(), deep.Sign.KeyPEM(), deep.Enc.ChainPEM(), deep.Enc.KeyPEM(), false},
		{"keys of nobody", deep.Enc.ChainPEM(), alien.Enc.KeyPEM(), deep.Sign.ChainPEM(), alien.Sign.KeyPEM(), false},
	} {
		size := len(row.cert) + len(row.key) + len(row.signCert) + len(row.signKey)
		isCheap(t, row.what, size, row.accepted, func() error {
			_, err := keypair.ParseSM2(row.cert, row.key, row.signCert, row.signKey, time.Now())
			return err
		})
	}
}

// isCheap runs parse five times and judges the cheapest, which others disturbed least.
func isCheap(t *testing.T, what string, size int, accepted bool, parse func() error) {
	t.Helper()
	best := time.Hour
	for range 5 {
		start := used(t)
		if err := parse(); (err == nil) != accepted {
			t.Fatalf("%s: got %v, want it accepted: %t", what, err, accepted)
		}
		best = min(best, used(t)-start)
	}
	t.Logf("%s: %v of CPU for %d KiB", what, best, size>>10)
	if best > 200*time.Millisecond {
		t.Errorf("%s: got %v of CPU, want the order of 50 ms", what, best)
	}
}

// longNames are as many names as a certificate may have.
func longNames() []string {
	names := make([]string, 1000)
	for n := range names {
		names[n] = fmt.Sprintf("%s%04d.%stest", strings.Repeat("a", 40), n, strings.Repeat("b.", 20))
	}
	return names
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
