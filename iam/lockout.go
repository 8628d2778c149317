package iam

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Who fails too often waits, and nobody else does: failures count for one person from
// one place, and much more slowly for a place. Never for a person alone, or anybody
// could lock anybody out.
const (
	failuresPerPerson = 5
	failuresPerPlace  = 100
	firstWait         = time.Minute // doubles with each further failure
	longestWait       = 15 * time.Minute
	// forgiven is after how long without a failure the count starts again.
	forgiven = time.Hour
)

// attempt is one person tried from one place, see claim.person and sourceOf; or one
// access key.
type attempt struct{ person, source string }

// lockout counts failures by key and keeps the latest keys only, so that a flood of
// made-up ones costs bounded memory. It is safe for concurrent use.
type lockout[K comparable] struct {
	limit    int
	first    time.Duration // the first wait, which doubles with each further failure
	longest  time.Duration
	mu       sync.Mutex
	failures *simplelru.LRU[K, failures]
}

// failures is what is known of a key. The zero value is a clean slate.
type failures struct {
	count int
	last  time.Time
	until time.Time // refused before that
}

func newLockout[K comparable](limit int) *lockout[K] {
	kept, err := simplelru.NewLRU[K, failures](rememberedAttempts, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &lockout[K]{limit: limit, first: firstWait, longest: longestWait, failures: kept}
}

// newKeyLockout counts wrong signatures as the cloud does: the wait is always the same.
func newKeyLockout() *lockout[attempt] {
	l := newLockout[attempt](keyFailures)
	l.first, l.longest = keyWait, keyWait
	return l
}

// refuses tells whether key has to wait still.
func (l *lockout[K]) refuses(key K, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, _ := l.failures.Get(key)
	return now.Before(f.until)
}

// failed counts one more failure of key.
func (l *lockout[K]) failed(key K, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, _ := l.failures.Get(key)
	if now.Sub(f.last) > forgiven {
		f = failures{}
	}
	f.count++
	f.last = now
	if over := f.count - l.limit; over >= 0 { // 8 doublings are past longestWait already
		f.until = now.Add(min(l.first<<min(over, 8), l.longest))
	}
	l.failures.Add(key, f)
}

// succeeded forgets the failures of key: who knows the password only mistyped it.
func (l *lockout[K]) succeeded(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures.Remove(key)
}

// sourceOf is the place a request comes from: the address of the peer itself, as
// forwarding headers are whatever their sender likes. An IPv6 host owns a /64 and could
// use a new address for every attempt, so the /64 counts as one place.
func sourceOf(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	address := peer.Addr().Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	return netip.PrefixFrom(address, 64).Masked().String()
}
