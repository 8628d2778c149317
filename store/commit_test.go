package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"lacre"
	"lacre/store"
)

func TestTransactionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := domain("p1", "a.example")
	for name, tx := range map[string]lacre.Tx{
		"no action":             {Put: []lacre.Record{d}, Audit: lacre.Audit{ProjectID: "p1"}},
		"written twice":         {Put: []lacre.Record{d, d}, Audit: auditOf("p1")},
		"put and forgotten":     {Put: []lacre.Record{d}, Forget: []lacre.Record{d}, Audit: auditOf("p1")},
		"deleted blindly":       {Delete: []lacre.Record{d}, Audit: auditOf("p1")},
		"a record without id":   {Put: []lacre.Record{&lacre.Domain{ProjectID: "p1"}}, Audit: auditOf("p1")},
		"a check without id":    {Check: []lacre.Record{&lacre.Domain{ProjectID: "p1"}}, Audit: auditOf("p1")},
		"a delete without id":   {Delete: []lacre.Record{&lacre.Domain{ProjectID: "p1"}}, Audit: auditOf("p1")},
		"forgotten without id":  {Forget: []lacre.Record{&lacre.Domain{ProjectID: "p1"}}, Audit: auditOf("p1")},
		"an impossible project": {Put: []lacre.Record{d}, Audit: auditOf(fmt.Sprintf("%0600d", 1))},
	} {
		if _, err := s.Commit(t.Context(), tx); err == nil || errors.Is(err, lacre.ErrUnavailable) {
			t.Errorf("%s: got %v, want an error that is no outage", name, err)
		}
	}
	if _, err := s.Domain(t.Context(), "p1", d.ID); !errors.Is(err, lacre.ErrNotStored) {
		t.Errorf("something was stored: %v", err)
	}
}

func TestHowMuchFitsIntoOneChange(t *testing.T) {
	t.Parallel()
	s := open(t)
	var many []lacre.Record
	for i := range 1023 { // and the audit row
		many = append(many, domain("p1", fmt.Sprintf("%d.example", i)))
	}
	put(t, s, many...)
	_, err := s.Commit(t.Context(), lacre.Tx{Audit: auditOf("p2"), Forget: append(many, domain("p1", "more.example"))})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("1,025 operations: got %v, want ErrTooLarge", err)
	}
	huge := version("p1", id("c"), 1)
	huge.SealedKey = make([]byte, 4<<20)
	_, err = s.Commit(t.Context(), lacre.Tx{Audit: auditOf("p1"), Put: []lacre.Record{huge}})
	if !errors.Is(err, store.ErrTooLarge) || errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("4 MB in one change: got %v, want ErrTooLarge", err)
	}
	ids := make([]string, len(many))
	for i, r := range many {
		ids[i] = r.(*lacre.Domain).ID
	}
	ids = append(ids, ids...)
	if got, err := s.Domains(t.Context(), "p1", ids); err != nil || len(got) != len(ids) || got[2000].ID != ids[2000] {
		t.Errorf("Domains of %d ids: got %d, %v", len(ids), len(got), err)
	}
}

// Many writers add one to the same record, reading again after each conflict: the sum
// shows a lost update.
func TestNoUpdateIsLost(t *testing.T) {
	t.Parallel()
	const writers, additions = 8, 20
	s := open(t)
	c := &lacre.Certificate{ProjectID: "p1", ID: id("counter")}
	put(t, s, c)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range additions {
				if err := increment(t, s, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	got, err := s.Certificate(t.Context(), "p1", c.ID)
	if err != nil || got.Generation != writers*additions {
		t.Errorf("got generation %d, %v; want %d", got.Generation, err, writers*additions)
	}
	if rows, err := s.Audits(t.Context(), "p1", 1000); err != nil || len(rows) != writers*additions {
		t.Errorf("got %d audit rows, %v; want one for each change", len(rows), err)
	}
}

func increment(t *testing.T, s *store.Store, c *lacre.Certificate) error {
	for {
		now, err := s.Certificate(t.Context(), c.ProjectID, c.ID)
		if err != nil {
			return err
		}
		now.Generation++
		_, err = s.Commit(t.Context(), lacre.Tx{Put: []lacre.Record{now}, Audit: auditOf("p1")})
		if _, overtaken := errors.AsType[*lacre.ConflictError](err); !overtaken {
			return err
		}
	}
}

// operation is a step on one register, the Generation of a certificate: a read, or a
// compare-and-swap from one value to another.
type operation struct {
	swap     bool
	from, to int64
}

type outcome struct {
	value   int64
	swapped bool
}

// register says what a linearizable register may answer.
var register = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		op, got, now := input.(operation), output.(outcome), state.(int64)
		switch {
		case !op.swap:
			return got.value == now, now
		case got.swapped:
			return op.from == now, op.to
		}
		return op.from != now, now
	},
}

func TestHistoriesAreLinearizable(t *testing.T) {
	t.Parallel()
	const clients, steps = 6, 60
	s := open(t)
	c := &lacre.Certificate{ProjectID: "p1", ID: id("register")}
	put(t, s, c)
	start := time.Now()
	histories := make([][]porcupine.Operation, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			r := registerClient{t: t, store: s, record: c, client: i, start: start}
			for n := range steps {
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
	if got := porcupine.CheckOperationsTimeout(register, history, 20*time.Second); got != porcupine.Ok {
		t.Errorf("a history of %d operations is not linearizable: %v", len(history), got)
	}
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
	if _, conflict := errors.AsType[*lacre.ConflictError](err); err != nil && !conflict {
		r.t.Error(err)
		return
	}
	// A conflict says that the revision moved; every value is unique, so the value did.
	r.note(operation{swap: true, from: from, to: unique}, outcome{swapped: err == nil}, call)
}

func (r *registerClient) note(op operation, got outcome, call time.Duration) {
	r.history = append(r.history, porcupine.Operation{ClientId: r.client, Input: op, Output: got,
		Call: call.Nanoseconds(), Return: time.Since(r.start).Nanoseconds()})
}
