package store_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/store"
)

// update writes testdata/format1.txt anew. That is right only while no release has
// written format 1; afterwards a change of shapes takes format 2 and a file of its own.
var update = flag.Bool("update", false, "write the golden values anew")

const golden = "testdata/format1.txt"

// TestStoredFormat pins the stored bytes of every kind of record, with every field set:
// what a released program has written, every later one must read.
func TestStoredFormat(t *testing.T) {
	t.Parallel()
	var now strings.Builder
	for _, r := range pinnedRecords() {
		key, value, err := store.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&now, "%s %s\n", key, hex.EncodeToString([]byte(value)))
	}
	if *update {
		if err := os.WriteFile(golden, []byte(now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pinned, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(pinned), now.String()); diff != "" {
		t.Errorf("the stored format has changed: it needs a new format byte (-pinned +now):\n%s", diff)
	}
	lines, all := strings.Split(strings.TrimSpace(string(pinned)), "\n"), pinnedRecords()
	if len(lines) != len(all) {
		t.Fatalf("%d records are pinned, there are %d kinds", len(lines), len(all))
	}
	for i, line := range lines {
		checkPinned(t, line, atRevision(all[i], 1))
	}
}

// pinnedRecords are all records of the golden file, those with later fields last.
func pinnedRecords() []lacre.Record { return append(everyRecord("p1"), laterRecords("p1")...) }

func checkPinned(t *testing.T, line string, want lacre.Record) {
	t.Helper()
	key, text, _ := strings.Cut(line, " ")
	value, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Decode(key, value)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%s: %v (-want +got):\n%s", key, err, diff)
	}
}

// Nothing and an empty list are different things and stay so; times stay in UTC to the
// nanosecond, whatever zone they came in; the zero time stays zero.
func TestWhatIsEmptyStaysAsItWas(t *testing.T) {
	t.Parallel()
	abroad := epoch.In(time.FixedZone("CST", 8*3600))
	for _, c := range []struct{ put, want *lacre.Group }{
		{&lacre.Group{}, &lacre.Group{}},
		{&lacre.Group{DomainIDs: []string{}}, &lacre.Group{DomainIDs: []string{}}},
		{&lacre.Group{Created: abroad}, &lacre.Group{Created: epoch}},
	} {
		c.put.ProjectID, c.put.ID = "p1", "g1"
		c.want.ProjectID, c.want.ID, c.want.Revision = "p1", "g1", 1
		key, value, err := store.Encode(c.put)
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.Decode(key, []byte(value))
		if diff := cmp.Diff(lacre.Record(c.want), got); err != nil || diff != "" {
			t.Errorf("%+v: %v (-want +got):\n%s", c.put, err, diff)
		}
		if zone, _ := got.(*lacre.Group).Created.Zone(); zone != "UTC" {
			t.Errorf("got a time in %s, want UTC", zone)
		}
	}
}

// A field that this program does not know would be lost by its next write.
func TestUnknownFieldsAreRefused(t *testing.T) {
	t.Parallel()
	key, _ := store.KeyOf(&lacre.Bound{ProjectID: "p1", CertificateID: "c1", DomainID: "d1"})
	for name, payload := range map[string][]byte{
		"one field more":      {0xa2, 0x01, 0x61, 'h', 0x02, 0x61, 'x'},
		"a field twice":       {0xa2, 0x01, 0x61, 'h', 0x01, 0x61, 'x'},
		"another type":        {0xa1, 0x01, 0x07},
		"trailing bytes":      {0xa1, 0x01, 0x61, 'h', 0x00},
		"an indefinite map":   {0xbf, 0x01, 0x61, 'h', 0xff},
		"a tag":               {0xa1, 0x01, 0xc0, 0x61, 'h'},
		"a length of 2^64-1":  {0xa1, 0x01, 0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"no payload whatever": {},
	} {
		if got, err := store.Decode(key, []byte(store.Frame(key, payload))); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
	if _, err := store.Decode(key, []byte(store.Frame(key, []byte{0xa1, 0x01, 0x61, 'h'}))); err != nil {
		t.Errorf("the plain thing: %v", err)
	}
}
