package store_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"lacre"
	"lacre/store"
)

// operation is a step on one register, the Generation of a certificate: a read, or a
// compare-and-swap from one value to another.
type operation struct {
	swap     bool
	from, to int64
}

type outcome struct {
	value   int64
	swapped bool
	unknown bool // no answer came: it may have happened, or not
}

// register says what a linearizable register may answer.
var register = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		op, got, now := input.(operation), output.(outcome), state.(int64)
		switch {
		case !op.swap:
			return got.value == now, now
		case got.unknown && op.from == now:
			return true, op.to // it may also never have happened: then it comes last, see note
		case got.unknown:
			return true, now
		case got.swapped:
			return op.from == now, op.to
		}
		return op.from != now, now
	},
}

func TestHistoriesAreLinearizable(t *testing.T) {
	t.Parallel()
	s := open(t)
	checkHistory(t, func() {}, s)
}

// Two clients of a cluster see one order of things: a read through one sees what was
// committed through the other.
func TestHistoriesOfTwoClientsAreLinearizable(t *testing.T) {
	t.Parallel()
	c := serve(t, false)
	checkHistory(t, func() {}, external(t, c), external(t, c))
}

// Transactions get lost, or happen without an answer, and the history still has an
// explanation in which every operation happened once or not at all.
func TestHistoriesWithFaultsAreLinearizable(t *testing.T) {
	t.Parallel()
	s, f := withFaults(t)
	unknown := checkHistory(t, func() {
		if n := rand.IntN(16); n < 2 {
			f.next.Store(int32([]fault{lost, deaf}[n]))
		}
	}, s)
	if unknown == 0 {
		t.Error("no fault hit: the test tests nothing")
	}
}

// checkHistory lets clients, taking turns among stores, read and swap a register and
// has porcupine look for an order that explains what they were told. It returns how
// many operations got no answer.
func checkHistory(t *testing.T, disturb func(), stores ...*store.Store) (unknown int) {
	t.Helper()
	const clients, steps = 6, 50
	c := &lacre.Certificate{ProjectID: "p1", ID: id("register")}
	put(t, stores[0], c)
	start := time.Now()
	histories := make([][]porcupine.Operation, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			r := registerClient{t: t, store: stores[i%len(stores)], record: c, client: i, start: start}
			for n := range steps {
				disturb()
				r.step(int64(i*steps + n + 1))
			}
			histories[i] = r.history
		})
	}
	group.Wait()
	var history []porcupine.Operation
	for _, h := range histories {
		history = append(history, h...)
	}
	for _, o := range history {
		if o.Output.(outcome).unknown {
			unknown++
		}
	}
	if got := porcupine.CheckOperationsTimeout(register, history, 20*time.Second); got != porcupine.Ok {
		t.Errorf("a history of %d operations is not linearizable: %v", len(history), got)
	}
	return unknown
}

type registerClient struct {
	t       *testing.T
	store   *store.Store
	record  *lacre.Certificate
	client  int
	start   time.Time
	history []porcupine.Operation
}

// step reads the register, then tries to swap what it has read for a unique value.
func (r *registerClient) step(unique int64) {
	call := time.Since(r.start)
	now, err := r.store.Certificate(r.t.Context(), r.record.ProjectID, r.record.ID)
	if err != nil {
		r.t.Error(err)
		return
	}
	from := now.Generation
	r.note(operation{}, outcome{value: from}, call)
	call = time.Since(r.start)
	now.Generation = unique
	_, err = r.store.Commit(r.t.Context(), lacre.Tx{Put: []lacre.Record{now}, Audit: auditOf("p1")})
	unknown := errors.Is(err, lacre.ErrUnavailable)
	if _, conflict := errors.AsType[*lacre.ConflictError](err); err != nil && !conflict && !unknown {
		r.t.Error(err)
		return
	}
	// A conflict says that the revision moved; every value is unique, so the value did.
	r.note(operation{swap: true, from: from, to: unique}, outcome{swapped: err == nil, unknown: unknown}, call)
}

// note records an operation. One without an answer never returned, as far as anybody
// knows: it can be placed anywhere after its call.
func (r *registerClient) note(op operation, got outcome, call time.Duration) {
	end := time.Since(r.start).Nanoseconds()
	if got.unknown {
		end = math.MaxInt64
	}
	r.history = append(r.history, porcupine.Operation{ClientId: r.client, Input: op, Output: got,
		Call: call.Nanoseconds(), Return: end})
}
