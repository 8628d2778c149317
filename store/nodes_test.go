package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"lacre"
	"lacre/store"
)

// etcdClient is a client of a cluster that knows nothing of Lacre.
func etcdClient(t *testing.T, c *cluster) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.endpoint}, TLS: c.tls, Username: c.user, Password: c.password, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func wantNodes(t *testing.T, s *store.Store, want ...lacre.Node) {
	t.Helper()
	got, err := s.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Nodes (-want +got):\n%s", diff)
	}
}

func node(name string) lacre.Node {
	return lacre.Node{ID: name, Name: name + ".example", Started: time.Unix(1, 2).UTC(), Reported: time.Unix(3, 4).UTC(), Alive: true,
		Proof: lacre.Proof{Revision: 1, Since: 1}}
}

func mustReport(t *testing.T, p *store.Presence, n lacre.Node) {
	t.Helper()
	if err := p.Report(t.Context(), &n); err != nil {
		t.Fatalf("Report: %v", err)
	}
}

// TestNodes: what nodes say of themselves is read by all, and stays when they fall silent.
func TestNodes(t *testing.T) {
	t.Parallel()
	c := serve(t, false)
	s, etcd := external(t, c), etcdClient(t, c)
	wantNodes(t, s)
	a, b := node("a"), node("b")
	b.Instance, b.Project, b.Failing, b.Unlisted = "i1", "p1", []lacre.Failing{{ProjectID: "p1", CertificateID: "c1", Reason: "why"}}, 3
	b.More = []string{"p1"}
	here, there := s.Presence("a"), external(t, c).Presence("b")
	mustReport(t, here, a)
	mustReport(t, there, b)
	wantNodes(t, s, a, b)
	a.Revision = 2
	mustReport(t, here, a)
	wantNodes(t, s, a, b)

	found, err := etcd.Get(t.Context(), "/lacre/alive/a")
	if err != nil || len(found.Kvs) != 1 {
		t.Fatalf("got %v, %v, want the key of a node that is alive", found, err)
	}
	if ttl, err := etcd.TimeToLive(t.Context(), clientv3.LeaseID(found.Kvs[0].Lease)); err != nil || ttl.GrantedTTL != int64(store.AliveFor.Seconds()) {
		t.Errorf("got a lease of %v, %v, want %v", ttl, err, store.AliveFor)
	}
	if held, err := here.Renew(t.Context()); !held || err != nil {
		t.Errorf("Renew: got %t, %v, want true", held, err)
	}
	if _, err := etcd.Revoke(t.Context(), clientv3.LeaseID(found.Kvs[0].Lease)); err != nil { // as if it ran out
		t.Fatal(err)
	}
	silent := a
	silent.Alive = false
	wantNodes(t, s, silent, b)
	a.Revision = 3
	mustReport(t, here, a) // the store is back
	wantNodes(t, s, a, b)

	if err := there.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
	wantNodes(t, s, a)
}

// TestRenewAfterTheLeaseRanOut says that the place is lost.
func TestRenewAfterTheLeaseRanOut(t *testing.T) {
	t.Parallel()
	c := serve(t, false)
	s, etcd := external(t, c), etcdClient(t, c)
	p := s.Presence("a")
	if held, err := p.Renew(t.Context()); held || err != nil {
		t.Errorf("Renew before Report: got %t, %v, want false", held, err)
	}
	mustReport(t, p, node("a"))
	leases, err := etcd.Leases(t.Context())
	if err != nil || len(leases.Leases) != 1 {
		t.Fatalf("got leases %v, %v, want one", leases, err)
	}
	if _, err := etcd.Revoke(t.Context(), leases.Leases[0].ID); err != nil {
		t.Fatal(err)
	}
	if held, err := p.Renew(t.Context()); held || err != nil {
		t.Errorf("Renew: got %t, %v, want false", held, err)
	}
	mustReport(t, p, node("a"))
	wantNodes(t, s, node("a"))
}

// TestTwoNodesOfOneID: a copied data directory. The first one has the place as long as it is
// alive, and neither speaks for the other.
func TestTwoNodesOfOneID(t *testing.T) {
	t.Parallel()
	c := serve(t, false)
	s, etcd := external(t, c), etcdClient(t, c)
	first, second := s.Presence("a"), s.Presence("a")
	mustReport(t, first, node("a"))
	later := node("a")
	later.Started = time.Unix(9, 9).UTC()
	if err := second.Report(t.Context(), &later); !errors.Is(err, store.ErrTaken) {
		t.Errorf("Report of the second: got %v, want ErrTaken", err)
	}
	if err := second.Leave(t.Context()); err != nil {
		t.Errorf("Leave of the second: %v", err)
	}
	wantNodes(t, s, node("a"))
	if _, err := etcd.Delete(t.Context(), "/lacre/alive/a"); err != nil { // the first one is silent
		t.Fatal(err)
	}
	mustReport(t, second, later)
	if _, err := first.Renew(t.Context()); !errors.Is(err, store.ErrTaken) {
		t.Errorf("Renew of the first: got %v, want ErrTaken", err)
	}
	if err := first.Report(t.Context(), new(node("a"))); !errors.Is(err, store.ErrTaken) {
		t.Errorf("Report of the first: got %v, want ErrTaken", err)
	}
	if err := first.Leave(t.Context()); err != nil {
		t.Errorf("Leave of the first: %v", err)
	}
	wantNodes(t, s, later)
}

// TestLeaveAfterTheLeaseRanOut: a node that ends in order is gone, also if it was silent.
func TestLeaveAfterTheLeaseRanOut(t *testing.T) {
	t.Parallel()
	c := serve(t, false)
	s, etcd := external(t, c), etcdClient(t, c)
	p := s.Presence("a")
	mustReport(t, p, node("a"))
	if _, err := etcd.Delete(t.Context(), "/lacre/alive/a"); err != nil {
		t.Fatal(err)
	}
	if err := p.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
	wantNodes(t, s)
}

// TestNodesOfARestoredStore: a revision that the store has not come to proves nothing.
func TestNodesOfARestoredStore(t *testing.T) {
	t.Parallel()
	s := external(t, serve(t, false))
	n := node("a")
	n.Revision = 60
	mustReport(t, s.Presence("a"), n)
	n.Revision = 0
	wantNodes(t, s, n)
	for i := range 61 {
		put(t, s, domain("p1", fmt.Sprint(i)))
	}
	wantNodes(t, s, n) // it was not stored either
}

// TestNodesForgotten: those that have been silent for long, and nobody else.
func TestNodesForgotten(t *testing.T) {
	t.Parallel()
	c := serve(t, false)
	s, etcd := external(t, c), etcdClient(t, c)
	for _, name := range []string{"alive", "damaged", "longago", "silent"} {
		n := node(name)
		if name == "silent" {
			n.Reported = time.Unix(1000, 0).UTC()
		}
		mustReport(t, s.Presence(name), n)
		if name == "damaged" {
			if _, err := etcd.Put(t.Context(), "/lacre/node/damaged", "nonsense"); err != nil {
				t.Fatal(err)
			}
		}
		if name != "alive" {
			if _, err := etcd.Delete(t.Context(), "/lacre/alive/"+name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.ForgetNodes(t.Context(), time.Unix(100, 0)); err != nil {
		t.Errorf("ForgetNodes: %v", err)
	}
	left := node("silent")
	left.Alive, left.Reported = false, time.Unix(1000, 0).UTC()
	wantNodes(t, s, node("alive"), lacre.Node{ID: "damaged"}, left)
}

// TestDamagedNode: it is there, and nothing is known of it.
func TestDamagedNode(t *testing.T) {
	t.Parallel()
	c := serve(t, false)
	s, etcd := external(t, c), etcdClient(t, c)
	mustReport(t, s.Presence("a"), node("a"))
	if _, err := etcd.Put(t.Context(), "/lacre/node/a", "nonsense"); err != nil {
		t.Fatal(err)
	}
	wantNodes(t, s, lacre.Node{ID: "a", Alive: true})
}

// TestReportsThatAreRefused: a store that is full, or does not let the node write, is told from
// one that is away.
func TestReportsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := serve(t, true)
	etcd, reader := etcdClient(t, c), *c
	_, err := etcd.RoleAdd(t.Context(), "reading")
	if err == nil {
		_, err = etcd.RoleGrantPermission(t.Context(), "reading", "/", "0", clientv3.PermissionType(clientv3.PermRead))
	}
	if reader.user = "reader"; err == nil {
		_, err = etcd.UserAdd(t.Context(), reader.user, reader.password)
	}
	if err == nil {
		_, err = etcd.UserGrantRole(t.Context(), reader.user, "reading")
	}
	if err != nil {
		t.Fatal(err)
	}
	report := func(s *store.Store) error { return s.Presence("a").Report(t.Context(), new(node("a"))) }
	if err := report(external(t, &reader)); !store.Refused(err) || !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("as one who may only read: got %v, want that it is refused", err)
	}
	s := external(t, c)
	full := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE}
	if _, err := pb.NewMaintenanceClient(etcd.ActiveConnection()).Alarm(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	if err := report(s); !store.Refused(err) || !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("of a full store: got %v, want that it is refused", err)
	}
	c.stop()
	if err := report(s); err == nil || store.Refused(err) {
		t.Errorf("of a store that is away: got %v, want another error", err)
	}
}
