package iam

import (
	"context"
	"fmt"
	"testing"
	"time"

	"lacre"
)

// backing renames the interface, whose name is that of one of its methods.
type backing interface{ Users }

// nowhere is a store without users.
type nowhere struct{ backing }

func (nowhere) UserByName(context.Context, string, string) (*lacre.User, error) {
	return nil, lacre.ErrNotStored
}

// A place that fails with many names is refused too, much later. It takes a hundred
// hashes to get there, so that the first 99 failures are put in by hand.
func TestAHundredFailuresLockOutAPlace(t *testing.T) {
	key, err := NewTokenKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, err := New(Config{Users: nowhere{}, TokenKey: key, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for range failuresPerPlace - 1 {
		a.places.failed("192.0.2.1", now)
	}
	if a.places.refuses("192.0.2.1", now) {
		t.Fatal("refused after 99 failures, want after 100")
	}
	claim := &claim{reference: reference{Name: "mallory"}, Password: "wrong", Domain: reference{Name: "acct"}}
	if _, err := a.signIn(t.Context(), claim, "192.0.2.1"); lacre.CodeOf(err) != codeSignIn {
		t.Fatalf("signIn error = %v, want code %s", err, codeSignIn)
	}
	if !a.places.refuses("192.0.2.1", now) || a.places.refuses("192.0.2.2", now) {
		t.Error("after 100 failures: want that place refused and no other")
	}
	a.users = nil // a refused place must not get as far as the store
	if _, err := a.signIn(t.Context(), claim, "192.0.2.1"); lacre.CodeOf(err) != codeSignIn {
		t.Errorf("signIn error = %v, want code %s", err, codeSignIn)
	}
	if a.places.refuses("192.0.2.1", now.Add(time.Minute)) {
		t.Error("still refused after a minute")
	}
}

func TestAFloodOfKeysCostsBoundedMemory(t *testing.T) {
	l := newLockout[attempt](failuresPerPerson)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 3 * rememberedAttempts {
		l.failed(attempt{fmt.Sprint("user ", i), "192.0.2.1"}, now)
	}
	if got := l.failures.Len(); got != rememberedAttempts {
		t.Errorf("%d keys are kept, want %d", got, rememberedAttempts)
	}
}

func TestTheWaitNeverOverflows(t *testing.T) {
	l := newLockout[string](1)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 500 {
		l.failed("x", now)
		if !l.refuses("x", now) || l.refuses("x", now.Add(longestWait)) {
			t.Fatal("want a wait of more than nothing and at most 15 minutes")
		}
	}
}
