package iam

import (
	"cmp"
	"net/http"
	"slices"

	"lacre"
)

// credentials are the calls for permanent access keys, in the shapes of the cloud's IAM
// API (/v3.0/OS-CREDENTIAL/credentials). Users manage their own, administrators those of
// their account. What one may not touch does not exist.
func (a *IAM) credentials(mux *http.ServeMux) {
	const path = "/v3.0/OS-CREDENTIAL/credentials"
	mux.HandleFunc("POST "+path, a.answering(a.createCredential))
	mux.HandleFunc("GET "+path, a.answering(a.listCredentials))
	mux.HandleFunc("GET "+path+"/{access_key}", a.answering(a.showCredential))
	mux.HandleFunc("PUT "+path+"/{access_key}", a.answering(a.changeCredential))
	mux.HandleFunc("DELETE "+path+"/{access_key}", a.answering(a.deleteCredential))
}

// credentialAnswer is an access key. Its secret is there in the answer to its creation
// and nowhere else.
type credentialAnswer struct {
	Access      string `json:"access"`
	Secret      string `json:"secret,omitempty"`
	UserID      string `json:"user_id"`
	Status      string `json:"status"` // active or inactive
	Description string `json:"description"`
	Created     string `json:"create_time"`
}

const active, inactive = "active", "inactive"

func answerKey(k *lacre.AccessKey) credentialAnswer {
	status := active
	if k.Disabled {
		status = inactive
	}
	return credentialAnswer{
		Access: k.ID, UserID: k.UserID, Status: status, Description: k.Description,
		Created: k.Created.UTC().Format("2006-01-02T15:04:05.000000Z"),
	}
}

// credentialForm is the body of creating and changing a key.
type credentialForm struct {
	Credential struct {
		UserID      string  `json:"user_id"`
		Status      string  `json:"status"`
		Description *string `json:"description"`
	} `json:"credential"`
}

// holder returns the user whose keys are asked for: the caller, or whom the caller
// administers.
func (a *IAM) holder(r *http.Request, s *session, id string) (*lacre.User, error) {
	if id == "" || id == s.user.ID {
		return s.user, nil
	}
	if !s.user.Administrator {
		return nil, lacre.Errorf(lacre.CodeForbidden, "Only an administrator of the account may do this for others")
	}
	return a.member(r, s, id)
}

// createCredential answers POST …/credentials.
func (a *IAM) createCredential(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	var body credentialForm
	if err := readBody(r, &body); err != nil {
		return err
	}
	u, err := a.holder(r, s, body.Credential.UserID)
	if err != nil {
		return err
	}
	var description string
	if d := body.Credential.Description; d != nil {
		description = *d
	}
	k, secret, err := a.CreateAccessKey(r.Context(), s.actor(w, r), u.ID, description)
	if err != nil {
		return err
	}
	answer := answerKey(k)
	answer.Secret = string(secret)
	writeJSON(w, http.StatusCreated, map[string]credentialAnswer{"credential": answer})
	return nil
}

// listCredentials answers GET …/credentials?user_id=, the oldest first.
func (a *IAM) listCredentials(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sender(r, "")
	if err != nil {
		return err
	}
	u, err := a.holder(r, s, r.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	keys, err := a.users.AccessKeys(r.Context(), u.ID)
	if err != nil {
		return storeError("listing access keys", err)
	}
	slices.SortFunc(keys, func(a, b *lacre.AccessKey) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	answer := []credentialAnswer{}
	for _, k := range keys {
		answer = append(answer, answerKey(k))
	}
	writeJSON(w, http.StatusOK, map[string][]credentialAnswer{"credentials": answer})
	return nil
}

// keyOf returns the access key in r's path if its sender may manage it.
func (a *IAM) keyOf(r *http.Request) (*session, *lacre.AccessKey, error) {
	s, err := a.sender(r, "")
	if err != nil {
		return nil, nil, err
	}
	id := r.PathValue("access_key")
	k, err := a.users.AccessKey(r.Context(), id)
	if err != nil {
		return nil, nil, lookup("access key", id, err)
	}
	_, err = a.holder(r, s, k.UserID)
	if code := lacre.CodeOf(err); err != nil && (code == lacre.CodeForbidden || code == codeNotFound) {
		return nil, nil, lookup("access key", id, lacre.ErrNotStored)
	}
	return s, k, err
}

// showCredential answers GET …/credentials/{access_key}.
func (a *IAM) showCredential(w http.ResponseWriter, r *http.Request) error {
	_, k, err := a.keyOf(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]credentialAnswer{"credential": answerKey(k)})
	return nil
}

// changeCredential answers PUT …/credentials/{access_key}. What is absent stays.
func (a *IAM) changeCredential(w http.ResponseWriter, r *http.Request) error {
	s, k, err := a.keyOf(r)
	if err != nil {
		return err
	}
	var body credentialForm
	if err := readBody(r, &body); err != nil {
		return err
	}
	form := &body.Credential
	var disabled *bool
	switch form.Status {
	case "":
	case active, inactive:
		disabled = new(form.Status == inactive)
	default:
		return lacre.FieldErrorf(lacre.CodeInvalidField, "status", "expected active or inactive")
	}
	if k, err = a.ChangeAccessKey(r.Context(), s.actor(w, r), k.ID, disabled, form.Description); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]credentialAnswer{"credential": answerKey(k)})
	return nil
}

// deleteCredential answers DELETE …/credentials/{access_key}.
func (a *IAM) deleteCredential(w http.ResponseWriter, r *http.Request) error {
	s, k, err := a.keyOf(r)
	if err != nil {
		return err
	}
	if err := a.DeleteAccessKey(r.Context(), s.actor(w, r), k.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
