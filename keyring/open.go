package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/sync/singleflight"
)

// opened are the data keys that were opened and those that are being opened: one at a time
// for each project and master key, however many ask.
type opened struct {
	dataKeys sync.Map // project id -> tink.AEAD
	asked    [2]asked // of each master key, as in Keyring.keys
}

// asked is what one master key is asked. Each has its own silence: one whose service is away
// holds up nothing that is under the other.
type asked struct {
	unwraps singleflight.Group
	silent  atomic.Int64 // until when nobody waits for it, in Unix nanoseconds
}

// silence is how long a master key that let somebody wait in vain is not waited for.
const silence = 5 * time.Second

var errSilent = errors.New("the master key's service does not answer")

// openMasters opens the master keys. The master key is tried first, unless asking the other
// costs nothing: a key in this process cannot be away.
func (k *Keyring) openMasters(source, other string, fresh bool) (err error) {
	if k.master, err = openMaster(source, fresh && other == ""); err != nil {
		return err
	}
	k.keys = []tink.AEAD{k.master}
	if other == "" {
		return nil
	}
	if k.other, err = openMaster(other, false); err != nil {
		return fmt.Errorf("the other master key: %w", err)
	}
	k.keys = append(k.keys, k.other)
	if isLocal(k.other) && !isLocal(k.master) {
		k.keys = []tink.AEAD{k.other, k.master}
	}
	return differ(k.master, k.other)
}

func isLocal(key tink.AEAD) bool {
	_, ok := key.(local)
	return ok
}

// differ refuses one key under two names: it would be taken for changed. Two in Vault are
// told apart by whoever names them.
func differ(a, b tink.AEAD) error {
	if !isLocal(a) || !isLocal(b) {
		return nil
	}
	sealed, err := a.Encrypt(nil, nil)
	if err != nil {
		return fmt.Errorf("comparing the master keys: %w", err)
	}
	if _, err := b.Decrypt(sealed, nil); err == nil {
		return ErrSameMasterKey
	}
	return nil
}

// decrypt opens what is under either master key, and says which. The error is ErrAltered
// only if all of them say so: one that cannot be asked may be the right one.
func (k *Keyring) decrypt(sealed, associated []byte) (plaintext []byte, under tink.AEAD, err error) {
	for _, key := range k.keys {
		plaintext, failed := key.Decrypt(sealed, associated)
		if failed == nil {
			return plaintext, key, nil
		}
		err = graver(err, failed)
	}
	return nil, nil, err
}

// graver returns the first error that is not ErrAltered, or the first of all.
func graver(err, next error) error {
	if err == nil || errors.Is(err, ErrAltered) && !errors.Is(next, ErrAltered) {
		return next
	}
	return err
}

// open unwraps a data key that is under either master key, and keeps it.
func (k *Keyring) open(ctx context.Context, o *opened, projectID string, wrapped []byte) (key tink.AEAD, err error) {
	for i := range k.keys {
		key, failed := k.openUnder(ctx, o, i, projectID, wrapped)
		if failed == nil {
			return key, nil
		}
		if err = graver(err, failed); ctx.Err() != nil {
			break // that the next is not waited for says nothing of it
		}
	}
	return nil, err
}

// openUnder opens with one master key. A key service knows no context and may take half a
// minute to fail: who asks leaves when ctx ends, and for a moment nobody else waits at all.
func (k *Keyring) openUnder(ctx context.Context, o *opened, i int, projectID string, wrapped []byte) (tink.AEAD, error) {
	a := &o.asked[i]
	if time.Now().UnixNano() < a.silent.Load() {
		return nil, errSilent
	}
	answer := a.unwraps.DoChan(projectID+string(wrapped), func() (any, error) {
		key, err := unwrap(k.keys[i], projectID, wrapped)
		if err == nil {
			o.dataKeys.Store(projectID, key)
		}
		if err == nil || errors.Is(err, ErrAltered) {
			a.silent.Store(0)
		}
		return key, err
	})
	select {
	case a := <-answer:
		if a.Err != nil {
			return nil, a.Err
		}
		return a.Val.(tink.AEAD), nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			a.silent.Store(time.Now().Add(silence).UnixNano())
		}
		return nil, fmt.Errorf("%w: %w", errSilent, ctx.Err())
	}
}

// Forget forgets the data keys that were opened, and those that are being opened: the
// store is asked for them again.
func (k *Keyring) Forget() { k.opened.Store(new(opened)) }

// unwrap opens a data key with a master key.
func unwrap(master tink.AEAD, projectID string, wrapped []byte) (tink.AEAD, error) {
	// Tink turns the cause into text; note keeps it, so that an unreachable Vault and a
	// damaged data key stay two errors.
	noted := &note{AEAD: master}
	reader := keyset.NewBinaryReader(bytes.NewReader(wrapped))
	handle, err := keyset.ReadWithAssociatedData(reader, noted, dataKeyContext(projectID))
	switch {
	case noted.err != nil:
		return nil, fmt.Errorf("unwrapping the data key: %w", noted.err)
	case err != nil:
		return nil, fmt.Errorf("reading the data key: %w", ErrAltered)
	}
	return aead.New(handle)
}

// note remembers why a decryption failed.
type note struct {
	tink.AEAD
	err error
}

func (n *note) Decrypt(ciphertext, associated []byte) ([]byte, error) {
	plaintext, err := n.AEAD.Decrypt(ciphertext, associated)
	n.err = err
	return plaintext, err
}
