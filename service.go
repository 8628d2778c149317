package lacre

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"time"
)

// Edge is the TLS edge of this node.
type Edge interface {
	// Applied returns when the edge serves everything committed up to revision, or
	// with the context's error.
	Applied(ctx context.Context, revision int64) error
	// Explain tells what the edge does with a client hello and a request for host after
	// it, to a project: what concerns another one is as if it did not exist. The error
	// wraps ErrUnavailable as long as the edge has not loaded what it serves.
	Explain(ctx context.Context, projectID string, hello ClientHello, host string) (*Explanation, error)
}

// Config is what a Service is made of. Zero values of the numbers choose the defaults.
type Config struct {
	Store  Store
	Sealer Sealer
	// Edge is nil on a node that serves no traffic: answers then wait for the store only.
	Edge            Edge
	Roster          Roster           // the edges of all nodes; nil knows none
	Now             func() time.Time // time.Now when nil
	Log             *slog.Logger     // discards when nil
	History         int              // versions kept of each certificate, the current one included; default 10, at most 50
	DomainsPerGroup int              // default 5, as in the compatible API; at most 15
	// GroupsPerInstance is how many API groups an instance takes: default 1500, as in the
	// compatible API; below 0 there is no limit.
	GroupsPerInstance   int
	InstancesPerProject int // default 10
	// CertificatesPerProject is how many certificates a project takes; no limit when 0.
	// With one, a project's certificates are created one after the other.
	CertificatesPerProject int
	EdgeWait               time.Duration // how long an answer waits for the edge; default 5 s
	// RefuseAfter2038 refuses certificates that end after 2038-01-19T03:14:07Z, as the
	// cloud does.
	RefuseAfter2038 bool
}

// Service holds every rule about certificates and domains. Each exported method
// checks the caller's permission first, and each change writes its audit row in the
// same transaction. It is safe for concurrent use.
type Service struct {
	Config
	turns [256]chan struct{} // see turn
}

// NewService returns a Service over its parts.
func NewService(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.History <= 0 {
		c.History = 10
	}
	if c.DomainsPerGroup <= 0 {
		c.DomainsPerGroup = 5
	}
	c.GroupsPerInstance = cmp.Or(c.GroupsPerInstance, 1500)
	if c.InstancesPerProject <= 0 {
		c.InstancesPerProject = 10
	}
	// Deleting a certificate drops its whole history in one transaction, deleting a group
	// all of its domains: see maxRefs for what fits.
	c.History, c.DomainsPerGroup = min(c.History, 50), min(c.DomainsPerGroup, 15)
	if c.EdgeWait <= 0 {
		c.EdgeWait = 5 * time.Second
	}
	s := &Service{Config: c}
	for i := range s.turns {
		s.turns[i] = make(chan struct{}, 1)
	}
	return s
}

// NewID returns 32 random lower-case hexadecimal digits, the form of every id here.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}
