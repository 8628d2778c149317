package api_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/api"
)

// fleet is a Roster of two nodes, the second of which has come to a revision.
type fleet struct {
	second atomic.Int64
	takes  time.Duration // each look
}

func (f *fleet) Nodes(ctx context.Context) ([]lacre.Node, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(f.takes):
	}
	n := lacre.Node{ID: "n1", Name: "edge-a", Alive: true, Started: start, Reported: start.Add(time.Minute), Proof: lacre.Proof{Revision: 1 << 40}}
	m := n
	m.ID, m.Name, m.Revision, m.Since = "n2", "edge-b", f.second.Load(), 1<<40
	return []lacre.Node{m, n}, nil
}

// TestRollout: which nodes serve a certificate, over the API of both products.
func TestRollout(t *testing.T) {
	f := &fleet{}
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) { c.Roster = f })
	w.domain(w.group("group_web"), "www.a.test")
	id := w.certificate(w.form("web_cert", "www.a.test"))
	path := "/certificates/" + id
	w.post(path+"/domains/attach", domainList("www.a.test")).ok(204)
	for _, product := range []string{"apic", "apigw"} {
		f.second.Store(1)
		got := w.as("viewer." + w.project).on(product).get(path + "/rollout").ok(200)
		if o := got.object(); o["certificate_id"] != id || o["version_id"] != 1.0 || o["complete"] != false || o["size"] != 2.0 || len(o["fingerprint"].(string)) != 64 {
			t.Errorf("%s: got %v", product, o)
		}
		nodes := got.list("nodes")
		want := `{"alive":true,"id":"n1","instance_id":"","name":"edge-a","proof":"handshake","reason":"","report_time":"2026-11-20T08:01:00Z","start_time":"2026-11-20T08:00:00Z","state":"serving"}`
		if quote(nodes[0]) != want || nodes[1]["state"] != "pending" || nodes[1]["proof"] != "" {
			t.Errorf("%s: got nodes %s", product, quote(nodes))
		}
		f.second.Store(1 << 40)
		if got := w.get(path + "/rollout").ok(200); got.object()["complete"] != true || got.list("nodes")[1]["proof"] != "loaded" {
			t.Errorf("%s: got %s, want it complete, and loaded by the second", product, got.raw)
		}
	}
	w.get("/certificates/"+lacre.NewID()+"/rollout").refused(404, "APIG.3021")
	w.as("viewer.elsewhere").get(path+"/rollout").refused(403, "APIG.1005")
}

// TestPreferWait: a modification waits for every node when it is asked to, no longer than it
// is asked to, and says so.
func TestPreferWait(t *testing.T) {
	f := &fleet{}
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) { c.Roster = f })
	w.domain(w.group("group_web"), "www.a.test")
	path := "/certificates/" + w.certificate(w.form("web_cert", "www.a.test"))
	w.post(path+"/domains/attach", domainList("www.a.test")).ok(204)
	for _, c := range []struct {
		prefer          string
		second          int64
		applied, warned string
	}{
		{"", 1, "", ""},
		{"wait=50", 1 << 40, "wait=50", ""},
		{"respond-async, WAIT = \"100\" ; x=y", 1 << 40, "wait=60", ""},
		{"wait=1", 1, "wait=1", "edge-b is pending"},
		{"wait=0", 1, "", ""},
		{"wait=-1", 1, "", ""},
		{"wait=soon", 1, "", ""},
		{"waits=9", 1, "", ""},
	} {
		f.second.Store(c.second)
		begin := time.Now()
		got := w.put(path, w.form("web_cert", "www.a.test"), "Prefer", c.prefer).ok(200)
		took, warned := time.Since(begin), strings.Join(got.Header.Values("X-Lacre-Warning"), " ")
		if got.Header.Get("Preference-Applied") != c.applied || (c.warned == "") != (warned == "") || !strings.Contains(warned, c.warned) {
			t.Errorf("Prefer: %s: got applied %q, warned %q, want %q, %q", c.prefer, got.Header.Get("Preference-Applied"), warned, c.applied, c.warned)
		}
		if c.warned != "" && took < time.Second || took > 20*time.Second {
			t.Errorf("Prefer: %s: took %v", c.prefer, took)
		}
	}
	dry := w.put(path+"?dry_run=true", w.form("web_cert", "www.a.test"), "Prefer", "wait=9").ok(200)
	if got := dry.Header.Get("Preference-Applied"); got != "" {
		t.Errorf("a dry run: got applied %q, want nothing", got)
	}
}

// TestWaitingTakesNoPlace: those who wait for a node that is late keep nobody else from being
// served, and are not more than can be borne.
func TestWaitingTakesNoPlace(t *testing.T) {
	f := &fleet{}
	w := newWorld(t, func(a *api.Config, c *lacre.Config) {
		c.Roster, a.MaxConcurrent, a.MaxWaiting, a.QueueTime = f, 1, 4, time.Minute
	})
	w.domain(w.group("group_web"), "www.a.test")
	path := "/certificates/" + w.certificate(w.form("web_cert", "www.a.test"))
	w.post(path+"/domains/attach", domainList("www.a.test")).ok(204)
	form := w.form("web_cert", "www.a.test")
	w.put(path, form).ok(200) // from here on it is the current content, and quick
	f.second.Store(1)
	var waiters sync.WaitGroup
	for range 4 {
		waiters.Go(func() {
			for w.put(path, form, "Prefer", "wait=60").ok(200).Header.Get("Preference-Applied") == "" {
			}
		})
	}
	deadline := time.Now().Add(30 * time.Second)
	for refused := false; !refused; {
		got := w.put(path, form, "Prefer", "wait=1").ok(200)
		refused = strings.Contains(strings.Join(got.Header.Values("X-Lacre-Warning"), " "), "too many requests wait") && got.Header.Get("Preference-Applied") == ""
		if time.Now().After(deadline) {
			t.Error("there is no limit on those who wait")
			break
		}
	}
	w.get(path).ok(200)
	f.second.Store(1 << 40)
	waiters.Wait()
}

// TestNobodyWaitsForANodeThatStops: what was stored is answered before the connection goes, with
// how it is then, and without saying that it has waited.
func TestNobodyWaitsForANodeThatStops(t *testing.T) {
	f := &fleet{takes: 50 * time.Millisecond}
	stopping, stop := context.WithCancel(t.Context())
	w := newWorld(t, func(a *api.Config, c *lacre.Config) { c.Roster, a.Stopping = f, stopping })
	w.domain(w.group("group_web"), "www.a.test")
	path := "/certificates/" + w.certificate(w.form("web_cert", "www.a.test"))
	w.post(path+"/domains/attach", domainList("www.a.test")).ok(204)
	time.AfterFunc(100*time.Millisecond, stop)
	for _, when := range []string{"while it waits", "before"} {
		begin := time.Now()
		got := w.put(path, w.form("web_cert", "www.a.test"), "Prefer", "wait=60").ok(200)
		took, warned, applied := time.Since(begin), got.Header.Get("X-Lacre-Warning"), got.Header.Get("Preference-Applied")
		if took > 30*time.Second || !strings.Contains(warned, "edge-b is pending") || applied != "" {
			t.Errorf("stopped %s: got an answer after %v, warned %q, applied %q", when, took, warned, applied)
		}
	}
}
