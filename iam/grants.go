package iam

import (
	"net/http"

	"lacre"
)

// roleAnswer is a role; its id is its name. Permissions are ours.
type roleAnswer struct {
	ID          string             `json:"id"`
	Name        string             `json:"name"`
	DomainID    *string            `json:"domain_id"` // null for the built-in ones
	Permissions []lacre.Permission `json:"permissions"`
	Links       self               `json:"links"`
}

func answerRole(g *lacre.PermissionGroup) roleAnswer {
	answer := roleAnswer{ID: string(g.Name), Name: string(g.Name), Permissions: g.Permissions}
	if !g.Name.Known() {
		answer.DomainID = new(accountID(g.AccountName))
	}
	return answer
}

// listRoles answers GET /v3/roles?name= to everybody: what can be granted.
func (a *IAM) listRoles(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	all, err := a.rolesOf(r.Context(), s.user.AccountName)
	if err != nil {
		return storeError("listing roles", err)
	}
	roles := []roleAnswer{}
	for _, g := range all {
		if asked(r, string(g.Name)) {
			roles = append(roles, answerRole(g))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"roles": roles, "links": links{}})
	return nil
}

// addRole answers POST /v3/roles.
func (a *IAM) addRole(w http.ResponseWriter, r *http.Request) error {
	s, err := a.administrator(r)
	if err != nil {
		return err
	}
	var body struct {
		Role struct {
			Name        lacre.Role         `json:"name"`
			Permissions []lacre.Permission `json:"permissions"`
		} `json:"role"`
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	g, err := a.CreateRole(r.Context(), s.actor(w, r), s.user.AccountName, body.Role.Name, body.Role.Permissions)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, map[string]roleAnswer{"role": answerRole(g)})
	return nil
}

// removeRole answers DELETE /v3/roles/{role_id}.
func (a *IAM) removeRole(w http.ResponseWriter, r *http.Request) error {
	s, err := a.administrator(r)
	if err != nil {
		return err
	}
	if err := a.DeleteRole(r.Context(), s.actor(w, r), s.user.AccountName, lacre.Role(r.PathValue("role_id"))); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// granting returns the administrator that sent r, with the user and project it is about,
// both of the administrator's account.
func (a *IAM) granting(r *http.Request) (*session, *lacre.User, *lacre.Project, error) {
	s, err := a.administrator(r)
	if err != nil {
		return nil, nil, nil, err
	}
	u, err := a.member(r, s, r.PathValue("user_id"))
	if err != nil {
		return nil, nil, nil, err
	}
	p, err := a.users.Project(r.Context(), r.PathValue("project_id"))
	if err == nil && p.AccountID != s.user.AccountID {
		err = lacre.ErrNotStored
	}
	if err != nil {
		return nil, nil, nil, lookup("project", r.PathValue("project_id"), err)
	}
	return s, u, p, nil
}

// listGrants answers GET …/roles: a user has one role in a project, or none.
func (a *IAM) listGrants(w http.ResponseWriter, r *http.Request) error {
	s, u, p, err := a.granting(r)
	if err != nil {
		return err
	}
	all, err := a.rolesOf(r.Context(), s.user.AccountName)
	if err != nil {
		return storeError("listing roles", err)
	}
	roles := []roleAnswer{}
	for _, g := range all {
		if g.Name == u.Roles[p.ID] {
			roles = append(roles, answerRole(g))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"roles": roles, "links": links{}})
	return nil
}

// grant answers PUT …/roles/{role_id}. The role takes the place of any other there.
func (a *IAM) grant(w http.ResponseWriter, r *http.Request) error {
	s, u, p, err := a.granting(r)
	if err != nil {
		return err
	}
	if err := a.Grant(r.Context(), s.actor(w, r), u.ID, p.ID, lacre.Role(r.PathValue("role_id"))); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// withdraw answers DELETE …/roles/{role_id}.
func (a *IAM) withdraw(w http.ResponseWriter, r *http.Request) error {
	s, u, p, err := a.granting(r)
	if err != nil {
		return err
	}
	if err := a.Withdraw(r.Context(), s.actor(w, r), u.ID, p.ID, lacre.Role(r.PathValue("role_id"))); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
