package edge

import "testing"

// TestProverQueue: a claim that comes back while it is looked at is looked at once more, and
// nothing is proven before its turn.
func TestProverQueue(t *testing.T) {
	e, err := New(Config{Feed: silent{}, Sealer: fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	p := e.prover
	a, b := claim{certificate: &served{}}, claim{certificate: &served{}}
	p.add(a)
	if p.next() != nil {
		t.Fatal("a claim is taken before everything is loaded")
	}
	p.begin(1, nil)
	p.add(a)
	p.add(a)
	p.add(b)
	if n := p.unprovenClaims(); n != 2 {
		t.Errorf("got %d claims of 2, one of them made twice", n)
	}
	first := p.next()
	p.add(a) // during the handshake
	p.note(first, "broken")
	if got := p.next(); got.claim != b || p.unprovenClaims() != 2 {
		t.Errorf("got %v next, %d in all, want the other one, and 2", got.claim, p.unprovenClaims())
	}
	p.retry()
	p.note(p.next(), "")
	if got := p.next(); got.claim != a {
		t.Error("what was changed during its handshake is not looked at again")
	} else {
		p.note(got, "broken")
	}
	if p.unprovenClaims() != 0 {
		t.Error("a claim that has failed holds up what comes after it")
	}
	p.add(b)
	if got := p.next(); got.claim != b {
		t.Error("a claim that has failed goes before one that is new")
	} else {
		p.note(got, "")
	}
	stale := p.next()
	if stale.claim != a || p.failingCertificates() != 1 {
		t.Errorf("got %v, %d failures, want the one that has failed", stale.claim, p.failingCertificates())
	}
	p.add(a)
	p.note(stale, "")
	if p.unprovenClaims() != 1 {
		t.Error("a handshake from before a change proves what has changed since")
	}
	p.note(p.next(), "broken")
	p.add(a)
	p.add(b)
	p.note(p.next(), superseded)
	if p.failingCertificates() != 1 {
		t.Error("what took the place of a claim is proven before its turn")
	}
	p.note(p.next(), "")
	p.retry()
	if p.note(p.next(), superseded); p.failingCertificates() != 0 {
		t.Error("a claim that is out of date fails for ever")
	}
	p.add(a)
	old := p.next()
	p.stop()
	p.begin(2, []*served{b.certificate})
	p.note(old, "")
	if got := p.next(); got == nil || got.claim != b {
		t.Error("a handshake from before everything was loaded proves what was loaded")
	}
}
