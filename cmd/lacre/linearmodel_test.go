package main

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// request is one call on the certificates of a project.
type request struct {
	kind   string // create, modify, delete, show or list
	id     string // but for create and list
	name   string // of create and modify
	serial int    // of the leaf that create and modify upload
	match  int    // generation asked for in If-Match, 0 for none
}

// response is what became of a request.
type response struct {
	unknown bool // no answer: it may have happened, or not, or happen later
	status  int
	code    string  // error_code
	cert    entry   // shown by create, modify and show
	list    []entry // ids and names, in the order of names
}

// entry is a certificate as the model knows it.
type entry struct {
	id, name           string
	serial, generation int
}

// certificates says what the certificate calls of a project may answer when each of them
// happens at one moment between its call and its answer. Names are unique and a list
// shows all of the project, so the history cannot be checked certificate by certificate.
var certificates = porcupine.Model{
	Init: func() any { return []entry(nil) },
	Step: func(state, input, output any) (bool, any) {
		return happens(state.([]entry), input.(request), output.(response))
	},
	Equal: func(a, b any) bool { return slices.Equal(a.([]entry), b.([]entry)) },
}

// happens tells whether a project in state answers a request so, and its state then. The
// state is in the order of names.
func happens(state []entry, in request, out response) (bool, []entry) {
	at := slices.IndexFunc(state, func(e entry) bool { return e.id == in.id })
	named := slices.IndexFunc(state, func(e entry) bool { return e.name == in.name })
	refused := ""
	switch {
	case in.kind == "list":
		return out.status == 200 && slices.EqualFunc(state, out.list, entry.listedAs), state
	case in.kind != "create" && at < 0:
		refused = "404 APIG.3021"
	case in.match != 0 && state[at].generation != in.match:
		refused = "412 LACRE.0412"
	case (in.kind == "create" || in.kind == "modify") && named >= 0 && named != at:
		refused = "400 APIG.3325"
	}
	if refused != "" {
		return out.unknown || refused == fmt.Sprint(out.status, " ", out.code), state
	}
	switch in.kind {
	case "show":
		return out.status == 200 && out.cert == state[at], state
	case "delete":
		return out.unknown || out.status == 204, slices.Delete(slices.Clone(state), at, at+1)
	}
	next := entry{id: in.id, name: in.name, serial: in.serial, generation: 1}
	if in.kind == "modify" {
		next.generation, state = state[at].generation+1, slices.Delete(slices.Clone(state), at, at+1)
	} else if next.id = out.cert.id; out.unknown {
		next.id = "?" // see listedAs
	}
	to := slices.IndexFunc(state, func(e entry) bool { return e.name > next.name })
	if to < 0 {
		to = len(state)
	}
	return out.unknown || out.status == 200 && out.cert == next, slices.Insert(slices.Clone(state), to, next)
}

// listedAs compares what a list shows. The id of a certificate whose creation was not
// answered is "?": only a list ever shows it.
func (e entry) listedAs(shown entry) bool {
	return e.name == shown.name && (e.id == shown.id || e.id == "?")
}

// TestLinearizableJudges has the checker judge histories that are known.
func TestLinearizableJudges(t *testing.T) {
	create := func(call, end int64) porcupine.Operation {
		return operation(1, call, end, request{kind: "create", name: "cert", serial: 1}, response{status: 200, cert: entry{"a", "cert", 1, 1}})
	}
	modify := func(client int, call, end int64, match, serial, generation int) porcupine.Operation {
		return operation(client, call, end, request{kind: "modify", id: "a", name: "cert", serial: serial, match: match},
			response{status: 200, cert: entry{"a", "cert", serial, generation}})
	}
	show := func(call, end int64, serial, generation int) porcupine.Operation {
		return operation(3, call, end, request{kind: "show", id: "a"}, response{status: 200, cert: entry{"a", "cert", serial, generation}})
	}
	lost := modify(2, 3, math.MaxInt64, 0, 2, 2)
	lost.Output = response{unknown: true}
	unsure := operation(1, 1, math.MaxInt64, request{kind: "create", name: "cert", serial: 1}, response{unknown: true})
	for name, test := range map[string]struct {
		history []porcupine.Operation
		want    porcupine.CheckResult
	}{
		"one after the other":            {[]porcupine.Operation{create(1, 2), modify(2, 3, 4, 1, 2, 2), show(5, 6, 2, 2)}, porcupine.Ok},
		"a read beside a change":         {[]porcupine.Operation{create(1, 2), modify(2, 3, 6, 0, 2, 2), show(4, 5, 1, 1)}, porcupine.Ok},
		"a stale read":                   {[]porcupine.Operation{create(1, 2), modify(2, 3, 4, 0, 2, 2), show(5, 6, 1, 1)}, porcupine.Illegal},
		"two of one If-Match":            {[]porcupine.Operation{create(1, 2), modify(2, 3, 5, 1, 2, 2), modify(3, 4, 6, 1, 3, 2)}, porcupine.Illegal},
		"a lost update":                  {[]porcupine.Operation{create(1, 2), modify(2, 3, 5, 0, 2, 2), modify(3, 4, 6, 0, 3, 2)}, porcupine.Illegal},
		"one name twice":                 {[]porcupine.Operation{create(1, 2), operation(2, 3, 4, request{kind: "create", name: "cert", serial: 2}, response{status: 200, cert: entry{"b", "cert", 2, 1}})}, porcupine.Illegal},
		"a list that misses one":         {[]porcupine.Operation{create(1, 2), operation(2, 3, 4, request{kind: "list"}, response{status: 200})}, porcupine.Illegal},
		"a name taken by nobody":         {[]porcupine.Operation{operation(2, 3, 4, request{kind: "create", name: "cert", serial: 2}, response{status: 400, code: "APIG.3325"})}, porcupine.Illegal},
		"without an answer, it happened": {[]porcupine.Operation{create(1, 2), lost, show(5, 6, 2, 2)}, porcupine.Ok},
		"without an answer, it did not":  {[]porcupine.Operation{create(1, 2), lost, show(5, 6, 1, 1)}, porcupine.Ok},
		"without an answer, and undone":  {[]porcupine.Operation{create(1, 2), lost, show(5, 6, 2, 2), show(7, 8, 1, 1)}, porcupine.Illegal},
		"a name that may be taken":       {[]porcupine.Operation{unsure, operation(2, 3, 4, request{kind: "create", name: "cert", serial: 2}, response{status: 400, code: "APIG.3325"})}, porcupine.Ok},
	} {
		if got := porcupine.CheckOperationsTimeout(certificates, test.history, 10*time.Second); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func operation(client int, call, end int64, in request, out response) porcupine.Operation {
	return porcupine.Operation{ClientId: client, Call: call, Return: end, Input: in, Output: out}
}
