package store_test

import (
	"context"
	"fmt"
	"reflect"

	"lacre"
	"lacre/store"
)

// fetch reads a record by its identifying fields through the method of its kind. Claims
// and the like without a method of their own go through the one that needs them.
func fetch(ctx context.Context, s *store.Store, r lacre.Record) (lacre.Record, error) {
	switch r := r.(type) {
	case *lacre.Project:
		return generic(s.Project(ctx, r.ID))
	case *lacre.Instance:
		return generic(s.Instance(ctx, r.ProjectID, r.ID))
	case *lacre.Group:
		return generic(s.Group(ctx, r.ProjectID, r.ID))
	case *lacre.Domain:
		return generic(s.Domain(ctx, r.ProjectID, r.ID))
	case *lacre.Host:
		return generic(s.Host(ctx, r.ProjectID, r.InstanceID, r.Host))
	case *lacre.Certificate:
		return generic(s.Certificate(ctx, r.ProjectID, r.ID))
	case *lacre.CertificateName:
		return generic(s.CertificateName(ctx, r.ProjectID, r.InstanceID, r.Name))
	case *lacre.Version:
		return generic(s.Version(ctx, r.ProjectID, r.CertificateID, r.Number))
	case *lacre.User:
		return generic(s.User(ctx, r.ID))
	case *lacre.AccessKey:
		return generic(s.AccessKey(ctx, r.ID))
	case *lacre.PermissionGroup:
		return generic(s.PermissionGroup(ctx, r.AccountName, r.Name))
	}
	return generic(store.One(ctx, s, r))
}

// generic keeps a nil pointer from becoming a record that is not nil.
func generic[T lacre.Record](r T, err error) (lacre.Record, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

func atRevision(r lacre.Record, revision int64) lacre.Record {
	c := copyOf(r)
	reflect.ValueOf(c).Elem().FieldByName("Revision").SetInt(revision)
	return c
}

func copyOf(r lacre.Record) lacre.Record {
	c := reflect.New(reflect.TypeOf(r).Elem())
	c.Elem().Set(reflect.ValueOf(r).Elem())
	return c.Interface().(lacre.Record)
}

// clearIdentity returns a record of the same kind without any identity.
func clearIdentity(r lacre.Record) lacre.Record {
	return reflect.New(reflect.TypeOf(r).Elem()).Interface().(lacre.Record)
}

// damageOf puts bytes under the key of a record.
func damageOf(ctx context.Context, s *store.Store, r lacre.Record, value []byte) error {
	key, err := store.KeyOf(r)
	if err != nil {
		return fmt.Errorf("damaging: %w", err)
	}
	_, err = s.KV().Put(ctx, key, string(value))
	return err
}
