package lacre_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lacre"
)

func TestCreateDomain(t *testing.T) {
	t.Run("OK, with the defaults of the API", func(t *testing.T) {
		w := newWorld(t)
		g := w.group(w.instance())
		view, warnings, err := w.tryDomain(g, lacre.DomainInput{Name: "WWW.A.test."})
		w.ok(err)
		want := &lacre.Domain{
			ProjectID: w.project, InstanceID: g.InstanceID, GroupID: g.ID, Name: "WWW.A.test.", Host: "www.a.test",
			MinTLS: "TLSv1.2", HTTPPort: 80, HTTPSPort: 443,
		}
		if diff := cmp.Diff(want, view.Domain, cmpopts.IgnoreFields(lacre.Domain{}, "ID", "Created", "Updated", "Revision")); diff != "" {
			t.Errorf("the domain differs (-want +got):\n%s", diff)
		}
		if view.GroupName != g.Name || len(warnings) != 0 {
			t.Errorf("got group %q, warnings %q, want %q and none", view.GroupName, warnings, g.Name)
		}
		if diff := cmp.Diff(view.Domain, w.domainNow(view.Domain)); diff != "" {
			t.Errorf("the stored domain differs (-answer +stored):\n%s", diff)
		}
	})
	t.Run("ErrTaken within the instance, however it is written", func(t *testing.T) {
		w := newWorld(t)
		i := w.instance()
		w.domain(w.group(i), "www.a.test")
		g := w.group(i)
		w.wantUnchanged(func() {
			for _, name := range []string{"www.a.test", "WWW.a.Test", "www.a.test."} {
				_, _, err := w.tryDomain(g, lacre.DomainInput{Name: name})
				wantField(t, err, lacre.CodeDomainTaken, "url_domain")
			}
		})
		w.home("www.a.test") // another instance
		w.domain(g, "*.a.test")
	})
	t.Run("the name is free again after delete", func(t *testing.T) {
		w := newWorld(t)
		i := w.instance()
		g := w.group(i)
		w.ok(w.tryDropDomain(w.domain(g, "www.a.test")))
		d := w.domain(g, "www.a.test")
		w.ok(w.tryDropGroup(g))
		w.domain(w.group(i), d.Name)
	})
	t.Run("ErrQuota", func(t *testing.T) {
		w := newWorld(t)
		g := w.group(w.instance())
		for n := range 5 {
			w.domain(g, fmt.Sprintf("h%d.a.test", n))
		}
		w.wantUnchanged(func() {
			_, _, err := w.tryDomain(g, lacre.DomainInput{Name: "h5.a.test"})
			wantCode(t, err, lacre.CodeDomainQuota)
		})
	})
	t.Run("ErrNotFound", func(t *testing.T) {
		w := newWorld(t)
		g := w.group(w.instance())
		_, _, err := w.tryDomain(&lacre.Group{ID: lacre.NewID(), InstanceID: g.InstanceID}, lacre.DomainInput{Name: "www.a.test"})
		wantCode(t, err, lacre.CodeGroupNotFound)
		_, _, err = w.tryDomain(&lacre.Group{ID: g.ID, InstanceID: w.instance().ID}, lacre.DomainInput{Name: "www.a.test"})
		wantCode(t, err, lacre.CodeGroupNotFound)
		_, _, err = w.tryDomain(&lacre.Group{ID: g.ID, InstanceID: lacre.NewID()}, lacre.DomainInput{Name: "www.a.test"})
		wantCode(t, err, lacre.CodeInstanceNotFound)
	})
}

func TestDomainPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.home("www.a.test")
	for name, test := range map[string]struct {
		change lacre.DomainChange
		field  string // empty: accepted
	}{
		"TLS 1.1":                {lacre.DomainChange{MinTLS: new("TLSv1.1")}, ""},
		"TLS 1.3":                {lacre.DomainChange{MinTLS: new("TLSv1.3")}, ""},
		"TLS 1.0":                {lacre.DomainChange{MinTLS: new("TLSv1.0")}, "min_ssl_version"},
		"TLS of nothing":         {lacre.DomainChange{MinTLS: new("")}, "min_ssl_version"},
		"HTTP off":               {lacre.DomainChange{HTTPPort: new(-1)}, ""},
		"HTTPS off":              {lacre.DomainChange{HTTPSPort: new(-1)}, ""},
		"both off":               {lacre.DomainChange{HTTPPort: new(-1), HTTPSPort: new(-1)}, "ingress_https_port"},
		"lowest port":            {lacre.DomainChange{HTTPPort: new(1024)}, ""},
		"highest port":           {lacre.DomainChange{HTTPSPort: new(49151)}, ""},
		"HTTP on 443":            {lacre.DomainChange{HTTPPort: new(443)}, "ingress_http_port"},
		"HTTPS on 80":            {lacre.DomainChange{HTTPSPort: new(80)}, "ingress_https_port"},
		"port 1023":              {lacre.DomainChange{HTTPPort: new(1023)}, "ingress_http_port"},
		"port 49152":             {lacre.DomainChange{HTTPSPort: new(49152)}, "ingress_https_port"},
		"http upstream":          {lacre.DomainChange{Upstream: new("http://10.0.0.7:8080/path")}, ""},
		"https upstream":         {lacre.DomainChange{Upstream: new("https://app.internal")}, ""},
		"h2c upstream":           {lacre.DomainChange{Upstream: new("h2c://grpc.internal:50051")}, ""},
		"upstream told whom for": {lacre.DomainChange{Upstream: new("https+proxyv2://app.internal")}, ""},
		"no upstream":            {lacre.DomainChange{Upstream: new("")}, ""},
		"upstream with user":     {lacre.DomainChange{Upstream: new("http://user:password@10.0.0.7")}, "upstream"},
		"upstream with query":    {lacre.DomainChange{Upstream: new("http://10.0.0.7/?a=b")}, "upstream"},
		"upstream with a part":   {lacre.DomainChange{Upstream: new("http://10.0.0.7/#a")}, "upstream"},
		"upstream without host":  {lacre.DomainChange{Upstream: new("http:///path")}, "upstream"},
		"upstream of a file":     {lacre.DomainChange{Upstream: new("file:///etc/passwd")}, "upstream"},
		"upstream of two words":  {lacre.DomainChange{Upstream: new("http https")}, "upstream"},
		"redirect":               {lacre.DomainChange{RedirectHTTPS: on}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			before := w.domainNow(d)
			view, _, err := w.tryChange(d, test.change)
			if test.field != "" {
				wantField(t, err, lacre.CodeInvalidField, test.field)
				if strings.Contains(err.Error(), "password") && name == "upstream with user" {
					t.Errorf("the error quotes the upstream: %v", err)
				}
				if diff := cmp.Diff(before, w.domainNow(d)); diff != "" {
					t.Errorf("the domain changed (-before +after):\n%s", diff)
				}
				return
			}
			w.ok(err)
			if diff := cmp.Diff(view.Domain, w.domainNow(d), cmpopts.IgnoreFields(lacre.Domain{}, "Revision")); diff != "" {
				t.Errorf("the stored domain differs (-answer +stored):\n%s", diff)
			}
			_, _, err = w.tryChange(d, lacre.DomainChange{MinTLS: new("TLSv1.2"), RedirectHTTPS: off, HTTPPort: new(80), HTTPSPort: new(443), Upstream: new("")})
			w.ok(err)
		})
	}
	t.Run("what is left out stays", func(t *testing.T) {
		w := w.in(t)
		_, _, err := w.tryChange(d, lacre.DomainChange{RedirectHTTPS: on, HTTPPort: new(8080), Upstream: new("http://10.0.0.7")})
		w.ok(err)
		before := w.domainNow(d)
		_, _, err = w.tryChange(d, lacre.DomainChange{})
		w.ok(err)
		if diff := cmp.Diff(before, w.domainNow(d), cmpopts.IgnoreFields(lacre.Domain{}, "Updated", "Revision")); diff != "" {
			t.Errorf("the domain changed (-before +after):\n%s", diff)
		}
	})
	t.Run("TLS 1.1 is stored as sent, with a warning", func(t *testing.T) {
		w := w.in(t)
		view, warnings, err := w.tryChange(d, lacre.DomainChange{MinTLS: new("TLSv1.1")})
		w.ok(err)
		if view.MinTLS != "TLSv1.1" || len(warnings) != 1 {
			t.Errorf("got %q with %d warnings, want TLSv1.1 with one", view.MinTLS, len(warnings))
		}
	})
}

func TestCreateDomainRefusesPolicy(t *testing.T) {
	w := newWorld(t)
	g := w.group(w.instance())
	w.wantUnchanged(func() {
		for field, in := range map[string]lacre.DomainInput{
			"min_ssl_version":    {Name: "www.a.test", MinTLS: "SSLv3"},
			"ingress_https_port": {Name: "www.a.test", HTTPPort: new(8080)},
			"ingress_http_port":  {Name: "www.a.test", HTTPPort: new(1), HTTPSPort: new(443)},
			"upstream":           {Name: "www.a.test", Upstream: "10.0.0.7:80"},
		} {
			_, _, err := w.tryDomain(g, in)
			wantField(t, err, lacre.CodeInvalidField, field)
		}
		for _, name := range []string{"", ".", "a b.test", "192.0.2.1", "::1", "w*.a.test", "*", "a..test", "-a.test", strings.Repeat("a.", 127) + "test"} {
			_, _, err := w.tryDomain(g, lacre.DomainInput{Name: name})
			wantField(t, err, lacre.CodeDomainInvalid, "url_domain")
		}
	})
}

func TestDeleteDomainKeepsItsCertificates(t *testing.T) {
	w := newWorld(t)
	ecc, rsa := w.create(w.upload("ecc_cert", "*.a.test")), w.create(w.uploadRSA("rsa_cert", "*.a.test"))
	g := w.group(w.instance())
	gone, stays := w.domain(g, "gone.a.test"), w.domain(g, "stays.a.test")
	for _, c := range []*lacre.Certificate{ecc, rsa} {
		w.attach(c, gone, nil)
		w.attach(c, stays, nil)
	}
	w.ok(w.tryDropDomain(gone))
	wantCode(t, w.tryDropDomain(gone), lacre.CodeDomainNotFound)
	w.wantHosts(ecc, "stays.a.test")
	w.wantHosts(rsa, "stays.a.test")
	view, err := w.ShowGroup(t.Context(), w.admin, w.project, g.InstanceID, g.ID)
	w.ok(err)
	if diff := cmp.Diff([]string{stays.ID}, view.DomainIDs); diff != "" {
		t.Errorf("the group's domains differ (-want +got):\n%s", diff)
	}
	w.ok(w.tryDropGroup(g))
	w.wantHosts(ecc)
	w.ok(w.tryDelete(ecc.ID))
}

// The quota is exact: of twenty additions at once, on two nodes, five come through.
func TestDomainQuotaUnderConcurrency(t *testing.T) {
	w := newWorld(t)
	nodes := []*lacre.Service{w.Service, lacre.NewService(lacre.Config{Store: w.tap, Sealer: sharedSealer})}
	g := w.group(w.instance())
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() {
			in := lacre.DomainInput{Name: fmt.Sprintf("h%d.a.test", n)}
			_, _, errs[n] = nodes[n%2].CreateDomain(t.Context(), w.admin, w.project, g.InstanceID, g.ID, in)
		})
	}
	wg.Wait()
	added := 0
	for _, err := range errs {
		if err == nil {
			added++
		} else {
			wantCode(t, err, lacre.CodeDomainQuota)
		}
	}
	view, err := w.ShowGroup(t.Context(), w.admin, w.project, g.InstanceID, g.ID)
	w.ok(err)
	if added != 5 || len(view.DomainIDs) != 5 || len(view.Domains) != 5 {
		t.Errorf("got %d additions, %d ids, %d domains, want 5 of each", added, len(view.DomainIDs), len(view.Domains))
	}
	w.wantConsistent()
}
