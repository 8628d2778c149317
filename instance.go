package lacre

import "time"

// Project is a tenant. Its records share one key prefix in the store.
type Project struct {
	ID          string // 32 lower-case hexadecimal digits
	Name        string // unique within the account
	AccountID   string // what IAM calls the domain of the project
	AccountName string
	Created     time.Time
	Revision    int64
}

// Instance is a gateway of a project: the place where host names are served.
type Instance struct {
	ID        string
	ProjectID string
	Name      string // unique within the project
	// Closing is set while the instance is being deleted: nothing can be added any more.
	Closing  bool
	Created  time.Time
	Revision int64
}

// Status is what the API says of the instance: "Running", or "Deleting" while it closes.
func (in *Instance) Status() string {
	if in.Closing {
		return "Deleting"
	}
	return "Running"
}

// FirstInstance is the name of the instance that a project starts with.
const FirstInstance = "default"

// NewInstance is an instance to be made, with the claim of its name. Put both.
func NewInstance(projectID, name string, now time.Time) (*Instance, *InstanceName) {
	in := &Instance{ID: NewID(), ProjectID: projectID, Name: name, Created: now.UTC()}
	return in, &InstanceName{ProjectID: projectID, Name: name, InstanceID: in.ID}
}

// InstanceName claims an instance name within a project.
type InstanceName struct {
	ProjectID  string
	Name       string
	InstanceID string
	Revision   int64
}
