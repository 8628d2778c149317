package iam

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"lacre"
)

// roleName keeps the names of roles fit for a path.
var roleName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

// CreateRole makes a role of an account: a name for a set of permissions, to be granted
// in the account's projects beside the built-in roles.
func (a *IAM) CreateRole(ctx context.Context, by lacre.Caller, account string, name lacre.Role, permissions []lacre.Permission) (*lacre.PermissionGroup, error) {
	if !roleName.MatchString(string(name)) || name.Known() {
		return nil, lacre.FieldErrorf(lacre.CodeInvalidField, "name",
			"expected a letter, then up to 63 letters, digits, - or _, and none of the built-in roles")
	}
	if len(permissions) == 0 {
		return nil, lacre.FieldErrorf(lacre.CodeMissing, "permissions", "expected at least one")
	}
	for _, p := range permissions {
		if !p.Known() {
			return nil, lacre.FieldErrorf(lacre.CodeInvalidField, "permissions", "%.64q is not a permission", string(p))
		}
	}
	permissions = slices.Sorted(slices.Values(permissions))
	g := &lacre.PermissionGroup{AccountName: account, Name: name, Permissions: slices.Compact(permissions), Created: a.now().UTC()}
	if _, err := a.commit(ctx, by, createdRole, "role/"+string(name), lacre.Tx{Put: []lacre.Record{g}}); err != nil {
		return nil, storeError("creating a role", nameTaken(err))
	}
	return g, nil
}

// DeleteRole removes a role that nobody has.
func (a *IAM) DeleteRole(ctx context.Context, by lacre.Caller, account string, name lacre.Role) error {
	for range updateAttempts {
		g, err := a.users.PermissionGroup(ctx, account, name)
		if err != nil {
			return lookup("role", string(name), err)
		}
		if err := a.unused(ctx, g); err != nil {
			return err
		}
		_, err = a.commit(ctx, by, deletedRole, "role/"+string(name), lacre.Tx{Delete: []lacre.Record{g}})
		if err == nil {
			return nil
		}
		if _, overtaken := errors.AsType[*lacre.ConflictError](err); !overtaken {
			return storeError("deleting a role", err)
		}
	}
	return errContended
}

// unused refuses when a user has the role in a project of its account. Granting writes
// the role too, so that the answer holds until the role is deleted at its revision.
func (a *IAM) unused(ctx context.Context, g *lacre.PermissionGroup) error {
	projects, err := a.users.Projects(ctx)
	if err != nil {
		return storeError("looking for users of a role", err)
	}
	users, err := a.users.Users(ctx)
	if err != nil {
		return storeError("looking for users of a role", err)
	}
	for _, u := range users {
		for _, p := range projects {
			if p.AccountName == g.AccountName && u.Roles[p.ID] == g.Name {
				return lacre.Errorf(codeConflict, "%s has the role in project %s", u.Name, p.Name)
			}
		}
	}
	return nil
}

// builtIn are the roles that every account has.
var builtIn = []lacre.Role{lacre.RoleAdmin, lacre.RoleOperator, lacre.RoleViewer}

// rolesOf returns the roles that can be granted in an account's projects, the built-in
// ones first.
func (a *IAM) rolesOf(ctx context.Context, account string) ([]*lacre.PermissionGroup, error) {
	var all []*lacre.PermissionGroup
	for _, role := range builtIn {
		g := &lacre.PermissionGroup{AccountName: account, Name: role}
		for _, p := range lacre.Permissions() {
			if role.Allows(p) {
				g.Permissions = append(g.Permissions, p)
			}
		}
		all = append(all, g)
	}
	own, err := a.users.PermissionGroups(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("listing roles: %w", err)
	}
	return append(all, own...), nil
}
