package store_test

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/store"
)

// A damaged row parts what is packed, and stays as it is. So does a key that is nobody's.
func TestDamagedAuditsAreNotPacked(t *testing.T) {
	t.Parallel()
	for _, damaged := range []int{0, 1, 5, 10, 18, 19} {
		s := openAudits(t)
		putAudits(t, s, rowsFrom(epoch, 20)...)
		keys := auditKeys(t, s, "p1")
		want := slices.Delete(audits(t, s, "p1"), damaged, damaged+1)
		bad := auditValues(t, s, "p1")[keys[damaged]]
		bad[len(bad)-1] ^= 1
		for key, value := range map[string][]byte{keys[damaged]: bad, keys[0] + "0": bad, "/lacre/p/p1/audit/zz": bad} {
			if _, err := s.KV().Put(t.Context(), key, string(value)); err != nil {
				t.Fatal(err)
			}
		}
		packAudits(t, s)
		packAudits(t, s)
		wantAudits(t, s, "p1", want)
		left := auditValues(t, s, "p1")
		for _, key := range []string{keys[damaged], keys[0] + "0", "/lacre/p/p1/audit/zz"} {
			if !bytes.Equal(left[key], bad) {
				t.Errorf("damage at %d: %s is not as it was", damaged, key)
			}
		}
		if len(left) > 3+3 { // the bad ones, at most a row alone, and a pack on either side
			t.Errorf("damage at %d: got %d keys, want the sound rows packed", damaged, len(left))
		}
	}
}

// A row with a field that only a later program knows would be lost to it in a pack.
func TestAuditsOfALaterProgramAreNotPacked(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	putAudits(t, s, rowsFrom(epoch, 3)...)
	key := auditKeys(t, s, "p1")[1]
	value := store.Frame(key, must(cbor.Marshal(map[int]string{1: epoch.Format(time.RFC3339Nano), 2: "x", 99: "later"})))
	if _, err := s.KV().Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
	packAudits(t, s)
	if got := auditValues(t, s, "p1"); len(got) != 3 || string(got[key]) != value {
		t.Errorf("got %d values, %q in the middle; want all as they were", len(got), got[key])
	}
}

// pack3 is a pack of three rows.
func pack3(t *testing.T) (s *store.Store, key string, value []byte) {
	t.Helper()
	s = openAudits(t)
	putAudits(t, s, rowsFrom(epoch, 3)...)
	packAudits(t, s)
	for key, value = range auditValues(t, s, "p1") {
	}
	if rows, err := store.AuditsIn(key, value, ""); err != nil || len(rows) != 3 {
		t.Fatalf("got %v, %v; want three rows", rows, err)
	}
	return s, key, value
}

// A page that goes on after a pack does not inflate it.
func TestPacksBeforeAPageAreNotRead(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	putAudits(t, s, rowsFrom(epoch, 3)...)
	keys := auditKeys(t, s, "p1")
	packAudits(t, s)
	pack := auditValues(t, s, "p1")[keys[0]]
	for after, want := range map[string]int{"": 3, keys[0]: 3, keys[1]: 3, keys[2]: 0, keys[2] + "0": 0} {
		if rows, err := store.AuditsIn(keys[0], pack, after); err != nil || len(rows) != want {
			t.Errorf("after %s: got %d rows, %v; want %d", after, len(rows), err, want)
		}
	}
}

func TestEveryFlippedBitOfAPackIsNoticed(t *testing.T) {
	t.Parallel()
	_, key, value := pack3(t)
	for i := range len(value) * 8 {
		value[i/8] ^= 1 << (i % 8)
		if rows, err := store.AuditsIn(key, value, ""); err == nil {
			t.Errorf("bit %d: got %v, want an error", i, rows)
		}
		value[i/8] ^= 1 << (i % 8)
	}
	for n := range len(value) {
		if rows, err := store.AuditsIn(key, value[:n], ""); err == nil {
			t.Errorf("%d bytes: got %v, want an error", n, rows)
		}
	}
}

// A damaged pack costs its own rows.
func TestDamagedPacksAreLeftOut(t *testing.T) {
	t.Parallel()
	s, key, value := pack3(t)
	putAudits(t, s, rowsFrom(epoch.AddDate(0, 0, -1), 3)...)
	putAudits(t, s, row(epoch.Add(time.Hour)), row(epoch.Add(30*time.Second)))
	elsewhere := key[:len(key)-1] + map[bool]string{true: "0", false: "1"}[key[len(key)-1] != '0']
	for name, c := range map[string]struct{ key, value string }{
		"damaged":                   {key, string(value[:len(value)-1])},
		"the pack of another key":   {elsewhere, store.Reframe(elsewhere, value, nil)},
		"no CBOR":                   {key, store.Reframe(key, value, []byte{0xff})},
		"rows that do not inflate":  {key, store.Reframe(key, value, packOf(t, []byte{0xff, 0xff}))},
		"rows that are no CBOR":     {key, store.Reframe(key, value, packOf(t, deflated(t, []byte{0xff})))},
		"too much to inflate":       {key, store.Reframe(key, value, packOf(t, deflated(t, rowsOf(t, key, 1<<20))))},
		"an older row before newer": {key, store.Reframe(key, value, packOf(t, deflated(t, rowsOf(t, key, 1, 1))))},
	} {
		if _, err := s.KV().Put(t.Context(), c.key, c.value); err != nil {
			t.Fatal(err)
		}
		if c.key != key {
			if _, err := s.KV().Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		if got := audits(t, s, "p1"); len(got) != 5 {
			t.Errorf("%s: got %d rows, want those that are not in it", name, len(got))
		}
		packAudits(t, s)
		if got := auditValues(t, s, "p1")[c.key]; string(got) != c.value {
			t.Errorf("%s: packing has changed it", name)
		}
		if _, err := s.KV().Delete(t.Context(), elsewhere); err != nil {
			t.Fatal(err)
		}
	}
	good := packOf(t, deflated(t, rowsOf(t, key, 1)))
	if _, err := s.KV().Put(t.Context(), key, store.Reframe(key, value, good)); err != nil {
		t.Fatal(err)
	}
	if got := audits(t, s, "p1"); len(got) != 6 {
		t.Errorf("a pack made by hand: got %d rows, want 6", len(got))
	}
}

// packOf is the payload of a pack with those rows.
func packOf(t *testing.T, rows []byte) []byte {
	t.Helper()
	return must(cbor.Marshal(map[int][]byte{1: bytes.Repeat([]byte{0x7f}, 16), 2: rows}))
}

func deflated(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := must(flate.NewWriter(&b, 9))
	w.Write(plain)
	w.Close()
	return b.Bytes()
}

// rowsOf are rows at a key with details of those sizes.
func rowsOf(t *testing.T, key string, sizes ...int) []byte {
	t.Helper()
	digits := must(hex.DecodeString(key[strings.LastIndex(key, "/")+1:]))
	var rows []map[int][]byte
	for _, size := range sizes {
		payload := must(cbor.Marshal(map[int]string{1: epoch.Format(time.RFC3339Nano), 2: "x", 4: strings.Repeat("x", size)}))
		rows = append(rows, map[int][]byte{1: digits, 2: payload})
	}
	return must(cbor.Marshal(rows))
}

// What a released program has written every later one must read, one row or many; who knows
// no packs takes none for a row.
func TestStoredAudits(t *testing.T) {
	t.Parallel()
	const file = "testdata/audits.txt"
	want := rowsFrom(epoch, 3)
	for i := range want {
		want[i].ID = fmt.Sprintf("%016x%016x", want[i].Time.UnixNano(), ^uint64(i))
	}
	slices.Reverse(want)
	if *update {
		writeStoredAudits(t, file)
	}
	text := must(os.ReadFile(file))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, want := range [][]lacre.Audit{want[2:], want} {
		key, digits, _ := strings.Cut(lines[i], " ")
		value := must(hex.DecodeString(digits))
		got, err := store.AuditsIn(key, value, "")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", key, err, diff)
		}
		if _, err := store.Unframe(key, value); (err == nil) != (i == 0) {
			t.Errorf("%s: read as one row: %v", key, err)
		}
	}
}

// writeStoredAudits writes a row, and a pack that has it.
func writeStoredAudits(t *testing.T, file string) {
	t.Helper()
	random := make([]byte, 3*8)
	for i := range 3 {
		random[i*8+7] = byte(i)
	}
	s, err := store.Embedded(t.Context(), store.EmbeddedConfig{Dir: t.TempDir(), Random: bytes.NewReader(append(make([]byte, 8), random...))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, &lacre.Project{ID: "p1"})
	putAudits(t, s, rowsFrom(epoch, 3)...)
	all := auditValues(t, s, "p1")
	oldest := slices.Max(slices.Collect(maps.Keys(all)))
	text := fmt.Sprintf("%s %x\n", oldest, all[oldest])
	packAudits(t, s)
	for key, value := range auditValues(t, s, "p1") {
		text += fmt.Sprintf("%s %x\n", key, value)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
