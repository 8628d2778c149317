package api

import (
	"net/http"
	"slices"
	"strings"

	"lacre"
)

// groupInput reads the body of create and modify group. An absent remark is left alone
// by a modification; Terraform does send an empty one.
func (x *exchange) groupInput() (lacre.GroupInput, error) {
	f, err := readForm(x.body)
	if err != nil {
		return lacre.GroupInput{}, err
	}
	f.mandatory("name")
	return lacre.GroupInput{Name: f.text("name"), Remark: f.optionalText("remark")}, f.err()
}

// createGroup answers POST …/api-groups.
func (x *exchange) createGroup() (*reply, error) {
	in, err := x.groupInput()
	if err != nil {
		return nil, err
	}
	view, err := x.Service.CreateGroup(x.Context(), x.caller, x.project, x.instance, in)
	return showing(http.StatusCreated, x.groupOf, view, err)
}

// showGroup answers GET …/api-groups/{group_id}: it is here that Terraform reads back
// which certificates a domain has.
func (x *exchange) showGroup() (*reply, error) {
	view, err := x.Service.ShowGroup(x.Context(), x.caller, x.project, x.instance, x.group)
	return showing(http.StatusOK, x.groupOf, view, err)
}

// listGroups answers GET …/api-groups. precise_search names the filters that match whole.
// That by domain_name is ROMA's: on apigw it is ignored like any other unknown parameter.
func (x *exchange) listGroups() (*reply, error) {
	page, err := x.page()
	if err != nil {
		return nil, err
	}
	precise := strings.Split(x.query.Get("precise_search"), ",")
	filter := lacre.GroupFilter{
		InstanceID:    x.instance,
		ID:            x.query.Get("id"),
		Name:          x.query.Get("name"),
		Precise:       slices.Contains(precise, "name"),
		PreciseDomain: slices.Contains(precise, "domain_name"),
		Page:          page,
	}
	if x.product == apic {
		filter.Domain = x.query.Get("domain_name")
	}
	views, total, err := x.Service.ListGroups(x.Context(), x.caller, x.project, filter)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		Size   int     `json:"size"`
		Total  int     `json:"total"`
		Groups []group `json:"groups"`
	}{len(views), total, each(views, x.groupOf)}}, nil
}

// modifyGroup answers PUT …/api-groups/{group_id}. Terraform takes no other status
// than 200.
func (x *exchange) modifyGroup() (*reply, error) {
	in, err := x.groupInput()
	if err != nil {
		return nil, err
	}
	view, err := x.Service.ModifyGroup(x.Context(), x.caller, x.project, x.instance, x.group, in)
	return showing(http.StatusOK, x.groupOf, view, err)
}

// deleteGroup answers DELETE …/api-groups/{group_id}.
func (x *exchange) deleteGroup() (*reply, error) {
	return noContent(nil, x.Service.DeleteGroup(x.Context(), x.caller, x.project, x.instance, x.group))
}

// setSubdomainAccess answers PUT …/sl-domain-access-settings, on apigw only.
func (x *exchange) setSubdomainAccess() (*reply, error) {
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
	return noContent(nil, x.Service.SetSubdomainAccess(x.Context(), x.caller, x.project, x.instance, x.group, enabled))
}
