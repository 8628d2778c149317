package store_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
	"lacre/store"
)

// TestKeyLayout pins the key of everything that is stored: what one program wrote, the
// next must find. Never change a line here without a migration.
func TestKeyLayout(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	put(t, s, // with an audit row of no project
		&lacre.Project{ID: "p1", Name: "region_1", AccountName: "acme"},
		&lacre.ProjectName{AccountName: "acme", Name: "region_1", ProjectID: "p1"},
		&lacre.User{ID: "u1", Name: "ana", AccountName: "acme"},
		&lacre.UserName{AccountName: "acme", Name: "ana", UserID: "u1"},
		&lacre.AccessKey{ID: "AK1", UserID: "u1"},
		&lacre.PermissionGroup{AccountName: "acme", Name: "renewer"})
	commit(t, s, lacre.Tx{Audit: auditOf("p1"), Put: []lacre.Record{
		&lacre.Instance{ID: "i1", ProjectID: "p1", Name: "default"},
		&lacre.InstanceName{ProjectID: "p1", Name: "default", InstanceID: "i1"},
		&lacre.Group{ID: "g1", ProjectID: "p1", InstanceID: "i1", Name: "shop"},
		&lacre.GroupName{ProjectID: "p1", InstanceID: "i1", Name: "shop", GroupID: "g1"},
		&lacre.Domain{ID: "d1", ProjectID: "p1", InstanceID: "i1", Host: "*.example.com"},
		&lacre.Host{ProjectID: "p1", InstanceID: "i1", Host: "*.example.com", DomainID: "d1"},
		&lacre.Certificate{ID: "c1", ProjectID: "p1", Name: "web cert"},
		&lacre.CertificateName{ProjectID: "p1", Name: "web cert", CertificateID: "c1"},
		&lacre.CertificateName{ProjectID: "p1", InstanceID: "i1", Name: "证书/1", CertificateID: "c2"},
		&lacre.Version{ProjectID: "p1", CertificateID: "c1", Number: 12},
		&lacre.Bound{ProjectID: "p1", CertificateID: "c1", DomainID: "d1"},
		&lacre.Revocations{ProjectID: "p1", CertificateID: "c1"},
	}})
	for _, err := range []error{
		s.Revoke(ctx, "tok", time.Now().Add(time.Hour)),
		ignore(s.CreateSecret(ctx, "ticket", []byte("t"))),
		ignore(s.CreateDataKey(ctx, "p1", []byte("k"))),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"/lacre/iam/accesskey/AK1",
		"/lacre/iam/audit/6715624b7a4b32ea…",
		"/lacre/iam/projectname/acme/region_1",
		"/lacre/iam/revoked/tok",
		"/lacre/iam/role/acme/renewer",
		"/lacre/iam/user/u1",
		"/lacre/iam/username/acme/ana",
		"/lacre/p/p1/audit/6715624b7a4b32ea…",
		"/lacre/p/p1/bound/c1/d1",
		"/lacre/p/p1/cert/c1",
		"/lacre/p/p1/certname/global/web%20cert",
		"/lacre/p/p1/certname/i1/%E8%AF%81%E4%B9%A6%2F1",
		"/lacre/p/p1/crl/c1",
		"/lacre/p/p1/datakey",
		"/lacre/p/p1/domain/d1",
		"/lacre/p/p1/group/g1",
		"/lacre/p/p1/groupname/i1/shop",
		"/lacre/p/p1/host/i1/%2A.example.com",
		"/lacre/p/p1/instance/i1",
		"/lacre/p/p1/instancename/default",
		"/lacre/p/p1/version/c1/0000000012",
		"/lacre/project/p1",
		"/lacre/sys/ticket",
	}
	if diff := cmp.Diff(want, allKeys(t, s)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func ignore(_ []byte, err error) error { return err }

// allKeys lists what is stored, without the random tail of audit rows.
func allKeys(t *testing.T, s *store.Store) []string {
	t.Helper()
	found, err := s.KV().Get(t.Context(), "\x00", clientv3.WithFromKey(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, kv := range found.Kvs {
		key := string(kv.Key)
		if strings.Contains(key, "/audit/") {
			if _, err := hex.DecodeString(key[len(key)-16:]); err != nil {
				t.Errorf("audit key %s: %v", key, err)
			}
			key = key[:len(key)-16] + "…"
		}
		keys = append(keys, key)
	}
	return keys
}

// tricks are identities that try to leave their place in a key.
var tricks = []string{
	"/", "..", ".", "../../p2", "a/b", "a%2fb", "a%2Fb", "%", "%zz", "\x00", "a\x00", "\xff\xfe", " ", "+", "*", "~",
	"global", "证书", "ü", "u\u0308", "a\nb", "/lacre/", "p", "cert", strings.Repeat("x", 1024), "?q#f", "a:b@c;d,e=f&g$h!i'(j)",
}

// Every combination of tricks must have a key of its own, below the prefix of its
// project, from which the same identity comes back.
func TestNoIdentityEscapesItsSegment(t *testing.T) {
	t.Parallel()
	seen := map[string][3]string{}
	check := func(r lacre.Record, project string, who [3]string) {
		key, err := store.KeyOf(r)
		if err != nil {
			if who[1] != "global" || !errors.Is(err, store.ErrBadIdentity) {
				t.Errorf("KeyOf(%q): %v", who, err)
			}
			return
		}
		if other, ok := seen[key]; ok {
			t.Fatalf("%q and %q share the key %s", who, other, key)
		}
		seen[key] = who
		prefix, _ := store.KeyOf(&lacre.Domain{ProjectID: project, ID: "x"})
		if prefix = strings.TrimSuffix(prefix, "domain/x"); !strings.HasPrefix(key, prefix) {
			t.Errorf("%q has key %s, not below %s", who, key, prefix)
		}
		if diff := cmp.Diff(r, store.Identify(key)); diff != "" {
			t.Fatalf("identity of %s (-want +got):\n%s", key, diff)
		}
	}
	for _, a := range tricks {
		for _, b := range tricks {
			check(&lacre.Domain{ProjectID: a, ID: b}, a, [3]string{a, b, "domain"})
			check(&lacre.CertificateName{ProjectID: "p1", InstanceID: a, Name: b}, "p1", [3]string{"certname", a, b})
			check(&lacre.Bound{ProjectID: "p1", CertificateID: a, DomainID: b}, "p1", [3]string{"bound", a, b})
		}
		check(&lacre.CertificateName{ProjectID: "p1", Name: a}, "p1", [3]string{"global", a})
	}
}

func TestIdentitiesThatHaveNoKey(t *testing.T) {
	t.Parallel()
	for _, r := range []lacre.Record{
		&lacre.Domain{ProjectID: "p"}, &lacre.Domain{ID: "d"}, &lacre.Host{ProjectID: "p", InstanceID: "i"},
		&lacre.Domain{ProjectID: "p", ID: strings.Repeat("x", 1025)},
		&lacre.CertificateName{ProjectID: "p", InstanceID: "global", Name: "n"},
		&lacre.Version{ProjectID: "p", CertificateID: "c"},
		&lacre.Version{ProjectID: "p", CertificateID: "c", Number: -1},
		&lacre.Version{ProjectID: "p", CertificateID: "c", Number: 10_000_000_000}, nil,
	} {
		if key, err := store.KeyOf(r); !errors.Is(err, store.ErrBadIdentity) {
			t.Errorf("KeyOf(%+v): got %q, %v; want ErrBadIdentity", r, key, err)
		}
	}
}

func TestKeysThatIdentifyNothing(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"", "/", "/lacre", "/lacre/", "/other/p/x/domain/d", "/lacre/p/x/domain", "/lacre/p/x/domain/", "/lacre/p//domain/d",
		"/lacre/p/x/domain/d/e", "/lacre/p/x/unknown/d", "/lacre/p/x/version/c/12", "/lacre/p/x/version/c/00000000x1",
		"/lacre/p/x/version/c/0000000000", "/lacre/p/x/domain/%64", "/lacre/p/x/domain/%zz", "/lacre/p/x/host/i/*",
		"/lacre/p/x/audit/671530f8e4b732ea", "/lacre/p/x/datakey", "/lacre/sys/x", "/lacre/iam/revoked/t", "/lacre/iam/user", "/lacre/iam/user/u/x", "/lacre/iam/accesskey", "/lacre/iam/role/r",
	} {
		if r := store.Identify(key); r != nil {
			t.Errorf("Identify(%q): got %#v, want nothing", key, r)
		}
	}
}

func FuzzIdentify(f *testing.F) {
	for _, trick := range tricks {
		f.Add("/lacre/p/" + trick + "/domain/" + trick)
	}
	f.Fuzz(func(t *testing.T, key string) {
		r := store.Identify(key)
		if r == nil {
			return
		}
		if again, err := store.KeyOf(r); err != nil || again != key {
			t.Errorf("KeyOf(Identify(%q)): got %q, %v", key, again, err)
		}
	})
}

func TestWhatConcernsAnEdge(t *testing.T) {
	t.Parallel()
	var concerned []string
	for _, r := range everyRecord("p1") {
		key, err := store.KeyOf(r)
		if err != nil {
			t.Fatal(err)
		}
		if store.ConcernsEdge(key) {
			concerned = append(concerned, strings.Split(key, "/")[4])
		}
	}
	slices.Sort(concerned)
	concerned = slices.Compact(concerned) // there are two kinds of versions
	if diff := cmp.Diff([]string{"cert", "crl", "domain", "version"}, concerned); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	for _, key := range []string{"/lacre/p/x/audit/1", "/lacre/p/x/datakey", "/lacre/p/cert/group/1", "/lacre/p/x", "/lacre/project/x"} {
		if store.ConcernsEdge(key) {
			t.Errorf("%s concerns an edge, it should not", key)
		}
	}
}
