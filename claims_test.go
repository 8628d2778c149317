package lacre_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

// hidden is what is said of d as long as older has its host.
func (w *world) hidden(d, older *lacre.Domain) string {
	w.t.Helper()
	in, err := w.ShowInstance(w.t.Context(), w.admin, w.project, older.InstanceID)
	w.ok(err)
	return fmt.Sprintf("%s is also the host of domain %s of instance %s (%s), which is older: an edge that serves both instances serves that one, not domain %s.",
		d.Host, older.ID, in.Name, in.ID, d.ID)
}

func wantSaid(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
		t.Errorf("%s: warnings (-want +got):\n%s", when, diff)
	}
}

// Two domains of one host in two instances: whoever makes the younger one, or attaches to
// it, hears which one an edge of both serves.
func TestHiddenDomain(t *testing.T) {
	w := newWorld(t)
	older := w.home("www.a.test")
	w.home("*.a.test") // another host
	g := w.group(w.instance())
	view, warnings, err := w.tryDomain(g, lacre.DomainInput{Name: "WWW.a.test.", MinTLS: "TLSv1.1"})
	w.ok(err)
	d := view.Domain
	if len(warnings) != 2 || !strings.Contains(warnings[0], "TLSv1.1") {
		t.Fatalf("got %q, want two warnings, of the version first", warnings)
	}
	wantSaid(t, "created", warnings[1:], w.hidden(d, older))

	c, own := w.create(w.upload("web_cert", "www.a.test")), w.uploadRSA("own_cert", "www.a.test")
	warnings, err = w.tryAttachNames(c, lacre.DomainRef{Name: "www.a.test"})
	w.ok(err)
	wantSaid(t, "attached by name to both", warnings, w.hidden(d, older))
	warnings, err = w.tryAttach(c, older, nil)
	w.ok(err)
	wantSaid(t, "attached to the older one", warnings)
	warnings, err = w.tryAttach(c, d, nil)
	w.ok(err)
	wantSaid(t, "attached to the younger one", warnings, w.hidden(d, older))
	_, warnings, err = w.CreateDomainCertificate(t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, own)
	w.ok(err)
	wantSaid(t, "certificate created at the younger one", warnings, w.hidden(d, older))

	written, err := w.tryCreate(w.upload("tried_cert", "www.a.test"), lacre.WriteOptions{DryRun: true})
	w.ok(err)
	wantSaid(t, "dry run", written.Warnings)
	w.ok(w.tryDropDomain(older))
	warnings, err = w.tryAttach(c, d, nil)
	w.ok(err)
	wantSaid(t, "the older one is gone", warnings)
	w.ok(w.tryDropDomain(d))
	_, warnings, err = w.tryDomain(g, lacre.DomainInput{Name: "www.a.test"})
	w.ok(err)
	wantSaid(t, "created again", warnings)
}

// Of three it is the oldest that is named.
func TestHiddenByTheOldest(t *testing.T) {
	w := newWorld(t)
	oldest, second := w.home("www.a.test"), w.home("www.a.test")
	view, warnings, err := w.tryDomain(w.group(w.instance()), lacre.DomainInput{Name: "www.a.test"})
	w.ok(err)
	wantSaid(t, "with two older ones", warnings, w.hidden(view.Domain, oldest))
	w.ok(w.tryDropDomain(oldest))
	c := w.create(w.upload("web_cert", "www.a.test"))
	warnings, err = w.tryAttach(c, view.Domain, nil)
	w.ok(err)
	wantSaid(t, "with one", warnings, w.hidden(view.Domain, second))
}

// Nobody learns from a warning that another project has a host.
func TestOtherProjectsAreNotWarnedOf(t *testing.T) {
	theirs, w := newWorld(t), newWorld(t)
	theirs.home("www.a.test")
	w.home("other.a.test")
	view, warnings, err := w.tryDomain(w.group(w.instance()), lacre.DomainInput{Name: "www.a.test"})
	w.ok(err)
	wantSaid(t, "created", warnings)
	c := w.create(w.upload("web_cert", "www.a.test"))
	warnings, err = w.tryAttach(c, view.Domain, nil)
	w.ok(err)
	wantSaid(t, "attached", warnings)
	warnings, err = w.tryAttachNames(c, lacre.DomainRef{Name: "www.a.test"})
	w.ok(err)
	wantSaid(t, "attached by name", warnings)
}

// A node whose clock is behind makes a domain that takes the host from an older one.
func TestCreatedByAClockBehind(t *testing.T) {
	w := newWorld(t)
	there := w.home("www.a.test")
	now := w.Now
	w.Now = func() time.Time { return now().Add(-time.Minute) }
	view, warnings, err := w.tryDomain(w.group(w.instance()), lacre.DomainInput{Name: "www.a.test"})
	w.ok(err)
	d := view.Domain
	want := strings.Replace(w.hidden(d, there), "is older: an edge that serves both instances serves that one, not domain "+d.ID,
		"counts as younger: an edge that serves both instances serves domain "+d.ID+" from now on", 1)
	wantSaid(t, "created", warnings, want)
	c := w.create(w.upload("web_cert", "www.a.test"))
	warnings, err = w.tryAttach(c, d, nil)
	w.ok(err)
	wantSaid(t, "attached to what is served", warnings)
}

// Warnings of a batch stay few, and cost a read of each host in each instance.
func TestHiddenBatch(t *testing.T) {
	w := newWorld(t, func(c *lacre.Config) { c.DomainsPerGroup = 15 })
	older, younger := w.group(w.instance()), w.group(w.instance())
	var hosts []string
	var refs []lacre.DomainRef
	for n := range 7 {
		hosts = append(hosts, fmt.Sprintf("w%d.a.test", n))
		w.domain(older, hosts[n])
		w.domain(younger, hosts[n])
		refs = append(refs, lacre.DomainRef{Name: hosts[n]})
	}
	c := w.create(w.upload("web_cert", hosts...))
	reads := 0
	w.tap.onRead(func(r lacre.Record) error {
		if _, ok := r.(*lacre.Host); ok {
			reads++
		}
		return nil
	})
	warnings, err := w.tryAttachNames(c, refs...)
	w.ok(err)
	if len(warnings) != 5 || warnings[4] != "3 more of these domains are hidden by older ones of other instances." {
		t.Errorf("got %q, want four and that there are three more", warnings)
	}
	if want := 2 * 2 * len(hosts); reads != want {
		t.Errorf("got %d reads of hosts, want %d: once to find the domains, once to warn", reads, want)
	}
}

// What the warning needs cannot be read: the change stands.
func TestUnreadClaimsAreNoFailure(t *testing.T) {
	w := newWorld(t)
	w.home("www.a.test")
	g := w.group(w.instance())
	w.tap.onRead(func(r lacre.Record) error {
		if _, ok := r.(*lacre.Host); ok {
			return lacre.ErrUnavailable
		}
		return nil
	})
	view, warnings, err := w.tryDomain(g, lacre.DomainInput{Name: "www.a.test"})
	w.ok(err)
	wantSaid(t, "created", warnings)
	if w.domainNow(view.Domain).Host != "www.a.test" || !strings.Contains(w.log.String(), "who else has a host could not be read") {
		t.Errorf("got no domain, or nothing logged:\n%s", w.log)
	}
}
