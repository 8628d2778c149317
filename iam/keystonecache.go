package iam

import (
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"lacre"
)

// digest takes the place of a token in memory: who reads a dump gains no token.
type digest [sha256.Size]byte

// verdict is what Keystone said about a token at some time.
type verdict struct {
	caller    lacre.Caller
	err       error // why the token is refused, nil for a caller
	at, until time.Time
}

// verdicts are remembered in two places, so that a flood of made-up tokens does not push
// out those that work. Both are bounded and safe for concurrent use.
type verdicts struct {
	accepted, refused *lru.Cache[digest, verdict]
}

func newVerdicts() *verdicts {
	made := func() *lru.Cache[digest, verdict] {
		c, err := lru.New[digest, verdict](rememberedTokens)
		if err != nil {
			panic(err) // only for a size that is not positive
		}
		return c
	}
	return &verdicts{made(), made()}
}

// get returns a verdict that still holds. One from the future does not: the clock was
// set back, and who knows how long ago it was.
func (c *verdicts) get(key digest, now time.Time) (verdict, bool) {
	for _, kept := range []*lru.Cache[digest, verdict]{c.accepted, c.refused} {
		if v, ok := kept.Get(key); ok && !now.Before(v.at) && now.Before(v.until) {
			return v, true
		}
	}
	return verdict{}, false
}

func (c *verdicts) add(key digest, v verdict) {
	if v.err != nil {
		c.accepted.Remove(key)
		c.refused.Add(key, v)
		return
	}
	c.refused.Remove(key)
	c.accepted.Add(key, v)
}

// The figures of the breaker.
const (
	failuresToOpen = 3
	openFor        = time.Second
)

// breaker keeps requests away from a Keystone that does not answer: each would wait for
// the whole timeout, and with it everything the API has room for, tokens in the cache
// included. After openFor one request finds out whether it is back.
type breaker struct {
	probing time.Duration // how long that one request may take
	log     *slog.Logger

	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // when open
	silent   bool      // for want of answers, as the log says
}

func newBreaker(probing time.Duration, log *slog.Logger) *breaker {
	return &breaker{probing: probing, log: log}
}

// admits tells whether a request may be sent. Its end must be reported.
func (b *breaker) admits(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < failuresToOpen {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(b.probing)
	return true
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.silent {
		b.log.Info("keystone answers again")
	}
	b.failures, b.silent = 0, false
}

func (b *breaker) failed(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	b.until = now.Add(openFor)
	if b.failures >= failuresToOpen && !b.silent {
		b.silent = true
		b.log.Warn("keystone does not answer")
	}
}

// open keeps requests away at once, whatever Keystone answers.
func (b *breaker) open(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.until = failuresToOpen, now.Add(openFor)
}
