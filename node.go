package lacre

import (
	"context"
	"time"
)

// Proof is how far an edge has come, and what it knows that it does not present.
type Proof struct {
	// Revision is the store revision up to which everything is served. Every certificate and
	// domain that has changed after Since, and up to here, was presented in a handshake of
	// the edge with itself, unless Failing names it. 0 before the first load is done.
	Revision int64
	Since    int64     // store revision that the edge had loaded when it began to serve
	Failing  []Failing // at most MaxFailing
	Unlisted int       // how many more are failing
}

// MaxFailing is how many certificates an edge names that it does not present.
const MaxFailing = 100

// Failing is a certificate whose current version an edge does not present.
type Failing struct {
	CertificateID string
	Reason        string // for people; says nothing of other projects
}

// Node is what the edge of one node says of itself to all the others.
type Node struct {
	ID       string // 32 lower-case hexadecimal digits
	Name     string // as its operator calls it
	Instance string // the only one whose domains it serves; empty serves all
	Started  time.Time
	Reported time.Time // when its Proof last changed, by its own clock
	Alive    bool      // it was heard of in the last seconds
	Proof
}

// Roster knows the nodes that have an edge over one store.
type Roster interface {
	// Nodes returns them, also those that have not been heard of for a while: a node that has
	// lost the store goes on serving what it last knew.
	Nodes(ctx context.Context) ([]Node, error)
}
