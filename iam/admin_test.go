package iam_test

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/iam"
)

func TestPasswordsAreStoredAsArgon2id(t *testing.T) {
	w := newWorld(t)
	const password = "a password for two"
	first, second := w.user(t, "acct", "first", password), w.user(t, "acct", "second", password)
	form := regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`)
	for _, u := range []*lacre.User{first, second} {
		if got := current(t, w, u.ID).PasswordHash; !form.MatchString(got) || strings.Contains(got, password) {
			t.Errorf("password hash = %q, want a PHC string", got)
		}
	}
	if first.PasswordHash == second.PasswordHash {
		t.Error("two users with one password have the same hash")
	}
}

func TestPasswordRules(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		length int
		good   bool
	}{{0, false}, {7, false}, {8, true}, {128, true}, {129, false}} {
		password := strings.Repeat("p", tt.length)
		for what, err := range map[string]error{
			"CreateUser":  second(w.CreateUser(t.Context(), lacre.Caller{}, "acct", "p"+password[:min(tt.length, 9)], password)),
			"SetPassword": w.SetPassword(t.Context(), lacre.Caller{}, w.alice.ID, password),
		} {
			if tt.good && err != nil {
				t.Errorf("%s with %d bytes: error = %v, want nil", what, tt.length, err)
			} else if !tt.good {
				wantCode(t, what, err, lacre.CodeInvalidField)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestANewPassword(t *testing.T) {
	w := newWorld(t)
	fatal(t, w.SetPassword(t.Context(), lacre.Caller{}, w.alice.ID, "another password"))
	wantProblem(t, signIn(w, home, body("acct", "alice", alicePassword, "")), 401)
	if rec := signIn(w, home, body("acct", "alice", "another password", "")); rec.Code != 201 {
		t.Errorf("status with the new password = %d, want 201", rec.Code)
	}
	u := current(t, w, w.alice.ID)
	if got, want := u.Epoch, w.alice.Epoch+1; got != want {
		t.Errorf("epoch = %d, want %d", got, want)
	}
	if diff := cmp.Diff(w.alice.Roles, u.Roles); diff != "" {
		t.Errorf("roles changed (-want +got):\n%s", diff)
	}
}

func TestADisabledUserIsKeptOutUntilEnabled(t *testing.T) {
	w := newWorld(t)
	fatal(t, w.Disable(t.Context(), lacre.Caller{}, w.alice.ID))
	wantProblem(t, signIn(w, home, body("acct", "alice", alicePassword, "")), 401)
	fatal(t, w.Enable(t.Context(), lacre.Caller{}, w.alice.ID))
	if !enters(w, home) {
		t.Error("refused after Enable")
	}
}

func TestNamesAreUniqueWithinTheirAccount(t *testing.T) {
	w := newWorld(t)
	_, err := w.CreateUser(t.Context(), lacre.Caller{}, "acct", "alice", alicePassword)
	wantTaken(t, err)
	_, err = w.CreateProject(t.Context(), lacre.Caller{}, "acct", "cn-north-4")
	wantTaken(t, err)
	elsewhere := w.user(t, "third", "alice", alicePassword)
	project := w.project(t, "third", "cn-north-4")
	if elsewhere.AccountID != project.AccountID || elsewhere.AccountID == w.alice.AccountID {
		t.Errorf("account ids = %s, %s (acct %s), want the first two equal", elsewhere.AccountID, project.AccountID, w.alice.AccountID)
	}
}

// A project starts with an instance, made with it or not at all.
func TestProjectsStartWithAnInstance(t *testing.T) {
	w := newWorld(t)
	p := w.project(t, "acct", "cn-east-3")
	all, err := w.store.Instances(t.Context(), p.ID)
	if err != nil || len(all) != 1 {
		t.Fatalf("instances = %v, %v, want one", all, err)
	}
	in := all[0]
	if in.Name != "default" || in.ProjectID != p.ID || !in.Created.Equal(p.Created) || in.Revision != p.Revision {
		t.Errorf("instance = %+v, want default, of the same moment as %+v", in, p)
	}
	_, err = w.store.Commit(t.Context(), lacre.Tx{
		Put:   []lacre.Record{&lacre.InstanceName{ProjectID: p.ID, Name: "default", InstanceID: lacre.NewID()}},
		Audit: lacre.Audit{ProjectID: p.ID, Action: "test:claim"},
	})
	if _, taken := errors.AsType[*lacre.ConflictError](err); !taken {
		t.Errorf("claiming the name again: error = %v, want a conflict", err)
	}
	rows, err := w.store.Audits(t.Context(), "", lacre.AuditQuery{Resource: "project/" + p.ID, Limit: 10})
	if err != nil || len(rows.Audits) != 1 || !strings.Contains(rows.Audits[0].Detail, in.ID) {
		t.Errorf("audit = %+v, %v, want one row that names the instance", rows.Audits, err)
	}
}

func TestBadNames(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"", " x", "x ", "a\nb", "a\x00b", "\xff", strings.Repeat("x", 65), "a\u200bb"} {
		_, err := w.CreateUser(t.Context(), lacre.Caller{}, "acct", name, alicePassword)
		wantCode(t, "CreateUser "+name, err, lacre.CodeInvalidField)
		_, err = w.CreateProject(t.Context(), lacre.Caller{}, name, "x")
		wantCode(t, "CreateProject in "+name, err, lacre.CodeInvalidField)
	}
	for _, name := range []string{"x", "Jo Doe", "运维", "a/b", "a@b.c", strings.Repeat("长", 64)} {
		w.project(t, "acct", name)
	}
}

func TestGrantRefuses(t *testing.T) {
	w := newWorld(t)
	wantCode(t, "unknown role", w.Grant(t.Context(), lacre.Caller{}, w.alice.ID, w.one.ID, "root"), lacre.CodeInvalidField)
	if err := w.Grant(t.Context(), lacre.Caller{}, w.alice.ID, "none", lacre.RoleAdmin); !errors.Is(err, lacre.ErrNotStored) {
		t.Errorf("unknown project: error = %v, want ErrNotStored", err)
	}
	if err := w.Grant(t.Context(), lacre.Caller{}, "none", w.one.ID, lacre.RoleAdmin); !errors.Is(err, lacre.ErrNotStored) {
		t.Errorf("unknown user: error = %v, want ErrNotStored", err)
	}
}

// Changes of one user that overtake each other all happen.
func TestConcurrentChangesOfOneUser(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := w.Disable(t.Context(), lacre.Caller{}, w.alice.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, want := current(t, w, w.alice.ID).Epoch, w.alice.Epoch+4; got != want {
		t.Errorf("epoch = %d, want %d", got, want)
	}
}

func TestChangesFailWithTheStore(t *testing.T) {
	w := newWorld(t)
	w.users.down.Store(true)
	_, created := w.CreateProject(t.Context(), lacre.Caller{}, "acct", "new")
	for what, err := range map[string]error{"CreateProject": created, "Disable": w.Disable(t.Context(), lacre.Caller{}, w.alice.ID)} {
		if !errors.Is(err, lacre.ErrUnavailable) {
			t.Errorf("%s error = %v, want ErrUnavailable", what, err)
		}
	}
	w.users.down.Store(false)
	if current(t, w, w.alice.ID).Disabled {
		t.Error("a change that was not committed happened")
	}
}

func wantTaken(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, iam.ErrNameTaken) {
		t.Errorf("error = %v, want ErrNameTaken", err)
	}
}
