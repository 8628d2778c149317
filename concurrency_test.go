package lacre_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"lacre"
)

// Of many modifications of one certificate at once, on two nodes, none is lost: each
// acknowledged one has its own version and its audit row, and the last one stays.
func TestModificationsOfOneCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *lacre.Config) { c.History = 50 })
	elsewhere := lacre.NewService(lacre.Config{Store: w.tap, Sealer: sharedSealer, History: 50})
	c := w.create(w.upload("web_cert", "www.a.test"))
	const writers = 32
	uploads := make([]lacre.CertificateInput, writers)
	for n := range uploads {
		uploads[n] = w.upload("web_cert", "www.a.test", fmt.Sprintf("h%d.a.test", n))
	}
	before := len(w.audits())
	acknowledged := make([]*lacre.Certificate, writers)
	var wg sync.WaitGroup
	for n, in := range uploads {
		wg.Go(func() {
			node := w.Service
			if n%8 == 0 {
				node = elsewhere
			}
			written, err := node.ModifyCertificate(t.Context(), w.admin, w.project, c.ID, in, lacre.WriteOptions{})
			if err == nil {
				acknowledged[n] = written.Certificate
			} else if lacre.CodeOf(err) != lacre.CodeContended {
				t.Errorf("got error %v, want none", err)
			}
		})
	}
	wg.Wait()
	acknowledged = slices.DeleteFunc(acknowledged, func(c *lacre.Certificate) bool { return c == nil })
	slices.SortFunc(acknowledged, func(a, b *lacre.Certificate) int { return a.Version - b.Version })
	rows := w.audits()
	rows = rows[:len(rows)-before]
	slices.Reverse(rows)
	if len(rows) != len(acknowledged) || len(rows) < writers/2 {
		t.Fatalf("got %d audit rows, want one for each of %d acknowledged", len(rows), len(acknowledged))
	}
	told := map[string]bool{}
	for _, row := range rows {
		told[row.Detail] = true
	}
	for n, a := range acknowledged {
		if want := n + 2; a.Version != want || a.Generation != int64(want) {
			t.Errorf("got version %d, generation %d, want %d", a.Version, a.Generation, want)
		}
		if v := w.version(c, a.Version); v.Facts.Fingerprint != a.Facts.Fingerprint {
			t.Errorf("version %d is not the one that was acknowledged", a.Version)
		}
		if !slices.ContainsFunc(rows, func(r lacre.Audit) bool { return strings.Contains(r.Detail, a.Facts.Fingerprint) }) {
			t.Errorf("the audit lacks version %d", a.Version)
		}
	}
	last := acknowledged[len(acknowledged)-1]
	if got := w.show(c.ID); got.Version != last.Version || got.Facts.Fingerprint != last.Facts.Fingerprint {
		t.Errorf("got version %d in the end, want the last acknowledged, %d", got.Version, last.Version)
	}
	w.wantConsistent()
}

// On one node writers of one certificate wait in line: none is turned away.
func TestOneNodeTurnsNobodyAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.upload("web_cert", "www.a.test")
	c := w.create(in)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := w.tryModify(c.ID, in); err != nil {
				t.Errorf("got error %v, want none", err)
			}
			if _, err := w.tryRollback(c.ID, 1); err != nil {
				t.Errorf("back: got error %v, want none", err)
			}
		})
	}
	wg.Wait()
	if got := w.show(c.ID).Generation; got != 65 {
		t.Errorf("got generation %d, want 65", got)
	}
}

// Of several who hold the same ETag one wins.
func TestIfGenerationUnderConcurrency(t *testing.T) {
	w := newWorld(t)
	in := w.upload("web_cert", "www.a.test")
	c := w.create(in)
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() { _, errs[n] = w.tryModify(c.ID, in, lacre.WriteOptions{IfGeneration: new(c.Generation)}) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantCode(t, err, lacre.CodePrecondition)
		}
	}
	if won != 1 {
		t.Errorf("got %d winners, want 1", won)
	}
}

func TestDifferentCertificatesInParallel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			in := w.upload(fmt.Sprintf("cert_%d", n), "www.a.test")
			written, err := w.tryCreate(in)
			for g := int64(2); g < 6 && err == nil; g++ {
				if written, err = w.tryModify(written.Certificate.ID, in); err == nil && written.Certificate.Generation != g {
					t.Errorf("certificate %d: got generation %d, want %d", n, written.Certificate.Generation, g)
				}
			}
			if err != nil {
				t.Errorf("certificate %d: got error %v, want none", n, err)
			}
		})
	}
	wg.Wait()
	w.wantConsistent()
}

// Of several that create the same name at once one gets it.
func TestSameNameAtOnce(t *testing.T) {
	w := newWorld(t)
	other := w.create(w.upload("other_name", "www.a.test"))
	in := w.upload("web_cert", "www.a.test")
	errs := make([]error, 12)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() {
			if n%4 == 0 {
				_, errs[n] = w.tryModify(other.ID, in)
			} else {
				_, errs[n] = w.tryCreate(in)
			}
		})
	}
	wg.Wait()
	taken := 0
	for _, err := range errs {
		if err != nil {
			wantCode(t, err, lacre.CodeCertificateNameTaken)
			taken++
		}
	}
	// The rename may win once and then be repeated by the two others as no change of name.
	if named := w.list(lacre.CertificateFilter{Name: "web_cert"}); len(named) != 1 || taken < 9 {
		t.Errorf("got %d certificates of the name, %d refusals, want one and the rest", len(named), taken)
	}
	w.wantConsistent()
}

// Whatever several people on two nodes do at once, the records agree with each other.
func TestRandomOperationsKeepTheRecordsConsistent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *lacre.Config) { c.History, c.DomainsPerGroup = 3, 4 })
	second := w.in(t)
	second.Service = lacre.NewService(lacre.Config{Store: w.tap, Sealer: sharedSealer, History: 2, DomainsPerGroup: 4})
	p := newPool(w)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for n := range 6 {
		actor := &actor{world: w, pool: p, random: rand.New(rand.NewPCG(seed, uint64(n)))}
		if n%2 == 1 {
			actor.world = second
		}
		wg.Go(func() {
			for range 80 {
				actor.act()
			}
		})
	}
	wg.Wait()
	w.wantConsistent()
}
