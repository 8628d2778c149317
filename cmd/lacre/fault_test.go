package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// flipBit flips one bit of the newest value stored under the key that ends so, in the
// database file of a store that nobody has open.
func flipBit(t *testing.T, dir, suffix string) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "etcd", "member", "snap", "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("key")) // etcd's: revision -> mvccpb.KeyValue
		c := b.Cursor()
		for revision, text := c.Last(); revision != nil; revision, text = c.Prev() {
			var kv mvccpb.KeyValue
			if err := proto.Unmarshal(text, &kv); err != nil {
				return err
			}
			if !bytes.HasSuffix(kv.Key, []byte(suffix)) {
				continue
			}
			kv.Value[len(kv.Value)/2] ^= 0x10
			damaged, err := proto.Marshal(&kv)
			if err != nil {
				return err
			}
			return b.Put(bytes.Clone(revision), damaged)
		}
		return errors.New("no such key")
	})
	if err != nil {
		t.Fatalf("flipping a bit of %s: %v", suffix, err)
	}
}

// TestFaultDamagedRecords flips a bit of one certificate's current version, and of
// another's head. The start succeeds, both go on being served in their last good
// version, and everything else works as before.
func TestFaultDamagedRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	w := visitLacre(t, dir)
	var version, head, sound site
	for host, s := range map[string]*site{"version.fault.test": &version, "head.fault.test": &head, "sound.fault.test": &sound} {
		*s = w.publish(host, "", w.leaf(host, 1))
		w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 2)), 200)
	}
	p.stop()
	flipBit(t, dir, "/version/"+version.id+"/0000000002")
	flipBit(t, dir, "/cert/"+head.id)

	p = start(t, dir)
	w.follow(dir)
	w.wantServed(version.host, 1) // its last good one
	w.wantServed(head.host, 2)    // only the head is damaged
	w.wantServed(sound.host, 2)
	if got := w.metric("lacre_edge_damaged"); got != 2 {
		t.Errorf("got %v damaged, want 2", got)
	}
	if got := w.ask("GET", "/certificates/"+head.id, nil, 500).field("error_code"); got != "APIG.9999" {
		t.Errorf("showing a damaged certificate: got %s, want APIG.9999", got)
	}
	if got := w.ask("GET", "/certificates?instance_id=", nil, 200).field("total"); got != "2" {
		t.Errorf("listing beside a damaged certificate: got a total of %s, want 2", got)
	}
	w.ask("PUT", "/certificates/"+sound.id, sound.upload(w.leaf(sound.host, 3)), 200)
	w.wantServed(sound.host, 3)
	w.publish("new.fault.test", "", w.leaf("new.fault.test", 1))
	w.wantServed("new.fault.test", 1)

	// A new upload is the way out of a damaged version.
	w.ask("PUT", "/certificates/"+version.id, version.upload(w.leaf(version.host, 3)), 200)
	w.wantServed(version.host, 3)
	if got := w.metric("lacre_edge_damaged"); got != 1 {
		t.Errorf("after the repair: got %v damaged, want 1", got)
	}
	p.says("damaged")
	p.stop()
}

// TestFaultDamagedDirectory takes files away that a used data directory must have. An
// empty store is not started in their place.
func TestFaultDamagedDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, dir).stop()
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	p := launch(t, dir)
	if code := p.exit(); code != exitFailed {
		t.Errorf("got exit code %d, want 1", code)
	}
	p.says("lacre: ", "the data directory is damaged: restore it from a backup")
	if fileExists(filepath.Join(dir, endpointsFile)) {
		t.Error("got an endpoints.json of a start that failed")
	}
}
