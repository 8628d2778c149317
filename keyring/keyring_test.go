package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"lacre/keyring"
)

func TestSealOpensForItsProjectAndBindingOnly(t *testing.T) {
	k, _ := newKeyring(t)
	sealed := seal(t, k, "p1", "the private key", "certificate 1")
	seal(t, k, "p2", "another", "certificate 1") // so that p2 has a data key
	tests := []struct {
		name, project, binding string
		want                   error
	}{
		{"its own", "p1", "certificate 1", nil},
		{"other binding", "p1", "certificate 2", keyring.ErrAltered},
		{"no binding", "p1", "", keyring.ErrAltered},
		{"longer binding", "p1", "certificate 1 ", keyring.ErrAltered},
		{"other project", "p2", "certificate 1", keyring.ErrAltered},
		{"project without a data key", "p3", "certificate 1", keyring.ErrAltered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := k.Open(t.Context(), tt.project, sealed, []byte(tt.binding))
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open error = %v, want %v", err, tt.want)
			}
			if tt.want == nil && string(got) != "the private key" {
				t.Errorf("Open = %q, want the plaintext", got)
			}
			if tt.want != nil && got != nil {
				t.Errorf("Open = %d bytes beside its error, want none", len(got))
			}
		})
	}
}

func TestOpenNeverMakesADataKey(t *testing.T) {
	k, r := newKeyring(t)
	if _, err := k.Open(t.Context(), "nobody", []byte("x"), nil); err == nil {
		t.Fatal("Open without a data key succeeded")
	}
	if len(r.dataKeys) != 0 {
		t.Errorf("Open made %d data keys, want 0", len(r.dataKeys))
	}
}

func TestOpenRefusesEveryFlippedBitAndEveryCut(t *testing.T) {
	k, _ := newKeyring(t)
	sealed := seal(t, k, "p", "0123456789", "b") // key id 5, nonce 12, text 10, tag 16 bytes
	if got, want := len(sealed), 5+12+10+16; got != want {
		t.Fatalf("sealed is %d bytes, want %d", got, want)
	}
	for i := range sealed {
		for bit := range 8 {
			altered := bytes.Clone(sealed)
			altered[i] ^= 1 << bit
			if _, err := k.Open(t.Context(), "p", altered, []byte("b")); !errors.Is(err, keyring.ErrAltered) {
				t.Errorf("Open with bit %d of byte %d flipped: error = %v, want ErrAltered", bit, i, err)
			}
		}
		if _, err := k.Open(t.Context(), "p", sealed[:i], []byte("b")); !errors.Is(err, keyring.ErrAltered) {
			t.Errorf("Open of the first %d bytes: error = %v, want ErrAltered", i, err)
		}
	}
}

func TestSealingTwiceShowsNothingInCommon(t *testing.T) {
	k, _ := newKeyring(t)
	if bytes.Equal(seal(t, k, "p", "same", "b"), seal(t, k, "p", "same", "b")) {
		t.Error("two seals of one plaintext are equal")
	}
}

func TestAnotherProcessOpensWhatWasSealed(t *testing.T) {
	source := "file:" + filepath.Join(t.TempDir(), "master.key")
	r := newRecords()
	sealed := seal(t, unlock(t, source, r), "p", "kept", "b")
	got, err := unlock(t, source, r).Open(t.Context(), "p", sealed, []byte("b"))
	if err != nil || string(got) != "kept" {
		t.Errorf("Open after a restart = %q, %v, want %q", got, err, "kept")
	}
}

// The wrapped forms carry their own context: none opens in the place of another.
func TestWrappedKeysAreNotInterchangeable(t *testing.T) {
	source := "file:" + filepath.Join(t.TempDir(), "master.key")
	r := newRecords()
	k := unlock(t, source, r)
	sealed := seal(t, k, "p1", "one", "b")
	seal(t, k, "p2", "two", "b")
	r.dataKeys["p1"], r.dataKeys["p2"] = r.dataKeys["p2"], r.dataKeys["p1"]

	restarted := unlock(t, source, r)
	if _, err := restarted.Open(t.Context(), "p1", sealed, []byte("b")); !errors.Is(err, keyring.ErrAltered) {
		t.Errorf("Open under a swapped data key: error = %v, want ErrAltered", err)
	}
	r.secrets["tickets"] = r.secrets["keycheck"]
	if _, err := restarted.Secret(t.Context(), "tickets", nil); !errors.Is(err, keyring.ErrAltered) {
		t.Errorf("Secret stored under another name: error = %v, want ErrAltered", err)
	}
}

func TestADamagedDataKeyIsAltered(t *testing.T) {
	source := "file:" + filepath.Join(t.TempDir(), "master.key")
	r := newRecords()
	sealed := seal(t, unlock(t, source, r), "p", "one", "b")
	whole := r.dataKeys["p"]
	for i := range whole {
		r.dataKeys["p"] = bytes.Clone(whole)
		r.dataKeys["p"][i] ^= 0x80
		got, err := unlock(t, source, r).Open(t.Context(), "p", sealed, []byte("b"))
		// The key info beside the wrapped keyset is for people and is not authenticated.
		if err == nil && string(got) == "one" {
			continue
		}
		if !errors.Is(err, keyring.ErrAltered) {
			t.Errorf("Open with byte %d of the data key flipped = %q, %v, want ErrAltered", i, got, err)
		}
	}
	r.dataKeys["p"] = []byte{}
	if _, err := unlock(t, source, r).Open(t.Context(), "p", sealed, []byte("b")); !errors.Is(err, keyring.ErrAltered) {
		t.Errorf("Open with an empty data key: error = %v, want ErrAltered", err)
	}
}

func TestTheStoreIsAskedOncePerProject(t *testing.T) {
	k, r := newKeyring(t)
	sealed := seal(t, k, "p", "x", "b")
	before := r.countReads()
	for range 2000 {
		seal(t, k, "p", "x", "b")
		if _, err := k.Open(t.Context(), "p", sealed, []byte("b")); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.countReads() - before; got != 0 {
		t.Errorf("2,000 seals and opens read the store %d times, want 0", got)
	}
}

// Nodes that meet a project at the same moment agree on one data key and one secret.
func TestRacingNodesAgree(t *testing.T) {
	source := "file:" + filepath.Join(t.TempDir(), "master.key")
	r := newRecords()
	const nodes = 8
	var (
		wg      sync.WaitGroup
		rings   [nodes]*keyring.Keyring
		sealed  [nodes][]byte
		secrets [nodes][]byte
	)
	for i := range nodes {
		wg.Go(func() {
			var err error
			if rings[i], err = keyring.Unlock(t.Context(), source, r); err != nil {
				t.Errorf("Unlock error = %v, want nil", err)
				return
			}
			sealed[i], _ = rings[i].Seal(t.Context(), "p", []byte("x"), nil)
			secrets[i], _ = rings[i].Secret(t.Context(), "tokens", func() ([]byte, error) {
				return fmt.Appendf(nil, "from node %d", i), nil
			})
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i := range nodes {
		if _, err := rings[(i+1)%nodes].Open(t.Context(), "p", sealed[i], nil); err != nil {
			t.Errorf("what node %d sealed does not open at the next: %v", i, err)
		}
		if !bytes.Equal(secrets[i], secrets[0]) || len(secrets[i]) == 0 {
			t.Errorf("secret of node %d = %q, want %q", i, secrets[i], secrets[0])
		}
	}
}

func TestSecretIsMadeOnce(t *testing.T) {
	k, _ := newKeyring(t)
	made := 0
	fresh := func() ([]byte, error) { made++; return []byte("signing key"), nil }
	for range 3 {
		got, err := k.Secret(t.Context(), "tokens", fresh)
		if err != nil || string(got) != "signing key" {
			t.Fatalf("Secret = %q, %v, want %q", got, err, "signing key")
		}
	}
	if made != 1 {
		t.Errorf("the secret was made %d times, want 1", made)
	}
}

func TestSecretPassesOnWhyNoneCouldBeMade(t *testing.T) {
	k, r := newKeyring(t)
	want := errors.New("no entropy")
	if _, err := k.Secret(t.Context(), "tokens", func() ([]byte, error) { return nil, want }); !errors.Is(err, want) {
		t.Errorf("Secret error = %v, want %v", err, want)
	}
	if r.secrets["tokens"] != nil {
		t.Error("a secret that could not be made was stored")
	}
}

// A write may fail before or after it happened; both ways a retry ends with one key.
func TestStoreFaults(t *testing.T) {
	down := errors.New("store down")
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%v", lost), func(t *testing.T) {
			k, r := newKeyring(t)
			r.fail, r.lost = down, lost
			if _, err := k.Seal(t.Context(), "p", []byte("x"), nil); !errors.Is(err, down) {
				t.Fatalf("Seal error = %v, want %v", err, down)
			}
			if _, err := k.Secret(t.Context(), "s", func() ([]byte, error) { return []byte("v"), nil }); !errors.Is(err, down) {
				t.Fatalf("Secret error = %v, want %v", err, down)
			}
			r.fail = nil
			sealed := seal(t, k, "p", "x", "")
			if _, err := k.Open(t.Context(), "p", sealed, nil); err != nil {
				t.Errorf("Open after the fault: %v", err)
			}
		})
	}
	t.Run("at start", func(t *testing.T) {
		r := newRecords()
		r.fail = down
		if _, err := keyring.Unlock(t.Context(), "env:UNUSED", r); !errors.Is(err, down) {
			t.Errorf("Unlock error = %v, want %v", err, down)
		}
	})
}

func TestCancelledContext(t *testing.T) {
	k, _ := newKeyring(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Seal(ctx, "p", []byte("x"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Seal error = %v, want context.Canceled", err)
	}
}

// gate lets a test stop a reading of data keys.
type gate struct {
	*records
	in, out chan struct{}
}

func (g *gate) DataKey(ctx context.Context, projectID string) ([]byte, error) {
	wrapped, err := g.records.DataKey(ctx, projectID)
	if g.in != nil {
		g.in <- struct{}{}
		<-g.out
	}
	return wrapped, err
}

// TestForgetMeansThoseBeingOpenedToo: a key that was read before Forget and opened after it
// is not kept.
func TestForgetMeansThoseBeingOpenedToo(t *testing.T) {
	source := "file:" + filepath.Join(t.TempDir(), "key")
	store := newRecords()
	sealed := seal(t, unlock(t, source, store), "p", "x", "b")
	mistaken := newRecords()
	mistaken.secrets = store.secrets
	seal(t, unlock(t, source, mistaken), "p", "y", "b")
	g := &gate{records: mistaken}
	k, err := keyring.Unlock(t.Context(), source, g)
	if err != nil {
		t.Fatal(err)
	}
	g.in, g.out = make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := k.Open(t.Context(), "p", sealed, []byte("b"))
		done <- err
	}()
	<-g.in
	k.Forget()
	close(g.out)
	if err := <-done; !errors.Is(err, keyring.ErrAltered) {
		t.Fatalf("Open with the mistaken key: error = %v, want ErrAltered", err)
	}
	g.records, g.in = store, nil
	if got, err := k.Open(t.Context(), "p", sealed, []byte("b")); err != nil || string(got) != "x" {
		t.Errorf("Open after Forget = %q, %v, want x", got, err)
	}
}
