package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lacre"
)

// UserChange is what ChangeUser changes: what is nil stays.
type UserChange struct {
	Password      *lacre.Secret
	Enabled       *bool
	Administrator *bool
}

// ChangeUser changes a user as a whole or not at all. A new password and disabling end
// all of the user's tokens, within a second on every node. The last enabled administrator
// of an account stays one.
func (a *IAM) ChangeUser(ctx context.Context, by lacre.Caller, userID string, c UserChange) (*lacre.User, error) {
	var hashed string
	if c.Password != nil {
		if err := checkPassword(string(*c.Password)); err != nil {
			return nil, err
		}
		hashed = hashPassword(string(*c.Password))
	}
	var changed *lacre.User
	err := a.update(ctx, by, c.action(), userID, func(u *lacre.User, tx *lacre.Tx) error {
		changed = u
		administered := u.Administrator && !u.Disabled
		if hashed != "" {
			u.PasswordHash = hashed
		}
		if c.Enabled != nil {
			u.Disabled = !*c.Enabled
		}
		if c.Administrator != nil {
			u.Administrator = *c.Administrator
		}
		if hashed != "" || c.Enabled != nil && !*c.Enabled {
			u.Epoch++
		}
		tx.Audit.Detail = c.detail()
		if administered && (!u.Administrator || u.Disabled) {
			return a.stillAdministered(ctx, u, tx)
		}
		return nil
	})
	return changed, err
}

// action is what the audit row calls the change: its gravest part.
func (c UserChange) action() lacre.Permission {
	switch {
	case c.Administrator != nil:
		return changedUser
	case c.Password != nil:
		return changedPassword
	case c.Enabled != nil && !*c.Enabled:
		return disabledUser
	case c.Enabled != nil:
		return enabledUser
	}
	return changedUser
}

// detail is the whole change, for the audit row.
func (c UserChange) detail() string {
	var parts []string
	if c.Administrator != nil {
		parts = append(parts, fmt.Sprintf("administrator: %t", *c.Administrator))
	}
	if c.Enabled != nil {
		parts = append(parts, fmt.Sprintf("enabled: %t", *c.Enabled))
	}
	if c.Password != nil {
		parts = append(parts, "new password")
	}
	return strings.Join(parts, ", ")
}

// stillAdministered refuses to take the account's last administrator away. The one who
// remains is guarded, so that two cannot take away each other at once.
func (a *IAM) stillAdministered(ctx context.Context, u *lacre.User, tx *lacre.Tx) error {
	all, err := a.users.Users(ctx)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.ID != u.ID && other.AccountID == u.AccountID && other.Administrator && !other.Disabled {
			tx.Check = append(tx.Check, other)
			return nil
		}
	}
	return lacre.Errorf(codeConflict, "%s is the last administrator of the account", u.Name)
}

// DeleteUser removes a user with all access keys. A later user of that name is another.
func (a *IAM) DeleteUser(ctx context.Context, by lacre.Caller, userID string) error {
	err := a.update(ctx, by, deletedUser, userID, func(u *lacre.User, tx *lacre.Tx) error {
		keys, err := a.users.AccessKeys(ctx, userID)
		if err != nil {
			return err
		}
		*tx = lacre.Tx{Delete: []lacre.Record{u}, Forget: []lacre.Record{userName(u)}}
		for _, k := range keys {
			tx.Delete = append(tx.Delete, k)
		}
		if u.Administrator && !u.Disabled {
			return a.stillAdministered(ctx, u, tx)
		}
		return nil
	})
	return err
}

// Grant gives a user a role in a project, instead of the one the user had there: a
// built-in one, or one made by the project's account.
func (a *IAM) Grant(ctx context.Context, by lacre.Caller, userID, projectID string, role lacre.Role) error {
	project, err := a.users.Project(ctx, projectID)
	if err != nil {
		return lookup("project", projectID, err)
	}
	return a.update(ctx, by, grantedRole, userID, func(u *lacre.User, tx *lacre.Tx) error {
		tx.Check = append(tx.Check, project)
		if !role.Known() {
			group, err := a.users.PermissionGroup(ctx, project.AccountName, role)
			if errors.Is(err, lacre.ErrNotStored) {
				return lacre.FieldErrorf(lacre.CodeInvalidField, "role", "expected admin, operator, viewer or a role of the account")
			}
			if err != nil {
				return err
			}
			// Written again unchanged: it cannot be deleted as unused meanwhile.
			tx.Put = append(tx.Put, group)
		}
		if u.Roles == nil {
			u.Roles = map[string]lacre.Role{}
		}
		u.Roles[projectID] = role
		tx.Audit.Detail = string(role) + " in project " + projectID
		return nil
	})
}

// Withdraw takes a role in a project away from a user, who must have that one.
func (a *IAM) Withdraw(ctx context.Context, by lacre.Caller, userID, projectID string, role lacre.Role) error {
	return a.update(ctx, by, withdrewRole, userID, func(u *lacre.User, tx *lacre.Tx) error {
		if role == "" || u.Roles[projectID] != role {
			return lacre.Errorf(codeNotFound, "The user does not have this role in the project")
		}
		delete(u.Roles, projectID)
		tx.Audit.Detail = string(role) + " in project " + projectID
		return nil
	})
}
