package edge

import (
	"crypto/x509"
	"testing"
	"time"

	"lacre"
	"lacre/internal/testcert"
	"lacre/keypair"
)

// listsOf are the lists of cas in force, each with its own end.
func listsOf(t *testing.T, ends map[*testcert.CA]time.Time) *revocations {
	r := &lacre.Revocations{}
	for ca, end := range ends {
		id := keypair.IssuerID(ca.Cert)
		der := ca.CRL(t, nil, testcert.CRLValidity(time.Now().Add(-time.Hour), end))
		r.Lists = append(r.Lists, lacre.RevocationList{IssuerID: id[:], DER: der})
	}
	x, err := newRevocations(r, 1)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestEndOf: of all that a client was held to, what ends first counts, wherever it is in
// the chain and in whichever list.
func TestEndOf(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	in := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	ending := func(hours int) testcert.Option { return testcert.WithValidity(now, in(hours)) }
	for _, test := range []struct {
		name            string
		leaf, sub       int  // hours to their end
		own, ofSub, top *int // hours to the end of the lists, nil for none
		want            int
	}{
		{name: "no lists", leaf: 9, sub: 20, want: 9},
		{name: "the intermediate", leaf: 9, sub: 8, want: 8},
		{name: "the leaf's list", leaf: 9, sub: 8, ofSub: hours(3), top: hours(4), want: 3},
		{name: "the intermediate's list", leaf: 9, sub: 8, ofSub: hours(5), top: hours(4), want: 4},
		{name: "a list of another certificate", leaf: 9, sub: 8, ofSub: hours(5), own: hours(2), want: 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := testcert.NewCA(t, "root")
			sub := root.Intermediate(t, "sub", ending(test.sub))
			leaf := sub.Leaf(t, []string{"client"}, ending(test.leaf))
			first, second := map[*testcert.CA]time.Time{}, map[*testcert.CA]time.Time{}
			for _, l := range []struct {
				of  *testcert.CA
				in  map[*testcert.CA]time.Time
				end *int
			}{{sub, first, test.ofSub}, {root, first, test.top}, {sub, second, test.own}} {
				if l.end != nil {
					l.in[l.of] = in(*l.end)
				}
			}
			tr := trust{lists: []*revocations{listsOf(t, first), listsOf(t, second)}}
			for name, chain := range map[string][]*x509.Certificate{
				"to the root":         {leaf.Cert, sub.Cert, root.Cert},
				"to the intermediate": {leaf.Cert, sub.Cert},
			} {
				if got := tr.endOf(chain); !got.Equal(in(test.want)) {
					t.Errorf("%s: got an end in %v, want %d hours", name, got.Sub(now), test.want)
				}
			}
			// Of the two chains of a TLCP client, either may end first.
			other := sub.Leaf(t, []string{"client"}, ending(1))
			sign, enc := []*x509.Certificate{leaf.Cert, sub.Cert}, []*x509.Certificate{other.Cert, sub.Cert}
			for _, leaves := range []leafChains{{{sign}, {enc}}, {{enc}, {sign}}} {
				if _, got, err := tr.allGood(leaves, now); err != nil || !got.Equal(in(1)) {
					t.Errorf("both chains: got an end in %v, %v, want an hour", got.Sub(now), err)
				}
			}
		})
	}
}

// TestAlarm: what is long past or far ahead, beyond what a Duration holds, makes no timer that
// fires for ever or too late.
func TestAlarm(t *testing.T) {
	now := time.Now()
	for want, end := range map[time.Duration]time.Time{
		time.Second:             {},
		11 * time.Second:        now.Add(10 * time.Second),
		time.Hour + time.Second: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		if got := alarm(end, now); got != want {
			t.Errorf("%v: got %v, want %v", end, got, want)
		}
	}
}

func hours(n int) *int { return &n }
