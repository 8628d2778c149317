package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"lacre"
	"lacre/store"
)

// serveEtcd starts an etcd of its own, as an operator would, and returns its endpoint.
func serveEtcd(t *testing.T, options ...grpc.ServerOption) string {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.GRPCAdditionalServerOptions = options
	cfg.Dir = t.TempDir()
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.ListenPeerUrls = nil
	listen := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = listen, listen
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatalf("starting etcd: %v", err)
	}
	t.Cleanup(sync.OnceFunc(server.Close))
	<-server.Server.ReadyNotify()
	return "http://" + server.Clients[0].Addr().String()
}

// etcdClient is a client of an etcd that knows nothing of Lacre.
func etcdClient(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcd.Close() })
	return etcd
}

// states is what a rollout says: complete or not, then each node.
func (w *world) states(id string) string {
	w.t.Helper()
	var r rollout
	if err := json.Unmarshal(w.ask("GET", "/certificates/"+id+"/rollout", nil, 200).body, &r); err != nil {
		w.t.Fatal(err)
	}
	text := []string{fmt.Sprint(r.Complete)}
	for _, n := range r.Nodes {
		text = append(text, strings.Trim(n.Name+" "+n.State+" "+n.Proof, " "))
	}
	return strings.Join(text, ", ")
}

func (w *world) wantStates(id, want string) {
	w.t.Helper()
	last := ""
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the rollout says %q, want %q", last, want)
		}
	}()
	eventually(w.t, "the rollout", func() bool {
		if last = w.states(id); last == want {
			return true
		}
		time.Sleep(200 * time.Millisecond) // the others in this package need the processor
		return false
	})
}

// TestFleet: three nodes over an etcd cluster. A modification that waits is served by all of
// them when it is answered; who is late, gone, back or a copy of another is seen for what it is.
func TestFleet(t *testing.T) {
	t.Parallel()
	endpoint, home := serveEtcd(t), t.TempDir()
	dir := func(name string) string { return filepath.Join(home, name) }
	node := func(name, roles string, args ...string) *process {
		t.Helper()
		return start(t, dir(name), append([]string{"--etcd-endpoints", endpoint, "--node-name", name, "--roles", roles,
			"--master-key", "file:" + filepath.Join(dir("a"), "master.key"), "--drain-time", "1s"}, args...)...)
	}
	a, b, c := node("a", "api,edge"), node("b", "edge"), node("c", "edge")
	w := visitLacre(t, dir("a"))
	s := w.publish("www.example.test", "", w.leaf("www.example.test", 1))
	w.wantStates(s.id, "true, a serving handshake, b serving handshake, c serving handshake")

	modify := func(n int, wait string) string {
		t.Helper()
		w.prefer = wait
		defer func() { w.prefer = "" }()
		return strings.Join(w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(s.host, n)), 200).header.Values("X-Lacre-Warning"), "; ")
	}
	for n := 2; n < 6; n++ {
		if warned := modify(n, "wait=60"); warned != "" {
			t.Errorf("modification %d: got warned %q, want that all nodes serve it", n, warned)
		}
		for _, name := range []string{"a", "b", "c"} {
			at := *w
			at.at = endpointsOf(t, dir(name))
			at.wantServed(s.host, n)
		}
	}

	c.signal(syscall.SIGSTOP)
	if warned := modify(6, "wait=1"); !strings.Contains(warned, "c is pending") || strings.Contains(warned, "b is") {
		t.Errorf("with c stopped: got warned %q, want that c is pending", warned)
	}
	c.signal(syscall.SIGCONT)
	w.wantStates(s.id, "true, a serving handshake, b serving handshake, c serving handshake")

	b.kill()
	b = node("b", "edge") // the same node, not another one
	w.wantStates(s.id, "true, a serving handshake, b serving loaded, c serving handshake")
	c.stop()
	w.wantStates(s.id, "true, a serving handshake, b serving loaded")

	if err := os.MkdirAll(dir("d"), 0o700); err != nil {
		t.Fatal(err)
	}
	id, err := os.ReadFile(filepath.Join(dir("b"), nodeIDFile))
	if err != nil || os.WriteFile(filepath.Join(dir("d"), nodeIDFile), id, 0o600) != nil {
		t.Fatal("copying the id of a node:", err)
	}
	another := w.ask("POST", "/instances", map[string]any{"instance_name": "another"}, 200, 201).field("id")
	d := node("d", "edge", "--instance", another)
	w.wantStates(s.id, "true, a serving handshake, b serving loaded, d elsewhere")
	d.says("takes a new id")
	for _, p := range []*process{a, b, d} {
		p.stop()
	}
	if text := a.talk.String() + b.talk.String() + d.talk.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("got errors in the logs:\n%s", text)
	}
}

// TestHousekeeping: what a node finds at its start that is due. Audit rows of days that are
// over are packed, those past their time dropped, and a node that is long gone is forgotten.
func TestHousekeeping(t *testing.T) {
	t.Parallel()
	endpoint := serveEtcd(t)
	etcd := etcdClient(t, endpoint)
	s, err := store.External(t.Context(), store.ExternalConfig{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ghost := lacre.Node{Name: "ghost", Reported: time.Now().Add(-time.Hour)}
	if err := s.Presence("ghost").Report(t.Context(), &ghost); err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Delete(t.Context(), "/lacre/alive/ghost"); err != nil {
		t.Fatal(err)
	}
	project := &lacre.Project{ID: "p1", Name: "p1", AccountID: "a", AccountName: "a", Created: time.Now()}
	for i, days := range []int{3, 3, 3, 20} {
		tx := lacre.Tx{Audit: lacre.Audit{ProjectID: "p1", Action: lacre.CanBind, Time: time.Now().AddDate(0, 0, -days)}}
		if i == 0 {
			tx.Put = []lacre.Record{project}
		}
		if _, err := s.Commit(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
	}
	start(t, t.TempDir(), "--etcd-endpoints", endpoint, "--audit-days", "10", "--forget-node-after", "30m")
	for what, prefix := range map[string]string{"one pack is left of the audit": "/lacre/p/p1/audit/", "one node": "/lacre/node/"} {
		eventually(t, what, func() bool {
			found, err := etcd.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
			return err == nil && found.Count == 1 && !strings.HasSuffix(string(found.Kvs[0].Key), "/ghost")
		})
	}
	page, err := s.Audits(t.Context(), "p1", lacre.AuditQuery{Limit: 10})
	if err != nil || len(page.Audits) != 3 {
		t.Errorf("got %d rows, %v, want three", len(page.Audits), err)
	}
}
