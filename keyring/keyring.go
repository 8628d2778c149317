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
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
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
	// ErrOtherMasterKeyNeeded means that the master key is being changed, and that only one
	// of the two was given. It comes with ErrWrongMasterKey.
	ErrOtherMasterKeyNeeded = errors.New("it is being changed, and the other of the two is needed as well")
	// ErrSameMasterKey means that one key was given twice.
	ErrSameMasterKey = errors.New("both master keys are the same")
	// ErrMasterKeyMissing means that there is no master key where one was said to be,
	// and none may be made, because the store holds keys sealed under the old one.
	ErrMasterKeyMissing = errors.New("the master key is missing")
	// ErrExposedMasterKey means that others than the owner may read the key file.
	ErrExposedMasterKey = errors.New("the master key file is open to others")
	// ErrAltered means that a sealed value was changed, or sealed for another project
	// or binding, or under another key.
	ErrAltered = errors.New("the sealed value was altered or belongs elsewhere")
)

// Keyring seals and opens under the data key of a project. It is safe for concurrent
// use and asks the store once for each project it meets; it keeps about a kilobyte for
// each of them.
type Keyring struct {
	master  tink.AEAD   // wraps
	other   tink.AEAD   // only opens, while the master key is being changed; nil without
	keys    []tink.AEAD // both, in the order in which they are tried
	wrapped Wrapped
	opened  atomic.Pointer[opened]
}

// Unlock is UnlockBoth without another master key.
func Unlock(ctx context.Context, source string, wrapped Wrapped) (*Keyring, error) {
	return UnlockBoth(ctx, source, "", wrapped)
}

// UnlockBoth opens the keyring of a store with the master key named by source:
//
//	file:PATH                         base64 of 32 bytes, owner-readable only
//	env:NAME                          the same in an environment variable
//	hcvault://HOST/transit/keys/NAME  a Vault or OpenBao transit key, see VAULT_TOKEN
//
// On a store that was never sealed it creates the key file when there is none, and
// records the key check. Later it fails with ErrWrongMasterKey or ErrMasterKeyMissing
// rather than start beside keys it cannot open.
//
// While the master key is being changed, other names the second one that values may be
// under, else it is empty. What is under either opens, and everything new is wrapped under
// the one of source, see Change. With it no key file is ever created, and two that are the
// same are ErrSameMasterKey. A key service of the other that does not answer stands in the
// way of nothing that is under the first.
func UnlockBoth(ctx context.Context, source, other string, wrapped Wrapped) (*Keyring, error) {
	check, err := wrapped.Secret(ctx, checkName)
	if err != nil {
		return nil, fmt.Errorf("reading the key check: %w", err)
	}
	k := &Keyring{wrapped: wrapped}
	if err := k.openMasters(source, other, check == nil); err != nil {
		return nil, err
	}
	k.Forget()
	if err := k.check(ctx, check); err != nil {
		return nil, fmt.Errorf("checking master key %s: %w", source, err)
	}
	return k, nil
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
	value, _, err := k.decrypt(sealed, secretContext(name))
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

// The contexts are the associated data under the master key. The purpose comes first
// and is never a prefix of another, so that a wrapped value cannot serve as another.
func secretContext(name string) []byte       { return masterContext("lacre/secret/v1", name) }
func dataKeyContext(projectID string) []byte { return masterContext("lacre/data-key/v1", projectID) }

func masterContext(purpose, subject string) []byte {
	b := binary.BigEndian.AppendUint32([]byte(purpose), uint32(len(subject)))
	return append(b, subject...)
}
