package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
)

// TestTenants lets two tenants make random calls, right ones and wrong ones, in turns and
// at the same time, on the same host names and with each other's ids. A model of each
// predicts every answer, everything its project shows and every leaf that is served. What
// one does changes nothing of what the other sees, or is served on its own edge; what is
// the other's answers like what does not exist.
func TestTenants(t *testing.T) {
	runs, rounds, calls := 2, 1, 30
	if nightly() {
		runs, rounds, calls = 10, 2, 60
	}
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	tally := map[string]int{}
	for seed := range uint64(runs) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			p := newPair(t, n, w, seed)
			for range rounds {
				p.inTurns(2 * calls)
				p.atOnce(calls)
			}
			for _, a := range p.tenants {
				for what, count := range a.tally {
					tally[what] += count
				}
			}
		})
	}
	if t.Failed() {
		return
	}
	t.Logf("%v", tally)
	for _, name := range []string{"the other's project", "the other's ids", "names that both serve"} {
		if tally[name] < 5*runs {
			t.Errorf("got %d of %s, want enough to mean something", tally[name], name)
		}
	}
	kinds, done := 0, 0
	for what := range tally {
		if move, ok := strings.CutPrefix(what, "tried: "); ok {
			kinds++
			if tally[move] > 0 {
				done++
			}
		}
	}
	if done < kinds*4/5 {
		t.Errorf("got successes of %d kinds of calls among %d, want most: %v", done, kinds, tally)
	}
}

// pair is two tenants of one node.
type pair struct {
	t       *testing.T
	node    *node
	tenants [2]*tenant
	seed    uint64
}

// tenant is a project with its user, and an edge restricted to its first gateway.
type tenant struct {
	*world
	*model
	zone    []string // host names, the same for both
	other   *tenant
	random  *rand.Rand
	serials *atomic.Int64 // one count for both: a leaf says whose it is

	edge  *edge.Edge
	own   *world // whose edge is that one
	known registry

	strange         []string // ids of the other in the call being made
	prowling        bool     // the call is made on the other's project
	asked, answered time.Time
	seen            []*answer // all pages, when last looked at
	trail           []string  // the calls so far
	tally           map[string]int
}

// registry is what the other may know of a tenant: every id there ever was.
type registry struct {
	mu  sync.Mutex
	ids map[string][]string // by kind
}

func newPair(t *testing.T, n *node, w *world, seed uint64) *pair {
	p := &pair{t: t, node: n, seed: seed}
	serials := new(atomic.Int64)
	for i := range p.tenants {
		a := &tenant{
			model: &model{}, random: rand.New(rand.NewPCG(seed, uint64(i))), serials: serials,
			tally: map[string]int{}, known: registry{ids: map[string][]string{}},
		}
		x, y := fmt.Sprintf("x%d.test", seed), fmt.Sprintf("y%d.test", seed)
		a.zone = []string{"a." + x, "b." + x, "*." + x, "a." + y}
		// Every other pair is of one account.
		a.world = newTenantWorld(t, n, w, fmt.Sprintf("account-%d-%d", seed, uint64(i)*(seed%2)), fmt.Sprint("user-", i))
		first, err := n.store.Instances(t.Context(), a.creds.ProjectID)
		if err != nil || len(first) != 1 {
			t.Fatalf("got instances %v and %v, want the one that a project starts with", first, err)
		}
		a.gateways = []*gatewayModel{{a.knows("instance", first[0].ID), first[0].Name}}
		a.startEdge(n)
		if err := a.checkView(); err != nil {
			t.Fatal(err)
		}
		p.tenants[i] = a
	}
	p.tenants[0].other, p.tenants[1].other = p.tenants[1], p.tenants[0]
	return p
}

// newTenantWorld makes a project and its user, and signs in.
func newTenantWorld(t *testing.T, n *node, w *world, account, user string) *world {
	t.Helper()
	by, password := lacre.Caller{UserName: "test"}, lacre.NewID()
	project, err := n.iam.CreateProject(t.Context(), by, account, "project-of-"+user)
	if err != nil {
		t.Fatal(err)
	}
	u, err := n.iam.CreateUser(t.Context(), by, account, user, password)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.iam.Grant(t.Context(), by, u.ID, project.ID, lacre.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	mine := &world{t: t, http: w.http, ca: w.ca, at: w.at}
	mine.creds = Credentials{ProjectID: project.ID, DomainName: account, UserName: user, Password: password}
	mine.login()
	return mine
}

// startEdge runs an edge for the tenant's first gateway until the test ends.
func (a *tenant) startEdge(n *node) {
	a.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	if a.edge, err = edge.New(edge.Config{Feed: n.store, Sealer: n.service.Sealer, Instance: a.gateways[0].id}); err != nil {
		a.t.Fatal(err)
	}
	own := *a.world
	own.at.EdgeAddr = l.Addr().String()
	a.own = &own
	ctx, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { a.edge.Follow(ctx) }) // its error is that ctx ended
	parts.Go(func() { a.edge.ServeTLS(l) })
	e := a.edge
	a.t.(*testing.T).Cleanup(func() {
		e.Shutdown(context.Background())
		stop()
		parts.Wait()
	})
}

// inTurns makes calls of one tenant or the other and looks at everything after each.
func (p *pair) inTurns(calls int) {
	p.t.Helper()
	for _, a := range p.tenants {
		if err := a.settle(); err != nil {
			p.fail(a, err)
		}
	}
	for _, a := range p.tenants {
		if err := a.checkView(); err != nil {
			p.fail(a, err)
		}
	}
	for range calls {
		a := p.tenants[p.tenants[0].random.IntN(2)]
		if err := a.step(); err != nil {
			p.fail(a, err)
		}
		p.look(a)
	}
}

// settle makes calls until the tenant serves a name that the other serves too.
func (a *tenant) settle() error {
	for range 1000 {
		if serving(a.domains(), a.zone[0])[0] != 0 {
			return nil
		}
		if err := a.step(); err != nil {
			return err
		}
	}
	return errors.New("1,000 calls did not get a certificate served")
}

// look compares what a tenant sees after a call with its model, what the other sees with
// what it saw before, and what all edges serve with both models.
func (p *pair) look(a *tenant) {
	p.t.Helper()
	checks := []func() error{
		a.checkView, a.other.checkUnchanged, p.checkShared,
		func() error { return a.checkEdge(p.node) }, func() error { return a.other.checkEdge(p.node) },
	}
	for _, check := range checks {
		if err := check(); err != nil {
			p.fail(a, err)
		}
	}
}

// atOnce lets both tenants make calls at the same time. Each goes on seeing exactly what
// its own calls made.
func (p *pair) atOnce(calls int) {
	p.t.Helper()
	var both sync.WaitGroup
	errs := [2]error{}
	for i, a := range p.tenants {
		both.Go(func() {
			for range calls {
				if errs[i] = a.alone(p.node); errs[i] != nil {
					return
				}
			}
		})
	}
	both.Wait()
	for i, err := range errs {
		if err != nil {
			p.fail(p.tenants[i], err)
		}
	}
	p.look(p.tenants[0])
}

func (a *tenant) alone(n *node) error {
	if err := a.step(); err != nil {
		return err
	}
	return errors.Join(a.checkView(), a.checkEdge(n))
}

func (p *pair) fail(a *tenant, err error) {
	p.t.Helper()
	p.t.Fatalf("seed %d: the calls of %s end with\n%s\n%v", p.seed, a.creds.UserName, strings.Join(a.trail[max(0, len(a.trail)-12):], "\n"), err)
}

// asking are host names to ask an edge for.
func (a *tenant) asking() []string {
	_, parent, _ := strings.Cut(a.zone[0], ".")
	return []string{a.zone[0], a.zone[1], "c." + parent, a.zone[3]}
}

// checkEdge compares what the tenant's own edge serves with the model. The other has no
// part in it.
func (a *tenant) checkEdge(n *node) error {
	// The answer of a call waits for the node's edge; this one may be behind that.
	if err := a.edge.Applied(within(a.t, patience), n.edge.Status().Revision); err != nil {
		return err
	}
	mine := slices.DeleteFunc(a.domains(), func(d *domainModel) bool { return d.group.gateway != a.gateways[0].id })
	return wantLeaves(a.own, "its own edge", mine, a.asking())
}

// checkShared compares what the edge of all instances serves with both models.
func (p *pair) checkShared() error {
	a, b := p.tenants[0], p.tenants[1]
	for _, name := range a.asking() {
		if serving(a.domains(), name)[0] != 0 && serving(b.domains(), name)[0] != 0 {
			a.tally["names that both serve"]++
		}
	}
	return wantLeaves(a.world, "the shared edge", slices.Concat(a.domains(), b.domains()), a.asking())
}

func wantLeaves(w *world, where string, domains []*domainModel, names []string) error {
	for _, name := range names {
		got, err := servedSerial(w, name)
		if err != nil {
			return fmt.Errorf("handshake for %s with %s: %w", name, where, err)
		}
		if want := serving(domains, name); !slices.Contains(want, got) {
			return fmt.Errorf("handshake for %s with %s: got leaf %d, want one of %v", name, where, got, want)
		}
	}
	return nil
}

// servedSerial is the number of the leaf served for a name, 0 when none is. There are
// thousands of these handshakes: P-256 is by far the cheapest under the race detector.
func servedSerial(w *world, name string) (int, error) {
	config := &tls.Config{ServerName: name, RootCAs: w.ca.Pool(), CurvePreferences: []tls.CurveID{tls.CurveP256}}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", w.at.EdgeAddr, config)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err.Error() == unrecognizedName.Error() {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return int(c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()), nil
}
