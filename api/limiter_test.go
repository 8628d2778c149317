package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lacre"
	"lacre/api"
)

// stopped is a clock that moves only when it is told to.
type stopped struct {
	mu  sync.Mutex
	now time.Time
}

func (c *stopped) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *stopped) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// limited is a world whose limits are five callers' requests and two failures a second.
func limited(t *testing.T) (*world, *stopped) {
	t.Helper()
	clock := &stopped{now: start}
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.RateLimit, c.FailureLimit, c.Now = 5, 2, clock.Now })
	clock.pass(time.Minute)
	return w, clock
}

// throttled demands the refusal of what comes too fast.
func (a *answer) throttled() {
	a.t.Helper()
	a.refused(500, "APIG.9008", "Too many requests")
	if got := a.Header.Get("Retry-After"); got != "1" {
		a.t.Errorf("%s: got Retry-After %q, want 1", a.what, got)
	}
}

func TestACallerIsHeldToARate(t *testing.T) {
	w, clock := limited(t)
	for range 10 {
		w.get("/instances").ok(200)
	}
	w.get("/instances").throttled()
	w.on("apic").get("/instances").throttled() // both products count
	w.as("viewer." + w.project).get("/instances").ok(200)
	w.get(w.url + "/healthz").ok(200)
	clock.pass(200 * time.Millisecond) // one more is due
	w.get("/instances").ok(200)
	w.get("/instances").throttled()
	clock.pass(time.Hour) // no more than the burst is saved up
	for range 10 {
		w.get("/instances").ok(200)
	}
	w.get("/instances").throttled()
	if got := string(w.as("").get(w.url + "/metrics").raw); !strings.Contains(got, `lacre_api_throttled_total{limit="callers"} 4`) {
		t.Error("got no count of 4 throttled requests in the metrics")
	}
	if strings.Contains(w.log.String(), "level=ERROR") {
		t.Errorf("got a failure in the log for a caller's haste:\n%s", w.log)
	}
}

func TestAThrottledChangeChangesNothing(t *testing.T) {
	w, clock := limited(t)
	for range 10 {
		w.get("/instances").ok(200)
	}
	w.post("/certificates", w.form("cert_haste", "www.a.test")).throttled()
	clock.pass(time.Second)
	if got := w.get("/certificates?instance_id=").ok(200).object()["total"]; got != 0.0 {
		t.Errorf("got %v certificates, want none", got)
	}
}

func TestFailuresOfAPlaceDoNotHoldUpKnownCallers(t *testing.T) {
	w, clock := limited(t)
	for range 4 {
		w.as("nonsense").get("/instances").refused(401, "APIG.1002")
	}
	w.as("nonsense").get("/instances").throttled()
	w.as("").get("/instances").throttled()
	w.get("/instances").ok(200)
	w.as("admin."+lacre.NewID()).get("/instances").refused(403, "APIG.1005") // known, but not here
	clock.pass(500 * time.Millisecond)
	w.as("").get("/instances").refused(401, "APIG.1000")
}

func TestIdentityCallsAreHeldToARateOfTheirPlace(t *testing.T) {
	called := 0
	clock := &stopped{now: start}
	handler := api.New(api.Config{Now: clock.Now, RateLimit: 5, IAM: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		called++
		w.WriteHeader(http.StatusNoContent)
	})})
	from := func(address string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/v3/auth/tokens", nil)
		r.RemoteAddr = address
		handler.ServeHTTP(rec, r)
		return rec
	}
	for i := range 10 {
		if got := from("[2001:db8::" + string(rune('a'+i%6)) + "]:4711").Code; got != 204 {
			t.Fatalf("call %d: got %d, want 204", i, got)
		}
	}
	rec := from("[2001:db8::77]:1") // another address of the same /64
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") != "1" || called != 10 {
		t.Errorf("got %d %v after %d calls, want 503 with Retry-After after 10", rec.Code, rec.Header(), called)
	}
	const want = `{"error":{"code":503,"message":"Too many requests. Try again later.","title":"Service Unavailable"}}` + "\n"
	if got := rec.Body.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, address := range []string{"[2001:db8:0:1::77]:1", "192.0.2.7:1", "somewhere"} {
		if got := from(address).Code; got != 204 {
			t.Errorf("from %s: got %d, want 204", address, got)
		}
	}
}

func TestNoLimit(t *testing.T) {
	clock := &stopped{now: start}
	w := newWorld(t, func(c *api.Config, _ *lacre.Config) { c.RateLimit, c.FailureLimit, c.Now = -1, -1, clock.Now })
	for range 120 {
		w.get("/instances/x").refused(404, "APIG.3030")
		w.as("").get("/instances").refused(401, "APIG.1000")
	}
}
