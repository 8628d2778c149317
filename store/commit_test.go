package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

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
		"an impossible project": {Put: []lacre.Record{d}, Audit: auditOf(fmt.Sprintf("%02000d", 1))},
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
	commit(t, s, lacre.Tx{Forget: many})
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
}

// More ids than one transaction reads come back in their order all the same.
func TestDomainsOfManyIds(t *testing.T) {
	t.Parallel()
	s := open(t)
	var records []lacre.Record
	var ids []string
	for i := range 100 {
		d := domain("p1", fmt.Sprintf("%d.example", i))
		records, ids = append(records, d), append(ids, d.ID)
	}
	put(t, s, records...)
	ids = slices.Repeat(ids, 25)
	got, err := s.Domains(t.Context(), "p1", ids)
	if err != nil || len(got) != len(ids) {
		t.Fatalf("got %d domains of %d, %v", len(got), len(ids), err)
	}
	for i, d := range got {
		if d.ID != ids[i] {
			t.Fatalf("at %d: got %s, want %s", i, d.ID, ids[i])
		}
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
	if rows := audits(t, s, "p1"); len(rows) != writers*additions {
		t.Errorf("got %d audit rows, want one for each change", len(rows))
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
