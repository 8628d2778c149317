package lacre

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Proof is how far an edge has come, and what it knows that it does not present.
type Proof struct {
	// Revision is the store revision up to which everything is served. Every certificate and
	// domain that has changed after Since, and up to here, was presented in a handshake of
	// the edge with itself, unless it is failing. 0 as long as the edge loads.
	Revision int64
	Since    int64     // store revision that the edge had loaded when it last did
	Failing  []Failing // in order; at most so many of one project, and of so many projects
	More     []string  // projects of which more certificates fail than are named, or a domain is damaged
	Unlisted int       // projects with certificates that fail, none of which is named: they come after those in Failing
}

// Fails tells whether the current version of a certificate is not presented, and why, for people.
// One that may be among those that are not named counts as failing.
func (p Proof) Fails(projectID, certificateID string) (why string, fails bool) {
	for _, f := range p.Failing {
		if f.ProjectID == projectID && f.CertificateID == certificateID {
			return f.Reason, true
		}
	}
	last := len(p.Failing) - 1
	if slices.Contains(p.More, projectID) || p.Unlisted > 0 && (last < 0 || projectID > p.Failing[last].ProjectID) {
		return "more fails there than is named (a damaged domain of the project, or very many certificates); this one may be among it", true
	}
	return "", false
}

// Failing is a certificate whose current version an edge does not present.
type Failing struct {
	ProjectID     string
	CertificateID string
	Reason        string // for people; says nothing of other projects
}

// Compare orders by project and certificate.
func (f Failing) Compare(g Failing) int {
	return cmp.Or(cmp.Compare(f.ProjectID, g.ProjectID), cmp.Compare(f.CertificateID, g.CertificateID))
}

// Node is what the edge of one node says of itself to all the others.
type Node struct {
	ID       string // 32 lower-case hexadecimal digits
	Name     string // as its operator calls it
	Instance string // the only one whose domains it serves; empty serves all
	Project  string // of that instance; empty as long as it is not known
	Started  time.Time
	Reported time.Time // by its own clock
	Alive    bool      // it was heard of in the last seconds
	Proof
}

// Roster knows the nodes that have an edge over one store.
type Roster interface {
	// Nodes returns them, also those that have not been heard of for a while: a node that has
	// lost the store goes on serving what it last knew.
	Nodes(ctx context.Context) ([]Node, error)
}
