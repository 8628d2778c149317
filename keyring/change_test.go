package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"lacre/keyring"
)

// estate is a store that was sealed under one key, and what is in it.
type estate struct {
	*records
	old, next, third string // sources of keys
	sealed           map[string][]byte
}

// values is how many values of an estate a change wraps again, the key check included.
const values = 1 + 2 + 3

func newEstate(t *testing.T) *estate {
	t.Helper()
	return newEstateUnder(t, newKey(t))
}

func newEstateUnder(t *testing.T, source string) *estate {
	t.Helper()
	e := &estate{records: newRecords(), old: source, next: newKey(t), third: newKey(t), sealed: map[string][]byte{}}
	k := unlock(t, e.old, e.records)
	for _, project := range []string{"p1", "p2", "iam"} {
		e.sealed[project] = seal(t, k, project, "of "+project, "b")
	}
	for _, name := range []string{"tickets", "tokens"} {
		if _, err := k.Secret(t.Context(), name, func() ([]byte, error) { return []byte("the " + name), nil }); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func newKey(t *testing.T) string {
	t.Helper()
	return "file:" + writeKeyFile(t, randomText(t, 32), 0o600)
}

func unlockBoth(t *testing.T, source, other string, r *records) *keyring.Keyring {
	t.Helper()
	k, err := keyring.UnlockBoth(t.Context(), source, other, r)
	if err != nil {
		t.Fatalf("UnlockBoth error = %v, want nil", err)
	}
	return k
}

// opens proves that a keyring has all that is in the estate, and that nothing of it was made
// anew.
func (e *estate) opens(t *testing.T, what string, k *keyring.Keyring) {
	t.Helper()
	for project, sealed := range e.sealed {
		if got, err := k.Open(t.Context(), project, sealed, []byte("b")); err != nil || string(got) != "of "+project {
			t.Errorf("%s: Open for %s = %q, %v, want what was sealed", what, project, got, err)
		}
	}
	for _, name := range []string{"tickets", "tokens"} {
		if got, err := k.Secret(t.Context(), name, nil); err != nil || string(got) != "the "+name {
			t.Errorf("%s: Secret(%s) = %q, %v, want what it was", what, name, got, err)
		}
	}
}

// wantUnlock unlocks with one key, or two, and compares the errors.
func (e *estate) wantUnlock(t *testing.T, what, source, other string, want ...error) {
	t.Helper()
	k, err := keyring.UnlockBoth(t.Context(), source, other, e.records)
	if len(want) == 0 && err == nil {
		e.opens(t, what, k)
		return
	}
	if len(want) == 0 {
		t.Errorf("%s: error = %v, want nil", what, err)
	}
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("%s: error = %v, want %v", what, err, w)
		}
	}
}

// change makes a whole change to the key of source.
func (e *estate) change(t *testing.T, source, other string, want keyring.Counts) {
	t.Helper()
	got, err := unlockBoth(t, source, other, e.records).Change(e.records).Pass(t.Context())
	if err != nil || got != want {
		t.Errorf("Pass = %+v, %v, want %+v", got, err, want)
	}
}

func TestChangeOfTheMasterKey(t *testing.T) {
	e := newEstate(t)
	phase1 := unlockBoth(t, e.old, e.next, e.records)
	e.opens(t, "phase 1", phase1)
	e.change(t, e.old, e.next, keyring.Counts{Already: values})
	if e.writes != 0 {
		t.Errorf("a change with nothing to do made %d writes, want 0", e.writes)
	}
	before, keys := e.all()
	e.change(t, e.next, e.old, keyring.Counts{Rewrapped: values})
	e.wantUnlock(t, "the new key alone", e.next, "")
	e.wantUnlock(t, "the old key alone", e.old, "", keyring.ErrWrongMasterKey)
	e.wantUnlock(t, "both", e.next, e.old)
	e.wantUnlock(t, "both the other way", e.old, e.next)
	e.opens(t, "a node of phase 1 that goes on", phase1)
	if e.writes != values+1 { // the key check is written twice
		t.Errorf("the change made %d writes, want %d", e.writes, values+1)
	}
	secrets, dataKeys := e.all()
	for _, m := range []struct{ old, new map[string][]byte }{{before, secrets}, {keys, dataKeys}} {
		for name, value := range m.old {
			if bytes.Equal(m.new[name], value) || len(m.new[name]) != len(value) {
				t.Errorf("%s: got the old value or one of another size", name)
			}
		}
	}
	e.change(t, e.next, e.old, keyring.Counts{Already: values})
	e.change(t, e.old, e.next, keyring.Counts{Rewrapped: values}) // and back
	e.wantUnlock(t, "the old key alone, again", e.old, "")
	e.wantUnlock(t, "the new key alone, now", e.next, "", keyring.ErrWrongMasterKey)
}

// Only the master key wraps: what is made while two are given opens with it alone.
func TestOnlyTheMasterKeyWraps(t *testing.T) {
	e := newEstate(t)
	e.sealed["late"] = seal(t, unlockBoth(t, e.old, e.next, e.records), "late", "of late", "b")
	e.wantUnlock(t, "the old key alone", e.old, "")
}

// The last node that comes to phase 2 finds what one of phase 1 made after another was done.
func TestTheLastNodeFindsWhatWasMadeLate(t *testing.T) {
	e := newEstate(t)
	phase1 := unlockBoth(t, e.old, e.next, e.records)
	e.change(t, e.next, e.old, keyring.Counts{Rewrapped: values})
	e.sealed["late"] = seal(t, phase1, "late", "of late", "b")
	if _, err := phase1.Secret(t.Context(), "late", func() ([]byte, error) { return []byte("x"), nil }); err != nil {
		t.Fatal(err)
	}
	e.wantUnlock(t, "both", e.next, e.old)
	e.change(t, e.next, e.old, keyring.Counts{Rewrapped: 2, Already: values})
	e.wantUnlock(t, "the new key alone", e.next, "")
	if got, err := unlock(t, e.next, e.records).Secret(t.Context(), "late", nil); err != nil || string(got) != "x" {
		t.Errorf("the late secret = %q, %v, want x", got, err)
	}
}

// A third key is refused wherever it is given, before, amid and after a change.
func TestAThirdKey(t *testing.T) {
	for _, stage := range []string{"before", "amid", "after"} {
		e := newEstate(t)
		switch stage {
		case "amid":
			e.stopAt(t, 3, false)
		case "after":
			e.change(t, e.next, e.old, keyring.Counts{Rewrapped: values})
		}
		e.wantUnlock(t, stage+": alone", e.third, "", keyring.ErrWrongMasterKey)
		e.wantUnlock(t, stage+": with a fourth", e.third, newKey(t), keyring.ErrWrongMasterKey)
		if stage == "amid" {
			for _, pair := range [][2]string{{e.third, e.old}, {e.third, e.next}, {e.old, e.third}, {e.next, e.third}} {
				e.wantUnlock(t, stage+": as one of two", pair[0], pair[1], keyring.ErrWrongMasterKey)
			}
		}
	}
}

func TestBothMasterKeys(t *testing.T) {
	e := newEstate(t)
	_, path, _ := strings.Cut(newKey(t), ":")
	missing := "file:" + path + ".not"
	t.Setenv("LACRE_TEST_COPY", string(readFile(t, e.old)))
	before, beforeKeys := e.all()
	e.wantUnlock(t, "the same file", e.old, e.old, keyring.ErrSameMasterKey)
	e.wantUnlock(t, "a copy of the key", e.old, "env:LACRE_TEST_COPY", keyring.ErrSameMasterKey)
	e.wantUnlock(t, "no new key", missing, e.old, keyring.ErrMasterKeyMissing)
	e.wantUnlock(t, "no other key", e.old, missing, keyring.ErrMasterKeyMissing)
	fresh := &estate{records: newRecords()}
	fresh.wantUnlock(t, "no new key on a fresh store", missing, e.old, keyring.ErrMasterKeyMissing)
	fresh.wantUnlock(t, "no other key on a fresh store", e.old, missing, keyring.ErrMasterKeyMissing)
	if len(fresh.secrets) > 0 {
		t.Error("a store was marked with a key that is not there")
	}
	if err := exists(missing); err == nil {
		t.Error("a key file was made")
	}
	if after, afterKeys := e.all(); !maps.EqualFunc(before, after, bytes.Equal) || !maps.EqualFunc(beforeKeys, afterKeys, bytes.Equal) {
		t.Error("something was changed")
	}
}

// TestAChangeEndsWithItsContext: a key service that hangs holds no stop up.
func TestAChangeEndsWithItsContext(t *testing.T) {
	v := newVault(t)
	e := newEstate(t)
	c := unlockBoth(t, v.source("lacre"), e.old, e.records).Change(e.records)
	hold := make(chan struct{})
	v.hold.Store(&hold)
	defer close(hold)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := c.Pass(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Pass error = %v, want that time is over", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("Pass took %v", took)
	}
	if e.writes != 0 {
		t.Errorf("%d writes, want none", e.writes)
	}
}
