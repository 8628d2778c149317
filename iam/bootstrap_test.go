package iam_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"lacre"
	"lacre/iam"
)

// emptyWorld is a world before anybody is in it.
func emptyWorld(t *testing.T) *world {
	t.Helper()
	key, err := iam.NewTokenKey()
	fatal(t, err)
	c := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := newStore(t, c)
	w := &world{store: s, users: &faulty{backing: s}, key: key, ring: newRing(t, s), log: &safeBuffer{}, clock: c}
	w.IAM = w.node(t)
	return w
}

func bootstrap(t *testing.T, a *iam.IAM) (iam.Credentials, bool) {
	t.Helper()
	var saved iam.Credentials
	created, err := a.Bootstrap(t.Context(), func(c iam.Credentials) error { saved = c; return nil })
	fatal(t, err)
	return saved, created
}

// opens tells whether credentials let their holder in, as the administrator.
func opens(w *world, c iam.Credentials) bool {
	rec := signIn(w, home, body(c.AccountName, c.UserName, string(c.Password), `{"project":{"id":"`+c.ProjectID+`"}}`))
	caller, err := authenticate(w.IAM, rec.Header().Get("X-Subject-Token"))
	return err == nil && caller.Role == lacre.RoleAdmin && caller.ProjectName == c.ProjectName
}

func TestBootstrap(t *testing.T) {
	w := emptyWorld(t)
	first, created := bootstrap(t, w.IAM)
	if !created || !opens(w, first) {
		t.Fatalf("created = %v, credentials %+v do not open", created, first)
	}
	if !regexp.MustCompile(`^[a-z2-7]{24}$`).MatchString(string(first.Password)) {
		t.Errorf("password has %d characters, want 24 letters and digits", len(first.Password))
	}
	if got := fmt.Sprintf("%v %+v %#v", first, first, first); strings.Contains(got, string(first.Password)) {
		t.Errorf("printing the credentials shows the password: %s", got)
	}
	pair := pair{first.AccessKey, string(first.SecretKey)}
	if caller, err := w.as(pair.sign(w, "GET", "/v2/"+first.ProjectID+"/apigw/certificates", ""), first.ProjectID); err != nil || caller.Role != lacre.RoleAdmin {
		t.Errorf("the first access key opens for %+v, %v, want the administrator", caller, err)
	}
	again, created := bootstrap(t, w.node(t))
	if created || again != (iam.Credentials{}) {
		t.Errorf("second Bootstrap: created = %v, saved %+v, want nothing", created, again)
	}
	if !opens(w, first) {
		t.Error("the second Bootstrap closed the first credentials")
	}
}

func TestNodesThatBootstrapAtOnce(t *testing.T) {
	w := emptyWorld(t)
	const nodes = 4
	var wg sync.WaitGroup
	var saved [nodes]iam.Credentials
	var created [nodes]bool
	for i := range nodes {
		wg.Go(func() { saved[i], created[i] = bootstrap(t, w.IAM) })
	}
	wg.Wait()
	winners := 0
	for i := range nodes {
		if created[i] {
			winners++
			if !opens(w, saved[i]) {
				t.Errorf("the credentials of the winner do not open")
			}
		}
	}
	projects, err := w.store.Projects(t.Context())
	fatal(t, err)
	users, err := w.store.Users(t.Context())
	fatal(t, err)
	if winners != 1 || len(projects) != 1 || len(users) != 1 {
		t.Errorf("%d winners, %d projects, %d users, want 1 of each", winners, len(projects), len(users))
	}
}

func TestCredentialsThatCannotBeSavedAreNotCreated(t *testing.T) {
	w := emptyWorld(t)
	full := errors.New("disk full")
	if _, err := w.Bootstrap(t.Context(), func(iam.Credentials) error { return full }); !errors.Is(err, full) {
		t.Errorf("Bootstrap error = %v, want %v", err, full)
	}
	if projects, err := w.store.Projects(t.Context()); err != nil || len(projects) != 0 {
		t.Errorf("projects = %v, %v, want none", projects, err)
	}
	if _, created := bootstrap(t, w.IAM); !created {
		t.Error("a retry creates nothing")
	}
}

// A commit may fail before or after it happened. Either way somebody can get in.
func TestBootstrapThroughStoreFaults(t *testing.T) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%v", applied), func(t *testing.T) {
			w := emptyWorld(t)
			w.users.down.Store(!applied)
			w.users.lose.Store(applied)
			var saved iam.Credentials
			_, err := w.Bootstrap(t.Context(), func(c iam.Credentials) error { saved = c; return nil })
			if !errors.Is(err, lacre.ErrUnavailable) {
				t.Fatalf("Bootstrap error = %v, want ErrUnavailable", err)
			}
			w.users.down.Store(false)
			w.users.lose.Store(false)
			if again, created := bootstrap(t, w.IAM); created {
				saved = again
			}
			if !opens(w, saved) {
				t.Error("the credentials saved last do not open")
			}
		})
	}
}
