package iam

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"lacre"
)

const (
	// signedFor is how far a signature's date may be from our clock. Within it a request
	// can be sent again by whoever saw it: there is no memory of signatures, since
	// clients rightly send two equal ones within a second. TLS keeps others from seeing.
	signedFor = 15 * time.Minute
	// keyFailures wrong signatures in a row from one place lock one key for that place,
	// and for no other, for keyWait.
	keyFailures = 5
	keyWait     = 5 * time.Minute
)

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
