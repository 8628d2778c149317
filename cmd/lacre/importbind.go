package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"lacre/keypair"
	"lacre/layout"
)

// claim is a certificate that is to be served for a host.
type claim struct {
	pair    *layout.Pair
	row     *importRow
	host    layout.Host
	settled bool // it is bound, or a row says why not
}

// bindAll binds the hosts of the pairs that the API has, unless the import has ended
// already, and returns a row for each host of each certificate that was not bound. The
// names of those that were are added to their rows.
func (im *importing) bindAll(cmd *cobra.Command, pairs []*layout.Pair, rows []*importRow, early error) ([]*importRow, error) {
	ctx := cmd.Context()
	b := &binder{importing: im}
	claims := b.claims(pairs, rows)
	hosts := slices.Sorted(maps.Keys(claims))
	if early == nil {
		early = b.load(ctx)
	}
	if early == nil {
		early = im.each(cmd, "domains", len(hosts), func(i int) error { return b.bind(ctx, hosts[i], claims[hosts[i]]) })
	}
	for _, host := range hosts {
		for _, c := range claims[host] {
			if !c.settled {
				b.not(c, resultLeft, "the import ended before its turn")
			}
		}
	}
	for _, row := range rows {
		slices.Sort(row.Hosts)
	}
	slices.SortFunc(b.rows, func(x, y *importRow) int {
		return cmp.Or(cmp.Compare(x.File, y.File), slices.Compare(x.Hosts, y.Hosts))
	})
	return b.rows, early
}

// binder makes domains for hosts and binds certificates to them.
type binder struct {
	*importing
	mu      sync.Mutex
	rows    []*importRow            // of what was not bound
	domains map[string]*boundDomain // that are there already, by canonical host
	groups  []*roomyGroup           // of ours, in the order of their numbers
}

func (b *binder) not(c *claim, result, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.settled = true
	b.rows = append(b.rows, &importRow{File: c.row.File, Result: result, Name: c.row.Name, ID: c.row.ID, Hosts: []string{c.host.Name}, Reason: reason})
}

// claims is what is to be served, by canonical host. The rows begin with those of pairs.
func (b *binder) claims(pairs []*layout.Pair, rows []*importRow) map[string][]*claim {
	all := map[string][]*claim{}
	for i, p := range pairs {
		if rows[i].algorithm == "" {
			continue
		}
		for _, h := range p.Hosts {
			c := &claim{pair: p, row: rows[i], host: h}
			facts := keypair.Facts{SANs: p.Leaf.SANs}
			host, err := keypair.CanonicalHost(h.Name)
			switch {
			case err != nil:
				b.not(c, resultSkipped, "no host name that a domain can have")
			case p.Leaf.Fingerprint != "" && !facts.Covers(host):
				b.not(c, resultRefused, "the certificate is not valid for it, but for "+strings.Join(p.Leaf.SANs, ", "))
			default:
				all[host] = append(all[host], c)
			}
		}
	}
	for host := range all {
		all[host] = b.chosen(all[host])
	}
	return all
}

// chosen leaves one claim of each algorithm, which is what a domain takes: one that wants
// clients verified before any other, so that they are; one that a configuration makes
// before one that a certificate makes; then the newest.
func (b *binder) chosen(claims []*claim) []*claim {
	slices.SortStableFunc(claims, func(x, y *claim) int {
		return cmp.Or(boolCompare(y.host.Verify, x.host.Verify), boolCompare(x.host.Derived, y.host.Derived), y.pair.Leaf.NotBefore.Compare(x.pair.Leaf.NotBefore))
	})
	first := map[keypair.Algorithm]*claim{}
	return slices.DeleteFunc(claims, func(c *claim) bool {
		if winner := first[c.row.algorithm]; winner != nil {
			b.not(c, resultSkipped, winner.instead(c))
			return true
		}
		first[c.row.algorithm] = c
		return false
	})
}

// instead says that a host is served by the claim and not by another one.
func (c *claim) instead(of *claim) string {
	text := fmt.Sprintf("it is served with the %s certificate in %s", c.row.algorithm, c.row.File)
	if c.host.Verify && !of.host.Verify {
		text += ", whose clients are verified"
	}
	return text
}

// boolCompare puts false before true.
func boolCompare(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	}
	return 1
}

// bind serves one host with its certificates. The error is one that ends the import.
func (b *binder) bind(ctx context.Context, host string, claims []*claim) error {
	verify := slices.ContainsFunc(claims, func(c *claim) bool { return c.host.Verify })
	d, err := b.domain(ctx, host)
	for _, c := range claims {
		if d != nil {
			err = b.attach(ctx, d, c, verify)
		}
		switch {
		case err == nil:
			b.bound(c)
		case fatal(err) || ctx.Err() != nil:
			return err
		default:
			b.not(c, resultRefused, err.Error())
		}
	}
	return nil
}

func (b *binder) bound(c *claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.settled = true
	c.row.Hosts = append(c.row.Hosts, c.host.Name)
}

// kept warns that the clients of a host go on being verified.
func (b *binder) kept(c *claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.row.Warnings = append(c.row.Warnings, "the clients of "+c.host.Name+" are verified, as its domain says, and were not here")
}

// attach binds a certificate to a domain. Client verification is never switched off: a
// domain that has it keeps it.
func (b *binder) attach(ctx context.Context, d *boundDomain, c *claim, verify bool) error {
	if d.verify && !verify {
		b.kept(c)
	}
	verify = verify || d.verify
	if b.dryRun || d.certs[c.row.ID] && d.verify == verify {
		return nil
	}
	body := map[string]any{"certificate_ids": []string{c.row.ID}, "verified_client_certificate_enabled": verify}
	_, err := b.patient(ctx, http.MethodPost, b.groupsPath()+"/"+d.group+"/domains/"+d.id+"/certificates/attach", nil, body, nil)
	return err
}
