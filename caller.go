package lacre

import "slices"

// Permission names an action as the IAM policies of the compatible API do
// (reference: APIG identity policies, "apig:<resource>:<verb>").
type Permission string

// The permissions that the Service checks.
const (
	CanCreateCertificate Permission = "apig:certificate:create"
	CanListCertificates  Permission = "apig:certificate:list"
	CanGetCertificate    Permission = "apig:certificate:get"
	CanModifyCertificate Permission = "apig:certificate:update"
	CanDeleteCertificate Permission = "apig:certificate:delete"
	CanBind              Permission = "apig:certificate:batchBindDomain"
	CanUnbind            Permission = "apig:certificate:batchUnbindDomain"
	CanListBound         Permission = "apig:certificate:listBoundDomain"
	CanExplain           Permission = "apig:certificate:explain"
	CanListAudits        Permission = "apig:audits:list"
	CanCreateInstance    Permission = "apig:instances:create"
	CanGetInstance       Permission = "apig:instances:get"
	CanListInstances     Permission = "apig:instances:list"
	CanDeleteInstance    Permission = "apig:instances:delete"
	CanCreateGroup       Permission = "apig:groups:create"
	CanGetGroup          Permission = "apig:groups:get"
	CanListGroups        Permission = "apig:groups:list"
	CanUpdateGroup       Permission = "apig:groups:update"
	CanDeleteGroup       Permission = "apig:groups:delete"
	CanCreateDomain      Permission = "apig:domains:create"
	CanUpdateDomain      Permission = "apig:domains:update"
	CanDeleteDomain      Permission = "apig:domains:delete"
	CanBindDomain        Permission = "apig:domains:bindCertificate"
	CanUnbindDomain      Permission = "apig:domains:unbindCertificate"
)

// Role is a named set of permissions within one project.
type Role string

// The built-in roles. An operator rotates certificates and moves bindings; it can
// neither create nor delete, nor read the audit, which names people and their addresses.
const (
	RoleAdmin    Role = "admin"
	RoleOperator Role = "operator"
	RoleViewer   Role = "viewer"
)

var viewing = []Permission{
	CanListCertificates, CanGetCertificate, CanListBound, CanExplain, CanGetInstance,
	CanListInstances, CanGetGroup, CanListGroups,
}

var operating = append(slices.Clone(viewing),
	CanModifyCertificate, CanBind, CanUnbind, CanBindDomain, CanUnbindDomain, CanUpdateDomain)

// Permissions returns every permission there is.
func Permissions() []Permission {
	return append(slices.Clone(operating), CanCreateCertificate, CanDeleteCertificate, CanCreateInstance,
		CanDeleteInstance, CanCreateGroup, CanUpdateGroup, CanDeleteGroup, CanCreateDomain, CanDeleteDomain, CanListAudits)
}

// Known tells whether p is one of Permissions.
func (p Permission) Known() bool { return slices.Contains(Permissions(), p) }

// Known tells whether r is one of the built-in roles.
func (r Role) Known() bool { return r == RoleAdmin || r == RoleOperator || r == RoleViewer }

// Allows tells whether the role includes p. An unknown role allows nothing.
func (r Role) Allows(p Permission) bool {
	switch r {
	case RoleAdmin:
		return true
	case RoleOperator:
		return slices.Contains(operating, p)
	case RoleViewer:
		return slices.Contains(viewing, p)
	}
	return false
}

// Caller is the proven identity behind one request, scoped to one project.
type Caller struct {
	UserID      string
	UserName    string
	AccountID   string
	ProjectID   string
	ProjectName string
	Role        Role
	Group       *PermissionGroup // what Role stands for, nil for a built-in one; read only
	RequestID   string
	Source      string // address the request came from, for the audit row
}

// Allows tells whether the caller may do p in the project the caller is scoped to.
func (c Caller) Allows(p Permission) bool {
	return c.Role.Allows(p) || c.Group != nil && slices.Contains(c.Group.Permissions, p)
}
