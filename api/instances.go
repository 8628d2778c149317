package api

import (
	"net/http"

	"lacre"
)

// createInstance answers POST …/instances. The instance is there at once: nothing has to
// be provisioned, an edge serves it as soon as it is configured to.
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
	return showing(http.StatusCreated, madeInstanceOf, in, err)
}

// listInstances answers GET …/instances. Terraform takes the first of what its filters
// leave, so one that is not looked at puts resources into another gateway.
func (x *exchange) listInstances() (*reply, error) {
	page, err := x.page()
	if err != nil {
		return nil, err
	}
	list, total, err := x.Service.ListInstances(x.Context(), x.caller, x.project, lacre.InstanceFilter{
		ID: x.query.Get("instance_id"), Name: x.query.Get("instance_name"), Status: x.query.Get("status"), Page: page,
	})
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		Size      int        `json:"size"`
		Total     int        `json:"total"`
		Instances []instance `json:"instances"`
	}{len(list), total, each(list, instanceOf)}}, nil
}

// showInstance answers GET …/instances/{instance_id}.
func (x *exchange) showInstance() (*reply, error) {
	in, err := x.Service.ShowInstance(x.Context(), x.caller, x.project, x.instance)
	return showing(http.StatusOK, instanceOf, in, err)
}

// deleteInstance answers DELETE …/instances/{instance_id}.
func (x *exchange) deleteInstance() (*reply, error) {
	return noContent(nil, x.Service.DeleteInstance(x.Context(), x.caller, x.project, x.instance))
}

type variableList struct {
	Size      int        `json:"size"`
	Total     int        `json:"total"`
	Variables []struct{} `json:"variables"`
}

// listVariables answers GET …/instances/{instance_id}/env-variables: there are none.
// Terraform asks whenever it reads a group.
func (x *exchange) listVariables() (*reply, error) {
	in, err := x.Service.ShowInstance(x.Context(), x.caller, x.project, x.instance)
	none := func(*lacre.Instance) variableList { return variableList{Variables: []struct{}{}} }
	return showing(http.StatusOK, none, in, err)
}

type apiList struct {
	Size  int        `json:"size"`
	Total int        `json:"total"`
	APIs  []struct{} `json:"apis"`
}

// listAPIs answers GET …/instances/{instance_id}/apis: there are none. Terraform asks
// before it deletes a group by force.
func (x *exchange) listAPIs() (*reply, error) {
	in, err := x.Service.ShowInstance(x.Context(), x.caller, x.project, x.instance)
	none := func(*lacre.Instance) apiList { return apiList{APIs: []struct{}{}} }
	return showing(http.StatusOK, none, in, err)
}

// noVariables answers what would create or delete an environment variable. It is no 404:
// Terraform takes that for a group that is gone.
func (x *exchange) noVariables() (*reply, error) { return x.lacks("environment variables") }

// noAPIs answers what would publish or delete an API.
func (x *exchange) noAPIs() (*reply, error) { return x.lacks("APIs") }

func (x *exchange) lacks(what string) (*reply, error) {
	if _, err := x.Service.ShowInstance(x.Context(), x.caller, x.project, x.instance); err != nil {
		return nil, err
	}
	return nil, lacre.Errorf(lacre.CodeUnsupportedKind, "There are no %s here: Lacre serves certificates and domain names.", what)
}
