package test

import "testing"

// group is what the API shows of a group without domains.
func (s *service) group(name, remark string, got fields) fields {
	s.Helper()
	return with(fields{
		"id": s.id(got), "name": name, "remark": remark, "status": 1, "sl_domain": "", "sl_domains": []string{},
		"on_sell_status": 2, "is_default": 2, "url_domains": []fields{},
		"register_time": s.recent(got, "register_time"), "update_time": s.recent(got, "update_time"),
	}, s.only(apigw, fields{"sl_domain_access_enabled": true}))
}

func (s *service) createGroup(name string) fields {
	s.Helper()
	return s.ok("CreateApiGroupV2", fields{"instance_id": s.InstanceID, "body": fields{"name": name}})
}

func TestGroups(t *testing.T) {
	forBoth(t, func(s *service) {
		instance := fields{"instance_id": s.InstanceID}
		created := s.ok("CreateApiGroupV2", with(instance, fields{"body": fields{"name": "web-组.1", "remark": "first"}}))
		want := s.group("web-组.1", "first", created)
		s.equal("CreateApiGroupV2", created, with(want, fields{"HTTP": 201}))
		one := with(instance, fields{"group_id": s.id(created)})
		s.gives(with(want, fields{"HTTP": 200}), "ShowDetailsOfApiGroupV2", one)

		updated := s.ok("UpdateApiGroupV2", with(one, fields{"body": fields{"name": "renamed", "remark": ""}}))
		want = s.group("renamed", "", updated)
		s.equal("UpdateApiGroupV2", updated, with(want, fields{"HTTP": 200}))

		if s.name == apigw {
			s.gives(fields{"HTTP": 204}, "UpdateSlDomainSettingV2", with(one, fields{"body": fields{"sl_domain_access_enabled": false}}))
			got := s.ok("ShowDetailsOfApiGroupV2", one)
			want["sl_domain_access_enabled"], want["update_time"] = false, s.recent(got, "update_time")
			s.equal("after UpdateSlDomainSettingV2", got, with(want, fields{"HTTP": 200}))
		}
		s.gives(fields{"HTTP": 204}, "DeleteApiGroupV2", one)
		s.refused("APIG.3001", "ShowDetailsOfApiGroupV2", one)
	})
}

func TestListGroups(t *testing.T) {
	forBoth(t, func(s *service) {
		first, second := s.createGroup("first"), s.createGroup("first_two")
		a, b := s.group("first", "", first), s.group("first_two", "", second)
		instance := fields{"instance_id": s.InstanceID}
		for _, test := range []struct {
			name   string
			filter fields
			want   []fields
			total  int
		}{
			{"all", nil, []fields{b, a}, 2},
			{"page", fields{"offset": 1, "limit": 1}, []fields{a}, 2},
			{"id", fields{"id": a["id"]}, []fields{a}, 1},
			{"part of a name", fields{"name": "first"}, []fields{b, a}, 2},
			{"precise name", fields{"name": "first", "precise_search": "name"}, []fields{a}, 1},
			{"nothing", fields{"name": "third"}, []fields{}, 0},
		} {
			got := s.ok("ListApiGroupsV2", with(instance, test.filter))
			s.equal(test.name, got, fields{"HTTP": 200, "size": len(test.want), "total": test.total, "groups": test.want})
		}
		if s.name == apic {
			s.createDomain(second, "www.a.test")
			for filter, want := range map[string]int{"a.test": 1, "b.test": 0} {
				got := s.ok("ListApiGroupsV2", with(instance, fields{"domain_name": filter}))
				if got["total"] != float64(want) {
					s.Errorf("domain_name %s: got %v, want %d groups", filter, got, want)
				}
			}
		}
	})
}

// policy is what the API shows of a domain that was created with its name alone.
func (s *service) policy() fields {
	return with(fields{"min_ssl_version": "TLSv1.2", "verified_client_certificate_enabled": false},
		s.only(apigw, fields{"ingress_http_port": 80, "ingress_https_port": 443}))
}

// createDomain binds a host name to a group and returns the path parameters of the domain.
func (s *service) createDomain(group fields, name string) fields {
	s.Helper()
	place := fields{"instance_id": s.InstanceID, "group_id": group["id"]}
	created := s.ok("AssociateDomainV2", with(place, fields{"body": fields{"url_domain": name}}))
	s.equal("AssociateDomainV2", created, with(s.policy(), fields{
		"HTTP": 201, "id": s.id(created), "url_domain": name, "status": 3, "is_http_redirect_to_https": false,
	}))
	return with(place, fields{"domain_id": created["id"]})
}

func TestDomains(t *testing.T) {
	forBoth(t, func(s *service) {
		group := s.createGroup("web")
		// The final dot of a name taken from a DNS zone has to come back.
		one := s.createDomain(group, "WWW.a.test.")
		inGroup := with(s.policy(), fields{
			"id": one["domain_id"], "domain": "WWW.a.test.", "cname_status": 3, "ssl_id": "", "ssl_name": "",
			"is_has_trusted_root_ca": false, "ssl_infos": []fields{},
		})
		show := fields{"instance_id": one["instance_id"], "group_id": one["group_id"]}
		s.equal("url_domains", s.urlDomain(show), inGroup)

		change := with(fields{"min_ssl_version": "TLSv1.1", "is_http_redirect_to_https": true},
			s.only(apigw, fields{"ingress_http_port": -1, "ingress_https_port": 8443}))
		updated := s.ok("UpdateDomainV2", with(one, fields{"body": change}))
		s.equal("UpdateDomainV2", updated, with(change, fields{
			"HTTP": 201, "id": one["domain_id"], "url_domain": "WWW.a.test.", "status": 3, "verified_client_certificate_enabled": false,
		}))
		delete(change, "is_http_redirect_to_https") // not in the SDK's model of a group
		s.equal("url_domains after the change", s.urlDomain(show), with(inGroup, change))

		unset := s.ok("UpdateDomainV2", with(one, fields{"body": fields{"min_ssl_version": ""}}))
		s.equal("UpdateDomainV2 without a version", unset, updated)

		s.gives(fields{"HTTP": 204}, "DisassociateDomainV2", one)
		s.refused("APIG.3020", "DisassociateDomainV2", one)
	})
}

// urlDomain is the only domain of a group.
func (s *service) urlDomain(group fields) fields {
	s.Helper()
	domains, _ := s.ok("ShowDetailsOfApiGroupV2", group)["url_domains"].([]any)
	if len(domains) != 1 {
		s.Fatalf("got domains %v, want one", domains)
	}
	return domains[0].(fields)
}

// TestNothingInGroups asks for what a group never has here. Terraform reads both.
func TestNothingInGroups(t *testing.T) {
	forBoth(t, func(s *service) {
		of := fields{"instance_id": s.InstanceID, "group_id": s.createGroup("web")["id"]}
		s.gives(fields{"HTTP": 200, "size": 0, "total": 0, "variables": []fields{}}, "ListEnvironmentVariablesV2", of)
		s.gives(fields{"HTTP": 200, "size": 0, "total": 0, "apis": []fields{}}, "ListApisV2", of)

		elsewhere := with(of, fields{"instance_id": "elsewhere"})
		s.refused("APIG.3030", "ListEnvironmentVariablesV2", elsewhere)
		s.refused("APIG.3030", "ListApisV2", elsewhere)
		// Not 404, which Terraform would take for a group that is gone.
		instance := fields{"instance_id": s.InstanceID}
		s.refused("APIG.3458", "CreateEnvironmentVariableV2", instance, fields{"body": fields{
			"variable_name": "name", "variable_value": "value", "env_id": unknown, "group_id": of["group_id"],
		}})
		s.refused("APIG.3458", "DeleteEnvironmentVariableV2", instance, fields{"env_variable_id": unknown})
		s.refused("APIG.3458", "BatchPublishOrOfflineApiV2", instance, fields{
			"action": "offline", "body": fields{"apis": []string{unknown}, "env_id": unknown},
		})
		s.refused("APIG.3458", "DeleteApiV2", instance, fields{"api_id": unknown})
	})
}

func TestInstances(t *testing.T) {
	forBoth(t, func(s *service) {
		got := s.ok("ShowDetailsOfInstanceV2", fields{"instance_id": s.InstanceID})
		if made, ok := got["create_time"].(float64); !ok || made > float64(s.began.UnixMilli()) || made < float64(s.began.Add(-patience).UnixMilli()) {
			s.Errorf("got create_time %v, want milliseconds shortly before %d", got["create_time"], s.began.UnixMilli())
		}
		want := fields{
			"id": s.InstanceID, "project_id": s.ProjectID, "instance_name": "default", "status": "Running",
			"instance_status": 6, "type": "apig", "create_time": got["create_time"], "enterprise_project_id": "0",
		}
		s.refused("APIG.3030", "ShowDetailsOfInstanceV2", fields{"instance_id": "elsewhere"})
		if s.name == apigw { // the other service has another list
			s.gives(fields{"HTTP": 200, "size": 1, "total": 1, "instances": []fields{want}}, "ListInstancesV2", nil)
			for name, value := range map[string]string{"instance_id": s.InstanceID, "instance_name": "default", "status": "Running"} {
				s.gives(fields{"HTTP": 200, "size": 1, "total": 1, "instances": []fields{want}}, "ListInstancesV2", fields{name: value})
			}
			for name, value := range map[string]string{"instance_id": unknown, "instance_name": "edge_west", "status": "Deleting"} {
				s.gives(fields{"HTTP": 200, "size": 0, "total": 0, "instances": []fields{}}, "ListInstancesV2", fields{name: value})
			}
		}
		s.equal("ShowDetailsOfInstanceV2", got, with(want, fields{"HTTP": 200}))
	})
}

// TestMakeInstance creates a second instance and finds it by its name, as Terraform does.
func TestMakeInstance(t *testing.T) {
	t.Parallel()
	l := start(t)
	s := &service{T: t, lacre: l, name: apigw, client: l.client(t, apigw)}
	made := s.ok("CreateInstanceV2", fields{"body": fields{"instance_name": "edge_west"}})
	id, _ := made["instance_id"].(string)
	s.equal("CreateInstanceV2", made, fields{"HTTP": 201, "instance_id": id, "message": "The instance has been created."})
	found := s.ok("ListInstancesV2", fields{"instance_name": "edge_west", "limit": 1})
	if list, _ := found["instances"].([]any); len(list) != 1 || list[0].(fields)["id"] != id || found["total"] != 1.0 {
		s.Errorf("got %v, want the instance that was made, %s", found, id)
	}
	one := fields{"instance_id": id}
	group := s.ok("CreateApiGroupV2", with(one, fields{"body": fields{"name": "web"}}))
	s.refused("APIG.3400", "DeleteInstancesV2", one)
	s.ok("DeleteApiGroupV2", with(one, fields{"group_id": group["id"]}))
	s.gives(fields{"HTTP": 204}, "DeleteInstancesV2", one)
	s.refused("APIG.3030", "DeleteInstancesV2", fields{"instance_id": "elsewhere"})
}

func TestGroupsRefused(t *testing.T) {
	forBoth(t, func(s *service) {
		instance, elsewhere := fields{"instance_id": s.InstanceID}, fields{"instance_id": "elsewhere"}
		group, other := s.createGroup("web"), s.createGroup("other")
		in := with(instance, fields{"group_id": group["id"]})
		nobody := with(instance, fields{"group_id": unknown})
		named := func(name string) fields { return fields{"body": fields{"name": name}} }

		s.refused("APIG.3201", "CreateApiGroupV2", instance, named("web"))
		s.refused("APIG.2011", "CreateApiGroupV2", instance, named("<>"))
		s.refused("APIG.3030", "CreateApiGroupV2", elsewhere, named("third"))
		s.refused("APIG.3030", "ListApiGroupsV2", elsewhere)
		s.refused("APIG.3001", "ShowDetailsOfApiGroupV2", nobody)
		s.refused("APIG.3001", "UpdateApiGroupV2", nobody, named("third"))
		s.refused("APIG.3201", "UpdateApiGroupV2", in, named("other"))
		s.refused("APIG.3001", "DeleteApiGroupV2", nobody)
		s.refused("APIGW.0101", "CheckApiGroupsV2", instance, fields{"body": fields{"group_name": "web"}})
		if s.name == apigw {
			s.refused("APIG.3001", "UpdateSlDomainSettingV2", nobody, fields{"body": fields{"sl_domain_access_enabled": true}})
		}

		domain := func(name string) fields { return fields{"body": fields{"url_domain": name}} }
		one := s.createDomain(group, "www.a.test")
		s.refused("APIG.3305", "AssociateDomainV2", with(in, fields{"group_id": other["id"]}), domain("WWW.A.test"))
		s.refused("APIG.2024", "AssociateDomainV2", in, domain("no domain"))
		s.refused("APIG.3001", "AssociateDomainV2", nobody, domain("b.test"))
		for _, name := range []string{"2.a.test", "3.a.test", "4.a.test", "5.a.test"} {
			s.createDomain(group, name)
		}
		s.refused("APIG.3108", "AssociateDomainV2", in, domain("6.a.test"))

		change := fields{"body": fields{"min_ssl_version": "TLSv1.2"}}
		s.refused("APIG.2011", "UpdateDomainV2", one, fields{"body": fields{"min_ssl_version": "SSLv3"}})
		s.refused("APIG.3474", "UpdateDomainV2", one, fields{"group_id": other["id"]}, change)
		s.refused("APIG.3020", "UpdateDomainV2", one, fields{"domain_id": unknown}, change)
		s.refused("APIG.3474", "DisassociateDomainV2", one, fields{"group_id": other["id"]})
	})
}
