package api

import (
	"net/http"

	"lacre"
)

func (x *exchange) groupInput() (lacre.GroupInput, error) {
	f, err := readForm(x.body)
	if err != nil {
		return lacre.GroupInput{}, err
	}
	f.mandatory("name")
	return lacre.GroupInput{Name: f.text("name"), Remark: f.optionalText("remark")}, f.err()
}

// groupPlace is what the path of the operations on one group names.
func (x *exchange) groupPlace() (instance, group string, err error) {
	if instance, err = x.id("instance_id", lacre.CodeInstanceNotFound); err != nil {
		return "", "", err
	}
	group, err = x.id("group_id", lacre.CodeGroupNotFound)
	return instance, group, err
}

func (x *exchange) createGroup() (*reply, error) {
	instance, err := x.id("instance_id", lacre.CodeInstanceNotFound)
	if err != nil {
		return nil, err
	}
	in, err := x.groupInput()
	if err != nil {
		return nil, err
	}
	view, err := x.Service.CreateGroup(x.Context(), x.caller, x.project, instance, in)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, body: x.groupOf(view)}, nil
}

func (x *exchange) showGroup() (*reply, error) {
	instance, id, err := x.groupPlace()
	if err != nil {
		return nil, err
	}
	view, err := x.Service.ShowGroup(x.Context(), x.caller, x.project, instance, id)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: x.groupOf(view)}, nil
}

func (x *exchange) listGroups() (*reply, error) {
	instance, err := x.id("instance_id", lacre.CodeInstanceNotFound)
	if err != nil {
		return nil, err
	}
	page, err := x.page()
	if err != nil {
		return nil, err
	}
	views, total, err := x.Service.ListGroups(x.Context(), x.caller, x.project, lacre.GroupFilter{
		InstanceID: instance,
		ID:         x.query.Get("id"),
		Name:       x.query.Get("name"),
		Precise:    x.query.Get("precise_search") == "name",
		Page:       page,
	})
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		Size   int     `json:"size"`
		Total  int     `json:"total"`
		Groups []group `json:"groups"`
	}{len(views), total, each(views, x.groupOf)}}, nil
}

func (x *exchange) modifyGroup() (*reply, error) {
	instance, id, err := x.groupPlace()
	if err != nil {
		return nil, err
	}
	in, err := x.groupInput()
	if err != nil {
		return nil, err
	}
	view, err := x.Service.ModifyGroup(x.Context(), x.caller, x.project, instance, id, in)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: x.groupOf(view)}, nil
}

func (x *exchange) deleteGroup() (*reply, error) {
	instance, id, err := x.groupPlace()
	if err != nil {
		return nil, err
	}
	return noContent(nil, x.Service.DeleteGroup(x.Context(), x.caller, x.project, instance, id))
}

func (x *exchange) setSubdomainAccess() (*reply, error) {
	instance, id, err := x.groupPlace()
	if err != nil {
		return nil, err
	}
	f, err := readForm(x.body)
	if err != nil {
		return nil, err
	}
	const field = "sl_domain_access_enabled"
	f.mandatory(field)
	enabled := f.flag(field)
	if f.err() != nil {
		return nil, f.err()
	}
	return noContent(nil, x.Service.SetSubdomainAccess(x.Context(), x.caller, x.project, instance, id, enabled))
}
