package iam

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"lacre"
)

// The figures of access keys.
const (
	// keysPerUser is how many access keys a user may have. The cloud allows 2, which is
	// what one needs to rotate; ten leave room for one for each machine.
	keysPerUser = 10
	// longestDescription bounds the text that says what a key is for, in bytes.
	longestDescription = 255
)

// keySpace is what the secrets of access keys are sealed under in the place of a
// project. No project can have this id.
const keySpace = "iam"

// keyBinding is the associated data of a sealed secret: it opens for its key and user only.
func keyBinding(k *lacre.AccessKey) []byte {
	b := []byte("lacre/access-key/v1")
	for _, part := range []string{k.ID, k.UserID} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// newAccessKey makes a key for a user with its secret sealed, and returns the secret,
// 40 characters with 200 random bits, for the only time.
func (a *IAM) newAccessKey(ctx context.Context, userID, description string) (*lacre.AccessKey, lacre.Secret, error) {
	secret := (rand.Text() + rand.Text())[:40]
	k := &lacre.AccessKey{ID: rand.Text()[:20], UserID: userID, Description: description, Created: a.now().UTC()}
	var err error
	if k.SealedSecret, err = a.sealer.Seal(ctx, keySpace, []byte(secret), keyBinding(k)); err != nil {
		return nil, "", storeError("sealing the secret of an access key", err)
	}
	return k, lacre.Secret(secret), nil
}

// CreateAccessKey gives a user one more access key and returns its secret, which cannot
// be had again.
func (a *IAM) CreateAccessKey(ctx context.Context, by lacre.Caller, userID, description string) (*lacre.AccessKey, lacre.Secret, error) {
	if len(description) > longestDescription || !printable(description) {
		return nil, "", lacre.FieldErrorf(lacre.CodeInvalidField, "description", "expected at most %d bytes of printable text", longestDescription)
	}
	k, secret, err := a.newAccessKey(ctx, userID, description)
	if err != nil {
		return nil, "", err
	}
	// The user is written too, unchanged: of two additions at once one starts again, and
	// both cannot take the last place.
	err = a.update(ctx, by, createdKey, userID, func(_ *lacre.User, tx *lacre.Tx) error {
		keys, err := a.users.AccessKeys(ctx, userID)
		if err == nil && len(keys) >= keysPerUser {
			return lacre.Errorf(codeConflict, "A user has at most %d access keys", keysPerUser)
		}
		tx.Put = append(tx.Put, k)
		tx.Audit.Detail = "access key " + k.ID
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return k, secret, nil
}

// ChangeAccessKey switches a key on or off and describes it, each unless nil. On every
// node it counts within a second.
func (a *IAM) ChangeAccessKey(ctx context.Context, by lacre.Caller, id string, disabled *bool, description *string) (*lacre.AccessKey, error) {
	if description != nil && (len(*description) > longestDescription || !printable(*description)) {
		return nil, lacre.FieldErrorf(lacre.CodeInvalidField, "description", "expected at most %d bytes of printable text", longestDescription)
	}
	return a.changeKey(ctx, id, func(k *lacre.AccessKey) error {
		if disabled != nil {
			k.Disabled = *disabled
		}
		if description != nil {
			k.Description = *description
		}
		_, err := a.commit(ctx, by, changedKey, "accesskey/"+id, lacre.Tx{Put: []lacre.Record{k}})
		return err
	})
}

// DeleteAccessKey ends a key for good.
func (a *IAM) DeleteAccessKey(ctx context.Context, by lacre.Caller, id string) error {
	_, err := a.changeKey(ctx, id, func(k *lacre.AccessKey) error {
		_, err := a.commit(ctx, by, deletedKey, "accesskey/"+id, lacre.Tx{Delete: []lacre.Record{k}})
		return err
	})
	return err
}

// changeKey repeats one read and change of a key until nobody got in between.
func (a *IAM) changeKey(ctx context.Context, id string, change func(*lacre.AccessKey) error) (*lacre.AccessKey, error) {
	defer a.secrets.Remove(id)
	for range updateAttempts {
		k, err := a.users.AccessKey(ctx, id)
		if err != nil {
			return nil, lookup("access key", id, err)
		}
		err = change(k)
		if err == nil {
			return k, nil
		}
		if _, overtaken := errors.AsType[*lacre.ConflictError](err); !overtaken {
			return nil, storeError("changing an access key", err)
		}
	}
	return nil, errContended
}
