package store_test

import (
	"errors"
	"strings"
	"testing"

	"lacre"
	"lacre/store"
)

// stored returns the bytes under the key of a record.
func stored(t *testing.T, s *store.Store, r lacre.Record) []byte {
	t.Helper()
	key, err := store.KeyOf(r)
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.KV().Get(t.Context(), key)
	if err != nil || len(found.Kvs) != 1 {
		t.Fatalf("reading %s: %v, %v", key, found, err)
	}
	return found.Kvs[0].Value
}

func wantUnreadable(t *testing.T, what string, err error) *lacre.UnreadableError {
	t.Helper()
	unreadable, ok := errors.AsType[*lacre.UnreadableError](err)
	if !ok {
		t.Fatalf("%s: got %v, want *UnreadableError", what, err)
	}
	return unreadable
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, r := range everyRecord("p1") {
		put(t, s, r)
		key, _ := store.KeyOf(r)
		value := stored(t, s, r)
		for bit := range len(value) * 8 {
			value[bit/8] ^= 1 << (bit % 8)
			if _, err := store.Decode(key, value); err == nil {
				t.Fatalf("%T: bit %d flipped and not noticed", r, bit)
			}
			value[bit/8] ^= 1 << (bit % 8)
		}
		for n := range value {
			if _, err := store.Decode(key, value[:n]); err == nil {
				t.Fatalf("%T: cut to %d bytes and not noticed", r, n)
			}
		}
		if _, err := store.Decode(key, value); err != nil {
			t.Fatalf("%T as it was: %v", r, err)
		}
	}
}

// A damaged record must cost itself only: not the read of its neighbours, not a list.
func TestDamageIsContained(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := "p1"
	bad, good := domain(p, "bad.example"), domain(p, "good.example")
	put(t, s, &lacre.Project{ID: p}, bad, good)
	value := stored(t, s, bad)
	value[len(value)/2] ^= 4
	if err := damageOf(t.Context(), s, bad, value); err != nil {
		t.Fatal(err)
	}
	_, err := s.Domain(t.Context(), p, bad.ID)
	unreadable := wantUnreadable(t, "the damaged record", err)
	if d, ok := unreadable.Record.(*lacre.Domain); !ok || d.ID != bad.ID || d.ProjectID != p || d.Name != "" {
		t.Errorf("got %+v, want the identity of %s only", unreadable.Record, bad.ID)
	}
	if _, err := s.Domain(t.Context(), p, good.ID); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	if both, err := s.Domains(t.Context(), p, []string{bad.ID, good.ID}); err != nil || len(both) != 1 {
		t.Errorf("Domains: got %v, %v; want the good one", both, err)
	}
	var visited []string
	_, damaged, err := s.AllDomains(t.Context(), func(d *lacre.Domain) error {
		visited = append(visited, d.Name)
		return nil
	})
	if err != nil || len(visited) != 1 || len(damaged) != 1 || damaged[0].Key != unreadable.Key {
		t.Errorf("AllDomains: visited %v, damaged %v, %v", visited, damaged, err)
	}
}

func TestAValueUnderAnotherKeyIsNoticed(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, b := domain("p1", "a.example"), domain("p2", "a.example")
	put(t, s, a)
	if err := damageOf(t.Context(), s, b, stored(t, s, a)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Domain(t.Context(), "p2", b.ID)
	wantUnreadable(t, "a domain copied into another tenant", err)
}

func TestANewerFormatIsNamed(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := domain("p1", "a.example")
	put(t, s, d)
	value := stored(t, s, d)
	value[0] = 2
	if err := damageOf(t.Context(), s, d, value); err != nil {
		t.Fatal(err)
	}
	_, err := s.Domain(t.Context(), "p1", d.ID)
	if unreadable := wantUnreadable(t, "format 2", err); !strings.Contains(unreadable.Error(), "format 2") {
		t.Errorf("got %v, want it to name format 2", unreadable)
	}
}

func TestDamagedSecretsAreNotOverwritten(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, err := s.KV().Put(t.Context(), "/lacre/sys/ticket", "torn"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Secret(t.Context(), "ticket")
	wantUnreadable(t, "Secret", err)
	_, err = s.CreateSecret(t.Context(), "ticket", []byte("new"))
	wantUnreadable(t, "CreateSecret", err)
	if got, _ := s.KV().Get(t.Context(), "/lacre/sys/ticket"); string(got.Kvs[0].Value) != "torn" {
		t.Errorf("the damaged secret is now %q", got.Kvs[0].Value)
	}
}

func FuzzDecode(f *testing.F) {
	key, _ := store.KeyOf(&lacre.Certificate{ProjectID: "p", ID: "c"})
	f.Add([]byte{})
	f.Add([]byte{0xa1, 0x01, 0x61, 0x61})
	f.Add([]byte{0xbf, 0xff})
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, payload []byte) {
		// The payload gets a right checksum: the decoder itself is under test.
		r, err := store.Decode(key, []byte(store.Frame(key, payload)))
		if (r == nil) == (err == nil) {
			t.Errorf("got %v, %v; want a record or an error", r, err)
		}
	})
}
