package store

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"lacre"
)

// The key layout, all of it. TestKeyLayout pins it: stored data outlives programs.
//
//	/lacre/p/{project}/cert/{id}
//	                   version/{certificate}/{number, 10 digits}
//	                   crl/{certificate}
//	                   bound/{certificate}/{domain}
//	                   certname/{instance or "global"}/{name}
//	                   instance/{id}
//	                   instancename/{name}
//	                   group/{id}
//	                   groupname/{instance}/{name}
//	                   domain/{id}
//	                   host/{instance}/{host}
//	                   audit/{newest first, see auditKey; one row, or many of a day}
//	                   datakey
//	/lacre/project/{id}
//	/lacre/iam/user/{id}
//	           username/{account}/{name}
//	           projectname/{account}/{name}
//	           accesskey/{id}
//	           role/{account}/{name}
//	           revoked/{token}
//	           audit/{as above, for changes outside any project}
//	/lacre/sys/{secret name}
//	/lacre/node/{id}         what a node says of itself, see nodes.go
//	/lacre/alive/{id}        under a lease
//
// Everything of a project shares one prefix: the project is the unit of export, of
// sharding and of deletion.
const (
	root       = "/lacre/"
	tenants    = root + "p/"
	projects   = root + "project/"
	secrets    = root + "sys/"
	users      = root + "iam/user/"
	iamAudits  = root + "iam/audit/"
	global     = "global" // takes the place of the instance of a global name
	maxSegment = 1024     // bytes before escaping: a group name has up to 255 characters of 4
)

// ErrBadIdentity means that an identifying field is empty, too long or reserved, so
// that the record can have no key.
var ErrBadIdentity = errors.New("no key can be made of these identifying fields")

// join makes a key. Every segment is percent-escaped, so that no value can leave its
// segment or stand for another value.
func join(segments ...string) (string, error) {
	for i, s := range segments {
		if s == "" || len(s) > maxSegment {
			return "", fmt.Errorf("%w: segment %d of %q has %d bytes, want 1 to %d",
				ErrBadIdentity, i+1, segments[0], len(s), maxSegment)
		}
		segments[i] = url.PathEscape(s)
	}
	return root + strings.Join(segments, "/"), nil
}

// under makes the prefix of all keys below the given segments.
func under(segments ...string) (string, error) {
	key, err := join(segments...)
	return key + "/", err
}

// keyOf returns the key of a record, made from its identifying fields.
func keyOf(r lacre.Record) (string, error) {
	switch r := r.(type) {
	case *lacre.Certificate:
		return join("p", r.ProjectID, "cert", r.ID)
	case *lacre.Version:
		return versionKey(r)
	case *lacre.Revocations:
		return join("p", r.ProjectID, "crl", r.CertificateID)
	case *lacre.Bound:
		return join("p", r.ProjectID, "bound", r.CertificateID, r.DomainID)
	case *lacre.CertificateName:
		return certificateNameKey(r)
	case *lacre.Domain:
		return join("p", r.ProjectID, "domain", r.ID)
	case *lacre.Host:
		return join("p", r.ProjectID, "host", r.InstanceID, r.Host)
	case *lacre.Group:
		return join("p", r.ProjectID, "group", r.ID)
	case *lacre.GroupName:
		return join("p", r.ProjectID, "groupname", r.InstanceID, r.Name)
	case *lacre.Instance:
		return join("p", r.ProjectID, "instance", r.ID)
	case *lacre.InstanceName:
		return join("p", r.ProjectID, "instancename", r.Name)
	case *lacre.Project:
		return join("project", r.ID)
	case *lacre.ProjectName:
		return join("iam", "projectname", r.AccountName, r.Name)
	case *lacre.User:
		return join("iam", "user", r.ID)
	case *lacre.UserName:
		return join("iam", "username", r.AccountName, r.Name)
	case *lacre.AccessKey:
		return join("iam", "accesskey", r.ID)
	case *lacre.PermissionGroup:
		return join("iam", "role", r.AccountName, string(r.Name))
	}
	return "", fmt.Errorf("%w: %T", ErrBadIdentity, r)
}

func versionKey(v *lacre.Version) (string, error) {
	if v.Number < 1 || v.Number > 9_999_999_999 {
		return "", fmt.Errorf("%w: version number %d", ErrBadIdentity, v.Number)
	}
	return join("p", v.ProjectID, "version", v.CertificateID, fmt.Sprintf("%010d", v.Number))
}

func certificateNameKey(n *lacre.CertificateName) (string, error) {
	switch n.InstanceID {
	case "":
		return join("p", n.ProjectID, "certname", global, n.Name)
	case global:
		return "", fmt.Errorf("%w: an instance cannot be called %q", ErrBadIdentity, global)
	}
	return join("p", n.ProjectID, "certname", n.InstanceID, n.Name)
}

// identify is the inverse of keyOf: an empty record with its identifying fields set,
// nil when the key is not a record's.
func identify(key string) lacre.Record {
	s, ok := split(key)
	if !ok || len(s) < 2 {
		return nil
	}
	switch {
	case s[0] == "p" && len(s) == 4:
		return identifyOne(s[1], s[2], s[3])
	case s[0] == "p" && len(s) == 5:
		return identifyTwo(s[1], s[2], s[3], s[4])
	case s[0] == "project" && len(s) == 2:
		return &lacre.Project{ID: s[1]}
	case s[0] == "iam":
		return identifyPeople(s[1], s[2:])
	}
	return nil
}

// identifyPeople knows the kinds outside any project.
func identifyPeople(kind string, s []string) lacre.Record {
	switch {
	case kind == "user" && len(s) == 1:
		return &lacre.User{ID: s[0]}
	case kind == "accesskey" && len(s) == 1:
		return &lacre.AccessKey{ID: s[0]}
	case kind == "username" && len(s) == 2:
		return &lacre.UserName{AccountName: s[0], Name: s[1]}
	case kind == "projectname" && len(s) == 2:
		return &lacre.ProjectName{AccountName: s[0], Name: s[1]}
	case kind == "role" && len(s) == 2:
		return &lacre.PermissionGroup{AccountName: s[0], Name: lacre.Role(s[1])}
	}
	return nil
}

// identifyOne knows the kinds with one identifying segment in their project.
func identifyOne(project, kind, id string) lacre.Record {
	switch kind {
	case "cert":
		return &lacre.Certificate{ProjectID: project, ID: id}
	case "crl":
		return &lacre.Revocations{ProjectID: project, CertificateID: id}
	case "domain":
		return &lacre.Domain{ProjectID: project, ID: id}
	case "group":
		return &lacre.Group{ProjectID: project, ID: id}
	case "instance":
		return &lacre.Instance{ProjectID: project, ID: id}
	case "instancename":
		return &lacre.InstanceName{ProjectID: project, Name: id}
	}
	return nil
}

// identifyTwo knows the kinds with two identifying segments in their project.
func identifyTwo(project, kind, a, b string) lacre.Record {
	switch kind {
	case "version":
		n, err := strconv.Atoi(b)
		if err != nil || len(b) != 10 || n < 1 {
			return nil
		}
		return &lacre.Version{ProjectID: project, CertificateID: a, Number: n}
	case "bound":
		return &lacre.Bound{ProjectID: project, CertificateID: a, DomainID: b}
	case "certname":
		if a == global {
			a = ""
		}
		return &lacre.CertificateName{ProjectID: project, InstanceID: a, Name: b}
	case "host":
		return &lacre.Host{ProjectID: project, InstanceID: a, Host: b}
	case "groupname":
		return &lacre.GroupName{ProjectID: project, InstanceID: a, Name: b}
	}
	return nil
}

// split undoes join. Only what join can have made is accepted: one value, one spelling.
func split(key string) ([]string, bool) {
	rest, ok := strings.CutPrefix(key, root)
	if !ok {
		return nil, false
	}
	segments := strings.Split(rest, "/")
	for i, s := range segments {
		value, err := url.PathUnescape(s)
		if err != nil || value == "" || url.PathEscape(value) != s {
			return nil, false
		}
		segments[i] = value
	}
	return segments, true
}

// concernsEdge tells by its key alone whether an edge needs a record: audit rows, name
// claims and the like pass it by without being decoded.
func concernsEdge(key string) bool {
	rest, ok := strings.CutPrefix(key, tenants)
	if !ok {
		return false
	}
	_, rest, _ = strings.Cut(rest, "/")
	kind, _, _ := strings.Cut(rest, "/")
	return kind == "cert" || kind == "version" || kind == "domain" || kind == "crl"
}
