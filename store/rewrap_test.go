package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"lacre"
	"lacre/store"
)

// testReplace is what keyring.Replaceable promises.
func testReplace(t *testing.T, s *store.Store) {
	p, ctx := id("replace"), t.Context()
	if _, err := s.CreateSecret(ctx, "guard", []byte("g")); err != nil {
		t.Fatal(err)
	}
	_, guard, err := s.SecretAt(ctx, "guard")
	same(t, "the revision of the guard is there", err, guard > 0, true)
	for _, c := range []struct {
		name    string
		at      func() ([]byte, int64, error)
		create  func([]byte) ([]byte, error)
		replace func(revision int64, value []byte, guard string, at int64) (bool, error)
	}{
		{"secret", func() ([]byte, int64, error) { return s.SecretAt(ctx, "re/placed") },
			func(v []byte) ([]byte, error) { return s.CreateSecret(ctx, "re/placed", v) },
			func(revision int64, v []byte, guard string, at int64) (bool, error) {
				return s.ReplaceSecret(ctx, "re/placed", revision, v, guard, at)
			}},
		{"data key", func() ([]byte, int64, error) { return s.DataKeyAt(ctx, p) },
			func(v []byte) ([]byte, error) { return s.CreateDataKey(ctx, p, v) },
			func(revision int64, v []byte, guard string, at int64) (bool, error) {
				return s.ReplaceDataKey(ctx, p, revision, v, guard, at)
			}},
	} {
		value, at, err := c.at()
		same(t, c.name+" before", err, string(value)+fmt.Sprint(at), "0")
		_, err = c.create([]byte("old"))
		same(t, c.name+" created", err, true, true)
		_, at, err = c.at()
		same(t, c.name+" has a revision", err, at > guard, true)
		for _, bad := range []struct {
			what      string
			at, guard int64
			name      string
		}{{"another revision", at - 1, guard, "guard"}, {"the guard has moved", at, guard - 1, "guard"}, {"there is no guard", at, guard, "none"}} {
			done, err := c.replace(bad.at, []byte("new"), bad.name, bad.guard)
			same(t, c.name+", "+bad.what, err, done, false)
		}
		value, again, err := c.at()
		same(t, c.name+" as it was", err, string(value), "old")
		same(t, c.name+" at its revision", err, again, at)
		done, err := c.replace(at, []byte("new"), "guard", guard)
		same(t, c.name+" replaced", err, done, true)
		value, again, err = c.at()
		same(t, c.name+" after", err, string(value), "new")
		same(t, c.name+" at a later revision", err, again > at, true)
	}
	_, guard, _ = s.SecretAt(ctx, "guard")
	done, err := s.ReplaceSecret(ctx, "guard", guard, []byte("G"), "guard", guard)
	same(t, "the guard itself", err, done, true)
	names, err := s.SecretNames(ctx)
	same(t, "names", err, slices.Contains(names, "guard") && slices.Contains(names, "re/placed"), true)
}

// TestSealers: whoever has a data key is found, with a record of a project or without, and
// whatever else is in the way.
func TestSealers(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	ids, err := s.Sealers(ctx)
	same(t, "of an empty store", err, len(ids), 0)
	put(t, s, &lacre.Project{ID: "b"}, &lacre.Project{ID: "d/1"}, domain("b", "a.example"), domain("d/1", "b.example"))
	var want []string
	for _, id := range []string{"a", "b", "b0", "c d", "d", "d/1", "iam", "zz"} {
		if _, err := s.CreateDataKey(ctx, id, []byte(id)); err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	for _, key := range []string{"/lacre/p/", "/lacre/p/%zz/datakey", "/lacre/p/x", "/lacre/p0", "/lacre/p/\xff/datakey"} {
		if _, err := s.KV().Put(ctx, key, "foreign"); err != nil {
			t.Fatal(err)
		}
	}
	ids, err = s.Sealers(ctx)
	slices.Sort(ids)
	same(t, "all", err, ids, want)
}

// Damage is told from a store that cannot be asked by the revision.
func TestDamagedSecretHasARevision(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	if _, err := s.CreateDataKey(ctx, "p", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KV().Put(ctx, "/lacre/p/p/datakey", "damaged"); err != nil {
		t.Fatal(err)
	}
	if value, at, err := s.DataKeyAt(ctx, "p"); value != nil || at == 0 || err == nil {
		t.Errorf("damaged: got %q at %d, %v, want a revision and an error", value, at, err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, at, err := s.DataKeyAt(gone, "p"); at != 0 || err == nil {
		t.Errorf("not asked: got %d, %v, want an error without a revision", at, err)
	}
}

// A replacement may be lost, or made without anybody knowing: either way the next look tells.
func TestReplaceFaultsBothWays(t *testing.T) {
	t.Parallel()
	for _, fault := range []fault{lost, deaf} {
		s, f := withFaults(t)
		if _, err := s.CreateSecret(t.Context(), "s", []byte("old")); err != nil {
			t.Fatal(err)
		}
		_, at, _ := s.SecretAt(t.Context(), "s")
		f.next.Store(int32(fault))
		if done, err := s.ReplaceSecret(t.Context(), "s", at, []byte("new"), "s", at); done || err == nil {
			t.Errorf("got %v, %v, want an error", done, err)
		}
		want := "old"
		if fault == deaf {
			want = "new"
		}
		value, now, err := s.SecretAt(t.Context(), "s")
		same(t, "what is stored", err, string(value), want)
		same(t, "its revision has moved", err, now > at, fault == deaf)
	}
}

// TestCopyFollowsReplacements: a start from the copy sees what was replaced before the stop,
// and the open store agrees.
func TestCopyFollowsReplacements(t *testing.T) {
	dir, project := t.TempDir(), id("tenant")
	copied(t, dir, func(s *store.Store) {
		put(t, s, estate(project)...)
		secrets(t, s, project)
		_, guard, err := s.SecretAt(t.Context(), "ticket")
		if err != nil {
			t.Fatal(err)
		}
		_, at, err := s.DataKeyAt(t.Context(), project)
		if err != nil {
			t.Fatal(err)
		}
		done, err := s.ReplaceDataKey(t.Context(), project, at, []byte("wrapped again"), "ticket", guard)
		same(t, "the data key", err, done, true)
		done, err = s.ReplaceSecret(t.Context(), "ticket", guard, []byte("sealed again"), "ticket", guard)
		same(t, "the secret", err, done, true)
	})
	release := hold(t, dir)
	o := begin(t, dir)
	for _, opened := range []bool{false, true} {
		if opened {
			release()
			if _, err := o.Wait(soon(t)); err != nil {
				t.Fatal(err)
			}
		}
		secret, err := o.Secret(soon(t), "ticket")
		same(t, "the secret", err, string(secret), "sealed again")
		key, err := o.DataKey(soon(t), project)
		same(t, "the data key", err, string(key), "wrapped again")
	}
	if err := o.Confirm(soon(t)); err != nil {
		t.Errorf("Confirm: %v, want that the copy was right", err)
	}
	if !o.CopyStatus().Opened {
		t.Error("the start was not from the copy")
	}
}
