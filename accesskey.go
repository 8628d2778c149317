package lacre

import "time"

// AccessKey is a key pair a user signs requests with instead of showing a token: the
// access key ID (AK), which is public, and the secret access key (SK), kept sealed.
type AccessKey struct {
	ID           string // 20 upper-case letters and digits
	UserID       string
	SealedSecret []byte // as from a Sealer, opens for this ID and UserID only
	Description  string
	Disabled     bool
	Created      time.Time
	Revision     int64
}

// PermissionGroup is a role made by an account: a named set of permissions that users
// can be given in the projects of that account.
type PermissionGroup struct {
	AccountName string
	Name        Role // unique within the account, none of the built-in roles
	Permissions []Permission
	Created     time.Time
	Revision    int64
}
