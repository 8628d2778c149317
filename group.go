package lacre

import "time"

// Group is an API group: the owner of up to a handful of domains in one instance.
type Group struct {
	ID         string // 32 lower-case hexadecimal digits
	ProjectID  string
	InstanceID string
	Name       string // unique within the instance
	Remark     string
	// SubdomainAccess is the API's sl_domain_access_enabled.
	SubdomainAccess bool
	DomainIDs       []string // in the order they were added
	Created         time.Time
	Updated         time.Time
	Revision        int64
}

// GroupName claims a group name within an instance.
type GroupName struct {
	ProjectID  string
	InstanceID string
	Name       string
	GroupID    string
	Revision   int64
}
