package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/store"
)

// model is what a store should hold: the domains by project and id, as they were put.
type model struct {
	domains  map[string]*lacre.Domain
	projects []string
	random   *rand.Rand
}

// TestAgainstAModel makes random changes, right ones and wrong ones, in several projects,
// and keeps a plain map beside them. Every outcome must be the model's, and at the end
// reads, lists and a watch from the beginning must all arrive at the model's contents.
func TestAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := open(t)
			m := &model{domains: map[string]*lacre.Domain{}, projects: []string{"p1", "p2", "p3"}, random: rand.New(rand.NewPCG(seed, 1))}
			start := put(t, s, &lacre.Project{ID: "p1"}, &lacre.Project{ID: "p2"}, &lacre.Project{ID: "p3"})
			last := start
			for range 150 {
				last = max(last, m.step(t, s))
			}
			m.checkReads(t, s)
			m.checkVisit(t, s, last)
			m.checkReplay(t, s, start, last)
		})
	}
}

// step makes one transaction of up to four domains and returns its revision, 0 when it
// was refused.
func (m *model) step(t *testing.T, s *store.Store) int64 {
	t.Helper()
	project := m.projects[m.random.IntN(len(m.projects))]
	tx, after, refused := lacre.Tx{Audit: auditOf(project)}, maps.Clone(m.domains), false
	for _, n := range m.random.Perm(12)[:1+m.random.IntN(4)] {
		d := domain(project, fmt.Sprintf("%d.example", n))
		d.HTTPPort = m.random.IntN(1 << 16)
		key := project + "/" + d.ID
		d.Revision = m.guess(key)
		refused = m.add(&tx, after, key, d) || refused
	}
	revision, err := s.Commit(t.Context(), tx)
	conflict, isConflict := errors.AsType[*lacre.ConflictError](err)
	if isConflict != refused || err != nil && !isConflict {
		t.Fatalf("committing %+v: got %v, want refused: %v", tx, err, refused)
	}
	if refused {
		if d := conflict.Record.(*lacre.Domain); d.Revision == m.revision(d.ProjectID+"/"+d.ID) {
			t.Fatalf("the conflict names %+v, which is where it was expected", d)
		}
		return 0
	}
	for _, r := range tx.Put {
		d := r.(*lacre.Domain)
		after[d.ProjectID+"/"+d.ID] = revised(d, revision)
	}
	m.domains = after
	return revision
}

// add puts d to one of the lists of tx, and tells whether that makes tx fail.
func (m *model) add(tx *lacre.Tx, after map[string]*lacre.Domain, key string, d *lacre.Domain) (refused bool) {
	refused = d.Revision != m.revision(key)
	switch kind := m.random.IntN(6); {
	case kind == 0:
		tx.Check = append(tx.Check, d)
	case kind == 1 && d.Revision != 0:
		tx.Delete = append(tx.Delete, d)
		delete(after, key)
	case kind == 2:
		tx.Forget = append(tx.Forget, d)
		delete(after, key)
		return false
	default:
		tx.Put = append(tx.Put, d)
	}
	return refused
}

func (m *model) revision(key string) int64 {
	if d := m.domains[key]; d != nil {
		return d.Revision
	}
	return 0
}

// guess returns the revision of a domain, now and then a wrong one.
func (m *model) guess(key string) int64 {
	switch m.random.IntN(12) {
	case 0:
		return 0
	case 1:
		return m.revision(key) + 1
	}
	return m.revision(key)
}

func (m *model) checkReads(t *testing.T, s *store.Store) {
	t.Helper()
	for _, project := range m.projects {
		for n := range 12 {
			d := domain(project, fmt.Sprintf("%d.example", n))
			got, err := s.Domain(t.Context(), project, d.ID)
			want := m.domains[project+"/"+d.ID]
			if want == nil != errors.Is(err, lacre.ErrNotStored) {
				t.Errorf("%s in %s: got %v, stored in the model: %v", d.Name, project, err, want != nil)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s in %s (-model +store):\n%s", d.Name, project, diff)
			}
		}
	}
}

func (m *model) checkVisit(t *testing.T, s *store.Store, last int64) {
	t.Helper()
	visited := map[string]*lacre.Domain{}
	revision, _, err := s.AllDomains(t.Context(), func(d *lacre.Domain) error {
		visited[d.ProjectID+"/"+d.ID] = d
		return nil
	})
	if err != nil || revision != last {
		t.Errorf("AllDomains: got revision %d, %v; want %d", revision, err, last)
	}
	if diff := cmp.Diff(m.domains, visited); diff != "" {
		t.Errorf("AllDomains (-model +store):\n%s", diff)
	}
}

// checkReplay does what an edge does: it applies every change since the start.
func (m *model) checkReplay(t *testing.T, s *store.Store, start, last int64) {
	t.Helper()
	replayed := map[string]*lacre.Domain{}
	for c, err := range s.Watch(soon(t), start) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Put {
			d := r.(*lacre.Domain)
			replayed[d.ProjectID+"/"+d.ID] = d
		}
		for _, r := range c.Deleted {
			d := r.(*lacre.Domain)
			delete(replayed, d.ProjectID+"/"+d.ID)
		}
		if c.Revision >= last {
			break
		}
	}
	if diff := cmp.Diff(m.domains, replayed); diff != "" {
		t.Errorf("a replayed watch (-model +replayed):\n%s", diff)
	}
}
