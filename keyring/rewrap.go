package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/keyset"
)

// errUnverified means that a new wrapping did not give back what was wrapped. Nothing is
// replaced by one.
var errUnverified = errors.New("the new wrapping does not give back what was wrapped")

// unverified is errUnverified with its cause, if any, as text: what was made just now is not
// altered.
func unverified(cause error) error {
	if cause == nil {
		return errUnverified
	}
	return fmt.Errorf("%w: %v", errUnverified, cause)
}

// kept is a stored value with a part that a master key has sealed.
type kept interface {
	fmt.Stringer // what it is, for messages
	context() []byte
	// at returns the value and its revision, as Replaceable does.
	at(ctx context.Context, s Replaceable) (stored []byte, revision int64, err error)
	replace(ctx context.Context, s Replaceable, revision int64, stored []byte, check int64) (bool, error)
	// seal returns the sealed part, with the value with another one in its place.
	seal(stored []byte) ([]byte, error)
	with(stored, seal []byte) ([]byte, error)
	// usable is nil when what is under the master key is of use as what it is.
	usable(k *Keyring, stored []byte) error
}

// rewrap wraps a value that is under the other master key under the master key, and opens
// what it has made. It is nil when the value is under the master key. What opens under
// neither is ErrAltered.
func (k *Keyring) rewrap(v kept, stored []byte) ([]byte, error) {
	seal, err := v.seal(stored)
	if err != nil {
		return nil, err
	}
	plaintext, under, err := k.decrypt(seal, v.context())
	defer clear(plaintext)
	if err != nil || under == k.master {
		return nil, err
	}
	if seal, err = k.master.Encrypt(plaintext, v.context()); err != nil {
		return nil, err
	}
	again, err := v.with(stored, seal)
	if err != nil {
		return nil, err
	}
	return again, k.verify(v, again, plaintext)
}

// verify opens a value as it will be read, under the master key alone.
func (k *Keyring) verify(v kept, stored, want []byte) error {
	seal, err := v.seal(stored)
	if err != nil {
		return unverified(err)
	}
	got, err := k.master.Decrypt(seal, v.context())
	defer clear(got)
	if err != nil || !bytes.Equal(got, want) {
		return unverified(err)
	}
	if err := v.usable(k, stored); err != nil {
		return unverified(err)
	}
	return nil
}

// keptSecret is a secret by its name: all of it is sealed.
type keptSecret string

func (name keptSecret) String() string  { return fmt.Sprintf("secret %q", string(name)) }
func (name keptSecret) context() []byte { return secretContext(string(name)) }

func (name keptSecret) at(ctx context.Context, s Replaceable) ([]byte, int64, error) {
	return s.SecretAt(ctx, string(name))
}

func (name keptSecret) replace(ctx context.Context, s Replaceable, revision int64, stored []byte, check int64) (bool, error) {
	return s.ReplaceSecret(ctx, string(name), revision, stored, checkName, check)
}

func (keptSecret) seal(stored []byte) ([]byte, error)  { return stored, nil }
func (keptSecret) with(_, seal []byte) ([]byte, error) { return seal, nil }
func (keptSecret) usable(*Keyring, []byte) error       { return nil }

// keptDataKey is the data key of a project by its id: the keyset in it is sealed, what is
// beside that is left as it is.
type keptDataKey string

func (id keptDataKey) String() string  { return fmt.Sprintf("the data key of project %q", string(id)) }
func (id keptDataKey) context() []byte { return dataKeyContext(string(id)) }

func (id keptDataKey) at(ctx context.Context, s Replaceable) ([]byte, int64, error) {
	return s.DataKeyAt(ctx, string(id))
}

func (id keptDataKey) replace(ctx context.Context, s Replaceable, revision int64, stored []byte, check int64) (bool, error) {
	return s.ReplaceDataKey(ctx, string(id), revision, stored, checkName, check)
}

func (keptDataKey) seal(stored []byte) ([]byte, error) {
	encrypted, err := keyset.NewBinaryReader(bytes.NewReader(stored)).ReadEncrypted()
	if err != nil {
		return nil, fmt.Errorf("reading the data key: %w", ErrAltered)
	}
	return encrypted.EncryptedKeyset, nil
}

func (keptDataKey) with(stored, seal []byte) ([]byte, error) {
	encrypted, err := keyset.NewBinaryReader(bytes.NewReader(stored)).ReadEncrypted()
	if err != nil {
		return nil, fmt.Errorf("reading the data key: %w", ErrAltered)
	}
	encrypted.EncryptedKeyset = seal
	var b bytes.Buffer
	if err := keyset.NewBinaryWriter(&b).WriteEncrypted(encrypted); err != nil {
		return nil, fmt.Errorf("wrapping the data key: %w", err)
	}
	return b.Bytes(), nil
}

func (id keptDataKey) usable(k *Keyring, stored []byte) error {
	_, err := unwrap(k.master, string(id), stored)
	return err
}
