package iam

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"lacre"
)

// What a password costs: argon2id with the first choice of the OWASP password storage
// cheat sheet, 19 MiB of memory for some 20 ms.
const (
	costMemory  = 19 * 1024 // KiB
	costTime    = 2
	costThreads = 1
	saltSize    = 16
	hashSize    = 32
)

// Passwords are 8 to 128 bytes: enough to be safe behind the lock-out, few enough to
// hash. Nothing else is asked of them (NIST SP 800-63B, 3.1.1.2).
const shortestPassword, longestPassword = 8, 128

func checkPassword(password string) error {
	if len(password) < shortestPassword || len(password) > longestPassword {
		return lacre.FieldErrorf(lacre.CodeInvalidField, "password",
			"expected %d to %d bytes", shortestPassword, longestPassword)
	}
	return nil
}

// phc is the only form of hash that is written and read (PHC string format).
var phc = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, costMemory, costTime, costThreads)

// hashPassword returns the PHC string of password under a fresh salt.
func hashPassword(password string) string {
	var salt [saltSize]byte
	rand.Read(salt[:]) // never fails, see crypto/rand
	return phc + base64.RawStdEncoding.EncodeToString(salt[:]) + "$" +
		base64.RawStdEncoding.EncodeToString(stretch(password, salt[:]))
}

func stretch(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, costTime, costMemory, costThreads, hashSize)
}

// nobody is the hash of no password: checking against it costs what checking against a
// real one does, so that time does not tell which users exist.
var nobody = phc + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43)

// matches tells whether password is the one that was hashed. The comparison takes the
// same time wherever the hashes differ. An error means a damaged record, never a wrong
// password.
func matches(hashed, password string) (bool, error) {
	rest, ours := strings.CutPrefix(hashed, phc)
	saltText, hashText, _ := strings.Cut(rest, "$")
	salt, saltErr := base64.RawStdEncoding.DecodeString(saltText)
	want, hashErr := base64.RawStdEncoding.DecodeString(hashText)
	if !ours || errors.Join(saltErr, hashErr) != nil || len(want) != hashSize {
		return false, errors.New("the stored password hash is not argon2id with the parameters of this version")
	}
	return subtle.ConstantTimeCompare(stretch(password, salt), want) == 1, nil
}

// The door bounds what a flood of sign-ins may cost: memory for two hashes, one short
// queue, and an honest answer to whoever does not fit.
const (
	hashesAtOnce = 2               // 38 MiB
	queueLength  = 64              // about a second's work at 20 ms each
	patience     = 5 * time.Second // then the client is better told than kept
)

var errBusy = lacre.Errorf(codeBusy, "too many sign-ins at once, try again in a few seconds")

// door lets hashesAtOnce in and queueLength wait. It is safe for concurrent use.
type door struct {
	inside  chan struct{} // holds one value for each who is in
	waiting atomic.Int64
}

func newDoor() *door { return &door{inside: make(chan struct{}, hashesAtOnce)} }

// enter waits for a place and returns how to leave it, or errBusy: when the queue is
// full, when patience runs out or when the client has gone.
func (d *door) enter(ctx context.Context) (leave func(), err error) {
	defer d.waiting.Add(-1)
	if d.waiting.Add(1) > queueLength {
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case d.inside <- struct{}{}:
		return func() { <-d.inside }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}
