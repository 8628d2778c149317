package iam_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/jwt"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"lacre"
	"lacre/iam"
)

func TestAuthenticate(t *testing.T) {
	w := newWorld(t)
	got, err := authenticate(w.node(t), w.scopedToken(t)) // another node than the one that issued it
	if err != nil {
		t.Fatal(err)
	}
	want := lacre.Caller{
		UserID: w.alice.ID, UserName: "alice", AccountID: w.alice.AccountID,
		ProjectID: w.one.ID, ProjectName: "cn-north-4", Role: lacre.RoleOperator,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("caller (-want +got):\n%s", diff)
	}
}

func TestTokensEndAfter24Hours(t *testing.T) {
	w := newWorld(t)
	token := w.scopedToken(t) // at 0.25 s past the second, which a token does not keep
	w.clock.Advance(24*time.Hour - 251*time.Millisecond)
	if _, err := authenticate(w.IAM, token); err != nil {
		t.Errorf("just before 24 h: error = %v, want nil", err)
	}
	w.clock.Advance(time.Millisecond)
	_, err := authenticate(w.IAM, token)
	wantCode(t, "at 24 h", err, lacre.CodeTokenExpired)
	w.clock.Advance(1000 * time.Hour)
	_, err = authenticate(w.IAM, token)
	wantCode(t, "long after", err, lacre.CodeTokenExpired)
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func decode(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestForgedTokens(t *testing.T) {
	w := newWorld(t)
	token := w.scopedToken(t)
	part := strings.Split(token, ".")
	header, payload := decode(t, part[0]), decode(t, part[1])
	elsewhere := strings.ReplaceAll(payload, w.one.ID, w.two.ID)
	forever := strings.Replace(payload, `"exp":`, `"exp":9`, 1)
	if elsewhere == payload || forever == payload {
		t.Fatalf("payload %s has no project or no exp", payload)
	}
	none := strings.Replace(header, "HS256", "none", 1)
	tests := map[string]string{
		"alg none, no signature": encode(none) + "." + part[1] + ".",
		"alg none, two parts":    encode(none) + "." + part[1],
		"alg none, signature":    encode(none) + "." + part[1] + "." + part[2],
		"alg HS512":              encode(strings.Replace(header, "HS256", "HS512", 1)) + "." + part[1] + "." + part[2],
		"other project":          part[0] + "." + encode(elsewhere) + "." + part[2],
		"later expiry":           part[0] + "." + encode(forever) + "." + part[2],
		"no signature":           part[0] + "." + part[1] + ".",
		"signature of another":   part[0] + "." + part[1] + "." + strings.Split(w.token(t, ""), ".")[2],
		"signed by another key":  sealedBy(t, otherKey(t), w.alice, w.one.ID, "lacre/iam"),
		"for another issuer":     sealedBy(t, w.key, w.alice, w.one.ID, "someone"),
		"a stranger's id":        sealedBy(t, w.key, &lacre.User{ID: "none"}, w.one.ID, "lacre/iam"),
		"no user":                sealedBy(t, w.key, &lacre.User{}, w.one.ID, "lacre/iam"),
		"project that is not":    sealedBy(t, w.key, w.alice, "none", "lacre/iam"),
		"cut":                    token[:len(token)-1],
		"longer":                 token + "A",
		"trailing space":         token + " ",
		"padded":                 token + "=",
		"not a token":            "token",
		"dots":                   "..",
		"huge":                   strings.Repeat("a", 1<<20),
	}
	for name, forged := range tests {
		t.Run(name, func(t *testing.T) {
			caller, err := authenticate(w.IAM, forged)
			wantCode(t, "Authenticate", err, lacre.CodeTokenInvalid)
			if caller != (lacre.Caller{}) {
				t.Errorf("caller = %+v beside an error, want none", caller)
			}
		})
	}
	_, err := authenticate(w.IAM, "")
	wantCode(t, "no token", err, lacre.CodeTokenMissing)
	// What signs the forgeries above does make a token when it is given the right things.
	if _, err := authenticate(w.IAM, sealedBy(t, w.key, w.alice, w.one.ID, "lacre/iam")); err != nil {
		t.Errorf("the honest twin of the forgeries: error = %v, want nil", err)
	}
}

func TestEveryFlippedBitOfATokenIsSeen(t *testing.T) {
	w := newWorld(t)
	token := w.scopedToken(t)
	for i := range token {
		for bit := range 7 {
			forged := []byte(token)
			forged[i] ^= 1 << bit
			if _, err := authenticate(w.IAM, string(forged)); lacre.CodeOf(err) != lacre.CodeTokenInvalid {
				t.Fatalf("bit %d of byte %d flipped: error = %v, want code %s", bit, i, err, lacre.CodeTokenInvalid)
			}
		}
	}
}

func otherKey(t *testing.T) []byte {
	t.Helper()
	key, err := iam.NewTokenKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sealedBy makes a token for user with a key of the test's choice.
func sealedBy(t *testing.T, key []byte, user *lacre.User, project, issuer string) string {
	t.Helper()
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(key)))
	if err != nil {
		t.Fatal(err)
	}
	mac, err := jwt.NewMAC(handle)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.NewRawJWT(&jwt.RawJWTOptions{
		Issuer: &issuer, Subject: &user.ID, JWTID: new(lacre.NewID()),
		ExpiresAt:    new(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)),
		CustomClaims: map[string]any{"project": project, "account": "", "epoch": float64(user.Epoch), "methods": []any{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := mac.ComputeMACAndEncode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Whatever ends a token does so within one second on every node, and not because the
// cache was asked to forget: the node that decides and the one that is asked differ.
func TestWhatEndsATokenDoesSoWithinASecond(t *testing.T) {
	tests := []struct {
		name string
		end  func(t *testing.T, w *world, token string)
		want lacre.Code
	}{
		{"disabled", func(t *testing.T, w *world, _ string) {
			fatal(t, w.Disable(t.Context(), lacre.Caller{}, w.alice.ID))
		}, lacre.CodeTokenInvalid},
		{"disabled and enabled", func(t *testing.T, w *world, _ string) {
			fatal(t, w.Disable(t.Context(), lacre.Caller{}, w.alice.ID))
			fatal(t, w.Enable(t.Context(), lacre.Caller{}, w.alice.ID))
		}, lacre.CodeTokenInvalid},
		{"new password", func(t *testing.T, w *world, _ string) {
			fatal(t, w.SetPassword(t.Context(), lacre.Caller{}, w.alice.ID, "another password"))
		}, lacre.CodeTokenInvalid},
		{"revoked", func(t *testing.T, w *world, token string) {
			rec := ask(w.node(t), home, "DELETE", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", token)
			if rec.Code != http.StatusNoContent {
				t.Fatalf("DELETE status = %d, want 204; body %s", rec.Code, rec.Body)
			}
		}, lacre.CodeTokenInvalid},
		{"role withdrawn", func(t *testing.T, w *world, _ string) {
			u := current(t, w, w.alice.ID)
			delete(u.Roles, w.one.ID)
			commit(t, w, lacre.Tx{Put: []lacre.Record{u}})
		}, lacre.CodeForbidden},
		{"user deleted", func(t *testing.T, w *world, _ string) {
			commit(t, w, lacre.Tx{Delete: []lacre.Record{current(t, w, w.alice.ID)}})
		}, lacre.CodeTokenInvalid},
		{"project deleted", func(t *testing.T, w *world, _ string) {
			p, err := w.store.Project(t.Context(), w.one.ID)
			fatal(t, err)
			commit(t, w, lacre.Tx{Delete: []lacre.Record{p}})
		}, lacre.CodeTokenInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			token := w.scopedToken(t)
			if _, err := authenticate(w.IAM, token); err != nil {
				t.Fatal(err)
			}
			tt.end(t, w, token)
			w.clock.Advance(999 * time.Millisecond)
			if _, err := authenticate(w.IAM, token); err != nil {
				t.Errorf("0.999 s after: error = %v; nothing is remembered", err)
			}
			w.clock.Advance(time.Millisecond)
			_, err := authenticate(w.IAM, token)
			wantCode(t, "1 s after", err, tt.want)
		})
	}
}

func TestANewRoleCountsWithinASecond(t *testing.T) {
	w := newWorld(t)
	token := w.scopedToken(t)
	w.grant(t, w.alice, w.one, lacre.RoleAdmin)
	w.clock.Advance(time.Second)
	got, err := authenticate(w.IAM, token)
	if err != nil || got.Role != lacre.RoleAdmin {
		t.Errorf("role = %q, %v, want %q", got.Role, err, lacre.RoleAdmin)
	}
}

func TestWithoutTheStoreNobodyIsRecognised(t *testing.T) {
	w := newWorld(t)
	token := w.scopedToken(t)
	if _, err := authenticate(w.IAM, token); err != nil {
		t.Fatal(err)
	}
	w.users.down.Store(true)
	w.clock.Advance(time.Second)
	_, err := authenticate(w.IAM, token)
	wantCode(t, "a second after the store went", err, lacre.CodeUnavailable)
	if !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("error = %v, want lacre.ErrUnavailable inside", err)
	}
	w.users.down.Store(false)
	if _, err := authenticate(w.IAM, token); err != nil {
		t.Errorf("the failure was remembered: %v", err)
	}
}

func TestTheStoreIsAskedOnceASecond(t *testing.T) {
	w := newWorld(t)
	token := w.scopedToken(t)
	before := w.users.asked.Load()
	var wg sync.WaitGroup
	if _, err := authenticate(w.IAM, token); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if _, err := authenticate(w.IAM, token); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := w.users.asked.Load() - before; got != 3 {
		t.Errorf("801 requests within a second asked the store %d things, want 3 (revocation, user, project)", got)
	}
}

// A clock that was set back must not make an old answer fresh.
func TestAClockSetBackKeepsNothingFresh(t *testing.T) {
	w := newWorld(t)
	token := w.scopedToken(t)
	w.clock.Advance(time.Hour)
	if _, err := authenticate(w.IAM, token); err != nil {
		t.Fatal(err)
	}
	fatal(t, w.Disable(t.Context(), lacre.Caller{}, w.alice.ID))
	w.clock.Advance(-time.Minute)
	_, err := authenticate(w.IAM, token)
	wantCode(t, "after the clock was set back", err, lacre.CodeTokenInvalid)
}

func TestBadTokenKeysAreRefusedAndNotRepeated(t *testing.T) {
	for _, key := range []string{"", "neither of these", strings.Repeat("\x0a", 100)} {
		_, err := iam.New(iam.Config{TokenKey: []byte(key)})
		if err == nil {
			t.Errorf("New with token key %q succeeded", key)
		} else if key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}
