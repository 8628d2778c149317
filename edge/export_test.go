package edge

import (
	"context"
	"fmt"
)

// How much of what fails is reported.
const (
	MaxFailing         = maxFailing
	MaxFailingProjects = maxFailingProjects
)

// Repair tries what is damaged again, as the edge does from time to time.
func (e *Edge) Repair(ctx context.Context) error { return e.holdings.repair(ctx) }

// Compare compares everything with the Feed, as the edge does from time to time.
func (e *Edge) Compare(ctx context.Context) error {
	_, err := e.holdings.reconcile(ctx, false)
	return err
}

// Mix gives the current version of one certificate the open key pair of another one's.
func (e *Edge) Mix(project, id, with string) {
	a, b := e.heldVersion(project, id), e.heldVersion(project, with)
	opened, err := e.keys.open(b)
	if err != nil {
		panic(err)
	}
	a.opened.Store(opened)
}

func (e *Edge) heldVersion(project, id string) *version {
	e.holdings.mu.Lock()
	defer e.holdings.mu.Unlock()
	c := e.holdings.certificates[certificateKey{project, id}]
	if c == nil {
		panic(fmt.Sprintf("certificate %s is not held", id))
	}
	return c.current.Load()
}

// LooksAt is the host at which a certificate that is rotated is looked at, "" for none.
func (e *Edge) LooksAt(project, id string) string {
	if s, _ := e.holdings.presenting(claim{certificate: e.heldVersion(project, id).served}); s != nil {
		return s.host
	}
	return ""
}

// KeysOpen is how many private keys are open.
func (e *Edge) KeysOpen() int {
	e.keys.mu.Lock()
	defer e.keys.mu.Unlock()
	return len(e.keys.ring)
}

// Claim has it proven that a certificate is presented.
func (e *Edge) Claim(project, id string) {
	e.prover.add(claim{certificate: e.heldVersion(project, id).served})
}

// Claims is how many claims fail.
func (e *Edge) Claims() (n int) {
	e.prover.mu.Lock()
	defer e.prover.mu.Unlock()
	for _, sites := range e.prover.failing.why {
		n += len(sites)
	}
	return n
}
