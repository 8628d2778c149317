package lacre

import "time"

// User is somebody who may obtain a token. Passwords are kept as argon2id hashes.
type User struct {
	ID           string // 32 lower-case hexadecimal digits
	AccountID    string // what IAM calls the user's domain
	AccountName  string
	Name         string // unique within the account
	PasswordHash string // argon2id, PHC string format
	// Roles is by project id: a built-in role, or a PermissionGroup of the project's account.
	Roles    map[string]Role
	Disabled bool
	// Administrator may manage the users, projects, roles and access keys of the account.
	Administrator bool
	// Epoch moves when the password changes or the user is disabled; tokens of an
	// older epoch are refused.
	Epoch    int
	Created  time.Time
	Revision int64
}

// UserName claims a user name within an account.
type UserName struct {
	AccountName string
	Name        string
	UserID      string
	Revision    int64
}

// ProjectName claims a project name within an account.
type ProjectName struct {
	AccountName string
	Name        string
	ProjectID   string
	Revision    int64
}
