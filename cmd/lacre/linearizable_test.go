package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"lacre/internal/testcert"
)

// TestLinearizable lets clients create, modify, delete, show and list the certificates of
// one project at the same time, and has porcupine look for an order of the calls that
// explains every answer.
func TestLinearizable(t *testing.T) {
	histories, clients, calls := 20, 4, 40
	if nightly() {
		histories, calls = 200, 60
	}
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	var leaves []*testcert.Leaf
	for i := range 32 {
		leaves = append(leaves, w.leaf("www.linear.test", i+1))
	}
	seen := map[string]int{}
	for i := range histories {
		r := &recording{world: w, leaves: leaves, start: time.Now()}
		history := r.play(t, uint64(i), clients, calls)
		for _, o := range history {
			out := o.Output.(response)
			seen[fmt.Sprint(o.Input.(request).kind, " ", out.status, " ", out.code)]++
		}
		if got := porcupine.CheckOperationsTimeout(certificates, history, 30*time.Second); got != porcupine.Ok {
			t.Fatalf("history %d of %d operations: got %v, want Ok; it is\n%s", i, len(history), got, story(history))
		}
		if i == 0 {
			refuseLies(t, history)
		}
		r.clear()
	}
	t.Logf("%v", seen)
	for _, want := range []string{
		"create 200 ", "create 400 APIG.3325", "modify 200 ", "modify 404 APIG.3021", "modify 412 LACRE.0412",
		"modify 400 APIG.3325", "delete 204 ", "delete 404 APIG.3021", "show 200 ", "show 404 APIG.3021", "list 200 ",
	} {
		if seen[want] == 0 {
			t.Errorf("got no %q: the histories are too tame", want)
		}
	}
}

// story is a history in the order of the calls.
func story(history []porcupine.Operation) string {
	var text strings.Builder
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	for _, o := range history {
		fmt.Fprintf(&text, "%d: %d to %d: %+v: %+v\n", o.ClientId, o.Call, o.Return, o.Input, o.Output)
	}
	return text.String()
}

// refuseLies changes one answer of a true history at a time, and wants each to be noticed.
func refuseLies(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	lies := map[string]func(*response){
		"show 200":   func(r *response) { r.cert.generation += 1000 }, // one more may be what it had a moment later
		"modify 200": func(r *response) { r.cert.generation -= 1000 },
		"list 200":   func(r *response) { r.list = append(slices.Clone(r.list), entry{id: "0", name: "zero"}) },
		"delete 204": func(r *response) { r.status, r.code = 404, "APIG.3021" },
		"create 400": func(r *response) { r.status, r.code, r.cert = 200, "", entry{id: "new"} },
	}
	for what, lie := range lies {
		i := slices.IndexFunc(history, func(o porcupine.Operation) bool {
			return fmt.Sprint(o.Input.(request).kind, " ", o.Output.(response).status) == what
		})
		if i < 0 {
			t.Errorf("the history has no %s", what)
			continue
		}
		lying := slices.Clone(history)
		out := lying[i].Output.(response)
		lie(&out)
		lying[i].Output = out
		if got := porcupine.CheckOperationsTimeout(certificates, lying, 30*time.Second); got != porcupine.Illegal {
			t.Errorf("a history with a false %s: got %v, want Illegal", what, got)
		}
	}
}

// recording is one history of a project while it is made.
type recording struct {
	*world
	leaves []*testcert.Leaf // the nth has serial number n+1
	start  time.Time

	mu      sync.Mutex
	ids     []string // of every certificate that was created
	history []porcupine.Operation
}

// play has the clients make their calls and returns the history.
func (r *recording) play(t *testing.T, seed uint64, clients, calls int) []porcupine.Operation {
	t.Helper()
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(client)))
			for range calls {
				in := r.request(random)
				call := time.Since(r.start).Nanoseconds()
				r.note(client, call, in, r.answer(in))
			}
		})
	}
	all.Wait()
	return r.history
}

// request chooses a call among few names and mostly recent certificates, so that the
// clients meet.
func (r *recording) request(random *rand.Rand) request {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := request{name: fmt.Sprint("linear_", random.IntN(4)), serial: 1 + random.IntN(len(r.leaves))}
	in.kind = []string{"create", "create", "modify", "modify", "modify", "delete", "show", "show", "list"}[random.IntN(9)]
	if len(r.ids) == 0 {
		in.kind = "create"
	}
	if in.kind == "create" || in.kind == "list" {
		return in
	}
	in.id = r.ids[max(0, len(r.ids)-1-random.IntN(4))]
	if in.kind == "modify" && random.IntN(3) == 0 {
		in.match = 1 + random.IntN(3)
	}
	return in
}

// answer makes the call. That it failed to be answered is an outcome like others.
func (r *recording) answer(in request) response {
	method, path, body, match := http.MethodGet, "/certificates/"+in.id, any(nil), ""
	switch in.kind {
	case "create":
		method, path = http.MethodPost, "/certificates"
	case "modify":
		method = http.MethodPut
	case "delete":
		method = http.MethodDelete
	case "list":
		path = "/certificates?instance_id=&limit=500"
	}
	if in.kind == "create" || in.kind == "modify" {
		body = site{name: in.name}.upload(r.leaves[in.serial-1])
	}
	if in.match != 0 {
		match = strconv.Quote(strconv.Itoa(in.match))
	}
	got, err := sendMatching(r.world, method, "/v2/"+r.creds.ProjectID+"/apic"+path, body, match)
	if err != nil || got.status >= 500 {
		return response{unknown: true}
	}
	out := response{status: got.status, code: got.field("error_code")}
	if in.kind == "list" {
		out.list = listedIn(got)
	} else if got.status == http.StatusOK {
		serial, _ := strconv.Atoi(got.field("serial_number"))
		out.cert = entry{got.field("id"), got.field("name"), serial, got.generation()}
	}
	return out
}

// listedIn is what a list shows, in the order of names.
func listedIn(got *answer) (shown []entry) {
	var list listShown
	if err := json.Unmarshal(got.body, &list); err != nil {
		return []entry{{name: "no list"}}
	}
	for _, c := range list.Certs {
		shown = append(shown, entry{id: c.ID, name: c.Name})
	}
	slices.SortFunc(shown, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return shown
}

// note records a call. One without an answer has not ended, as far as anybody knows.
func (r *recording) note(client int, call int64, in request, out response) {
	end := time.Since(r.start).Nanoseconds()
	r.mu.Lock()
	defer r.mu.Unlock()
	if out.unknown {
		end = math.MaxInt64
		if in.kind == "show" || in.kind == "list" {
			return // it changed nothing and said nothing
		}
		r.t.Errorf("%+v: got no answer, and nothing was in the way", in)
	}
	if in.kind == "create" && out.cert.id != "" {
		r.ids = append(r.ids, out.cert.id)
	}
	r.history = append(r.history, operation(client, call, end, in, out))
}

// clear deletes what is left of a history.
func (r *recording) clear() {
	r.t.Helper()
	for _, id := range r.ids {
		r.ask(http.MethodDelete, "/certificates/"+id, nil, 204, 404)
	}
}
