package iam_test

import (
	"strings"
	"testing"

	"lacre/iam"
)

// FuzzTokenRequest sends anything as a sign-in. The store does not answer, so that no
// time goes into hashing.
func FuzzTokenRequest(f *testing.F) {
	for _, seed := range []string{
		body("acct", "alice", "password", `{"project":{"name":"x","domain":{"id":"y"}}}`), exchange("x.y.z", `{"domain":{"id":"x"}}`),
		`{"auth":null}`, `{"auth":{"scope":[]}}`, `{"auth":{"identity":{"methods":[null]}}}`, "\xff", strings.Repeat("[", 10_000),
	} {
		f.Add(seed)
	}
	key, err := iam.NewTokenKey()
	if err != nil {
		f.Fatal(err)
	}
	users := &faulty{}
	users.down.Store(true)
	a, err := iam.New(iam.Config{Users: dead{users}, TokenKey: key})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rec := signIn(a, home, text)
		switch rec.Code {
		case 400, 401, 413, 500:
			wantProblem(t, rec, rec.Code)
		default:
			t.Errorf("status = %d, want an error", rec.Code)
		}
	})
}
