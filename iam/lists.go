package iam

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"lacre"
)

// links is the paging of IAM's lists: always one page, with a next that is null, or
// Terraform would go on asking.
type links struct {
	Self     string  `json:"self"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
}

type self struct {
	Self string `json:"self"`
}

// projectAnswer, accountAnswer and userAnswer have every field that a client reads,
// even those that say the same for all of ours.
type projectAnswer struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	DomainID    string `json:"domain_id"`
	ParentID    string `json:"parent_id"`
	Enabled     bool   `json:"enabled"`
	IsDomain    bool   `json:"is_domain"`
	Description string `json:"description"`
	Links       self   `json:"links"`
}

type accountAnswer struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Enabled     bool   `json:"enabled"`
	Description string `json:"description"`
	Links       self   `json:"links"`
}

type userAnswer struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	Enabled  bool   `json:"enabled"`
	Links    self   `json:"links"`
	// Administrator is ours: whether the user manages the account.
	Administrator bool `json:"administrator,omitempty"`
}

func answerUser(u *lacre.User) userAnswer {
	return userAnswer{ID: u.ID, Name: u.Name, DomainID: u.AccountID, Enabled: !u.Disabled, Administrator: u.Administrator}
}

func answerProject(p *lacre.Project) projectAnswer {
	return projectAnswer{ID: p.ID, Name: p.Name, DomainID: p.AccountID, ParentID: p.AccountID, Enabled: true}
}

// listProjects answers GET /v3/projects?name=: the projects the caller has a role in, and
// to an administrator all of the account. The SDK wants exactly one hit for a name,
// Terraform takes the first.
func (a *IAM) listProjects(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	visible, err := a.projectsOf(r.Context(), s.user)
	if err != nil {
		return err
	}
	projects := []projectAnswer{}
	for _, p := range visible {
		if asked(r, p.Name) {
			projects = append(projects, answerProject(p))
		}
	}
	slices.SortFunc(projects, func(a, b projectAnswer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	writeJSON(w, http.StatusOK, map[string]any{"projects": projects, "links": links{}})
	return nil
}

// projectsOf returns the projects a user may see, each once.
func (a *IAM) projectsOf(ctx context.Context, user *lacre.User) (visible []*lacre.Project, err error) {
	if user.Administrator {
		all, err := a.users.Projects(ctx)
		if err != nil {
			return nil, storeError("listing projects", err)
		}
		visible = slices.DeleteFunc(all, func(p *lacre.Project) bool { return p.AccountID != user.AccountID })
	}
	for id := range user.Roles {
		there := sighting{user: user}
		if there.project, there.group, err = a.part(ctx, user, id); err != nil {
			return nil, err
		}
		if there.role() != "" && !slices.ContainsFunc(visible, func(p *lacre.Project) bool { return p.ID == id }) {
			visible = append(visible, there.project)
		}
	}
	return visible, nil
}

// listAccounts answers GET /v3/auth/domains: the caller's own account.
func (a *IAM) listAccounts(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	account := accountAnswer{ID: s.user.AccountID, Name: s.user.AccountName, Enabled: true}
	writeJSON(w, http.StatusOK, map[string]any{"domains": []accountAnswer{account}, "links": links{}})
	return nil
}

// listUsers answers GET /v3/users?name=: the caller alone, which is whom clients look
// for, and to an administrator everybody of the account.
func (a *IAM) listUsers(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	visible := []*lacre.User{s.user}
	if s.user.Administrator {
		if visible, err = a.users.Users(r.Context()); err != nil {
			return storeError("listing users", err)
		}
	}
	users := []userAnswer{}
	for _, u := range visible {
		if u.AccountID == s.user.AccountID && asked(r, u.Name) {
			users = append(users, answerUser(u))
		}
	}
	slices.SortFunc(users, func(a, b userAnswer) int { return cmp.Compare(a.Name, b.Name) })
	writeJSON(w, http.StatusOK, map[string]any{"users": users, "links": links{}})
	return nil
}

// asked tells whether the name filter of r, if any, lets name through.
func asked(r *http.Request, name string) bool {
	want := r.URL.Query().Get("name")
	return want == "" || want == name
}
