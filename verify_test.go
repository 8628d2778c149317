package lacre_test

import (
	"sync"
	"testing"

	"lacre"
)

var on, off = new(true), new(false)

func (w *world) wantVerify(d *lacre.Domain, want bool) {
	w.t.Helper()
	if got := w.domainNow(d).VerifyClient; got != want {
		w.t.Errorf("%s: got client authentication %v, want %v", d.Host, got, want)
	}
}

// The flag of a binding, first and only certificate of the domain. Left out it is on
// exactly when there are trust roots.
func TestVerifyOfOneCertificate(t *testing.T) {
	w := newWorld(t)
	bare, roots := w.create(w.upload("bare_cert", "*.a.test")), w.create(w.trusting(w.upload("root_cert", "*.a.test")))
	for _, test := range []struct {
		certificate *lacre.Certificate
		verify      *bool
		want        bool
		refused     bool
	}{
		{bare, nil, false, false},
		{bare, off, false, false},
		{bare, on, false, true},
		{roots, nil, true, false},
		{roots, off, false, false},
		{roots, on, true, false},
	} {
		d := w.home(unique("host") + ".a.test")
		_, err := w.tryAttach(test.certificate, d, test.verify)
		if test.refused {
			wantField(t, err, lacre.CodeInvalidField, "verified_client_certificate_enabled")
		} else {
			w.ok(err)
		}
		w.wantVerify(d, test.want)
	}
}

func TestVerifyOfTwoCertificates(t *testing.T) {
	t.Parallel()
	// The domain has an ECC certificate, with roots or not and verifying or not; then an
	// RSA one comes.
	for name, test := range map[string]struct {
		old, new   bool // with trust roots
		before     *bool
		verify     *bool
		want, fail bool
	}{
		"left out never switches off":           {old: true, new: true, before: on, want: true},
		"left out, both trust, was off":         {old: true, new: true, before: off, want: true},
		"left out, only the new one trusts":     {old: false, new: true, before: off, want: false},
		"left out, only the old one trusts":     {old: true, new: false, before: off, want: false},
		"left out, and none to verify with":     {old: true, new: false, before: on, want: true, fail: true},
		"on, both trust":                        {old: true, new: true, before: off, verify: on, want: true},
		"on, the old one does not trust":        {old: false, new: true, before: off, verify: on, want: false, fail: true},
		"on, the new one does not trust":        {old: true, new: false, before: off, verify: on, want: false, fail: true},
		"off switches off":                      {old: true, new: true, before: on, verify: off, want: false},
		"off, with a new one that does not":     {old: true, new: false, before: on, verify: off, want: false},
		"off, when nobody trusts":               {old: false, new: false, before: off, verify: off, want: false},
		"left out, when nobody trusts anything": {old: false, new: false, before: off, want: false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			older, newer, d := w.upload("ecc_cert", "www.a.test"), w.uploadRSA("rsa_cert", "www.a.test"), w.home("www.a.test")
			if test.old {
				older = w.trusting(older)
			}
			if test.new {
				newer = w.trusting(newer)
			}
			w.attach(w.create(older), d, test.before)
			c := w.create(newer)
			_, err := w.tryAttach(c, d, test.verify)
			if test.fail {
				wantField(t, err, lacre.CodeInvalidField, "verified_client_certificate_enabled")
				w.wantHosts(c)
			} else {
				w.ok(err)
				w.wantHosts(c, "www.a.test")
			}
			w.wantVerify(d, test.want)
		})
	}
}

func TestVerifyIsChangedByBindingAgain(t *testing.T) {
	w := newWorld(t)
	c, d := w.create(w.trusting(w.upload("web_cert", "www.a.test"))), w.home("www.a.test")
	for _, step := range []struct {
		verify *bool
		want   bool
	}{{on, true}, {off, false}, {nil, true}, {off, false}} {
		w.attach(c, d, step.verify)
		w.wantVerify(d, step.want)
	}
	_, err := w.tryAttachNames(c, lacre.DomainRef{Name: "www.a.test", VerifyClient: on})
	w.ok(err)
	w.wantVerify(d, true)
	w.wantHosts(c, "www.a.test")
	w.detach(c, d)
	w.wantVerify(d, false)
}

func TestVerifyByModifyDomain(t *testing.T) {
	const field = "verified_client_certificate_enabled"
	w := newWorld(t)
	bare, roots := w.create(w.uploadRSA("bare_cert", "www.a.test")), w.create(w.trusting(w.upload("root_cert", "www.a.test")))
	d := w.home("www.a.test")
	_, _, err := w.tryChange(d, lacre.DomainChange{VerifyClient: on})
	wantField(t, err, lacre.CodeInvalidField, field) // nothing to verify with
	w.attach(roots, d, off)
	_, _, err = w.tryChange(d, lacre.DomainChange{VerifyClient: on})
	w.ok(err)
	w.wantVerify(d, true)
	_, err = w.tryAttach(bare, d, nil)
	wantField(t, err, lacre.CodeInvalidField, field)
	_, _, err = w.tryChange(d, lacre.DomainChange{VerifyClient: off})
	w.ok(err)
	w.attach(bare, d, off)
	w.wantUnchanged(func() {
		_, _, err = w.tryChange(d, lacre.DomainChange{VerifyClient: on})
		wantField(t, err, lacre.CodeInvalidField, field)
	})
}

// Trust roots stay as long as a domain verifies with them, and come without switching
// anything on.
func TestVerifyHoldsTrustRoots(t *testing.T) {
	w := newWorld(t)
	in := w.trusting(w.upload("web_cert", "www.a.test"))
	c, d := w.create(in), w.home("www.a.test")
	w.attach(c, d, on)
	in.TrustedRootCA = new("")
	w.wantUnchanged(func() {
		_, err := w.tryModify(c.ID, in)
		wantField(t, err, lacre.CodeInvalidField, "trusted_root_ca")
	})
	_, _, err := w.tryChange(d, lacre.DomainChange{VerifyClient: off})
	w.ok(err)
	if w.modify(c.ID, in).HasTrustRoot {
		t.Error("got a trust root, want it removed")
	}
	w.modify(c.ID, w.trusting(in))
	w.wantVerify(d, false)
}

// A domain that begins to verify and a certificate that loses its roots cannot both
// happen, on one node or on two.
func TestVerifyRacesWithRemovingTrustRoots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := []*lacre.Service{w.Service, lacre.NewService(lacre.Config{Store: w.tap, Sealer: sharedSealer})}
	with := w.trusting(w.upload("web_cert", "www.a.test"))
	without := with
	without.TrustedRootCA = new("")
	c, d := w.create(with), w.home("www.a.test")
	w.attach(c, d, off)
	var verified, removed int
	for n := range 30 {
		var wg sync.WaitGroup
		var onErr, goErr error
		wg.Go(func() {
			_, _, onErr = w.ModifyDomain(t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, lacre.DomainChange{VerifyClient: on})
		})
		wg.Go(func() {
			_, goErr = nodes[n%2].ModifyCertificate(t.Context(), w.admin, w.project, c.ID, without, lacre.WriteOptions{})
		})
		wg.Wait()
		now, roots := w.domainNow(d), w.show(c.ID).HasTrustRoot
		if now.VerifyClient && !roots {
			t.Fatalf("round %d: the domain verifies clients without trust roots", n)
		}
		if (onErr == nil) != now.VerifyClient || (goErr == nil) != !roots || (onErr == nil) == (goErr == nil) {
			t.Fatalf("round %d: got verifying %v (%v), roots %v (%v), want exactly one call to win", n, now.VerifyClient, onErr, roots, goErr)
		}
		if now.VerifyClient {
			wantCode(t, goErr, lacre.CodeInvalidField)
			verified++
			_, _, err := w.tryChange(d, lacre.DomainChange{VerifyClient: off})
			w.ok(err)
		} else {
			wantCode(t, onErr, lacre.CodeInvalidField)
			removed++
			w.modify(c.ID, with)
		}
	}
	t.Logf("verification won %d times, removal %d times", verified, removed)
}
