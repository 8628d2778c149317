package iam

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/http"
	"time"

	"lacre"
)

// The figures of access keys.
const (
	// signedFor is how far a signature's date may be from our clock. Within it a request
	// can be sent again by whoever saw it: there is no memory of signatures, since
	// clients rightly send two equal ones within a second. TLS keeps others from seeing.
	signedFor = 15 * time.Minute
	// keysPerUser is how many access keys a user may have. The cloud allows 2, which is
	// what one needs to rotate; ten leave room for one for each machine.
	keysPerUser = 10
	// keyFailures wrong signatures in a row from one place lock one key for that place,
	// and for no other, for keyWait.
	keyFailures = 5
	keyWait     = 5 * time.Minute
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

// opened is an access key as the store had it at some time, with its secret.
type opened struct {
	at     time.Time
	key    *lacre.AccessKey
	secret []byte
}

// decoy is signed with for keys that do not exist, so that they take as long.
var decoy = bytes.Repeat([]byte("A"), 40)

// open returns an access key with its secret, at most freshFor old. One that does not
// exist has the decoy and no key, and is never remembered: made-up ones cannot push the
// real ones out.
func (a *IAM) open(ctx context.Context, id string) (opened, error) {
	now := a.now()
	if o, ok := a.secrets.Get(id); ok && !now.Before(o.at) && now.Sub(o.at) < freshFor {
		return o, nil
	}
	key, err := orNil(a.users.AccessKey(ctx, id))
	if err != nil {
		return opened{}, storeError("reading an access key", err)
	}
	if key == nil {
		return opened{at: now, secret: decoy}, nil
	}
	secret, err := a.sealer.Open(ctx, keySpace, key.SealedSecret, keyBinding(key))
	if err != nil {
		return opened{}, storeError("opening the secret of access key "+id, err)
	}
	o := opened{at: now, key: key, secret: secret}
	a.secrets.Add(id, o)
	return o, nil
}

// signed returns the session of a request signed by an access key, in a project if one
// is named. Headers such as X-Project-Id do not name it: clients do not sign them.
//
// Only what a wrong secret can cause counts towards the lock; a clock that is off or a
// body that is not signed says nothing about the secret.
func (a *IAM) signed(r *http.Request, projectID string) (*session, error) {
	s, err := readSignature(r)
	if err != nil {
		return nil, err
	}
	if err := a.inTime(s.date); err != nil {
		return nil, err
	}
	try := attempt{person: s.key, source: sourceOf(r)}
	if a.keys.refuses(try, a.now()) {
		return nil, refuseKey(lacre.CodeKeyLocked, "AK access failed to reach the limit,forbidden.")
	}
	body, err := wholeBody(r)
	if err != nil {
		return nil, err
	}
	text, err := s.stringToSign(r, body)
	if err != nil {
		return nil, err
	}
	key, err := a.proven(r.Context(), s, text)
	switch lacre.CodeOf(err) {
	case lacre.CodeSignature, lacre.CodeKeyUnknown:
		a.keys.failed(try, a.now())
	}
	if err != nil {
		return nil, err
	}
	a.keys.succeeded(try)
	return a.sessionOfKey(r.Context(), key, projectID)
}

// inTime checks the date of a signature against our clock.
func (a *IAM) inTime(date string) error {
	at, err := time.Parse(dateFormat, date)
	if err != nil {
		return badSignature("expected %s like %s", dateHeader, dateFormat)
	}
	now := a.now().UTC()
	if age := now.Sub(at); age > signedFor || age < -signedFor {
		return refuseKey(lacre.CodeSignatureExpired, "signature expired, signature time:%s,server time:%s", date, now.Format(dateFormat))
	}
	return nil
}

// proven returns the key that signed text, once it is clear that it did.
func (a *IAM) proven(ctx context.Context, s *signature, text string) (*lacre.AccessKey, error) {
	o, err := a.open(ctx, s.key)
	if err != nil {
		return nil, err
	}
	right := s.madeWith(o.secret, text)
	switch {
	case o.key == nil:
		return nil, noKey(s.key, "ak not exist")
	case !right:
		return nil, refuseKey(lacre.CodeSignature, "verify aksk signature fail")
	}
	return o.key, nil
}

// noKey is the cloud's wording. An AK is public; what it says about one that exists is
// said to its owner only.
func noKey(id, reason string) error {
	return refuseKey(lacre.CodeKeyUnknown, "Get secretKey failed,ak:%s,err:%s", id, reason)
}

// sessionOfKey is what a proven key is good for.
func (a *IAM) sessionOfKey(ctx context.Context, key *lacre.AccessKey, projectID string) (*session, error) {
	seen, err := a.sight(ctx, identity{userID: key.UserID, projectID: projectID})
	switch {
	case err != nil:
		return nil, err
	case seen.user == nil:
		return nil, noKey(key.ID, "ak not exist")
	case key.Disabled:
		return nil, noKey(key.ID, "ak is inactive")
	case seen.user.Disabled:
		return nil, noKey(key.ID, "the user is disabled")
	}
	return &session{sighting: seen}, nil
}
