package iam

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"lacre"
)

// Who and what a new store starts with.
const (
	firstAccount = "lacre"
	firstProject = "default"
	firstUser    = "admin"
)

// Credentials are how to sign in for the first time. Write them to a file that its
// owner alone can read, and nowhere else.
type Credentials struct {
	ProjectID   string
	ProjectName string
	AccountName string // domain_name of the identity calls
	UserName    string
	Password    lacre.Secret // 24 characters, 120 random bits
	AccessKey   string       // the AK of an access key of the same user
	SecretKey   lacre.Secret
}

// Bootstrap gives a store without projects its first one, and an administrator.
//
// save gets the credentials before the store does: whoever crashes in between has a
// file too many, never a store that nobody can enter. It may be called again with
// others. created tells whether those last saved are the store's; when it is false with
// a nil error, a project was there already or another node was faster, and credentials
// that were saved in this call are void. After lacre.ErrUnavailable either may be true.
func (a *IAM) Bootstrap(ctx context.Context, save func(Credentials) error) (created bool, err error) {
	projects, err := a.users.Projects(ctx)
	if err != nil {
		return false, fmt.Errorf("looking for projects: %w", err)
	}
	if len(projects) > 0 {
		return false, nil
	}
	password := randomPassword()
	project := a.newProject(firstAccount, firstProject)
	user := a.newUser(firstAccount, firstUser, password)
	user.Roles[project.ID], user.Administrator = lacre.RoleAdmin, true
	key, secret, err := a.newAccessKey(ctx, user.ID, "first start")
	if err != nil {
		return false, err
	}
	err = save(Credentials{
		ProjectID: project.ID, ProjectName: project.Name,
		AccountName: firstAccount, UserName: firstUser, Password: lacre.Secret(password),
		AccessKey: key.ID, SecretKey: secret,
	})
	if err != nil {
		return false, fmt.Errorf("saving the first credentials: %w", err)
	}
	tx := lacre.Tx{Put: []lacre.Record{project, projectName(project), user, userName(user), key}}
	// The claim of the project's name decides between nodes that start at once.
	by := lacre.Caller{UserName: "bootstrap", AccountID: project.AccountID}
	_, err = a.commit(ctx, by, createdProject, "project/"+project.ID, tx)
	if _, faster := errors.AsType[*lacre.ConflictError](err); faster {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("creating the first project and user: %w", err)
	}
	return true, nil
}

// randomPassword returns 24 lower-case letters and digits that are hard to confuse.
func randomPassword() string {
	var b [15]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}
