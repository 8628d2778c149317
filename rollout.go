package lacre

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Rollout is which nodes serve the current version of a certificate.
type Rollout struct {
	Certificate *Certificate
	// Fingerprint is what every node should present: SHA-256 of the leaf, lower-case
	// hexadecimal digits; of SM2 that of the encryption pair.
	Fingerprint string
	// Complete means that some node serves the current version, and no other one might serve
	// an older one.
	Complete bool
	Nodes    []Placement // by name
}

// Placement is what is known of a certificate on one node.
type Placement struct {
	Node
	State PlacementState
	// Presented tells that the node was seen to present it, in a handshake with itself, since it
	// last changed. Otherwise it has been held since the node loaded everything.
	Presented bool
	Reason    string // for people; empty when the state says all
}

// PlacementState is what a node does with a certificate.
type PlacementState string

// The states of a placement.
const (
	StateServing   PlacementState = "serving"   // its current version, now or when last heard of, and so ever since
	StatePending   PlacementState = "pending"   // not yet
	StateFailing   PlacementState = "failing"   // it cannot
	StateSilent    PlacementState = "silent"    // not heard of since the change: it may serve an older version
	StateElsewhere PlacementState = "elsewhere" // it serves an instance in which the certificate has no domain
	StateUnbound   PlacementState = "unbound"   // no domain has the certificate
)

// Rollout tells which nodes serve the current version of a certificate (API: GET
// …/certificates/{certificate_id}/rollout, an extension).
func (s *Service) Rollout(ctx context.Context, by Caller, projectID, id string) (*Rollout, error) {
	if err := s.allow(ctx, by, projectID, CanGetCertificate); err != nil {
		return nil, err
	}
	c, v, err := s.inForce(ctx, projectID, id)
	if err != nil {
		return nil, err
	}
	r, err := s.rollout(ctx, c, s.boundIn(ctx, c))
	if err != nil || v == nil { // a damaged version no node serves, and each says so
		return r, err
	}
	for i := range r.Nodes {
		p := &r.Nodes[i]
		p.Presented = p.State == StateServing && v.Revision > p.Since
	}
	return r, nil
}

// inForce returns a certificate and its current version, nil if that cannot be read. A
// version that is not there was pushed out, or deleted with its certificate, meanwhile: what
// took its place is looked at.
func (s *Service) inForce(ctx context.Context, projectID, id string) (c *Certificate, v *Version, err error) {
	for range 3 {
		if c, err = s.certificate(ctx, projectID, id); err != nil {
			return nil, nil, err
		}
		v, err = s.Store.Version(ctx, projectID, id, c.Version)
		_, damaged := errors.AsType[*UnreadableError](err)
		switch {
		case err == nil || damaged:
			return c, v, nil
		case !errors.Is(err, ErrNotStored):
			return nil, nil, storeError(err)
		}
	}
	return c, nil, nil
}

// rollout is Rollout without what the version says.
func (s *Service) rollout(ctx context.Context, c *Certificate, around func() (func(instance string) bool, error)) (*Rollout, error) {
	r := &Rollout{Certificate: c, Fingerprint: c.Facts.Fingerprint}
	if s.Roster == nil {
		return r, nil
	}
	nodes, err := s.Roster.Nodes(ctx)
	if err != nil {
		return nil, storeError(err)
	}
	for _, n := range nodes {
		if n.Instance != "" && n.Project != "" && n.Project != c.ProjectID {
			continue // it serves another project, and so is what is known of it
		}
		p := place(c, n)
		if n.Instance != "" && p.State == StateServing {
			bound, err := around()
			if err != nil {
				return nil, err
			}
			if !bound(n.Instance) {
				p.State = StateElsewhere
			}
		}
		if n.Instance != "" && n.Project == "" {
			p.ID, p.Name, p.Instance = "", "a node of which the project is not known yet", ""
		}
		r.Nodes = append(r.Nodes, p)
	}
	slices.SortFunc(r.Nodes, func(a, b Placement) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	r.Complete = r.serves() && len(r.open()) == 0
	return r, nil
}

// boundIn tells in which instances a domain has the certificate. That is read when it is first
// asked for: only nodes that serve one instance make it matter.
func (s *Service) boundIn(ctx context.Context, c *Certificate) func() (func(instance string) bool, error) {
	var instances map[string]bool
	return func() (func(string) bool, error) {
		in := func(instance string) bool { return instances == nil || instances[instance] }
		if instances != nil {
			return in, nil
		}
		bound, err := s.Store.Bound(ctx, c.ProjectID, c.ID)
		if err != nil {
			return nil, storeError(err)
		}
		ids := domainIDs(bound)
		domains, err := s.Store.Domains(ctx, c.ProjectID, ids)
		if err != nil {
			return nil, storeError(err)
		}
		if len(domains) < len(ids) {
			return in, nil // a damaged one may be in any of them
		}
		instances = make(map[string]bool)
		for _, d := range domains {
			instances[d.InstanceID] = true
		}
		return in, nil
	}
}

// place judges one node by itself. What it has once served it serves, also when it has lost the
// store.
func place(c *Certificate, n Node) Placement {
	p := Placement{Node: n, State: StateServing}
	why, fails := n.Fails(c.ProjectID, c.ID)
	switch {
	case n.Revision < c.Revision && n.Alive:
		p.State = StatePending
	case n.Revision < c.Revision:
		p.State = StateSilent
	case c.Bound == 0:
		p.State = StateUnbound
	case fails:
		p.State, p.Reason = StateFailing, why
	}
	return p
}

func (r *Rollout) serves() bool {
	return slices.ContainsFunc(r.Nodes, func(p Placement) bool { return p.State == StateServing })
}

// open are the nodes that may serve an older version, in words.
func (r *Rollout) open() (open []string) {
	for _, p := range r.Nodes {
		switch p.State {
		case StatePending, StateFailing, StateSilent:
			open = append(open, fmt.Sprintf("%s is %s", p.Name, p.State))
		}
	}
	return open
}

// waits tells whether waiting may help: a silent node may be gone for good.
func (r *Rollout) waits() bool {
	return slices.ContainsFunc(r.Nodes, func(p Placement) bool { return p.State == StatePending || p.State == StateFailing && p.Alive })
}

// lookPatience bounds one look at the nodes of those that AwaitRollout takes.
const lookPatience = 2 * time.Second

// AwaitRollout waits until every node that is alive serves a certificate that was written, or
// enough is closed (no later than ctx ends), and returns what there is to say about the others:
// by a look that was taken after that.
func (s *Service) AwaitRollout(ctx context.Context, by Caller, c *Certificate, enough <-chan struct{}) ([]string, error) {
	if err := s.allow(ctx, by, c.ProjectID, CanModifyCertificate); err != nil {
		return nil, err
	}
	var last *Rollout
	around, pause := s.boundIn(ctx, c), 5*time.Millisecond
	for waits := true; ; pause = min(2*pause, 250*time.Millisecond) {
		r, err := s.look(ctx, c, around)
		if err == nil {
			last = r
		}
		if err == nil && !r.waits() || !waits {
			return last.warnings(), nil
		}
		select {
		case <-enough:
			waits = false
		case <-time.After(pause):
		}
	}
}

// look is rollout within lookPatience.
func (s *Service) look(ctx context.Context, c *Certificate, around func() (func(instance string) bool, error)) (*Rollout, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return s.rollout(ctx, c, around)
}

func (r *Rollout) warnings() []string {
	switch {
	case r == nil:
		return []string{"The change is stored; which nodes serve it could not be read."}
	case len(r.open()) > 0:
		return []string{"The change is stored, but not served everywhere: " + some(r.open()) + "."}
	case r.Certificate.Bound == 0:
		return []string{"The change is stored; no domain has the certificate, so no node serves it."}
	case !r.serves():
		return []string{"The change is stored; there is no node that could serve it."}
	}
	return nil
}
