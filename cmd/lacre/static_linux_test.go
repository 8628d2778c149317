package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestStoreStops takes the disk away from a running serve: no file can be written any
// more. The edge goes on serving, the API says what is wrong, and after a start on a
// sound disk everything acknowledged is there.
func TestStoreStops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	w := visitLacre(t, dir)
	const host = "static.fault.test"
	s := w.publish(host, "", w.leaf(host, 1))

	none := unix.Rlimit{Cur: 1, Max: 1}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &none, nil); err != nil {
		t.Fatal(err)
	}
	w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 2)), 500)
	eventually(t, "a store that has stopped", func() bool { return w.metric("lacre_store_up") == 0 })
	for range 3 {
		w.wantServed(host, 1)
	}
	if a, err := w.send("GET", "/readyz", nil); err != nil || a.status != 503 {
		t.Errorf("ready without a store: got %v, %v, want 503", a, err)
	}
	p.says("the store has stopped", "goes on serving what it knows")
	p.kill()

	p = start(t, dir)
	w.follow(dir)
	if got := w.ask("GET", "/certificates/"+s.id, nil, 200).field("id"); got != s.id {
		t.Errorf("certificate after the restart: got %s, want %s", got, s.id)
	}
	w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 3)), 200)
	w.wantServed(host, 3)
	p.stop()
}
