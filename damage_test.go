package lacre_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

// damage makes one record unreadable, as rotten bytes in the store do.
func (w *world) damage(damaged lacre.Record) {
	id := key(identity(damaged))
	w.tap.onRead(func(r lacre.Record) error {
		if key(r) == id {
			return &lacre.UnreadableError{Record: r, Key: "/its/key", Err: errors.New("checksum does not match")}
		}
		return nil
	})
}

func TestDamagedCertificate(t *testing.T) {
	w := newWorld(t)
	in := w.upload("bad_cert", "*.a.test")
	bad, good, d := w.create(in), w.create(w.uploadRSA("good_cert", "*.a.test")), w.home("www.a.test")
	w.attach(bad, d, nil)
	w.attach(good, d, nil)
	w.damage(bad)
	_, err := w.tryShow(bad.ID)
	wantCode(t, err, lacre.CodeUnreadable)
	_, err = w.tryModify(bad.ID, in)
	wantCode(t, err, lacre.CodeUnreadable)
	wantCode(t, w.tryDelete(bad.ID), lacre.CodeUnreadable)
	wantCode(t, w.tryDropDomain(d), lacre.CodeUnreadable)
	if diff := cmp.Diff([]string{"good_cert"}, names(w.list(lacre.CertificateFilter{}))); diff != "" {
		t.Errorf("the list differs (-want +got):\n%s", diff)
	}
	view, err := w.ShowGroup(t.Context(), w.admin, w.project, d.InstanceID, d.GroupID)
	w.ok(err)
	if diff := cmp.Diff([]string{"good_cert"}, names(view.Domains[0].Certificates)); diff != "" {
		t.Errorf("the group's certificates differ (-want +got):\n%s", diff)
	}
	w.modify(good.ID, w.uploadRSA("good_cert", "*.a.test"))
	w.detach(good, d)
	_, err = w.tryCreate(w.upload("bad_cert", "www.a.test"))
	wantField(t, err, lacre.CodeCertificateNameTaken, "name")
}

// A PUT repairs a version that cannot be read, or whose key does not open, even with the
// very content it had.
func TestDamagedVersionIsRepaired(t *testing.T) {
	t.Run("unreadable", func(t *testing.T) {
		w := newWorld(t)
		in := w.trusting(w.upload("web_cert", "www.a.test"))
		c := w.create(in)
		w.damage(&lacre.Version{ProjectID: w.project, CertificateID: c.ID, Number: 1})
		if _, err := w.tryShow(c.ID); err != nil {
			t.Errorf("show: got error %v, want none: the record is whole", err)
		}
		left := in
		left.TrustedRootCA = nil
		w.wantUnchanged(func() {
			_, err := w.tryModify(c.ID, left)
			wantField(t, err, lacre.CodeUnreadable, "trusted_root_ca")
		})
		next := w.modify(c.ID, in)
		if next.Version != 2 || !next.HasTrustRoot {
			t.Errorf("got version %d, trust root %v, want 2, true", next.Version, next.HasTrustRoot)
		}
		if again := w.modify(c.ID, left); again.Version != 2 || !again.HasTrustRoot {
			t.Errorf("afterwards: got version %d, trust root %v, want 2, true", again.Version, again.HasTrustRoot)
		}
	})
	t.Run("gone", func(t *testing.T) {
		w := newWorld(t)
		in := w.upload("web_cert", "www.a.test")
		c := w.create(in)
		_, err := sharedStore.Commit(t.Context(), lacre.Tx{Delete: []lacre.Record{w.version(c, 1)}, Audit: lacre.Audit{ProjectID: w.project, Action: "test:loss"}})
		w.ok(err)
		if next := w.modify(c.ID, in); next.Version != 2 {
			t.Errorf("got version %d, want 2", next.Version)
		}
	})
	t.Run("its key does not open", func(t *testing.T) {
		w := newWorld(t)
		in := w.trusting(w.upload("web_cert", "www.a.test"))
		c := w.create(in)
		v := w.version(c, 1)
		v.SealedKey[len(v.SealedKey)-1] ^= 1
		_, err := sharedStore.Commit(t.Context(), lacre.Tx{Put: []lacre.Record{v}, Audit: lacre.Audit{ProjectID: w.project, Action: "test:damage"}})
		w.ok(err)
		in.TrustedRootCA = nil
		next := w.modify(c.ID, in)
		if next.Version != 2 || !next.HasTrustRoot {
			t.Errorf("got version %d, trust root %v, want 2, true", next.Version, next.HasTrustRoot)
		}
		if _, err := lacre.OpenKey(t.Context(), sharedSealer, w.version(next, 2)); err != nil {
			t.Errorf("got error %v, want the key", err)
		}
	})
}

func TestDamagedDomain(t *testing.T) {
	w := newWorld(t)
	c, g := w.create(w.trusting(w.upload("web_cert", "*.a.test"))), w.group(w.instance())
	bad, good := w.domain(g, "bad.a.test"), w.domain(g, "good.a.test")
	w.attach(c, bad, nil)
	w.attach(c, good, nil)
	w.damage(bad)
	in := w.upload("web_cert", "*.a.test")
	bare, other := in, w.uploadRSA("web_cert", "*.a.test")
	bare.TrustedRootCA = new("")
	w.wantUnchanged(func() {
		for name, act := range map[string]func() error{
			"delete its group":     func() error { return w.tryDropGroup(g) },
			"delete it":            func() error { return w.tryDropDomain(bad) },
			"attach it":            func() error { _, err := w.tryAttachNames(c, ref("bad.a.test")); return err },
			"remove its roots":     func() error { _, err := w.tryModify(c.ID, bare); return err },
			"change its algorithm": func() error { _, err := w.tryModify(c.ID, other); return err },
		} {
			if err := act(); lacre.CodeOf(err) != lacre.CodeUnreadable {
				t.Errorf("%s: got error %v, want code %q", name, err, lacre.CodeUnreadable)
			}
		}
	})
	w.modify(c.ID, in)
	w.detach(c, good)
	view, err := w.ShowGroup(t.Context(), w.admin, w.project, g.InstanceID, g.ID)
	w.ok(err)
	if len(view.Domains) != 1 || view.Domains[0].ID != good.ID {
		t.Errorf("got %d domains, want the readable one", len(view.Domains))
	}
}

func TestDamagedGroup(t *testing.T) {
	w := newWorld(t)
	c, d := w.create(w.upload("web_cert", "*.a.test")), w.home("www.a.test")
	far := w.home("api.a.test")
	w.attach(c, d, nil)
	w.attach(c, far, nil)
	w.damage(&lacre.Group{ProjectID: w.project, ID: d.GroupID})
	_, err := w.ShowGroup(t.Context(), w.admin, w.project, d.InstanceID, d.GroupID)
	wantCode(t, err, lacre.CodeUnreadable)
	w.wantHosts(c, "api.a.test", "www.a.test") // without the group's name
	w.ok(w.tryDetachNames(c, ref("www.a.test")))
}

// A damaged name claim takes the name, and nothing else.
func TestDamagedNameClaim(t *testing.T) {
	w := newWorld(t)
	in := w.upload("web_cert", "www.a.test")
	c := w.create(in)
	w.damage(&lacre.CertificateName{ProjectID: w.project, Name: "web_cert"})
	_, err := w.tryCreate(in)
	wantField(t, err, lacre.CodeCertificateNameTaken, "name")
	w.modify(c.ID, in)
	w.modify(c.ID, w.upload("new_name", "www.a.test"))
	w.ok(w.tryDelete(c.ID))
}
