package iam

import (
	"net"
	"net/http"

	"lacre"
)

// administration are the calls that manage an account, in the shapes of Keystone and of
// the cloud's IAM. All but a user's own are for administrators of the account, who reach
// nothing outside of it: what is elsewhere does not exist for them.
func (a *IAM) administration(mux *http.ServeMux) {
	mux.HandleFunc("POST /v3/projects", a.answering(a.createProject))
	mux.HandleFunc("POST /v3/users", a.answering(a.addUser))
	mux.HandleFunc("GET /v3/users/{user_id}", a.answering(a.showUser))
	mux.HandleFunc("PATCH /v3/users/{user_id}", a.answering(a.changeUser))
	mux.HandleFunc("DELETE /v3/users/{user_id}", a.answering(a.removeUser))
	mux.HandleFunc("POST /v3/users/{user_id}/password", a.answering(a.changeOwnPassword))
	mux.HandleFunc("GET /v3/audit", a.answering(a.listAudits))
	mux.HandleFunc("GET /v3/roles", a.answering(a.listRoles))
	mux.HandleFunc("POST /v3/roles", a.answering(a.addRole))
	mux.HandleFunc("DELETE /v3/roles/{role_id}", a.answering(a.removeRole))
	const granted = "/v3/projects/{project_id}/users/{user_id}/roles"
	mux.HandleFunc("GET "+granted, a.answering(a.listGrants))
	mux.HandleFunc("PUT "+granted+"/{role_id}", a.answering(a.grant))
	mux.HandleFunc("DELETE "+granted+"/{role_id}", a.answering(a.withdraw))
}

// administrator returns the session of r's sender, who must administer the account.
func (a *IAM) administrator(r *http.Request) (*session, error) {
	s, err := a.sender(r, "")
	if err != nil {
		return nil, err
	}
	if !s.user.Administrator {
		return nil, lacre.Errorf(lacre.CodeForbidden, "Only an administrator of the account may do this")
	}
	return s, nil
}

// actor is whom the audit row of a call names.
func (s *session) actor(w http.ResponseWriter, r *http.Request) lacre.Caller {
	source, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		source = r.RemoteAddr
	}
	return lacre.Caller{
		UserID: s.user.ID, UserName: s.user.Name, AccountID: s.user.AccountID,
		Source: source, RequestID: w.Header().Get("X-Request-Id"),
	}
}

// member returns a user of the caller's account.
func (a *IAM) member(r *http.Request, s *session, id string) (*lacre.User, error) {
	u, err := a.users.User(r.Context(), id)
	if err == nil && u.AccountID != s.user.AccountID {
		err = lacre.ErrNotStored
	}
	if err != nil {
		return nil, lookup("user", id, err)
	}
	return u, nil
}

// inAccount refuses a domain_id that is not the caller's.
func inAccount(s *session, accountID string) error {
	if accountID != "" && accountID != s.user.AccountID {
		return lacre.Errorf(lacre.CodeForbidden, "Only your own account can be managed")
	}
	return nil
}

// createProject answers POST /v3/projects.
func (a *IAM) createProject(w http.ResponseWriter, r *http.Request) error {
	s, err := a.administrator(r)
	if err != nil {
		return err
	}
	var body struct {
		Project struct {
			Name     string `json:"name"`
			DomainID string `json:"domain_id"`
		} `json:"project"`
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	if err := inAccount(s, body.Project.DomainID); err != nil {
		return err
	}
	p, err := a.CreateProject(r.Context(), s.actor(w, r), s.user.AccountName, body.Project.Name)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, map[string]projectAnswer{"project": answerProject(p)})
	return nil
}

// userForm is the body of creating and changing a user. What is absent stays, or is no.
type userForm struct {
	User struct {
		Name          string        `json:"name"`
		DomainID      string        `json:"domain_id"`
		Password      *lacre.Secret `json:"password"`
		Original      lacre.Secret  `json:"original_password"`
		Enabled       *bool         `json:"enabled"`
		Administrator *bool         `json:"administrator"`
	} `json:"user"`
}

// addUser answers POST /v3/users.
func (a *IAM) addUser(w http.ResponseWriter, r *http.Request) error {
	s, err := a.administrator(r)
	if err != nil {
		return err
	}
	var body userForm
	if err := readBody(r, &body); err != nil {
		return err
	}
	form := &body.User
	switch {
	case form.Password == nil:
		return lacre.FieldErrorf(lacre.CodeMissing, "password", "expected a password")
	case form.Enabled != nil && !*form.Enabled:
		return lacre.FieldErrorf(lacre.CodeInvalidField, "enabled", "a new user is enabled; disable it afterwards")
	}
	if err := inAccount(s, form.DomainID); err != nil {
		return err
	}
	administrator := form.Administrator != nil && *form.Administrator
	u, err := a.createUser(r.Context(), s.actor(w, r), s.user.AccountName, form.Name, string(*form.Password), administrator)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, map[string]userAnswer{"user": answerUser(u)})
	return nil
}

// showUser answers GET /v3/users/{user_id}: oneself, or whom one administers.
func (a *IAM) showUser(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	if id := r.PathValue("user_id"); id != s.user.ID && !s.user.Administrator {
		return lookup("user", id, lacre.ErrNotStored)
	}
	u, err := a.member(r, s, r.PathValue("user_id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]userAnswer{"user": answerUser(u)})
	return nil
}

// changeUser answers PATCH /v3/users/{user_id}. Users keep their names.
func (a *IAM) changeUser(w http.ResponseWriter, r *http.Request) error {
	s, err := a.administrator(r)
	if err != nil {
		return err
	}
	var body userForm
	if err := readBody(r, &body); err != nil {
		return err
	}
	u, err := a.member(r, s, r.PathValue("user_id"))
	if err != nil {
		return err
	}
	form := &body.User
	switch {
	case form.Name != "" && form.Name != u.Name, form.DomainID != "" && form.DomainID != u.AccountID:
		return lacre.FieldErrorf(lacre.CodeInvalidField, "name", "a user's name and account cannot change")
	case form.Password == nil && form.Enabled == nil && form.Administrator == nil:
		return lacre.FieldErrorf(lacre.CodeMissing, "user", "expected password, enabled or administrator")
	}
	change := UserChange{Password: form.Password, Enabled: form.Enabled, Administrator: form.Administrator}
	if u, err = a.ChangeUser(r.Context(), s.actor(w, r), u.ID, change); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]userAnswer{"user": answerUser(u)})
	return nil
}

// removeUser answers DELETE /v3/users/{user_id}.
func (a *IAM) removeUser(w http.ResponseWriter, r *http.Request) error {
	s, err := a.administrator(r)
	if err != nil {
		return err
	}
	u, err := a.member(r, s, r.PathValue("user_id"))
	if err != nil {
		return err
	}
	if err := a.DeleteUser(r.Context(), s.actor(w, r), u.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// changeOwnPassword answers POST /v3/users/{user_id}/password. A token is not enough, the
// old password is asked for as at a sign-in, and guessing it is as slow.
func (a *IAM) changeOwnPassword(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	var body userForm
	if err := readBody(r, &body); err != nil {
		return err
	}
	switch {
	case r.PathValue("user_id") != s.user.ID:
		return lacre.Errorf(lacre.CodeForbidden, "Only your own password can be changed here")
	case body.User.Password == nil:
		return lacre.FieldErrorf(lacre.CodeMissing, "password", "expected a password")
	}
	proof := &claim{reference: reference{ID: s.user.ID}, Password: body.User.Original}
	if _, err := a.signIn(r.Context(), proof, sourceOf(r)); err != nil {
		return err
	}
	if _, err := a.ChangeUser(r.Context(), s.actor(w, r), s.user.ID, UserChange{Password: body.User.Password}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
