package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lacre/keyring"
)

// Keys in Vault and in files change into each other.
func TestChangeToAndFromVault(t *testing.T) {
	v := newVault(t)
	for _, sources := range [][2]string{{v.source("lacre"), newKey(t)}, {newKey(t), v.source("lacre")}, {v.source("lacre"), v.source("other")}} {
		e := newEstateUnder(t, sources[0])
		e.next = sources[1]
		e.wantUnlock(t, "phase 1", e.old, e.next)
		e.change(t, e.next, e.old, keyring.Counts{Rewrapped: values})
		e.wantUnlock(t, "the new key alone", e.next, "")
		e.wantUnlock(t, "the old key alone", e.old, "", keyring.ErrWrongMasterKey)
	}
}

// TestNothingIsReplacedUnverified: a key service that encrypts something else than it is
// given, from any call on, costs no value. The key check is made of one call of it, each
// value of one.
func TestNothingIsReplacedUnverified(t *testing.T) {
	v := newVault(t)
	for nth := int64(1); nth <= values+1; nth++ {
		e := newEstate(t)
		k := unlockBoth(t, v.source("lacre"), e.old, e.records)
		v.lies.Store(nth)
		_, err := k.Change(e.records).Pass(t.Context())
		v.lies.Store(0)
		if err == nil {
			t.Errorf("encryption %d is a lie: Pass error = nil, want one", nth)
		}
		e.wantUnlock(t, fmt.Sprintf("encryption %d is a lie: both", nth), v.source("lacre"), e.old)
		if nth == 1 && e.writes > 0 {
			t.Errorf("%d writes after a lie about the key check, want none", e.writes)
		}
		if _, err := unlockBoth(t, v.source("lacre"), e.old, e.records).Change(e.records).Pass(t.Context()); err != nil {
			t.Errorf("encryption %d was a lie: the next Pass: %v", nth, err)
		}
		e.wantUnlock(t, "the new key alone", v.source("lacre"), "")
	}
}

// A key service that says no ends a pass: it is not asked about every value, and nothing of
// what it did not open is taken for altered.
func TestAKeyServiceThatFailsEndsAPass(t *testing.T) {
	v := newVault(t)
	e := newEstateUnder(t, v.source("lacre"))
	c := unlockBoth(t, e.next, e.old, e.records).Change(e.records)
	e.before = func(n int) {
		if n == 3 {
			v.fail.Store(503)
			v.calls.Store(0)
		}
	}
	if _, err := c.Pass(t.Context()); err == nil || errors.Is(err, keyring.ErrAltered) {
		t.Errorf("Pass error = %v, want that vault fails", err)
	}
	if got := v.calls.Load(); got != 1 {
		t.Errorf("vault was asked %d times after it said no, want 1", got)
	}
	e.before = nil
	v.fail.Store(0)
	if got, err := c.Pass(t.Context()); err != nil || got != (keyring.Counts{Rewrapped: values}) {
		t.Errorf("Pass = %+v, %v, want %d wrapped again", got, err, values)
	}
}

// TestADeadOtherKeyHoldsNobody: what is under the master key opens, at a start and later,
// also while others wait in vain for what is not; also amid a change.
func TestADeadOtherKeyHoldsNobody(t *testing.T) {
	alive, dead := newVault(t), newVault(t)
	for _, master := range []string{newKey(t), alive.source("lacre")} {
		for _, amid := range []bool{false, true} {
			t.Run(fmt.Sprintf("local=%v,amid=%v", filepath.Ext(master) == ".key", amid), func(t *testing.T) {
				e := newEstateUnder(t, dead.source("lacre"))
				e.next = master
				k := unlockBoth(t, e.next, e.old, e.records)
				if _, err := k.Change(e.records).Pass(t.Context()); err != nil {
					t.Fatal(err)
				}
				if amid {
					e.next, e.old = e.old, e.next
					e.stopAt(t, 2, false) // turned round, and nothing else
					e.next, e.old = e.old, e.next
					e.before = nil
				}
				late := seal(t, unlockBoth(t, e.old, e.next, e.records), "late", "x", "b")
				if amid { // our direction, so that the start asks the other for its half only
					e.stopAt(t, 2, false)
				}
				hold := make(chan struct{})
				dead.hold.Store(&hold)
				defer func() { dead.hold.Store(nil); close(hold) }()
				k = unlockSoon(t, e, amid, dead)
				within(t, k, "late", late, context.DeadlineExceeded)
				begin := time.Now()
				e.opens(t, "while the other key is dead", k)
				within(t, k, "late", late, nil)
				if took := time.Since(begin); took > time.Second {
					t.Errorf("took %v, want no wait", took)
				}
				seal(t, k, "new", "x", "b")
			})
		}
	}
}

// unlockSoon unlocks while the other key's service is dead. Amid a change the service is
// asked, and says at once that it cannot.
func unlockSoon(t *testing.T, e *estate, amid bool, dead *vault) *keyring.Keyring {
	t.Helper()
	if amid {
		hold := dead.hold.Swap(nil)
		dead.fail.Store(503)
		defer func() { dead.fail.Store(0); dead.hold.Store(hold) }()
	}
	begin := time.Now()
	k := unlockBoth(t, e.next, e.old, e.records)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("UnlockBoth took %v, want no wait", took)
	}
	return k
}

// within opens what is under a dead key: it fails soon, and is not taken for altered.
func within(t *testing.T, k *keyring.Keyring, project string, sealed []byte, want error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := k.Open(ctx, project, sealed, []byte("b"))
	if err == nil || errors.Is(err, keyring.ErrAltered) || want != nil && !errors.Is(err, want) {
		t.Errorf("Open under a dead key: error = %v, want that it does not answer", err)
	}
}

// A dead master key holds nobody either who needs the other one only, if that is in a file.
func TestADeadMasterKeyDoesNotHoldAFile(t *testing.T) {
	v := newVault(t)
	e := newEstate(t)
	hold := make(chan struct{})
	v.hold.Store(&hold)
	defer func() { v.hold.Store(nil); close(hold) }()
	begin := time.Now()
	e.wantUnlock(t, "with a dead master key", v.source("lacre"), e.old)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %v, want no wait", took)
	}
}

// TestNothingOfAChangeIsReadable looks for keys in all that was stored and said meanwhile.
func TestNothingOfAChangeIsReadable(t *testing.T) {
	e := newEstate(t)
	var seen []byte
	note := func(int) { seen = append(seen, e.everything()...) }
	k := unlockBoth(t, e.next, e.old, e.records)
	e.secrets["q"], e.dataKeys["q"] = readFile(t, e.old), readFile(t, e.next) // a store that was tampered with
	_, err := k.Change(e.records).Pass(t.Context())
	seen = fmt.Append(seen, err)
	for _, sources := range [][2]string{{e.old, ""}, {e.next, ""}, {e.old, e.old}, {e.third, e.old}} {
		_, err := keyring.UnlockBoth(t.Context(), sources[0], sources[1], e.records)
		seen = fmt.Append(seen, err)
	}
	delete(e.secrets, "q")
	delete(e.dataKeys, "q")
	e.before = note
	counts, err := k.Change(e.records).Pass(t.Context())
	seen = fmt.Append(seen, counts, err)
	note(0)
	for _, source := range []string{e.old, e.next} {
		mustNotContain(t, "what was stored or said", seen, readFile(t, source))
	}
	for project := range e.sealed {
		mustNotContain(t, "what was stored or said", seen, []byte("of "+project))
	}
}

// TestAKeyThatIsAwayMayBeTheRightOne: that the other key does not open a value says nothing
// while the first cannot be asked, whichever of the two that is.
func TestAKeyThatIsAwayMayBeTheRightOne(t *testing.T) {
	away := newVault(t)
	for _, here := range []string{newVault(t).source("lacre"), newKey(t)} {
		e := newEstateUnder(t, away.source("lacre"))
		for _, sources := range [][2]string{{e.old, here}, {here, e.old}} {
			k := unlockBoth(t, sources[0], sources[1], e.records)
			c := k.Change(e.records)
			away.fail.Store(503)
			if _, err := k.Open(t.Context(), "p1", e.sealed["p1"], []byte("b")); err == nil || errors.Is(err, keyring.ErrAltered) {
				t.Errorf("Open: error = %v, want that vault fails", err)
			}
			if _, err := k.Secret(t.Context(), "tokens", nil); err == nil || errors.Is(err, keyring.ErrAltered) {
				t.Errorf("Secret: error = %v, want that vault fails", err)
			}
			if _, err := c.Pass(t.Context()); err == nil || strings.Contains(err.Error(), "as they were") {
				t.Errorf("Pass: error = %v, want that vault fails", err)
			}
			if _, err := keyring.UnlockBoth(t.Context(), sources[0], sources[1], e.records); err == nil || errors.Is(err, keyring.ErrWrongMasterKey) {
				t.Errorf("UnlockBoth: error = %v, want that vault fails", err)
			}
			away.fail.Store(0)
			e.opens(t, "when it is back", k)
		}
		if e.writes != 0 {
			t.Errorf("%d writes, want none", e.writes)
		}
	}
}
