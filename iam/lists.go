package iam

import (
	"cmp"
	"net/http"
	"slices"
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
}

// listProjects answers GET /v3/projects?name=: the projects the caller has a role in.
// The SDK wants exactly one hit for a name, Terraform takes the first.
func (a *IAM) listProjects(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	projects := []projectAnswer{}
	for id := range s.user.Roles {
		there := sighting{user: s.user}
		if there.project, there.group, err = a.part(r.Context(), s.user, id); err != nil {
			return err
		}
		if there.role() != "" && asked(r, there.project.Name) {
			p := there.project
			projects = append(projects, projectAnswer{ID: p.ID, Name: p.Name, DomainID: p.AccountID, ParentID: p.AccountID, Enabled: true})
		}
	}
	slices.SortFunc(projects, func(a, b projectAnswer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	writeJSON(w, http.StatusOK, map[string]any{"projects": projects, "links": links{}})
	return nil
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
// for. Others are nobody's business who is not at the command line.
func (a *IAM) listUsers(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	users := []userAnswer{}
	if asked(r, s.user.Name) {
		users = append(users, userAnswer{ID: s.user.ID, Name: s.user.Name, DomainID: s.user.AccountID, Enabled: true})
	}
	writeJSON(w, http.StatusOK, map[string]any{"users": users, "links": links{}})
	return nil
}

// asked tells whether the name filter of r, if any, lets name through.
func asked(r *http.Request, name string) bool {
	want := r.URL.Query().Get("name")
	return want == "" || want == name
}
