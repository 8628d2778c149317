package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"lacre"
	"lacre/keypair"
	"lacre/keyring"
	"lacre/store"
)

// batch is how many certificates one transaction of populate stores, and trickle how many
// small changes follow: etcd keeps its last 2,000 changes in its log and applies them at
// the next start, and in service these are single modifications, not batches.
const (
	batch   = 50
	trickle = 3000
)

// populate is a command of its own: it makes a data directory with certificates in it.
func populate(ctx context.Context, args []string, talk io.Writer) error {
	f := flag.NewFlagSet("populate", flag.ContinueOnError)
	binary := f.String("lacre", "bin/lacre", "the binary that makes the directory")
	dir := f.String("dir", "", "where; lacre-data is made in it")
	count := f.Int("certs", 100_000, "certificates, each with a key of its own")
	if err := f.Parse(args); err != nil {
		return err
	}
	node, err := newPopulated(ctx, *binary, *dir, anyCore, *count, nil, "")
	if err != nil {
		return err
	}
	fmt.Fprintf(talk, "%s: %d certificates\n", node.data(), *count)
	return nil
}

// newPopulated makes a node, stopped, with count certificates: those of pairs, or, without
// any, ones made on the way and not kept.
func newPopulated(ctx context.Context, binary, dir string, core, count int, pairs []pair, upstreamURL string) (*lacreNode, error) {
	node := newLacre(binary, dir, core)
	if err := node.start(); err != nil {
		return nil, err
	}
	node.stop()
	pairOf := func(i int) (pair, error) { return pairs[i], nil }
	if pairs == nil {
		ca, err := newAuthority(ecc)
		if err != nil {
			return nil, err
		}
		pairOf = func(i int) (pair, error) { return ca.pair(hostName(i)) }
	}
	return node, node.populate(ctx, count, pairOf, upstreamURL)
}

// populate stores certificates for count hosts, each bound to its domain, in the store of
// a node that is stopped. The records are those that the API makes, with checked pairs
// and sealed keys; only the way is shorter: one transaction for many.
func (n *lacreNode) populate(ctx context.Context, count int, pairOf func(int) (pair, error), upstreamURL string) (err error) {
	if err := readJSON(filepath.Join(n.data(), "credentials.json"), &n.access); err != nil {
		return err
	}
	s, err := store.Embedded(ctx, store.EmbeddedConfig{Dir: n.data(), QuotaBytes: 64 << 30})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ring, err := keyring.Unlock(ctx, "file:"+filepath.Join(n.data(), "master.key"), s)
	if err != nil {
		return err
	}
	p := &populating{node: n, sealer: ring, pairOf: pairOf, upstream: upstreamURL}
	n.ids = make([]string, count)
	err = sideBySide((count+batch-1)/batch, func(b int) error {
		tx, err := p.batch(ctx, b*batch, min(count, (b+1)*batch))
		if err == nil {
			_, err = s.Commit(ctx, tx)
		}
		return err
	})
	if err != nil {
		return err
	}
	return p.trickle(ctx, s)
}

// populating is one call of populate.
type populating struct {
	node     *lacreNode
	sealer   lacre.Sealer
	pairOf   func(int) (pair, error)
	upstream string
}

func (p *populating) batch(ctx context.Context, from, to int) (lacre.Tx, error) {
	tx := lacre.Tx{Audit: lacre.Audit{ProjectID: p.node.access.Project, Action: lacre.CanCreateCertificate, Resource: "bench"}}
	var group *lacre.Group
	for i := from; i < to; i++ {
		if (i-from)%perGroup == 0 {
			group = p.group(i)
			claim := &lacre.GroupName{ProjectID: group.ProjectID, InstanceID: group.InstanceID, Name: group.Name, GroupID: group.ID}
			tx.Put = append(tx.Put, group, claim)
		}
		records, err := p.records(ctx, i, group)
		if err != nil {
			return tx, fmt.Errorf("making the records of %s: %w", hostName(i), err)
		}
		tx.Put = append(tx.Put, records...)
	}
	return tx, nil
}

func (p *populating) group(i int) *lacre.Group {
	now := time.Now().UTC()
	return &lacre.Group{ID: lacre.NewID(), ProjectID: p.node.access.Project, InstanceID: p.node.access.Instance,
		Name: fmt.Sprintf("bench-%d", i), SubdomainAccess: true, Created: now, Updated: now}
}

// records are the certificate and the domain of host i.
func (p *populating) records(ctx context.Context, i int, group *lacre.Group) ([]lacre.Record, error) {
	made, err := p.pairOf(i)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	checked, err := keypair.Parse(made.cert, made.key, now)
	if err != nil {
		return nil, err
	}
	v := &lacre.Version{ProjectID: group.ProjectID, CertificateID: lacre.NewID(), Number: 1, Facts: checked.Facts, Created: now}
	for _, c := range checked.Chain {
		v.Chain = append(v.Chain, c.Raw)
	}
	if err := lacre.SealKeys(ctx, p.sealer, v, checked); err != nil {
		return nil, err
	}
	p.node.ids[i] = v.CertificateID
	c := &lacre.Certificate{ID: v.CertificateID, ProjectID: v.ProjectID, Name: certificateName(i), Scope: lacre.ScopeInstance,
		InstanceID: group.InstanceID, Facts: v.Facts, Version: 1, Oldest: 1, Generation: 1, Bound: 1, Created: now, Updated: now}
	d := &lacre.Domain{ID: lacre.NewID(), ProjectID: v.ProjectID, InstanceID: group.InstanceID, GroupID: group.ID,
		Name: hostName(i), Host: hostName(i), MinTLS: "TLSv1.2", HTTPPort: 80, HTTPSPort: 443, Upstream: p.upstream,
		Bindings: []lacre.Binding{{CertificateID: c.ID, Algorithm: v.Facts.Algorithm}}, Created: now, Updated: now}
	group.DomainIDs = append(group.DomainIDs, d.ID)
	return []lacre.Record{c, v, d,
		&lacre.CertificateName{ProjectID: c.ProjectID, InstanceID: c.InstanceID, Name: c.Name, CertificateID: c.ID},
		&lacre.Host{ProjectID: d.ProjectID, InstanceID: d.InstanceID, Host: d.Host, DomainID: d.ID},
		&lacre.Bound{ProjectID: d.ProjectID, CertificateID: c.ID, DomainID: d.ID, Host: d.Host}}, nil
}

// trickle makes small changes, until the batches are out of etcd's log.
func (p *populating) trickle(ctx context.Context, s *store.Store) error {
	audit := lacre.Audit{ProjectID: p.node.access.Project, Action: lacre.CanCreateCertificate, Resource: "bench"}
	return sideBySide(trickle, func(int) error {
		_, err := s.Commit(ctx, lacre.Tx{Audit: audit})
		return err
	})
}
