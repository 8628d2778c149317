package iam

import (
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"lacre"
)

func TestAFloodOfBadTokensKeepsTheGoodOnes(t *testing.T) {
	now := time.Unix(1000, 0)
	c, good := newVerdicts(), digest{0xff}
	c.add(good, verdict{caller: lacre.Caller{UserID: "u"}, at: now, until: now.Add(time.Minute)})
	for i := range 3 * rememberedTokens {
		var key digest
		binary.BigEndian.PutUint64(key[8:], uint64(i))
		c.add(key, verdict{err: errInvalidToken, at: now, until: now.Add(time.Minute)})
	}
	if v, ok := c.get(good, now); !ok || v.caller.UserID != "u" {
		t.Errorf("the good token: got %+v, %t, want it remembered", v, ok)
	}
	if got := c.refused.Len() + c.accepted.Len(); got != rememberedTokens+1 {
		t.Errorf("got %d verdicts kept, want %d", got, rememberedTokens+1)
	}
}

func TestTheLastVerdictCounts(t *testing.T) {
	now := time.Unix(1000, 0)
	c, key := newVerdicts(), digest{1}
	yes := verdict{at: now, until: now.Add(time.Minute)}
	no := verdict{err: errInvalidToken, at: now, until: now.Add(time.Second)}
	for _, want := range []verdict{yes, no, yes} {
		c.add(key, want)
		if got, ok := c.get(key, now); !ok || got.err != want.err {
			t.Errorf("got %v, %t, want %v", got.err, ok, want.err)
		}
	}
	c.add(key, no)
	if _, ok := c.get(key, now.Add(time.Second)); ok {
		t.Error("an older verdict came back when the last one ended")
	}
}

func TestOneProbeAtATime(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newBreaker(5*time.Second, slog.New(slog.DiscardHandler))
	want := func(what string, admitted bool) {
		t.Helper()
		if got := b.admits(now); got != admitted {
			t.Errorf("%s: admitted = %t, want %t", what, got, admitted)
		}
	}
	for range failuresToOpen {
		want("closed", true)
		b.failed(now)
	}
	want("open", false)
	now = now.Add(openFor)
	want("the probe", true)
	want("beside the probe", false)
	b.failed(now)
	want("after a failed probe", false)
	now = now.Add(openFor)
	want("the next probe", true)
	now = now.Add(5 * time.Second)
	want("when the probe got lost", true)
	b.succeeded()
	want("after a good probe", true)
	want("closed again", true)
	b.failed(now)
	want("after one failure", true)
}
