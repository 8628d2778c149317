package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lacre/keypair"
)

// boundDomain is a domain with what is bound to it.
type boundDomain struct {
	id, group string
	verify    bool
	certs     map[string]bool
}

// roomyGroup is an API group for domains that an import makes.
type roomyGroup struct {
	id     string
	number int
	full   bool
}

func (b *binder) groupsPath() string {
	return "/instances/" + url.PathEscape(b.instance) + "/api-groups"
}

// load reads which domains and groups there are.
func (b *binder) load(ctx context.Context) error {
	b.domains, b.group = map[string]*boundDomain{}, cmp.Or(b.group, "imported")
	const limit = 500
	for offset := 0; ; offset += limit {
		var page struct {
			Groups []heldGroup `json:"groups"`
		}
		path := fmt.Sprintf("%s?limit=%d&offset=%d", b.groupsPath(), limit, offset)
		if _, err := b.patient(ctx, http.MethodGet, path, nil, nil, &page); err != nil {
			return err
		}
		for _, g := range page.Groups {
			b.know(g)
		}
		if len(page.Groups) < limit {
			break
		}
	}
	slices.SortFunc(b.groups, func(x, y *roomyGroup) int { return cmp.Compare(x.number, y.number) })
	return nil
}

// heldGroup is what an import reads of an API group.
type heldGroup struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Domains []struct {
		ID     string `json:"id"`
		Domain string `json:"domain"`
		Verify bool   `json:"verified_client_certificate_enabled"`
		Certs  []struct {
			ID string `json:"ssl_id"`
		} `json:"ssl_infos"`
	} `json:"url_domains"`
}

func (b *binder) know(g heldGroup) {
	if digits, ours := strings.CutPrefix(g.Name, b.group+"_"); ours {
		if n, err := strconv.Atoi(digits); err == nil && n > 0 {
			b.groups = append(b.groups, &roomyGroup{id: g.ID, number: n})
		}
	}
	for _, d := range g.Domains {
		known := &boundDomain{id: d.ID, group: g.ID, verify: d.Verify, certs: map[string]bool{}}
		for _, c := range d.Certs {
			known.certs[c.ID] = true
		}
		if host, err := keypair.CanonicalHost(d.Domain); err == nil {
			b.domains[host] = known
		}
	}
}

// chooseInstance takes the only instance of the project unless one was named.
func (im *importing) chooseInstance(ctx context.Context) error {
	if !im.bind || im.instance != "" {
		return nil
	}
	var list struct {
		Instances []struct {
			ID string `json:"id"`
		} `json:"instances"`
	}
	if _, err := im.patient(ctx, http.MethodGet, "/instances?limit=2", nil, nil, &list); err != nil {
		return err
	}
	if len(list.Instances) != 1 {
		return usagef("--instance-id: the project has not just one instance; name one")
	}
	im.instance = list.Instances[0].ID
	return nil
}

// domain is the domain of a host, which is made when it is missing.
func (b *binder) domain(ctx context.Context, host string) (*boundDomain, error) {
	if d := b.domains[host]; d != nil || b.dryRun {
		return cmp.Or(d, &boundDomain{}), nil
	}
	body := map[string]any{"url_domain": host, "upstream": b.upstream}
	for {
		g, err := b.room(ctx)
		if err != nil {
			return nil, err
		}
		var made created
		_, err = b.patient(ctx, http.MethodPost, b.groupsPath()+"/"+g.id+"/domains", nil, body, &made)
		if no, ok := errors.AsType[*refused](err); ok && no.code == "APIG.3108" { // the group is full
			b.mu.Lock()
			g.full = true
			b.mu.Unlock()
			continue
		}
		if err != nil {
			return nil, err
		}
		return &boundDomain{id: made.ID, group: g.id}, nil
	}
}

// room is a group of ours that is not known to be full; a new one when all are.
func (b *binder) room(ctx context.Context) (*roomyGroup, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := 0
	for _, g := range b.groups {
		if !g.full {
			return g, nil
		}
		last = g.number
	}
	g := &roomyGroup{number: last + 1}
	var made created
	body := map[string]any{"name": fmt.Sprintf("%s_%d", b.group, g.number), "remark": "made by lacre import"}
	if _, err := b.patient(ctx, http.MethodPost, b.groupsPath(), nil, body, &made); err != nil {
		return nil, err
	}
	g.id = made.ID
	b.groups = append(b.groups, g)
	return g, nil
}

// created is what an import reads of an answer to a creation.
type created struct {
	ID string `json:"id"`
}
