package tlcp

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"math"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// naiveOpen is what RFC 5246 section 6.2.3.2 says, without a thought for time.
func naiveOpen(c *cbc, seq uint64, typ recordType, fragment []byte) ([]byte, bool) {
	if len(fragment) < 64 || len(fragment)%cbcBlock != 0 {
		return nil, false
	}
	data := bytes.Clone(fragment[cbcIVLen:])
	cipher.NewCBCDecrypter(c.block, fragment[:cbcIVLen]).CryptBlocks(data, data)
	padding := int(data[len(data)-1])
	n := len(data) - 1 - padding - 32
	if n < 0 {
		return nil, false
	}
	for _, b := range data[n+32:] {
		if int(b) != padding {
			return nil, false
		}
	}
	var more [authenticatedLen]byte
	authenticated(more[:], seq, typ, n)
	c.mac.Reset()
	c.mac.Write(more[:])
	c.mac.Write(data[:n])
	return data[:n], subtle.ConstantTimeCompare(c.mac.Sum(nil), data[n:n+32]) == 1
}

// The constant-time way opens what the naive way opens, at every length and padding, and
// refuses what it refuses.
func TestCBCOpensLikeTheNaiveWay(t *testing.T) {
	t.Parallel()
	c := newCBC(bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 32))
	random := mathrand.New(mathrand.NewPCG(1, 2))
	iv := make([]byte, cbcIVLen)
	opened := 0
	for n := range 700 {
		for try := range 12 {
			plain := make([]byte, n)
			_, _ = rand.Read(plain)
			data := cbcPlain(c, 7, plain, random.IntN(16)) // padding of at most 256
			if try%3 == 1 {
				data[random.IntN(len(data))] ^= byte(1 << random.IntN(8))
			} else if try%3 == 2 {
				data[len(data)-1-random.IntN(min(len(data), 40))] ^= byte(1 << random.IntN(8))
			}
			c.encrypt(iv, data)
			fragment := append(bytes.Clone(iv), data...)
			want, wantOK := naiveOpen(c, 7, recordApplicationData, fragment)
			got, ok := c.open(7, recordApplicationData, fragment)
			if ok != wantOK || ok && !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, try %d: got %x, %v, want %x, %v", n, try, got, ok, want, wantOK)
			}
			if ok {
				opened++
			}
		}
	}
	if opened < 700*4 {
		t.Errorf("got %d records opened, want those left alone", opened)
	}
}

// How long a record takes to be refused says nothing about its padding (item 24, Lucky
// Thirteen): Welch's t over many interleaved samples, as in dudect (Reparaz et al. 2017).
// A naive opening of the same records is far outside, or the test would show nothing.
func TestCBCTiming(t *testing.T) {
	if os.Getenv("LACRE_NIGHTLY") == "" {
		t.Skip("a statistical test; LACRE_NIGHTLY=1 runs it")
	}
	c := newCBC(bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 32))
	short := timedRecord(c, 0)   // bad MAC, one byte of padding
	long := timedRecord(c, 255)  // bad MAC, 256 bytes
	broken := timedRecord(c, -1) // bad padding
	open := func(fragment []byte) { c.open(7, recordApplicationData, fragment) }
	naive := func(fragment []byte) { naiveOpen(c, 7, recordApplicationData, fragment) }
	const enough = 10 // dudect calls 4.5 suspicious, on a quiet machine; this one is shared
	for name, pair := range map[string][2][]byte{"padding": {short, long}, "broken padding": {short, broken}} {
		best := 1e9
		for range 3 { // one of three: load comes and goes, a leak stays
			best = min(best, welch(open, pair[0], pair[1]))
		}
		t.Logf("%s: t = %.1f", name, best)
		if best > enough {
			t.Errorf("%s: got t = %.1f, want at most %d", name, best, enough)
		}
	}
	if got := welch(naive, short, long); got < enough {
		t.Errorf("the naive way: got t = %.1f, want it found out", got)
	}
}

// timedRecord is a record of 1024 bytes with this much padding; -1 is broken padding.
func timedRecord(c *cbc, padding int) []byte {
	data := make([]byte, 1024)
	_, _ = rand.Read(data)
	fill := max(padding, 0)
	for i := range fill + 1 {
		data[len(data)-1-i] = byte(fill)
	}
	if padding < 0 {
		data[len(data)-1], data[len(data)-2] = 40, 41
	}
	iv := make([]byte, cbcIVLen)
	c.encrypt(iv, data)
	return append(iv, data...)
}

// welch is the absolute value of Welch's t of the times that f takes for a and for b.
func welch(f func([]byte), a, b []byte) float64 {
	const samples = 100_000
	times := [2][]float64{}
	scratch := make([]byte, len(a))
	order, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	random := mathrand.New(mathrand.NewPCG(order.Uint64(), 1))
	for range samples {
		which := random.IntN(2)
		copy(scratch, [2][]byte{a, b}[which])
		start := time.Now()
		f(scratch)
		times[which] = append(times[which], float64(time.Since(start)))
	}
	m0, v0 := moments(times[0])
	m1, v1 := moments(times[1])
	return math.Abs(m0-m1) / math.Sqrt(v0/float64(len(times[0]))+v1/float64(len(times[1])))
}

// moments are mean and variance of the faster nine tenths: the rest is the scheduler.
func moments(times []float64) (mean, variance float64) {
	slices.Sort(times)
	times = times[:len(times)*9/10]
	for _, x := range times {
		mean += x / float64(len(times))
	}
	for _, x := range times {
		variance += (x - mean) * (x - mean) / float64(len(times))
	}
	return mean, variance
}
