package iam

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"lacre"
)

// Codes of the identity calls only; they never leave this package.
const (
	codeSignIn    lacre.Code = "sign-in-refused"
	codeNoSubject lacre.Code = "no-such-token"
	codeBusy      lacre.Code = "busy"
	codeNotFound  lacre.Code = "not-found"
	codeConflict  lacre.Code = "conflict" // a limit, a name that is taken, the last administrator
)

// refuse is the one answer to every sign-in that fails. The reason is for the log.
func refuse(format string, args ...any) error {
	return &lacre.Error{
		Code: codeSignIn, Message: "The username or password is wrong", Err: fmt.Errorf(format, args...),
	}
}

// signIn returns the user that claim proves to be.
//
// The order matters. A place that is refused costs nothing. Everything after it, the
// lookup too, is behind the door. Persons are counted inside the door, so that guesses
// sent at once do not all find the count at zero.
func (a *IAM) signIn(ctx context.Context, claim *claim, source string) (*lacre.User, error) {
	if a.places.refuses(source, a.now()) {
		return nil, refuse("too many failures from %s", source)
	}
	leave, err := a.door.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	user, err := a.claimed(ctx, claim)
	if err != nil { // the store's failure is not the caller's, and does not count
		return nil, err
	}
	try := attempt{person: claim.person(user), source: source}
	if a.people.refuses(try, a.now()) {
		return nil, refuse("too many failures of this user from %s", source)
	}
	if err := prove(user, string(claim.Password)); err != nil {
		if lacre.CodeOf(err) == codeSignIn {
			a.people.failed(try, a.now())
			a.places.failed(source, a.now())
		}
		return nil, err
	}
	a.people.succeeded(try)
	return user, nil
}

// prove checks the password. It takes as long for nobody, and for a disabled user, as
// for a wrong password.
func prove(user *lacre.User, password string) error {
	hashed := nobody
	if user != nil {
		hashed = user.PasswordHash
	}
	right, err := matches(hashed, password)
	switch {
	case err != nil:
		return fmt.Errorf("user %s: %w", user.ID, err)
	case user == nil:
		return refuse("there is no such user")
	case !right:
		return refuse("wrong password of user %s", user.ID)
	case user.Disabled:
		return refuse("user %s is disabled", user.ID)
	}
	return nil
}

// person is what failures are counted for: the same for a user's id and name, so that
// naming them in turn gains nothing. Who does not exist is digested, as such a claim may
// be as long as a body.
func (c *claim) person(user *lacre.User) string {
	if user != nil {
		return "user " + user.ID
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", c.ID, c.Name, c.Domain.ID, c.Domain.Name))
	return "nobody " + string(sum[:])
}

// claimed returns the user that c names, nil when there is none.
func (a *IAM) claimed(ctx context.Context, c *claim) (*lacre.User, error) {
	var user *lacre.User
	var err error
	switch {
	case c.ID != "":
		user, err = orNil(a.users.User(ctx, c.ID))
	case c.Domain.ID != "":
		user, err = a.userOfAccount(ctx, c.Domain.ID, c.Name)
	default:
		user, err = orNil(a.users.UserByName(ctx, c.Domain.Name, c.Name))
	}
	if err != nil {
		return nil, storeError("looking up a user", err)
	}
	return user, nil
}

// userOfAccount finds a user by name in the account with an id. There is no index for
// that: it reads every user, behind the door that lets two sign-ins in at once.
func (a *IAM) userOfAccount(ctx context.Context, accountID, name string) (*lacre.User, error) {
	all, err := a.users.Users(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(u *lacre.User) bool { return u.AccountID == accountID && u.Name == name })
	if i < 0 {
		return nil, nil
	}
	return all[i], nil
}

// exchange returns the session of a token that is to be exchanged for another. Sign-in
// has no codes for what is wrong with a token: all of it is a 401, except that the store
// not answering stays that.
func (a *IAM) exchange(ctx context.Context, text string) (*session, error) {
	s, err := a.session(ctx, text)
	if err == nil || lacre.CodeOf(err) == lacre.CodeUnavailable || lacre.CodeOf(err) == lacre.CodeInternal {
		return s, err
	}
	return nil, &lacre.Error{Code: codeSignIn, Message: "The token is not valid", Err: err}
}

// errNoScope says the same of a project that does not exist and of one that the user
// has no part in.
var errNoScope = lacre.Errorf(codeSignIn, "The project or domain does not exist, or the user has no role in it")

// scoped adds to t the scope that user asks for: a project the user has a role in, or an
// account or no scope, which every user may have.
func (a *IAM) scoped(ctx context.Context, t *token, user *lacre.User, s scope) (sighting, error) {
	seen := sighting{user: user}
	switch {
	case s.Domain != nil:
		if !s.Domain.isAccountOf(user) {
			return seen, errNoScope
		}
		t.AccountID = user.AccountID
	case s.Project != nil:
		id, err := a.scopedProject(ctx, user, s.Project)
		if err != nil {
			return seen, err
		}
		if seen.project, seen.group, err = a.part(ctx, user, id); err != nil {
			return seen, err
		}
		if seen.role() == "" {
			return seen, errNoScope
		}
		t.ProjectID = id
	}
	return seen, nil
}

// scopedProject returns the id of the project that ref names.
func (a *IAM) scopedProject(ctx context.Context, user *lacre.User, ref *projectReference) (string, error) {
	if ref.ID != "" {
		return ref.ID, nil
	}
	account := ref.Domain.Name // another account's id alone does not find it
	if (ref.Domain == reference{}) || ref.Domain.isAccountOf(user) {
		account = user.AccountName
	}
	project, err := a.users.ProjectByName(ctx, account, ref.Name)
	switch {
	case errors.Is(err, lacre.ErrNotStored):
		return "", errNoScope
	case err != nil:
		return "", storeError("looking up a project", err)
	}
	return project.ID, nil
}

// isAccountOf tells whether r names the account of user.
func (r reference) isAccountOf(user *lacre.User) bool {
	if r.ID != "" {
		return r.ID == user.AccountID
	}
	return r.Name == user.AccountName
}
