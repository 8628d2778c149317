package iam_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lacre"
)

const elsewhere = "203.0.113.7:50000"

// fail signs alice in with a wrong password.
func fail(t *testing.T, w *world, source string, times int) {
	t.Helper()
	for range times {
		wantProblem(t, signIn(w, source, body("acct", "alice", "wrong password", "")), 401)
	}
}

// enters tells whether alice's right password lets her in from source.
func enters(w *world, source string) bool {
	return signIn(w, source, body("acct", "alice", alicePassword, "")).Code == http.StatusCreated
}

func TestFiveFailuresLockOutTheirSourceOnly(t *testing.T) {
	w := newWorld(t)
	fail(t, w, home, 4)
	if !enters(w, home) {
		t.Fatal("refused after 4 failures, want after 5")
	}
	fail(t, w, home, 4)
	if !enters(w, home) {
		t.Fatal("the success before did not clear its failures")
	}
	fail(t, w, home, 5)
	refused := signIn(w, home, body("acct", "alice", alicePassword, ""))
	wantProblem(t, refused, 401)
	if want := signIn(w, elsewhere, body("acct", "alice", "wrong password", "")).Body.String(); refused.Body.String() != want {
		t.Errorf("answer to a locked-out sign-in = %s, want the same as to a wrong password: %s", refused.Body, want)
	}
	if !enters(w, elsewhere) {
		t.Error("alice is locked out elsewhere by failures from home")
	}
	if rec := signIn(w, home, body("other", "bob", "bobs password", "")); rec.Code != 201 {
		t.Errorf("bob at the same place: status = %d, want 201", rec.Code)
	}
	if enters(w, home) {
		t.Error("a success elsewhere opened the locked-out source")
	}
}

func TestTheWaitDoublesUpTo15Minutes(t *testing.T) {
	w := newWorld(t)
	fail(t, w, home, 5)
	for _, minutes := range []time.Duration{1, 2, 4, 8, 15, 15} {
		w.clock.Advance(minutes*time.Minute - time.Millisecond)
		if enters(w, home) {
			t.Fatalf("let in 1 ms before %d minutes were over", minutes)
		}
		w.clock.Advance(time.Millisecond)
		fail(t, w, home, 1) // this one is looked at, and counts
	}
	w.clock.Advance(15 * time.Minute)
	if !enters(w, home) {
		t.Error("refused after the wait was over")
	}
}

func TestFailuresAreForgivenAfterAnHour(t *testing.T) {
	w := newWorld(t)
	fail(t, w, home, 4)
	w.clock.Advance(time.Hour + time.Second)
	fail(t, w, home, 4)
	if !enters(w, home) {
		t.Error("failures of more than an hour ago still count")
	}
}

func TestNamesAndIdsOfOneUserCountTogether(t *testing.T) {
	w := newWorld(t)
	byID := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"` + w.alice.ID + `","password":"wrong password"}}}}}`
	fail(t, w, home, 3)
	for range 2 {
		wantProblem(t, signIn(w, home, byID), 401)
	}
	if enters(w, home) {
		t.Error("let in after 3 failures by name and 2 by id")
	}
}

func TestAnIPv6SourceIsItsWhole64(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		fail(t, w, fmt.Sprintf("[2001:db8:1:2::%x%%eth0]:%d", i+1, 1000+i), 1)
	}
	if enters(w, "[2001:db8:1:2:ffff::1]:1") {
		t.Error("another address of the same /64 is let in")
	}
	if !enters(w, "[2001:db8:1:3::1]:1") {
		t.Error("the next /64 is refused")
	}
	fail(t, w, "192.0.2.77:1", 5)
	if enters(w, "[::ffff:192.0.2.77]:2") {
		t.Error("an IPv4 source is let in under its IPv6-mapped name")
	}
}

func TestForwardingHeadersAreNotBelieved(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		ask(w, home, "POST", "/v3/auth/tokens", body("acct", "alice", "wrong password", ""),
			"X-Forwarded-For", fmt.Sprint("10.0.0.", i), "X-Real-Ip", fmt.Sprint("10.0.0.", i), "Forwarded", fmt.Sprint("for=10.0.0.", i))
	}
	if enters(w, home) {
		t.Error("a forwarding header hid where the failures came from")
	}
}

// Guesses sent at once are counted as if sent one by one, but for the two that are
// looked at together.
func TestParallelGuessesDoNotSlipThrough(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() { signIn(w, home, body("acct", "alice", "wrong password", "")) })
	}
	wg.Wait()
	// The wait tells how many were looked at: 5 make a minute, 6 make two.
	w.clock.Advance(2 * time.Minute)
	if !enters(w, home) {
		t.Error("more than 6 of 40 parallel guesses were looked at")
	}
}

// A flood of sign-ins is cut off with 503 at once, while those inside are served.
func TestAFloodOfSignIns(t *testing.T) {
	w := newWorld(t)
	ctx, giveUp := context.WithCancel(t.Context()) // spares the test the whole queue
	defer giveUp()
	answers := make(chan *httptest.ResponseRecorder)
	const flood = 100
	for range flood {
		go func() {
			r := httptest.NewRequestWithContext(ctx, "POST", "/v3/auth/tokens", strings.NewReader(body("acct", "alice", alicePassword, "")))
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			answers <- rec
		}()
	}
	statuses := map[int]int{}
	for range flood {
		rec := <-answers
		statuses[rec.Code]++
		if statuses[201] > 0 && statuses[503] > 0 {
			giveUp()
		}
		if rec.Code == http.StatusServiceUnavailable {
			wantProblem(t, rec, http.StatusServiceUnavailable)
			if rec.Header().Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		}
	}
	if statuses[201] == 0 || statuses[503] < flood-64-2 {
		t.Errorf("statuses = %v, want some of 201, and 503 for whoever finds 64 waiting", statuses)
	}
	if _, err := authenticate(w.IAM, w.scopedToken(t)); err != nil {
		t.Errorf("after the flood: %v", err)
	}
}

// How long a refusal takes must not tell whether the user exists. Hashing takes tens of
// milliseconds; without it an unknown user would be refused in one or two.
func TestUnknownUsersTakeAsLong(t *testing.T) {
	w := newWorld(t)
	gone := w.user(t, "acct", "gone", alicePassword)
	fatal(t, w.Disable(t.Context(), lacre.Caller{}, gone.ID))
	fastest := func(name string) time.Duration {
		best := time.Hour
		for range 4 {
			start := time.Now()
			signIn(w, home, body("acct", name, "wrong password", ""))
			best = min(best, time.Since(start))
		}
		return best
	}
	known := fastest("alice")
	for _, name := range []string{"mallory", "gone"} {
		if got := fastest(name); got < known/4 || got > known*4 {
			t.Errorf("refusing %s took %v, a wrong password of alice %v, want about the same", name, got, known)
		}
	}
}
