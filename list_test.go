package lacre_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/keypair"
)

func names(list []*lacre.Certificate) []string {
	out := []string{}
	for _, c := range list {
		out = append(out, c.Name)
	}
	return out
}

func TestListCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.instance(), w.instance()
	w.create(w.upload("global_ecc", "www.a.test"))
	w.create(w.uploadRSA("global_rsa", "www.b.test"))
	w.create(confined(w.upload("only_one", "www.a.test"), one))
	w.create(confined(w.upload("only_two", "www.a.test"), two))
	tests := map[string]struct {
		filter lacre.CertificateFilter
		want   []string
	}{
		"everything, newest first":     {lacre.CertificateFilter{}, []string{"only_two", "only_one", "global_rsa", "global_ecc"}},
		"an instance's and the global": {lacre.CertificateFilter{InstanceID: one.ID}, []string{"only_one", "global_rsa", "global_ecc"}},
		"name, as a whole":             {lacre.CertificateFilter{Name: "only_one"}, []string{"only_one"}},
		"no part of a name":            {lacre.CertificateFilter{Name: "only"}, []string{}},
		"common name":                  {lacre.CertificateFilter{CommonName: "www.b.test"}, []string{"global_rsa"}},
		"scope":                        {lacre.CertificateFilter{Scope: lacre.ScopeInstance}, []string{"only_two", "only_one"}},
		"algorithm":                    {lacre.CertificateFilter{Algorithm: keypair.RSA}, []string{"global_rsa"}},
		"signature algorithm":          {lacre.CertificateFilter{SignatureAlgorithm: "SHA256-RSA"}, []string{}},
		"everything at once": {lacre.CertificateFilter{InstanceID: two.ID, Name: "only_two", CommonName: "www.a.test",
			SignatureAlgorithm: "ECDSA-SHA256", Scope: lacre.ScopeInstance, Algorithm: keypair.ECC}, []string{"only_two"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, total, err := w.ListCertificates(t.Context(), w.admin, w.project, test.filter)
			w.in(t).ok(err)
			if diff := cmp.Diff(test.want, names(got)); diff != "" {
				t.Errorf("the list differs (-want +got):\n%s", diff)
			}
			if total != len(test.want) {
				t.Errorf("got total %d, want %d", total, len(test.want))
			}
		})
	}
	t.Run("ErrInstanceNotFound", func(t *testing.T) {
		_, _, err := w.ListCertificates(t.Context(), w.admin, w.project, lacre.CertificateFilter{InstanceID: lacre.NewID()})
		wantCode(t, err, lacre.CodeInstanceNotFound)
	})
}

// Certificates of the same instant are in the order of their ids: pages neither repeat
// nor miss one.
func TestListCertificatesIsStable(t *testing.T) {
	noon := time.Now().Truncate(time.Second)
	w := newWorld(t, func(c *lacre.Config) { c.Now = func() time.Time { return noon } })
	for n := range 7 {
		w.create(w.upload(fmt.Sprintf("cert_%d", n), "www.a.test"))
	}
	whole := w.list(lacre.CertificateFilter{})
	var paged []*lacre.Certificate
	for offset := 0; offset < 9; offset += 3 {
		paged = append(paged, w.list(lacre.CertificateFilter{Page: lacre.Page{Offset: offset, Limit: 3}})...)
	}
	if diff := cmp.Diff(names(whole), names(paged)); diff != "" {
		t.Errorf("pages differ from the whole (-whole +pages):\n%s", diff)
	}
	for n := 1; n < len(whole); n++ {
		if whole[n-1].ID >= whole[n].ID {
			t.Errorf("got id %s before %s, want ids to rise", whole[n-1].ID, whole[n].ID)
		}
	}
}

// Pages are clamped, never refused. Instances stand for all lists: they are cheap.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const all = 503
	for n := range all {
		_, err := w.tryInstance(fmt.Sprintf("gateway_%03d", n))
		w.ok(err)
	}
	for page, want := range map[lacre.Page]struct {
		items int
		first string
	}{
		{}:                            {20, "gateway_000"},
		{Limit: -1}:                   {20, "gateway_000"},
		{Limit: 1}:                    {1, "gateway_000"},
		{Limit: 500}:                  {500, "gateway_000"},
		{Limit: 501}:                  {500, "gateway_000"},
		{Offset: 500}:                 {3, "gateway_500"},
		{Offset: 502, Limit: 5}:       {1, "gateway_502"},
		{Offset: 503}:                 {0, ""},
		{Offset: -5, Limit: 2}:        {2, "gateway_000"},
		{math.MaxInt, math.MaxInt}:    {0, ""},
		{math.MinInt, math.MinInt}:    {20, "gateway_000"},
		{Offset: 2, Limit: 1_000_000}: {500, "gateway_002"},
	} {
		got, total, err := w.ListInstances(t.Context(), w.admin, w.project, lacre.InstanceFilter{Page: page})
		w.ok(err)
		firstName := ""
		if len(got) > 0 {
			firstName = got[0].Name
		}
		if len(got) != want.items || firstName != want.first || total != all {
			t.Errorf("page %+v: got %d items from %q of %d, want %d from %q of %d", page, len(got), firstName, total, want.items, want.first, all)
		}
	}
}
