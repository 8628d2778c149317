package keyring_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"lacre/keyring"
)

var errDown = errors.New("store down")

// stopAt makes a change that loses its store with the nth write, which is applied or not.
func (e *estate) stopAt(t *testing.T, n int, applied bool) {
	t.Helper()
	k := unlockBoth(t, e.next, e.old, e.records)
	e.before = func(at int) {
		if at == n {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.fail, e.lost = errDown, applied
		}
	}
	e.writes = 0
	if _, err := k.Change(e.records).Pass(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("Pass that loses its store: error = %v, want %v", err, errDown)
	}
	e.before, e.fail = nil, nil
}

// TestACrashAtEveryWrite: with both keys everything opens and the change goes on, in either
// direction. One key alone is taken where it opens everything, else it is said what to do.
func TestACrashAtEveryWrite(t *testing.T) {
	for n := 1; n <= values+1; n++ {
		for _, applied := range []bool{false, true} {
			for _, back := range []bool{false, true} {
				t.Run(fmt.Sprintf("write=%d,applied=%v,back=%v", n, applied, back), func(t *testing.T) {
					e := newEstate(t)
					e.stopAt(t, n, applied)
					switch {
					case n == 1 && !applied:
						e.wantUnlock(t, "the old key alone", e.old, "")
						e.wantUnlock(t, "the new key alone", e.next, "", keyring.ErrWrongMasterKey)
					case n == values+1 && applied:
						e.wantUnlock(t, "the new key alone", e.next, "")
						e.wantUnlock(t, "the old key alone", e.old, "", keyring.ErrWrongMasterKey)
					default:
						for _, source := range []string{e.old, e.next} {
							e.wantUnlock(t, "one key alone", source, "", keyring.ErrWrongMasterKey, keyring.ErrOtherMasterKeyNeeded)
						}
					}
					e.wantUnlock(t, "both", e.next, e.old)
					e.wantUnlock(t, "both the other way", e.old, e.next)
					if back {
						e.next, e.old = e.old, e.next
					}
					if _, err := unlockBoth(t, e.next, e.old, e.records).Change(e.records).Pass(t.Context()); err != nil {
						t.Errorf("the next Pass: %v", err)
					}
					e.wantUnlock(t, "the key alone at the end", e.next, "")
					e.wantUnlock(t, "the other one alone at the end", e.old, "", keyring.ErrWrongMasterKey)
				})
			}
		}
	}
}

// The same Change goes on by itself when its store is back.
func TestAPassGoesOnWhereOneEnded(t *testing.T) {
	e := newEstate(t)
	c := unlockBoth(t, e.next, e.old, e.records).Change(e.records)
	e.before = func(at int) { e.fail = map[bool]error{true: errDown}[at == 4] }
	if _, err := c.Pass(t.Context()); !errors.Is(err, errDown) {
		t.Fatalf("Pass error = %v, want %v", err, errDown)
	}
	e.fail = nil
	if got, err := c.Pass(t.Context()); err != nil || got != (keyring.Counts{Rewrapped: values}) {
		t.Errorf("Pass = %+v, %v, want %d wrapped again", got, err, values)
	}
}

// TestAlteredValuesStay: they are named and left, the rest is done, and both keys stay
// needed.
func TestAlteredValuesStay(t *testing.T) {
	e := newEstate(t)
	foreign := newEstate(t)
	e.secrets["tokens"][20] ^= 1
	e.dataKeys["p2"] = []byte("no keyset")
	e.dataKeys["moved"] = e.dataKeys["p1"] // of another project
	e.dataKeys["foreign"] = foreign.dataKeys["p1"]
	e.damaged["data keyiam"] = true
	secrets, dataKeys := e.all()
	k := unlockBoth(t, e.next, e.old, e.records)
	for range 2 {
		_, err := k.Change(e.records).Pass(t.Context())
		for _, name := range []string{`secret "tokens"`, `"p2"`, `"moved"`, `"foreign"`, `"iam"`, "5 values"} {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("Pass error = %v, want it to name %s", err, name)
			}
		}
	}
	left, leftKeys := e.all()
	for _, id := range []string{"p2", "moved", "foreign", "iam"} {
		if !bytes.Equal(leftKeys[id], dataKeys[id]) {
			t.Errorf("the data key of %s was touched", id)
		}
	}
	if !bytes.Equal(left["tokens"], secrets["tokens"]) || len(left) != len(secrets) || len(leftKeys) != len(dataKeys) {
		t.Error("an altered secret was touched, or something was made anew")
	}
	if bytes.Equal(left["tickets"], secrets["tickets"]) || bytes.Equal(leftKeys["p1"], dataKeys["p1"]) {
		t.Error("a sound value was not wrapped again")
	}
	for _, project := range []string{"p2", "moved", "foreign"} {
		if _, err := k.Open(t.Context(), project, e.sealed["p1"], []byte("b")); !errors.Is(err, keyring.ErrAltered) {
			t.Errorf("Open for %s: error = %v, want ErrAltered", project, err)
		}
		if _, err := k.Seal(t.Context(), project, []byte("x"), nil); !errors.Is(err, keyring.ErrAltered) {
			t.Errorf("Seal for %s: error = %v, want ErrAltered", project, err)
		}
	}
	if _, err := k.Secret(t.Context(), "tokens", nil); !errors.Is(err, keyring.ErrAltered) {
		t.Errorf("Secret: error = %v, want ErrAltered", err)
	}
	for _, source := range []string{e.old, e.next} {
		e.wantUnlock(t, "one key alone", source, "", keyring.ErrOtherMasterKeyNeeded)
	}
}

// Nodes that change in the same direction at once share the work.
func TestNodesChangeTogether(t *testing.T) {
	e := newEstate(t)
	k := unlock(t, e.old, e.records)
	for i := range 50 {
		id := fmt.Sprint("more", i)
		e.sealed[id] = seal(t, k, id, "of "+id, "b")
	}
	const nodes = 4
	var counts [nodes]keyring.Counts
	var wg sync.WaitGroup
	for i := range nodes {
		c := unlockBoth(t, e.next, e.old, e.records).Change(e.records)
		wg.Go(func() {
			var err error
			if counts[i], err = c.Pass(t.Context()); err != nil {
				t.Errorf("Pass error = %v, want nil", err)
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, c := range counts {
		sum += c.Rewrapped
	}
	if sum != values+50 {
		t.Errorf("%d values were wrapped again: %v, want %d", sum, counts, values+50)
	}
	e.wantUnlock(t, "the new key alone", e.next, "")
}

// A value that another one writes between a look and a replacement stays as that one wrote it.
func TestARacingWriterWins(t *testing.T) {
	e := newEstate(t)
	rival := newEstate(t)
	var winner []byte
	e.before = func(n int) {
		if n != 2 { // the first after the key check: the data keys and secrets in order
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		winner = rival.secrets["tickets"]
		e.secrets["tickets"], e.revised["secrettickets"] = winner, 7
	}
	_, err := unlockBoth(t, e.next, e.old, e.records).Change(e.records).Pass(t.Context())
	if err == nil || !strings.Contains(err.Error(), `secret "tickets"`) {
		t.Errorf("Pass error = %v, want that it looked at the winner's value, which is altered", err)
	}
	if !bytes.Equal(e.secrets["tickets"], winner) {
		t.Error("the winner's value was replaced")
	}
}

// TestOfTwoDirectionsTheLastGoesOn: from the moment another node begins to change back, at
// any write, nothing gets under the key of the first any more.
func TestOfTwoDirectionsTheLastGoesOn(t *testing.T) {
	for n := 1; n <= values+1; n++ {
		e := newEstate(t)
		first := unlockBoth(t, e.next, e.old, e.records).Change(e.records)
		second := unlockBoth(t, e.old, e.next, e.records).Change(e.records)
		e.before = func(at int) {
			if at == n {
				e.before = nil
				if _, err := second.Pass(t.Context()); err != nil {
					t.Errorf("write %d: the second's Pass: %v", n, err)
				}
			}
		}
		_, err := first.Pass(t.Context())
		if n == 1 { // the second found nothing to do, and the first began after it
			if err != nil {
				t.Errorf("Pass error = %v, want nil", err)
			}
			e.wantUnlock(t, "the new key alone", e.next, "")
			continue
		}
		for range 2 {
			if !errors.Is(err, keyring.ErrOvertaken) {
				t.Errorf("write %d: Pass error = %v, want ErrOvertaken", n, err)
			}
			_, err = first.Pass(t.Context())
		}
		e.wantUnlock(t, fmt.Sprintf("write %d: the old key alone", n), e.old, "")
		e.change(t, e.next, e.old, keyring.Counts{Rewrapped: values}) // a node that starts now
		if _, err := first.Pass(t.Context()); err != nil {
			t.Errorf("write %d: Pass when all is under its key: %v", n, err)
		}
	}
}

// No part of a key check can be used to look like another: not half of one that is under
// way, nor one that is cut or altered.
func TestTheKeyCheckOfAChangeIsWhole(t *testing.T) {
	e := newEstate(t)
	e.stopAt(t, 3, false)
	whole := bytes.Clone(e.secrets["keycheck"])
	for i := range whole {
		altered := bytes.Clone(whole)
		altered[i] ^= 1
		for _, check := range [][]byte{whole[:i], whole[i+1:], altered} {
			e.secrets["keycheck"] = check
			for _, source := range []string{e.old, e.next} {
				if _, err := keyring.Unlock(t.Context(), source, e.records); !errors.Is(err, keyring.ErrWrongMasterKey) {
					t.Errorf("byte %d: Unlock with one key: error = %v, want ErrWrongMasterKey", i, err)
				}
			}
			if _, err := keyring.UnlockBoth(t.Context(), e.next, e.old, e.records); !errors.Is(err, keyring.ErrWrongMasterKey) {
				t.Errorf("byte %d: UnlockBoth: error = %v, want ErrWrongMasterKey", i, err)
			}
		}
	}
	if got := e.writes; got != 3 {
		t.Errorf("%d writes, want the 3 of the change", got)
	}
}

// TestADirectionThatWasTurnedRound by exchanging the seals of the key check is nobody's word.
func TestADirectionThatWasTurnedRound(t *testing.T) {
	e := newEstate(t)
	e.stopAt(t, 1, true)
	const head = "lacre key check, changing v1\n"
	check := e.secrets["keycheck"]
	half := check[len(head)+4:]
	if !bytes.HasPrefix(check, []byte(head)) || len(half)%2 != 0 { // both seals are equally long
		t.Fatalf("got %q", check)
	}
	e.wantUnlock(t, "as it was", e.next, e.old)
	turned := slices.Concat(check[:len(head)+4], half[len(half)/2:], half[:len(half)/2])
	e.secrets["keycheck"] = turned
	e.wantUnlock(t, "turned round", e.next, e.old, keyring.ErrWrongMasterKey)
	e.wantUnlock(t, "turned round, the other way", e.old, e.next, keyring.ErrWrongMasterKey)
}
