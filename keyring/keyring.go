// Package keyring seals private keys: a master key wraps one data key for each
// project, and the data key seals what the project stores.
//
// The master key never leaves this package (or its Vault); data keys are Tink
// AES-256-GCM keysets, stored wrapped and kept in memory once opened.
package keyring

import (
	"bytes"
	"context"
	"encoding/binary"
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

// Wrapped keeps what the keyring has sealed. It is safe for concurrent use, durable
// when a Create returns, and ends when its context does.
//
// An absent value is nil without an error. Create keeps the value that is there
// already, if any, and returns the one that stays: of several racing callers all get
// the same winner.
type Wrapped interface {
	Secret(ctx context.Context, name string) ([]byte, error)
	CreateSecret(ctx context.Context, name string, value []byte) (winner []byte, err error)
	DataKey(ctx context.Context, projectID string) ([]byte, error)
	CreateDataKey(ctx context.Context, projectID string, wrapped []byte) (winner []byte, err error)
}

var (
	// ErrWrongMasterKey means that the store was sealed under another master key.
	ErrWrongMasterKey = errors.New("the master key does not match this store")
	// ErrMasterKeyMissing means that there is no master key where one was said to be,
	// and none may be made, because the store holds keys sealed under the old one.
	ErrMasterKeyMissing = errors.New("the master key is missing")
	// ErrExposedMasterKey means that others than the owner may read the key file.
	ErrExposedMasterKey = errors.New("the master key file is open to others")
	// ErrAltered means that a sealed value was changed, or sealed for another project
	// or binding, or under another key.
	ErrAltered = errors.New("the sealed value was altered or belongs elsewhere")
)

// The key check is a cluster secret of known content: whoever opens it has the master
// key of this store.
const (
	checkName = "keycheck"
	checkText = "lacre key check v1"
)

// Keyring seals and opens under the data key of a project. It is safe for concurrent
// use and asks the store once for each project it meets; it keeps about a kilobyte for
// each of them.
type Keyring struct {
	master  tink.AEAD
	wrapped Wrapped
	opened  atomic.Pointer[opened]
}

// opened are the data keys that were opened and those that are being opened: one at a time
// for each project, however many ask.
type opened struct {
	dataKeys sync.Map // project id -> tink.AEAD
	unwraps  singleflight.Group
	silent   atomic.Int64 // until when nobody waits for the master key, in Unix nanoseconds
}

// silence is how long a master key that let somebody wait in vain is not waited for.
const silence = 5 * time.Second

var errSilent = errors.New("the master key's service does not answer")

// Unlock opens the keyring of a store with the master key named by source:
//
//	file:PATH                         base64 of 32 bytes, owner-readable only
//	env:NAME                          the same in an environment variable
//	hcvault://HOST/transit/keys/NAME  a Vault or OpenBao transit key, see VAULT_TOKEN
//
// On a store that was never sealed it creates the key file when there is none, and
// records the key check. Later it fails with ErrWrongMasterKey or ErrMasterKeyMissing
// rather than start beside keys it cannot open.
func Unlock(ctx context.Context, source string, wrapped Wrapped) (*Keyring, error) {
	check, err := wrapped.Secret(ctx, checkName)
	if err != nil {
		return nil, fmt.Errorf("reading the key check: %w", err)
	}
	master, err := openMaster(source, check == nil)
	if err != nil {
		return nil, err
	}
	k := &Keyring{master: master, wrapped: wrapped}
	k.Forget()
	if err := k.check(ctx); err != nil {
		return nil, fmt.Errorf("checking master key %s: %w", source, err)
	}
	return k, nil
}

// check proves the master key against the store, or marks a fresh store with it. Of
// two nodes that start at once with different keys, one gets ErrWrongMasterKey.
func (k *Keyring) check(ctx context.Context) error {
	text, err := k.Secret(ctx, checkName, func() ([]byte, error) { return []byte(checkText), nil })
	if errors.Is(err, ErrAltered) || err == nil && !bytes.Equal(text, []byte(checkText)) {
		return fmt.Errorf("%w: start with the key it was created with", ErrWrongMasterKey)
	}
	return err
}

// Seal encrypts plaintext under the data key of a project, made at first use. The
// result opens only for the same project and binding.
//
// Nonces are random: one data key is good for 2^32 seals (NIST SP 800-38D, 8.3).
func (k *Keyring) Seal(ctx context.Context, projectID string, plaintext, binding []byte) ([]byte, error) {
	key, err := k.dataKey(ctx, projectID, k.createDataKey)
	if err != nil {
		return nil, fmt.Errorf("sealing for project %s: %w", projectID, err)
	}
	sealed, err := key.Encrypt(plaintext, binding)
	if err != nil {
		return nil, fmt.Errorf("sealing for project %s: %w", projectID, err)
	}
	return sealed, nil
}

// Open decrypts what Seal returned for the same project and binding, else ErrAltered.
// The caller owns the plaintext and should clear it.
func (k *Keyring) Open(ctx context.Context, projectID string, sealed, binding []byte) ([]byte, error) {
	key, err := k.dataKey(ctx, projectID, noDataKey)
	if err != nil {
		return nil, fmt.Errorf("opening for project %s: %w", projectID, err)
	}
	plaintext, err := key.Decrypt(sealed, binding)
	if err != nil {
		return nil, fmt.Errorf("opening for project %s: %w", projectID, ErrAltered)
	}
	return plaintext, nil
}

// Secret returns the secret of the whole cluster called name. When there is none it
// stores what fresh returns (and clears that slice), sealed by the master key; every node
// gets the same value. The caller owns the value.
func (k *Keyring) Secret(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
	sealed, err := k.wrapped.Secret(ctx, name)
	if err == nil && sealed == nil {
		sealed, err = k.createSecret(ctx, name, fresh)
	}
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	value, err := k.master.Decrypt(sealed, secretContext(name))
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	return value, nil
}

func (k *Keyring) createSecret(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
	value, err := fresh()
	if err != nil {
		return nil, err
	}
	defer clear(value)
	sealed, err := k.master.Encrypt(value, secretContext(name))
	if err != nil {
		return nil, err
	}
	return k.wrapped.CreateSecret(ctx, name, sealed)
}

// dataKey returns the opened data key of a project. When the store has none, absent
// decides.
func (k *Keyring) dataKey(ctx context.Context, projectID string,
	absent func(context.Context, string) ([]byte, error)) (tink.AEAD, error) {
	o := k.opened.Load()
	if key, ok := o.dataKeys.Load(projectID); ok {
		return key.(tink.AEAD), nil
	}
	wrapped, err := k.wrapped.DataKey(ctx, projectID)
	if err == nil && wrapped == nil {
		wrapped, err = absent(ctx, projectID)
	}
	if err != nil {
		return nil, err
	}
	return k.open(ctx, o, projectID, wrapped)
}

// open unwraps a data key and keeps it. A key service knows no context and may take half a
// minute to fail: who asks leaves when ctx ends, and for a moment nobody else waits at all.
func (k *Keyring) open(ctx context.Context, o *opened, projectID string, wrapped []byte) (tink.AEAD, error) {
	if time.Now().UnixNano() < o.silent.Load() {
		return nil, errSilent
	}
	answer := o.unwraps.DoChan(projectID+string(wrapped), func() (any, error) {
		key, err := k.unwrap(projectID, wrapped)
		if err == nil {
			o.dataKeys.Store(projectID, key)
			o.silent.Store(0)
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
			o.silent.Store(time.Now().Add(silence).UnixNano())
		}
		return nil, fmt.Errorf("%w: %w", errSilent, ctx.Err())
	}
}

// Forget forgets the data keys that were opened, and those that are being opened: the
// store is asked for them again.
func (k *Keyring) Forget() { k.opened.Store(new(opened)) }

func (k *Keyring) createDataKey(ctx context.Context, projectID string) ([]byte, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a data key: %w", err)
	}
	var wrapped bytes.Buffer
	err = handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&wrapped), k.master, dataKeyContext(projectID))
	if err != nil {
		return nil, fmt.Errorf("wrapping a data key: %w", err)
	}
	return k.wrapped.CreateDataKey(ctx, projectID, wrapped.Bytes())
}

// noDataKey is what Open does without a data key: nothing can have been sealed.
func noDataKey(context.Context, string) ([]byte, error) {
	return nil, fmt.Errorf("the project has no data key: %w", ErrAltered)
}

func (k *Keyring) unwrap(projectID string, wrapped []byte) (tink.AEAD, error) {
	// Tink turns the cause into text; note keeps it, so that an unreachable Vault and a
	// damaged data key stay two errors.
	master := &note{AEAD: k.master}
	reader := keyset.NewBinaryReader(bytes.NewReader(wrapped))
	handle, err := keyset.ReadWithAssociatedData(reader, master, dataKeyContext(projectID))
	switch {
	case master.err != nil:
		return nil, fmt.Errorf("unwrapping the data key: %w", master.err)
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

// The contexts are the associated data under the master key. The purpose comes first
// and is never a prefix of another, so that a wrapped value cannot serve as another.
func secretContext(name string) []byte       { return masterContext("lacre/secret/v1", name) }
func dataKeyContext(projectID string) []byte { return masterContext("lacre/data-key/v1", projectID) }

func masterContext(purpose, subject string) []byte {
	b := binary.BigEndian.AppendUint32([]byte(purpose), uint32(len(subject)))
	return append(b, subject...)
}
