package iam

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"lacre"
)

// Administration. The exported methods check no permission: they are for whoever runs the
// process, and for the identity calls, which do. by is the person the audit row names, whose
// account can read it.

// ErrNameTaken means that the account has a user, project or role of that name.
var ErrNameTaken = errors.New("the name is taken")

// What the audit rows of administration say was done.
const (
	createdProject  lacre.Permission = "iam:projects:create"
	createdUser     lacre.Permission = "iam:users:create"
	changedPassword lacre.Permission = "iam:users:setPassword"
	disabledUser    lacre.Permission = "iam:users:disable"
	enabledUser     lacre.Permission = "iam:users:enable"
	grantedRole     lacre.Permission = "iam:permissions:grantRole"
	withdrewRole    lacre.Permission = "iam:permissions:revokeRole"
	changedUser     lacre.Permission = "iam:users:update"
	deletedUser     lacre.Permission = "iam:users:delete"
	createdRole     lacre.Permission = "iam:roles:create"
	deletedRole     lacre.Permission = "iam:roles:delete"
	createdKey      lacre.Permission = "iam:credentials:create"
	changedKey      lacre.Permission = "iam:credentials:update"
	deletedKey      lacre.Permission = "iam:credentials:delete"
)

// updateAttempts bounds how often a change of a user is tried again when it was
// overtaken by another.
const updateAttempts = 8

// CreateProject makes a project in an account, with an instance to begin with: clients of the
// cloud look for one and do not make it. The account need not exist: it is no more than a
// name that projects and users share.
func (a *IAM) CreateProject(ctx context.Context, by lacre.Caller, account, name string) (*lacre.Project, error) {
	if err := errors.Join(checkName("account", account), checkName("name", name)); err != nil {
		return nil, err
	}
	p := a.newProject(account, name)
	in, claim := lacre.NewInstance(p.ID, lacre.FirstInstance, p.Created)
	tx := lacre.Tx{Put: []lacre.Record{p, projectName(p), in, claim}}
	tx.Audit.Detail = "name " + name + ", with instance " + in.ID + ", name " + in.Name
	revision, err := a.commit(ctx, by, createdProject, "project/"+p.ID, tx)
	if err != nil {
		return nil, storeError("creating a project", nameTaken(err))
	}
	p.Revision = revision
	return p, nil
}

// CreateUser makes a user without any role in an account. Passwords are 8 to 128 bytes.
func (a *IAM) CreateUser(ctx context.Context, by lacre.Caller, account, name, password string) (*lacre.User, error) {
	return a.createUser(ctx, by, account, name, password, false)
}

func (a *IAM) createUser(ctx context.Context, by lacre.Caller, account, name, password string, administrator bool) (*lacre.User, error) {
	err := errors.Join(checkName("account", account), checkName("name", name), checkPassword(password))
	if err != nil {
		return nil, err
	}
	u := a.newUser(account, name, password)
	u.Administrator = administrator
	tx := lacre.Tx{Put: []lacre.Record{u, userName(u)}}
	if tx.Audit.Detail = "name " + name; administrator {
		tx.Audit.Detail += ", administrator"
	}
	revision, err := a.commit(ctx, by, createdUser, "user/"+u.ID, tx)
	if err != nil {
		return nil, storeError("creating a user", nameTaken(err))
	}
	u.Revision = revision
	return u, nil
}

// SetPassword changes a user's password and ends all of the user's tokens. Access keys
// stay good: they are not the password's.
func (a *IAM) SetPassword(ctx context.Context, by lacre.Caller, userID, password string) error {
	_, err := a.ChangeUser(ctx, by, userID, UserChange{Password: (*lacre.Secret)(&password)})
	return err
}

// Disable keeps a user out and ends all of the user's tokens, within a second on every
// node. Access keys rest as long.
func (a *IAM) Disable(ctx context.Context, by lacre.Caller, userID string) error {
	_, err := a.ChangeUser(ctx, by, userID, UserChange{Enabled: new(false)})
	return err
}

// Enable lets a disabled user sign in again. Tokens from before stay refused.
func (a *IAM) Enable(ctx context.Context, by lacre.Caller, userID string) error {
	_, err := a.ChangeUser(ctx, by, userID, UserChange{Enabled: new(true)})
	return err
}

// update repeats one read, change and commit of a user until nobody got in between.
// change may add to the transaction that writes the user.
func (a *IAM) update(ctx context.Context, by lacre.Caller, action lacre.Permission, userID string,
	change func(*lacre.User, *lacre.Tx) error) error {
	for range updateAttempts {
		u, err := a.users.User(ctx, userID)
		if err != nil {
			return lookup("user", userID, err)
		}
		tx := lacre.Tx{Put: []lacre.Record{u}}
		if err := change(u, &tx); err != nil {
			return storeError("changing a user", err)
		}
		_, err = a.commit(ctx, by, action, "user/"+userID, tx)
		if err == nil {
			return nil
		}
		if _, overtaken := errors.AsType[*lacre.ConflictError](err); !overtaken {
			return storeError("changing user "+userID, err)
		}
	}
	return errContended
}

var errContended = lacre.Errorf(lacre.CodeContended, "too many concurrent changes, try again")

// lookup gives a record that is not there its code.
func lookup(what, id string, err error) error {
	if errors.Is(err, lacre.ErrNotStored) {
		return &lacre.Error{Code: codeNotFound, Message: "There is no such " + what, Err: err}
	}
	return storeError("reading "+what+" "+id, err)
}

func (a *IAM) commit(ctx context.Context, by lacre.Caller, action lacre.Permission, resource string, tx lacre.Tx) (int64, error) {
	tx.Audit = lacre.Audit{
		Time: a.now().UTC(), Action: action, Resource: resource, Detail: tx.Audit.Detail,
		AccountID: by.AccountID, UserID: by.UserID, UserName: by.UserName, Source: by.Source, RequestID: by.RequestID,
	}
	return a.users.Commit(ctx, tx)
}

func (a *IAM) newProject(account, name string) *lacre.Project {
	return &lacre.Project{
		ID: lacre.NewID(), Name: name, AccountID: accountID(account), AccountName: account, Created: a.now().UTC(),
	}
}

func (a *IAM) newUser(account, name, password string) *lacre.User {
	return &lacre.User{
		ID: lacre.NewID(), AccountID: accountID(account), AccountName: account, Name: name,
		PasswordHash: hashPassword(password), Roles: map[string]lacre.Role{}, Created: a.now().UTC(),
	}
}

func projectName(p *lacre.Project) *lacre.ProjectName {
	return &lacre.ProjectName{AccountName: p.AccountName, Name: p.Name, ProjectID: p.ID}
}

func userName(u *lacre.User) *lacre.UserName {
	return &lacre.UserName{AccountName: u.AccountName, Name: u.Name, UserID: u.ID}
}

// accountID is the id of an account, 32 lower-case hexadecimal digits. It derives from
// the name, so that everything made in an account agrees without a record of it.
func accountID(name string) string {
	sum := sha256.Sum256([]byte("lacre/account/v1/" + name))
	return hex.EncodeToString(sum[:16])
}

// nameTaken tells a claimed name from other failures.
func nameTaken(err error) error {
	if conflict, ok := errors.AsType[*lacre.ConflictError](err); ok {
		return &lacre.Error{Code: codeConflict, Message: "The name is taken", Err: fmt.Errorf("%w: %w", ErrNameTaken, conflict)}
	}
	return err
}

// checkName allows what can be typed, read and told apart: 1 to 64 printable
// characters, no spaces around them.
func checkName(field, name string) error {
	first, _ := utf8.DecodeRuneInString(name)
	last, _ := utf8.DecodeLastRuneInString(name)
	if !printable(name) || name == "" || utf8.RuneCountInString(name) > 64 || first == ' ' || last == ' ' {
		return lacre.FieldErrorf(lacre.CodeInvalidField, field, "expected 1 to 64 printable characters without spaces around them")
	}
	return nil
}

func printable(text string) bool {
	for _, c := range text {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return utf8.ValidString(text)
}
