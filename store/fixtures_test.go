package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"testing"
	"time"

	"lacre"
	"lacre/store"
)

// epoch is when the tests take place.
var epoch = time.Date(2026, 11, 23, 8, 0, 0, 123456789, time.UTC)

func open(tb testing.TB) *store.Store {
	tb.Helper()
	return openIn(tb, tb.TempDir())
}

func openIn(tb testing.TB, dir string) *store.Store {
	tb.Helper()
	s, err := store.Embedded(tb.Context(), store.EmbeddedConfig{Dir: dir})
	if err != nil {
		tb.Fatalf("Embedded: %v", err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// id makes the 32 hexadecimal digits that the service uses.
func id(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

func auditOf(projectID string) lacre.Audit {
	return lacre.Audit{ProjectID: projectID, Time: epoch, Action: lacre.CanModifyCertificate}
}

func commit(tb testing.TB, s *store.Store, tx lacre.Tx) int64 {
	tb.Helper()
	if tx.Audit.Action == "" {
		tx.Audit = auditOf("")
	}
	revision, err := s.Commit(tb.Context(), tx)
	if err != nil {
		tb.Fatalf("Commit: %v", err)
	}
	return revision
}

func put(tb testing.TB, s *store.Store, records ...lacre.Record) int64 {
	tb.Helper()
	return commit(tb, s, lacre.Tx{Put: records})
}

func domain(project, name string) *lacre.Domain {
	return &lacre.Domain{ID: id(name), ProjectID: project, Name: name, Host: name, MinTLS: "TLSv1.2", Created: epoch}
}

func version(project, certificate string, number int) *lacre.Version {
	return &lacre.Version{ProjectID: project, CertificateID: certificate, Number: number,
		Chain: [][]byte{[]byte("leaf"), []byte("ca")}, SealedKey: []byte{1, 2, 3}, Created: epoch}
}

// everyRecord returns one record of each kind with every field set to something, found
// by reflection: a field that is added and not stored fails the tests.
func everyRecord(project string) []lacre.Record {
	all := []lacre.Record{
		&lacre.Project{}, &lacre.ProjectName{}, &lacre.Instance{}, &lacre.InstanceName{},
		&lacre.Group{}, &lacre.GroupName{}, &lacre.Domain{}, &lacre.Host{}, &lacre.Certificate{},
		&lacre.CertificateName{}, &lacre.Version{}, &lacre.Bound{}, &lacre.User{}, &lacre.UserName{},
		&lacre.AccessKey{}, &lacre.PermissionGroup{}, &lacre.Revocations{}, &lacre.Version{},
	}
	for _, r := range all {
		v := reflect.ValueOf(r).Elem()
		fill(v, v.Type().Name())
		v.FieldByName("Revision").SetInt(0)
		if f := v.FieldByName("ProjectID"); f.IsValid() {
			f.SetString(project)
		}
		withoutLater(r)
	}
	// Versions come in two kinds: the last one is SM2, the other has one pair only.
	for i, r := range all[:len(all)-1] {
		if v, ok := r.(*lacre.Version); ok {
			v.SignChain, v.SealedSignKey = nil, nil
			all[len(all)-1].(*lacre.Version).Number = v.Number + i
		}
	}
	return all
}

// withoutLater unsets the fields that some records have and that came after the first
// pinned ones: unset, they must leave no trace.
func withoutLater(r lacre.Record) {
	switch r := r.(type) {
	case *lacre.Domain:
		r.HSTS = false
	case *lacre.Certificate:
		r.OCSPNextUpdate = time.Time{}
	case *lacre.Version:
		r.OCSPStaple, r.OCSPNextUpdate, r.Epoch = nil, time.Time{}, 0
	}
}

// laterRecords have every field set that withoutLater unsets.
func laterRecords(project string) []lacre.Record {
	d, c, v := &lacre.Domain{}, &lacre.Certificate{}, &lacre.Version{}
	for _, r := range []lacre.Record{d, c, v} {
		fill(reflect.ValueOf(r).Elem(), "Later")
	}
	d.ID, c.ID, v.CertificateID = "Later", "Later", "Later"
	d.ProjectID, c.ProjectID, v.ProjectID = project, project, project
	d.Revision, c.Revision, v.Revision = 0, 0, 0
	v.SignChain, v.SealedSignKey = nil, nil
	return []lacre.Record{d, c, v}
}

func fill(v reflect.Value, name string) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(epoch.Add(time.Duration(len(name)) * time.Nanosecond)))
		return
	case []byte:
		v.SetBytes([]byte(name))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(name)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(len(name)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), name+"0")
		fill(v.Index(1), name+"1")
	case reflect.Map:
		role := reflect.ValueOf(lacre.RoleViewer)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(name), role)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), v.Type().Field(i).Name)
		}
	default:
		panic(fmt.Sprintf("a record has a %s", v.Type()))
	}
}

// revised returns a copy of r read at a revision.
func revised[T any](r *T, revision int64) *T {
	c := *r
	reflect.ValueOf(&c).Elem().FieldByName("Revision").SetInt(revision)
	return &c
}

// soon is a context that ends before a test runs into its own limit.
func soon(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	tb.Cleanup(cancel)
	return ctx
}
