package api

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"lacre"
)

// rememberedKeys bounds what a limiter keeps, some hundred bytes each. A flood of new
// keys pushes out the longest idle ones, which have their whole burst back by then.
const rememberedKeys = 16384

// limiter is a token bucket for each key: so many requests a second in the long run, and
// twice as many at once. It keeps when the next request of a key would be due if they
// came evenly (the generic cell rate algorithm). It is safe for concurrent use; a nil
// limiter limits nothing.
type limiter struct {
	every time.Duration // between two requests that come evenly
	ahead time.Duration // how far before its due time a request may come
	mu    sync.Mutex
	due   *simplelru.LRU[string, time.Time]
}

// newLimiter returns nil, which limits nothing, when rate is negative.
func newLimiter(rate int) *limiter {
	if rate < 0 {
		return nil
	}
	due, err := simplelru.NewLRU[string, time.Time](rememberedKeys, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	every := time.Second / time.Duration(rate)
	return &limiter{every: every, ahead: time.Duration(2*rate-1) * every, due: due}
}

// take counts a request of key at now and tells whether it is within the limit. One that
// is not costs the key nothing.
func (l *limiter) take(key string, now time.Time) bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	due, known := l.due.Get(key)
	if !known || due.Before(now) {
		due = now
	}
	if due.Sub(now) > l.ahead {
		return false
	}
	l.due.Add(key, due.Add(l.every))
	return true
}

// authenticate asks who sent r and holds the answer against the limits: those who are
// known against their own, wherever they come from, and what is refused against that of
// its place. In this order a caller does not suffer from who fails behind the same proxy.
func (s *server) authenticate(r *http.Request) (lacre.Caller, error) {
	caller, err := s.Auth.Authenticate(r)
	if err != nil {
		e := saying(coded(err), lacre.CodeUnavailable, "Nothing was changed.")
		if meaningOf(e.Code).status == http.StatusUnauthorized && !s.strangers.take(place(r), s.Now()) {
			return caller, s.throttled("strangers")
		}
		return caller, e
	}
	if !s.callers.take(caller.UserID, s.Now()) {
		return caller, s.throttled("callers")
	}
	return caller, nil
}

// throttled is the refusal of what came too fast or too much, by one of the limits.
func (s *server) throttled(limit string) error {
	s.metrics.throttled.WithLabelValues(limit).Inc()
	return lacre.Errorf(lacre.CodeThrottled, "")
}

// identityThrottled answers for IAM when a place asks too often, in IAM's form of an
// error. It is a 503 because Terraform waits for minutes on 429.
func (s *server) identityThrottled(rec *recorder) {
	s.metrics.throttled.WithLabelValues("identity").Inc()
	rec.Header().Set("Retry-After", "1")
	const status = http.StatusServiceUnavailable
	type problem struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Title   string `json:"title"`
	}
	body := map[string]problem{"error": {status, "Too many requests. Try again later.", http.StatusText(status)}}
	writeJSON(rec, status, body) // cannot fail: three strings
}

// place is where r comes from, as far as limits are concerned: an IPv6 host owns a /64
// and could use another address for every request.
func place(r *http.Request) string {
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
