package store_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"lacre"
)

func TestARevocationEnds(t *testing.T) {
	t.Parallel()
	s := open(t)
	start := time.Now()
	if err := s.Revoke(t.Context(), "token", start.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for ctx := soon(t); ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		revoked, err := s.Revoked(ctx, "token")
		if err != nil {
			t.Fatal(err)
		}
		if !revoked {
			if took := time.Since(start); took < time.Second {
				t.Errorf("the revocation ended after %v, want at least a second", took)
			}
			return
		}
	}
	t.Error("the revocation never ended")
}

// A revocation outlives a restart: etcd starts its lease anew.
func TestARevocationOutlivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir)
	if err := s.Revoke(t.Context(), "token", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if revoked, err := openIn(t, dir).Revoked(t.Context(), "token"); err != nil || !revoked {
		t.Errorf("got %v, %v; want revoked", revoked, err)
	}
}

func TestOneSecretWins(t *testing.T) {
	t.Parallel()
	s := open(t)
	const racers = 8
	winners := make([][]byte, racers)
	var group sync.WaitGroup
	for i := range racers {
		group.Go(func() {
			var err error
			if winners[i], err = s.CreateSecret(t.Context(), "ticket", fmt.Appendf(nil, "value %d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i, w := range winners {
		if len(w) == 0 || !bytes.Equal(w, winners[0]) {
			t.Errorf("racer %d got %q, racer 0 got %q", i, w, winners[0])
		}
	}
}

func TestIdentitiesWithoutAKeyAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	_, secret := s.Secret(ctx, "")
	_, dataKey := s.DataKey(ctx, "")
	_, created := s.CreateSecret(ctx, "", nil)
	_, createdKey := s.CreateDataKey(ctx, "", nil)
	_, revoked := s.Revoked(ctx, "")
	for what, err := range map[string]error{"Secret": secret, "DataKey": dataKey, "CreateSecret": created,
		"CreateDataKey": createdKey, "Revoke": s.Revoke(ctx, "", time.Now()), "Revoked": revoked} {
		if err == nil {
			t.Errorf("%s without a name: got success", what)
		}
	}
	if got, err := s.Domains(ctx, "", []string{"d"}); len(got) != 0 || err != nil {
		t.Errorf("Domains of no project: got %v, %v", got, err)
	}
	if got, err := s.Certificates(ctx, ""); len(got) != 0 || err != nil {
		t.Errorf("Certificates of no project: got %v, %v", got, err)
	}
	if _, err := s.UserByName(ctx, "acme", "nobody"); err == nil {
		t.Error("UserByName of nobody: got success")
	}
	if _, err := s.ProjectByName(ctx, "acme", ""); err == nil {
		t.Error("ProjectByName without a name: got success")
	}
	put(t, s, &lacre.Project{ID: "p1"})
}
