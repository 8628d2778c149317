package store_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"lacre"
	"lacre/store"
)

// TestBackupOfAClusterWithAMemberBehind: of a member that lacks what was acknowledged no backup
// is taken, whichever the client is connected to.
func TestBackupOfAClusterWithAMemberBehind(t *testing.T) {
	t.Parallel()
	members, endpoints := threeMembers(t)
	behind := 0 // a follower that hears nothing of the others
	for members[behind].Server.Leader() == members[behind].Server.MemberID() {
		behind++
	}
	others := append(endpoints[:behind:behind], endpoints[behind+1:]...)
	s, alone := externalAt(t, append([]string{endpoints[behind]}, others...)...), externalAt(t, endpoints[behind])
	secrets(t, s, "p")
	put(t, s, &lacre.Project{ID: "p", Name: "p", Created: epoch}, domain("p", "before.test"))
	for i, member := range members {
		if i != behind {
			member.Server.CutPeer(members[behind].Server.MemberID())
			members[behind].Server.CutPeer(member.Server.MemberID())
		}
	}
	at := put(t, externalAt(t, others...), domain("p", "acknowledged.test"))
	found, err := store.Restore(soon(t), t.TempDir(), backup(t, s), nil)
	if err != nil || found.Domains != 2 || found.Revision < at {
		t.Errorf("got %+v, %v, want both domains, at revision %d at least", found, err, at)
	}
	if n, err := alone.Backup(soon(t), io.Discard); n > 0 || !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("of the member behind alone: got %d bytes, %v", n, err)
	}
}

func externalAt(t *testing.T, endpoints ...string) *store.Store {
	t.Helper()
	s, err := store.External(soon(t), store.ExternalConfig{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// threeMembers are a cluster, and where its members are.
func threeMembers(t *testing.T) (members []*embed.Etcd, endpoints []string) {
	t.Helper()
	var configs []*embed.Config
	var initial []string
	for i := range 3 {
		peer, client := freeURL(t), freeURL(t)
		c := embed.NewConfig()
		c.Name, c.Dir, c.TickMs, c.ElectionMs = fmt.Sprintf("m%d", i), t.TempDir(), 10, 100
		c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		configs, endpoints = append(configs, c), append(endpoints, client.String())
		initial = append(initial, c.Name+"="+peer.String())
	}
	for _, c := range configs {
		c.InitialCluster = strings.Join(initial, ",")
		member, err := embed.StartEtcd(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(member.Close)
		members = append(members, member)
	}
	for _, member := range members {
		<-member.Server.ReadyNotify()
	}
	return members, endpoints
}

// freeURL is an address at which nobody listened just now.
func freeURL(t *testing.T) url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}
}
