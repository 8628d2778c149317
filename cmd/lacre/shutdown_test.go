package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"lacre"
	"lacre/store"
)

// TestShutdownLetsRequestsFinish sends SIGTERM while an upstream takes its time: that
// request is answered, new connections are refused, and the exit code is 0.
func TestShutdownLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	arrived, finish := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-finish
		io.WriteString(rw, "at last")
	}))
	defer upstream.Close()
	dir := t.TempDir()
	p := start(t, dir)
	w := visitLacre(t, dir)
	const host = "slow.shutdown.test"
	w.publish(host, upstream.URL, w.leaf(host, 1))
	idle, err := tls.Dial("tcp", w.at.EdgeAddr, &tls.Config{ServerName: host, RootCAs: w.ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close() // open and unused, which must not hold the shutdown up

	answered := make(chan string, 1)
	go func() { answered <- getSlow(w, host) }()
	<-arrived
	p.signal(syscall.SIGTERM)
	api, err := url.Parse(w.at.APIURL)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{w.at.EdgeAddr, w.at.EdgeHTTPAddr, api.Host} {
		eventually(t, "refusing at "+address, func() bool { return refuses(address) })
	}
	select {
	case <-p.done:
		t.Fatal("the process ended before the request in flight")
	case got := <-answered:
		t.Fatalf("got %q before the upstream has answered", got)
	default:
	}
	close(finish)
	if got := <-answered; got != "at last" {
		t.Errorf("request in flight at SIGTERM: got %q, want %q", got, "at last")
	}
	if code := p.exit(); code != exitDone {
		t.Errorf("got exit code %d, want 0\n%s", code, &p.talk)
	}
}

// getSlow returns the answer's body, or what went wrong.
func getSlow(w *world, host string) string {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{ServerName: host, RootCAs: w.ca.Pool()},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.at.EdgeAddr)
		},
	}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("https://" + host + "/")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

func refuses(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return true
	}
	c.Close()
	return false
}

// TestShutdownCutsAtDrainTime gives a request that never ends the drain time and no more.
func TestShutdownCutsAtDrainTime(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	defer upstream.Close()
	dir := t.TempDir()
	p := start(t, dir, "--drain-time", "200ms")
	w := visitLacre(t, dir)
	const host = "endless.shutdown.test"
	w.publish(host, upstream.URL, w.leaf(host, 1))
	answered := make(chan string, 1)
	go func() { answered <- getSlow(w, host) }()
	<-arrived
	began := time.Now()
	p.stop()
	p.says("some connections were cut at the end of the drain time")
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("the process ended after %v, want the drain time at least", took)
	}
	<-answered
}

// TestShutdownAnswersWhoWaits sends SIGTERM while a modification waits for a node that is late: it
// is answered, without having waited, and not cut.
func TestShutdownAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	endpoint, dir := serveEtcd(t), t.TempDir()
	p := start(t, dir, "--etcd-endpoints", endpoint, "--drain-time", "10s")
	w := visitLacre(t, dir)
	s := w.publish("late.shutdown.test", "", w.leaf("late.shutdown.test", 1))
	reportLate(t, endpoint)
	path, body := "/certificates/"+s.id, s.upload(w.leaf(s.host, 2))

	type outcome struct {
		*answer
		err error
	}
	answered := make(chan outcome, 1)
	waiter := *w
	waiter.prefer = "wait=60"
	go func() {
		a, err := waiter.project("PUT", path, body)
		answered <- outcome{a, err}
	}()
	eventually(t, "the modification at this node", func() bool { // from then on the others are waited for
		leaf, err := w.served(s.host)
		return err == nil && leaf.SerialNumber.Int64() == 2
	})
	p.signal(syscall.SIGTERM)
	got := <-answered
	if got.err != nil {
		t.Fatalf("got %v, want an answer", got.err)
	}
	warned, applied := got.header.Get("X-Lacre-Warning"), got.header.Get("Preference-Applied")
	if got.status != http.StatusOK || !strings.Contains(warned, "late is pending") || applied != "" {
		t.Errorf("got %d, warned %q, applied %q, want 200 and that late is pending", got.status, warned, applied)
	}
	if code := p.exit(); code != exitDone {
		t.Errorf("got exit code %d, want 0\n%s", code, &p.talk)
	}
}

// reportLate has a cluster know a node that is alive for ever, and has applied nothing.
func reportLate(t *testing.T, endpoint string) {
	t.Helper()
	s, err := store.External(t.Context(), store.ExternalConfig{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Presence("late").Report(t.Context(), &lacre.Node{Name: "late", Reported: time.Now()}); err != nil {
		t.Fatal(err)
	}
	etcd := etcdClient(t, endpoint)
	if _, err := etcd.Put(t.Context(), "/lacre/alive/late", ""); err != nil { // without its lease
		t.Fatal(err)
	}
}

// TestStopWhileStarting stops a start early: that is no failure either.
func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond} {
		dir := t.TempDir()
		p := launch(t, dir)
		eventually(t, "the lock", func() bool { return fileExists(dir + "/lock") }) // main has its signals by then
		time.Sleep(wait)
		p.stop()
	}
}
