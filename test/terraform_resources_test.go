package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// resource is a block of configuration. Its methods send what the provider sends for it,
// in the provider's order, and keep of the answers what the provider keeps.
type resource interface {
	create(tf *terraform)
	// read is the resource's state, nil when it is gone.
	read(tf *terraform) fields
	// update brings what is stored, whose state is before, to the configuration.
	update(tf *terraform, before fields)
	destroy(tf *terraform)
	// configured are the attributes of the configuration that can be read.
	configured() fields
}

// gone tells whether the provider takes a refusal for "is not there".
func gone(tf *terraform, refused *refusal) bool {
	tf.Helper()
	if refused != nil && refused.status != 404 {
		tf.Fatal(refused)
	}
	return refused != nil
}

// certificate is huaweicloud_apig_certificate.
type certificate struct {
	id string
	certificateBody
}

// certificateBody is what create and update send, without what is empty.
type certificateBody struct {
	Name       string `json:"name"`
	Content    string `json:"cert_content"`
	PrivateKey string `json:"private_key"`
	Type       string `json:"type,omitempty"`
	InstanceID string `json:"instance_id,omitempty"`
	TrustRoot  string `json:"trusted_root_ca,omitempty"`
}

// byKey is a body as the library sends it: made a map first, hence sorted by key.
func byKey(tf *terraform, body any) fields {
	text, err := json.Marshal(body)
	if err != nil {
		tf.Fatal(err)
	}
	sorted := fields{}
	if err := json.Unmarshal(text, &sorted); err != nil {
		tf.Fatal(err)
	}
	return sorted
}

var certificateHeader = map[string]string{"Content-Type": "application/json", "X-Language": "en-us"}

func (r *certificate) create(tf *terraform) {
	made := tf.must(request{method: "POST", path: "/certificates", body: byKey(tf, r.certificateBody), header: certificateHeader})
	r.id = made["id"].(string)
}

func (r *certificate) read(tf *terraform) fields {
	got, refused := tf.send(request{method: "GET", path: "/certificates/" + r.id, header: certificateHeader})
	if gone(tf, refused) {
		return nil
	}
	return fields{
		"name": got["name"], "type": got["type"], "instance_id": got["instance_id"], "effected_at": got["not_before"],
		"expires_at": got["not_after"], "signature_algorithm": got["signature_algorithm"], "sans": got["san"],
	}
}

// update sends the scope as stored: "global" and "common" for who configured none.
func (r *certificate) update(tf *terraform, before fields) {
	body := r.certificateBody
	body.Type, body.InstanceID = before["type"].(string), before["instance_id"].(string)
	tf.must(request{method: "PUT", path: "/certificates/" + r.id, body: byKey(tf, body), header: certificateHeader})
}

func (r *certificate) destroy(tf *terraform) {
	_, refused := tf.send(request{method: "DELETE", path: "/certificates/" + r.id})
	gone(tf, refused)
}

func (r *certificate) configured() fields {
	set := fields{"name": r.Name}
	if r.Type != "" {
		set["type"], set["instance_id"] = r.Type, r.InstanceID
	}
	return set
}

// domainCertificate is huaweicloud_apig_domain_certificate_associate.
type domainCertificate struct {
	domain      *groupDomain
	certificate *certificate
	verify      bool
}

func (r *domainCertificate) call(tf *terraform, action string) *refusal {
	_, refused := tf.send(request{
		method: "POST", path: r.domain.group.path() + "/domains/" + r.domain.id + "/certificates/" + action,
		body: fields{"certificate_ids": []string{r.certificate.id}, "verified_client_certificate_enabled": r.verify},
		ok:   []int{204}, header: jsonHeader,
	})
	return refused
}

func (r *domainCertificate) create(tf *terraform) {
	if refused := r.call(tf, "attach"); refused != nil {
		tf.Fatal(refused)
	}
}

func (r *domainCertificate) read(tf *terraform) fields {
	domain := r.domain.find(tf)
	infos, _ := domain["ssl_infos"].([]any)
	for _, info := range infos {
		if id := info.(fields)["ssl_id"]; id == r.certificate.id {
			return fields{"certificate_id": id, "verified_client_certificate_enabled": domain["verified_client_certificate_enabled"]}
		}
	}
	return nil
}

// update can change the flag only: it attaches once more.
func (r *domainCertificate) update(tf *terraform, _ fields) { r.create(tf) }

func (r *domainCertificate) destroy(tf *terraform) { gone(tf, r.call(tf, "detach")) }

func (r *domainCertificate) configured() fields {
	return fields{"certificate_id": r.certificate.id, "verified_client_certificate_enabled": r.verify}
}

// batch is huaweicloud_apig_certificate_batch_domains_associate, or with an empty
// instance huaweicloud_apig_global_certificate_batch_domains_associate.
type batch struct {
	certificate       *certificate
	instance          string
	enabled, disabled []string // names, with and without client authentication
}

func (r *batch) refs(names []string, verify bool) []fields {
	var refs []fields
	for _, name := range names {
		ref := fields{"domain": name, "verified_client_certificate_enabled": verify}
		if r.instance != "" {
			ref["instance_ids"] = []string{r.instance}
		}
		refs = append(refs, ref)
	}
	return refs
}

// call attaches or detaches. An empty list is left out of the body altogether.
func (r *batch) call(tf *terraform, action string, refs []fields) *refusal {
	body := fields{}
	if len(refs) > 0 {
		body["domains"] = refs
	}
	_, refused := tf.send(request{method: "POST", path: "/certificates/" + r.certificate.id + "/domains/" + action, body: body, ok: []int{204}})
	return refused
}

func (r *batch) create(tf *terraform) {
	if refused := r.call(tf, "attach", slices.Concat(r.refs(r.enabled, true), r.refs(r.disabled, false))); refused != nil {
		tf.Fatal(refused)
	}
}

// read splits the names by their flag. Without domains the resource is gone.
func (r *batch) read(tf *terraform) fields {
	list, refused := attachedDomains(tf, r.certificate, "")
	if gone(tf, refused) || len(list) == 0 {
		return nil
	}
	names := map[bool][]string{}
	for _, d := range list {
		verify, name := d["verified_client_certificate_enabled"].(bool), d["url_domain"].(string)
		if !slices.Contains(names[verify], name) {
			names[verify] = append(names[verify], name)
		}
	}
	return fields{"enabled": sorted(names[true]), "disabled": sorted(names[false])}
}

func sorted(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), " ") }

// update detaches first, and everything in one call that has left either list.
func (r *batch) update(tf *terraform, before fields) {
	left := func(name string, now []string) []string {
		return slices.DeleteFunc(strings.Fields(before[name].(string)), func(n string) bool { return slices.Contains(now, n) })
	}
	added := func(name string, now []string) []string {
		return slices.DeleteFunc(slices.Clone(now), func(n string) bool { return slices.Contains(strings.Fields(before[name].(string)), n) })
	}
	if refs := slices.Concat(r.refs(left("enabled", r.enabled), true), r.refs(left("disabled", r.disabled), false)); len(refs) > 0 {
		if refused := r.call(tf, "detach", refs); refused != nil {
			tf.Fatal(refused)
		}
	}
	if refs := slices.Concat(r.refs(added("enabled", r.enabled), true), r.refs(added("disabled", r.disabled), false)); len(refs) > 0 {
		if refused := r.call(tf, "attach", refs); refused != nil {
			tf.Fatal(refused)
		}
	}
}

// destroy takes 400 with APIG.2000 for "nothing is bound any more".
func (r *batch) destroy(tf *terraform) {
	refused := r.call(tf, "detach", slices.Concat(r.refs(r.enabled, true), r.refs(r.disabled, false)))
	if refused != nil && refused.status == 400 && refused.code == "APIG.2000" {
		return
	}
	gone(tf, refused)
}

func (r *batch) configured() fields {
	return fields{"enabled": sorted(r.enabled), "disabled": sorted(r.disabled)}
}

// attachedDomains reads every page, as two resources and a data source do.
func attachedDomains(tf *terraform, c *certificate, filter string) ([]fields, *refusal) {
	return pages(tf, "/certificates/"+c.id+"/attached-domains?limit=100"+filter, "bound_domains")
}

// pages reads a list a hundred entries at a time, until a page has fewer.
func pages(tf *terraform, path, list string) ([]fields, *refusal) {
	var all []fields
	for {
		got, refused := tf.send(request{method: "GET", path: fmt.Sprintf("%s&offset=%d", path, len(all))})
		if refused != nil {
			return nil, refused
		}
		page, _ := got[list].([]any)
		for _, entry := range page {
			all = append(all, entry.(fields))
		}
		if len(page) < 100 {
			return all, nil
		}
	}
}
