package api

import (
	"net/http"

	"lacre"
)

func (x *exchange) createInstance() (*reply, error) {
	f, err := readForm(x.body)
	if err != nil {
		return nil, err
	}
	f.mandatory("instance_name")
	name := f.text("instance_name")
	if f.err() != nil {
		return nil, f.err()
	}
	in, err := x.Service.CreateInstance(x.Context(), x.caller, x.project, name)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, body: instanceOf(in)}, nil
}

func (x *exchange) listInstances() (*reply, error) {
	page, err := x.page()
	if err != nil {
		return nil, err
	}
	list, total, err := x.Service.ListInstances(x.Context(), x.caller, x.project, page)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		Size      int        `json:"size"`
		Total     int        `json:"total"`
		Instances []instance `json:"instances"`
	}{len(list), total, each(list, instanceOf)}}, nil
}

func (x *exchange) showInstance() (*reply, error) {
	in, err := x.namedInstance()
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: instanceOf(in)}, nil
}

func (x *exchange) namedInstance() (*lacre.Instance, error) {
	id, err := x.id("instance_id", lacre.CodeInstanceNotFound)
	if err != nil {
		return nil, err
	}
	return x.Service.ShowInstance(x.Context(), x.caller, x.project, id)
}

func (x *exchange) deleteInstance() (*reply, error) {
	id, err := x.id("instance_id", lacre.CodeInstanceNotFound)
	if err != nil {
		return nil, err
	}
	return noContent(nil, x.Service.DeleteInstance(x.Context(), x.caller, x.project, id))
}

// listVariables and listAPIs say that a group has neither environment variables nor
// APIs: Terraform asks whenever it reads or deletes a group.
func (x *exchange) listVariables() (*reply, error) {
	if _, err := x.namedInstance(); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		Size      int        `json:"size"`
		Total     int        `json:"total"`
		Variables []struct{} `json:"variables"`
	}{Variables: []struct{}{}}}, nil
}

func (x *exchange) listAPIs() (*reply, error) {
	if _, err := x.namedInstance(); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		Size  int        `json:"size"`
		Total int        `json:"total"`
		APIs  []struct{} `json:"apis"`
	}{APIs: []struct{}{}}}, nil
}
