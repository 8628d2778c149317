package lacre_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"lacre"
)

// changes are one call of every kind that writes, each valid as long as none of the
// others has happened.
func (w *world) changes() map[string]func() error {
	i := w.instance()
	empty := w.instance()
	g, bare := w.group(i), w.group(i)
	d, e, gone := w.domain(g, "www.a.test"), w.domain(g, "api.a.test"), w.domain(g, "gone.a.test")
	c, free := w.create(w.upload("web_cert", "*.a.test")), w.create(w.upload("free_cert", "*.a.test"))
	w.attach(c, d, nil)
	back := w.create(w.upload("back_cert", "*.a.test"))
	w.modify(back.ID, w.upload("back_cert", "*.a.test"))
	in, fresh, more := w.upload("web_cert", "*.a.test"), w.upload("new_cert", "*.a.test"), w.uploadRSA("more_cert", "*.a.test")
	return map[string]func() error{
		"create certificate": func() error { _, err := w.tryCreate(fresh); return err },
		"modify certificate": func() error { _, err := w.tryModify(c.ID, in); return err },
		"roll back":          func() error { _, err := w.tryRollback(back.ID, 1); return err },
		"delete certificate": func() error { return w.tryDelete(free.ID) },
		"attach":             func() error { _, err := w.tryAttach(c, e, nil); return err },
		"attach by name":     func() error { _, err := w.tryAttachNames(c, ref("api.a.test")); return err },
		"detach":             func() error { return w.tryDetach(c, d) },
		"create on domain":   func() error { _, _, err := w.tryDomainCertificate(d, more); return err },
		"create instance":    func() error { _, err := w.tryInstance("fresh"); return err },
		"delete instance":    func() error { return w.tryDropInstance(empty) },
		"create group":       func() error { _, err := w.tryGroup(i, "fresh"); return err },
		"modify group":       func() error { _, err := w.tryRenameGroup(g, lacre.GroupInput{Name: "renamed"}); return err },
		"delete group":       func() error { return w.tryDropGroup(bare) },
		"create domain":      func() error { _, _, err := w.tryDomain(g, lacre.DomainInput{Name: "fresh.a.test"}); return err },
		"modify domain":      func() error { _, _, err := w.tryChange(d, lacre.DomainChange{RedirectHTTPS: on}); return err },
		"delete domain":      func() error { return w.tryDropDomain(gone) },
	}
}

// A commit that is lost changes nothing; one that happened but was reported lost has
// happened whole. Either way the answer is that the store did not answer, the records
// stay consistent, and what was lost can be done again.
func TestCommitFails(t *testing.T) {
	t.Parallel()
	down := fmt.Errorf("%w: no quorum", lacre.ErrUnavailable)
	t.Run("lost", func(t *testing.T) {
		w := newWorld(t)
		for name, change := range w.changes() {
			w.tap.onCommit(func(context.Context, lacre.Tx) (int64, error) { return 0, down })
			w.wantUnchanged(func() { wantCode(t, change(), lacre.CodeUnavailable) })
			w.tap.onCommit(nil)
			if err := change(); err != nil {
				t.Errorf("%s, again: got error %v, want none", name, err)
			}
		}
		w.wantConsistent()
	})
	t.Run("reported lost", func(t *testing.T) {
		w := newWorld(t)
		for name, change := range w.changes() {
			before := len(w.audits())
			w.tap.onCommit(func(ctx context.Context, tx lacre.Tx) (int64, error) {
				if _, err := sharedStore.Commit(ctx, tx); err != nil {
					return 0, err
				}
				return 0, down
			})
			wantCode(t, change(), lacre.CodeUnavailable)
			w.tap.onCommit(nil)
			if got := len(w.audits()) - before; got != 1 {
				t.Errorf("%s: got %d audit rows, want 1: it happened", name, got)
			}
			if name == "delete instance" { // only its first step happened
				w.ok(change())
			}
		}
		w.wantConsistent()
	})
}

// A change that is overtaken again and again gives up, and says what to do.
func TestConflictStorm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, change := range w.changes() {
		tries := 0
		w.tap.onCommit(func(_ context.Context, tx lacre.Tx) (int64, error) {
			tries++
			return 0, &lacre.ConflictError{Record: &lacre.Domain{}}
		})
		w.wantUnchanged(func() {
			err := change()
			if name == "create instance" { // nothing to be overtaken on but its name
				return
			}
			wantCode(t, err, lacre.CodeContended)
			if tries < 2 || tries > 50 {
				t.Errorf("%s: got %d attempts, want a few", name, tries)
			}
		})
	}
}

// Who waits behind a change that hangs leaves when its client does, having done nothing.
func TestLeavingTheLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, in := w.create(w.upload("web_cert", "www.a.test")), w.upload("web_cert", "www.a.test")
	busy, release := make(chan struct{}), make(chan struct{})
	w.tap.onCommit(func(ctx context.Context, tx lacre.Tx) (int64, error) {
		close(busy) // a second commit would panic
		<-release
		return w.tap.Store.Commit(ctx, tx)
	})
	first := make(chan error, 1)
	go func() { _, err := w.tryModify(c.ID, in); first <- err }()
	<-busy
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	left := make(chan error, 1)
	go func() {
		_, err := w.ModifyCertificate(ctx, w.admin, w.project, c.ID, in, lacre.WriteOptions{})
		left <- err
	}()
	select {
	case err := <-left:
		wantCode(t, err, lacre.CodeContended)
	case <-time.After(10 * time.Second):
		t.Error("a change without a client waits for ever")
	}
	close(release)
	w.ok(<-first)
}

// An overtaken change is tried again and then happens once.
func TestOvertakenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, change := range w.changes() {
		failed := false
		w.tap.onCommit(func(ctx context.Context, tx lacre.Tx) (int64, error) {
			if !failed && name != "create instance" {
				failed = true
				return 0, &lacre.ConflictError{Record: &lacre.Domain{}}
			}
			return sharedStore.Commit(ctx, tx)
		})
		if err := change(); err != nil {
			t.Errorf("%s: got error %v, want none", name, err)
		}
	}
	w.wantConsistent()
}

// Whichever read fails, the answer is that the store did not answer.
func TestReadsFail(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	changes, calls, happened := w.changes(), other.calls(), map[string]bool{}
	for kind := range kinds(w.tap.stored(t)) {
		fail := func(r lacre.Record) error {
			if fmt.Sprintf("%T", r) == kind {
				return fmt.Errorf("%w: timeout", lacre.ErrUnavailable)
			}
			return nil
		}
		w.tap.onRead(fail)
		other.tap.onRead(fail)
		for name, change := range changes { // not all need a record of that kind
			before := len(w.audits())
			if err := change(); err != nil && !happened[name] && lacre.CodeOf(err) != lacre.CodeUnavailable {
				t.Errorf("%s without %s: got error %v, want code %q", name, kind, err, lacre.CodeUnavailable)
			}
			// A read for the answer may fail after the change has happened.
			happened[name] = happened[name] || len(w.audits()) > before
		}
		for name, c := range calls {
			if err := c.call(other.admin, other.project); err != nil && lacre.CodeOf(err) != lacre.CodeUnavailable {
				t.Errorf("%s without %s: got error %v, want code %q", name, kind, err, lacre.CodeUnavailable)
			}
		}
	}
	w.tap.onRead(nil)
	w.wantConsistent()
}

// kinds are the types of records.
func kinds(records map[string]lacre.Record) map[string]bool {
	out := map[string]bool{}
	for id := range records {
		kind, _, _ := strings.Cut(id, " ")
		out[kind] = true
	}
	return out
}
