package edge

// The seal of tickets is not exported; what crypto/tls makes of it is tested from
// outside.

import (
	"bytes"
	"testing"
	"time"
)

// sealing is a ticketKeys with a clock of its own.
func sealing(at *time.Time, secret string, label ...string) *ticketKeys {
	var parts [][]byte
	for _, part := range label {
		parts = append(parts, []byte(part))
	}
	return newTicketKeys([]byte(secret), func() time.Time { return *at }, "test", parts...)
}

// TestTicketsOpenWhereTheyWereSealed: under the same secret, label and binding, on any
// node, and nowhere else.
func TestTicketsOpenWhereTheyWereSealed(t *testing.T) {
	now := time.Date(2026, 11, 25, 23, 50, 0, 0, time.UTC)
	secret, binding, state := "a secret of the cluster, 32 bytes", []byte("domain/a.example.com"), []byte("a session")
	ticket, err := sealing(&now, secret, "project", "cert").seal(binding, state, life{now, now.Add(ticketAge)})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(ticket, state) {
		t.Error("the session is in clear in its ticket")
	}
	other, _, ok := sealing(&now, secret, "project", "cert").open(binding, ticket)
	if !ok || !bytes.Equal(other, state) {
		t.Fatalf("another node: got %q, %t, want the session", other, ok)
	}
	for name, keys := range map[string]*ticketKeys{
		"another secret":       sealing(&now, "another secret of a cluster 32 bytes", "project", "cert"),
		"another label":        sealing(&now, secret, "project", "tree"),
		"parts run together":   sealing(&now, secret, "projectcert"),
		"parts cut elsewhere":  sealing(&now, secret, "projectc", "ert"),
		"a label that goes on": sealing(&now, secret, "project", "cert", ""),
	} {
		if _, _, ok := keys.open(binding, ticket); ok {
			t.Errorf("%s: opened", name)
		}
	}
	keys := sealing(&now, secret, "project", "cert")
	if _, _, ok := keys.open([]byte("domain/b.example.com"), ticket); ok {
		t.Error("opened under another binding")
	}
	for i := range ticket {
		for _, bit := range []byte{1, 0x80} {
			bad := bytes.Clone(ticket)
			bad[i] ^= bit
			if _, _, ok := keys.open(binding, bad); ok {
				t.Fatalf("opened with bit %#x of byte %d flipped", bit, i)
			}
		}
		if _, _, ok := keys.open(binding, ticket[:i]); ok {
			t.Fatalf("opened after %d of %d bytes", i, len(ticket))
		}
	}
	again, err := keys.seal(binding, state, life{now, now.Add(ticketAge)})
	if err != nil || bytes.Equal(again, ticket) {
		t.Errorf("got the same ticket twice (or %v)", err)
	}
}

// TestTicketsEnd: with their age, with what they say themselves, and when the clock
// makes no sense of them.
func TestTicketsEnd(t *testing.T) {
	for _, sealed := range []time.Time{
		time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC), // periods begin at midnight
		time.Date(2026, 11, 25, 23, 59, 59, 0, time.UTC),
		time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC),
	} {
		now := sealed
		keys := sealing(&now, "a secret of the cluster, 32 bytes", "x")
		for _, test := range []struct {
			name  string
			until time.Duration
			after time.Duration
			want  bool
		}{
			{"at once", ticketAge, 0, true},
			{"just before its age", ticketAge, ticketAge, true},
			{"after its age", ticketAge, ticketAge + time.Second, false},
			{"two days later", 72 * time.Hour, 48 * time.Hour, false},
			{"years later", ticketAge, 20 * 365 * 24 * time.Hour, false},
			{"before it says itself", time.Hour, time.Hour, true},
			{"after it says itself", time.Hour, time.Hour + time.Second, false},
			{"on a node that is behind", ticketAge, -ticketSkew, true},
			{"after the clock was set back", ticketAge, -ticketSkew - time.Second, false},
			{"after the clock was set back a day", ticketAge, -ticketAge, false},
			{"after the clock was set to 1970", ticketAge, time.Unix(1, 0).Sub(sealed), false},
		} {
			now = sealed
			ticket, err := keys.seal(nil, []byte("x"), life{sealed, sealed.Add(test.until)})
			if err != nil {
				t.Fatal(err)
			}
			now = sealed.Add(test.after)
			if _, l, ok := keys.open(nil, ticket); ok != test.want || ok && !l.born.Equal(sealed) {
				t.Errorf("sealed at %v, %s: got %t, %v, want %t", sealed, test.name, ok, l.born, test.want)
			}
		}
	}
}

// TestTicketKeysAreDerivedOnce: a handshake costs no derivation.
func TestTicketKeysAreDerivedOnce(t *testing.T) {
	now := time.Now()
	keys := sealing(&now, "a secret of the cluster, 32 bytes", "x")
	first, _ := keys.aead(7)
	last, _ := keys.aead(6)
	if again, _ := keys.aead(7); again != first {
		t.Error("the key of a period was derived again")
	}
	if again, _ := keys.aead(6); again != last {
		t.Error("the key of the period before was derived again")
	}
}

func BenchmarkTicket(b *testing.B) {
	now := time.Now()
	keys := sealing(&now, "a secret of the cluster, 32 bytes", "x")
	binding, state := []byte("domain/a.example.com"), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		ticket, _ := keys.seal(binding, state, life{now, now})
		keys.open(binding, ticket)
	}
}

// TestTicketKeysNameThePolicy: whatever a session was made under makes other keys, each
// part by itself.
func TestTicketKeysNameThePolicy(t *testing.T) {
	e := &Edge{cfg: Config{TicketSecret: []byte("a secret of the cluster, 32 bytes"), Now: time.Now}}
	var held bundles
	certificate := func(project, id string) *served { return &served{key: certificateKey{project, id}} }
	base := version{served: certificate("p", "c"), number: 1, leaf: []byte("leaf"), roots: held.intern([][]byte{[]byte("root")})}
	list, other := digests{{1}}, digests{{2}}
	ticket, err := e.ticketKeys(&base, verifyClient, list).seal(nil, []byte("x"), life{time.Now(), time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	with := func(edit func(*version)) *version {
		v := version{served: base.served, number: base.number, leaf: base.leaf, roots: base.roots}
		edit(&v)
		return &v
	}
	for name, keys := range map[string]*ticketKeys{
		"another project":        e.ticketKeys(with(func(v *version) { v.served = certificate("q", "c") }), verifyClient, list),
		"another certificate":    e.ticketKeys(with(func(v *version) { v.served = certificate("p", "d") }), verifyClient, list),
		"another version":        e.ticketKeys(with(func(v *version) { v.number = 2 }), verifyClient, list),
		"another leaf":           e.ticketKeys(with(func(v *version) { v.leaf = []byte("tree") }), verifyClient, list),
		"other trust roots":      e.ticketKeys(with(func(v *version) { v.roots = held.intern([][]byte{[]byte("toor")}) }), verifyClient, list),
		"a trust root more":      e.ticketKeys(with(func(v *version) { v.roots = held.intern([][]byte{[]byte("root"), []byte("toor")}) }), verifyClient, list),
		"no trust root":          e.ticketKeys(with(func(v *version) { v.roots = held.intern(nil) }), verifyClient, list),
		"clients unverified":     e.ticketKeys(&base, 0, list),
		"TLS 1.3 demanded":       e.ticketKeys(&base, verifyClient|onlyTLS13, list),
		"another list":           e.ticketKeys(&base, verifyClient, other),
		"a list more":            e.ticketKeys(&base, verifyClient, append(list, other...)),
		"no list":                e.ticketKeys(&base, verifyClient, nil),
		"a list that is no root": e.ticketKeys(with(func(v *version) { v.roots = held.intern([][]byte{list[0][:]}) }), verifyClient, nil),
	} {
		if _, _, ok := keys.open(nil, ticket); ok {
			t.Errorf("%s: opened", name)
		}
	}
	if _, _, ok := e.ticketKeys(with(func(*version) {}), verifyClient, digests{{1}}).open(nil, ticket); !ok {
		t.Error("the same policy did not open the ticket")
	}
}
