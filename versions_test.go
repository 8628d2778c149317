package lacre_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

func (w *world) versions(id string, p lacre.Page) ([]lacre.ShownVersion, int) {
	w.t.Helper()
	list, total, err := w.ListVersions(w.t.Context(), w.admin, w.project, id, p)
	w.ok(err)
	return list, total
}

func numbers(list []lacre.ShownVersion) (out []int) {
	for _, v := range list {
		out = append(out, v.Number)
	}
	return out
}

func TestListVersions(t *testing.T) {
	w := newWorld(t, func(c *lacre.Config) { c.History = 4 })
	c := w.create(w.upload("web_cert", "www.a.test"))
	for range 4 {
		c = w.modify(c.ID, w.trusting(w.upload("web_cert", "www.a.test")))
	}
	c = w.modify(c.ID, w.uploadRSA("web_cert", "www.a.test"))
	list, total := w.versions(c.ID, lacre.Page{})
	if diff := cmp.Diff([]int{6, 5, 4, 3}, numbers(list)); diff != "" || total != 4 {
		t.Errorf("of %d versions (-want +got):\n%s", total, diff)
	}
	for _, got := range list {
		v := w.version(c, got.Number)
		want := lacre.ShownVersion{Number: v.Number, Current: v.Number == 6, Facts: v.Facts, HasTrustRoot: true, Created: v.Created}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", v.Number, diff)
		}
	}
	list, total = w.versions(c.ID, lacre.Page{Offset: 1, Limit: 2})
	if diff := cmp.Diff([]int{5, 4}, numbers(list)); diff != "" || total != 4 {
		t.Errorf("a page of %d versions (-want +got):\n%s", total, diff)
	}
	if list, total = w.versions(c.ID, lacre.Page{Offset: 4}); len(list) != 0 || total != 4 {
		t.Errorf("got %d of %d versions behind the last, want none of 4", len(list), total)
	}
}

// A damaged version is listed by its number; one that another node has just pushed out is
// not; a store that does not answer is an error.
func TestListVersionsThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	c := w.create(w.upload("web_cert", "www.a.test"))
	for range 3 {
		c = w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	}
	faults := map[int]error{4: &lacre.UnreadableError{Key: "/its/key", Err: errors.New("checksum")}, 1: lacre.ErrNotStored}
	w.tap.onRead(func(r lacre.Record) error {
		if v, ok := r.(*lacre.Version); ok {
			return faults[v.Number]
		}
		return nil
	})
	list, _ := w.versions(c.ID, lacre.Page{})
	if diff := cmp.Diff([]int{4, 3, 2}, numbers(list)); diff != "" {
		t.Fatalf("the versions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(lacre.ShownVersion{Number: 4, Current: true, Damaged: true}, list[0]); diff != "" || list[1].Damaged {
		t.Errorf("the damaged version (-want +got):\n%s", diff)
	}
	faults[2] = lacre.ErrUnavailable
	_, _, err := w.ListVersions(t.Context(), w.admin, w.project, c.ID, lacre.Page{})
	wantCode(t, err, lacre.CodeUnavailable)
}
