package keyring

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// The key check is a cluster secret of known content: whoever opens it has the master key
// of this store. While the master key is being changed it holds two seals, one of each key,
// so that neither alone is taken for the key of a store of which it opens only a part:
//
//	plain      seal
//	changing   changingMark | 4 bytes: length of the first seal | seal of the key that all gets under | seal of the other
//
// All these seals have different contexts: none can serve in another's place.
const (
	checkName    = "keycheck"
	checkText    = "lacre key check v1"
	changingTo   = "keycheck/changing/to"
	changingFrom = "keycheck/changing/from"
	changingMark = "lacre key check, changing v1\n"
)

// phase is what the key check says, as seen by a keyring.
type phase int

const (
	settled phase = iota // all is under the master key
	begun                // all gets under the master key
	foreign              // all is or gets under the other one
)

// keyCheck is a key check taken apart. from is nil unless the master key is being changed.
type keyCheck struct{ to, from []byte }

func parseCheck(stored []byte) keyCheck {
	rest, changing := bytes.CutPrefix(stored, []byte(changingMark))
	if !changing {
		return keyCheck{to: stored}
	}
	if len(rest) < 4 {
		return keyCheck{to: []byte{}, from: []byte{}} // which nobody opens
	}
	size, rest := binary.BigEndian.Uint32(rest), rest[4:]
	size = min(size, uint32(len(rest)))
	return keyCheck{to: rest[:size], from: rest[size:]}
}

// check proves the master key against what the store has as its key check, or marks a fresh
// store with it. Of two nodes that start at once with different keys, one gets
// ErrWrongMasterKey.
func (k *Keyring) check(ctx context.Context, stored []byte) (err error) {
	if stored == nil {
		stored, err = k.createSecret(ctx, checkName, func() ([]byte, error) { return []byte(checkText), nil })
	}
	if err == nil {
		_, err = k.phase(stored)
	}
	return err
}

// phase proves the keys by the key check. Of a change under way each must have made a seal;
// that of the other key is taken on trust while its service cannot be asked.
func (k *Keyring) phase(stored []byte) (phase, error) {
	c := parseCheck(stored)
	if c.from != nil {
		return k.changing(c)
	}
	text, under, err := k.decrypt(c.to, secretContext(checkName))
	switch {
	case errors.Is(err, ErrAltered) || err == nil && string(text) != checkText:
		return 0, fmt.Errorf("%w: start with the key that it is under", ErrWrongMasterKey)
	case err != nil:
		return 0, err
	case under == k.master:
		return settled, nil
	}
	return foreign, nil
}

// changing tells in which direction a change goes.
func (k *Keyring) changing(c keyCheck) (phase, error) {
	to, err := isHalf(k.master, changingTo, c.to)
	from := false
	if err == nil && !to {
		from, err = isHalf(k.master, changingFrom, c.from)
	}
	switch {
	case err != nil:
		return 0, err
	case !to && !from:
		return 0, fmt.Errorf("%w: it is being changed, and this is neither of the two", ErrWrongMasterKey)
	case k.other == nil:
		return 0, fmt.Errorf("%w: %w", ErrWrongMasterKey, ErrOtherMasterKeyNeeded)
	case to:
		return begun, k.proveOther(changingFrom, c.from)
	}
	return foreign, k.proveOther(changingTo, c.to)
}

func (k *Keyring) proveOther(name string, half []byte) error {
	if theirs, err := isHalf(k.other, name, half); err == nil && !theirs {
		return fmt.Errorf("%w: it is being changed, and the other key is neither of the two", ErrWrongMasterKey)
	}
	return nil
}

// isHalf tells whether a key has made a seal of a change. The error is that of its service.
func isHalf(key tink.AEAD, name string, seal []byte) (bool, error) {
	text, err := key.Decrypt(seal, secretContext(name))
	if errors.Is(err, ErrAltered) {
		return false, nil
	}
	return string(text) == checkText, err
}

// plainCheck makes the key check of a store that is under the master key, and opens it.
func (k *Keyring) plainCheck() ([]byte, error) {
	seal, err := k.master.Encrypt([]byte(checkText), secretContext(checkName))
	if err != nil {
		return nil, err
	}
	text, err := k.master.Decrypt(seal, secretContext(checkName))
	if err != nil || string(text) != checkText {
		return nil, unverified(err)
	}
	return seal, nil
}

// changingCheck makes the key check of a store that gets under the master key, and opens it.
func (k *Keyring) changingCheck() ([]byte, error) {
	to, err := makeHalf(k.master, changingTo)
	if err != nil {
		return nil, err
	}
	from, err := makeHalf(k.other, changingFrom)
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32([]byte(changingMark), uint32(len(to)))
	return append(append(b, to...), from...), nil
}

func makeHalf(key tink.AEAD, name string) ([]byte, error) {
	seal, err := key.Encrypt([]byte(checkText), secretContext(name))
	if err != nil {
		return nil, err
	}
	if ok, err := isHalf(key, name, seal); err != nil || !ok {
		return nil, unverified(err)
	}
	return seal, nil
}
