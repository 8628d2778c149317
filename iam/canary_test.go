package iam_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lacre"
)

// TestNoSecretsInLogsOrErrors does everything that handles a password or a token, well
// and badly, and looks for them in the log, the answers and the errors.
func TestNoSecretsInLogsOrErrors(t *testing.T) {
	w := newWorld(t)
	const canary = "canary-Password-0815"
	var said strings.Builder
	hear := func(err error) { fmt.Fprintf(&said, "%v %+v\n", err, err) }
	u := w.user(t, "acct", "carol", canary)
	_, err := w.CreateUser(t.Context(), lacre.Caller{}, "acct", "carol", canary)
	hear(err)
	hear(w.SetPassword(t.Context(), lacre.Caller{}, "none", canary))
	hear(w.SetPassword(t.Context(), lacre.Caller{}, u.ID, strings.Repeat(canary, 7)))
	right := body("acct", "carol", canary, "")
	for _, text := range []string{
		body("acct", "alice", canary, ""), body("acct", canary, canary, ""), body("acct", "carol", canary, `{"project":{"id":"x"}}`),
		right[:len(right)-1], right + "x", strings.Replace(right, `"methods"`, `"x"`, 1), strings.Replace(right, `"`+canary+`"`, `{"`+canary+`":1}`, 1),
	} {
		said.WriteString(signIn(w, home, text).Body.String())
	}
	token := tokenOf(t, signIn(w, home, right))
	for _, bad := range []string{token, token[1:], token + "x", strings.ReplaceAll(token, ".", ""), strings.Replace(token, ".", "..", 1)} {
		_, err := authenticate(w.IAM, bad)
		hear(err)
		said.WriteString(ask(w, home, "GET", "/v3/auth/tokens", "", "X-Auth-Token", bad, "X-Subject-Token", bad).Body.String())
		said.WriteString(signIn(w, home, exchange(bad, `{"project":{"id":"x"}}`)).Body.String())
	}
	w.users.down.Store(true)
	w.clock.Advance(time.Second)
	said.WriteString(signIn(w, home, right).Body.String())
	_, err = authenticate(w.IAM, token)
	hear(err)

	everything := said.String() + w.log.String()
	if !strings.Contains(w.log.String(), "identity call refused") {
		t.Fatal("nothing was logged, so that nothing was looked at")
	}
	for what, secret := range map[string]string{
		"the password": canary, "the token": token, "a signature": strings.Split(token, ".")[2],
		"a password hash": strings.Split(u.PasswordHash, "$")[5], "the token key": string(w.key),
	} {
		if i := strings.Index(everything, secret); i >= 0 {
			t.Errorf("%s is in the log or an answer: …%s…", what, everything[max(0, i-100):i+len(secret)])
		}
	}
}
