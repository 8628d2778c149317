package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lacre/keyring"
)

// masterKey is where the master key is.
func (c *Config) masterKey() string {
	if c.MasterKey != "" {
		return c.MasterKey
	}
	return "file:" + filepath.Join(c.DataDir, masterKeyFile)
}

// checkMasterKeys refuses what names no key, and one master key that is named twice.
func (c *Config) checkMasterKeys() error {
	for flag, source := range map[string]string{"--master-key": c.MasterKey, "--other-master-key": c.OtherKey} {
		scheme, rest, _ := strings.Cut(source, ":")
		if source != "" && (rest == "" || scheme != "file" && scheme != "env" && scheme != "hcvault") {
			return usagef("%s: expected file:PATH, env:NAME or hcvault://HOST/transit/keys/NAME", flag)
		}
	}
	if c.OtherKey != "" && samePlace(c.OtherKey, c.masterKey()) {
		return usagef("--other-master-key: expected another key than that of --master-key, got %s twice", c.OtherKey)
	}
	return nil
}

// samePlace tells whether two sources of a key are one by their names. That two files hold the
// same key is found when they are read.
func samePlace(a, b string) bool {
	one, isFile := strings.CutPrefix(a, "file:")
	two, areFiles := strings.CutPrefix(b, "file:")
	return a == b || isFile && areFiles && filepath.Clean(one) == filepath.Clean(two)
}

// unlock opens the keyring with what the store or its exact copy holds. A copy that does not
// go with the master key is given up: what the store says counts.
func (n *node) unlock(ctx context.Context) (*keyring.Keyring, error) {
	if !n.opening.CopyStatus().Opened {
		if _, err := n.opening.Wait(ctx); err != nil {
			return nil, err
		}
	}
	ring, err := n.unlockFrom(ctx, n.opening)
	if err != nil && n.opening.Mistake(err) {
		ring, err = n.unlockFrom(ctx, n.opening)
	}
	return ring, keyHint(err, n.cfg)
}

func (n *node) unlockFrom(ctx context.Context, wrapped keyring.Wrapped) (*keyring.Keyring, error) {
	return keyring.UnlockBoth(ctx, n.cfg.masterKey(), n.cfg.OtherKey, wrapped)
}

func keyHint(err error, cfg Config) error {
	if err == nil {
		return nil
	}
	said := fmt.Errorf("unlocking the keys in %s: %w", cfg.DataDir, err)
	switch {
	case errors.Is(err, keyring.ErrSameMasterKey):
		return usagef("--other-master-key: expected another key than that of --master-key: %w", err)
	case errors.Is(err, keyring.ErrOtherMasterKeyNeeded):
		return hinted{said, "the change of the master key has not ended: name one key with --master-key and the other with --other-master-key; what is stored gets under the first"}
	case errors.Is(err, keyring.ErrWrongMasterKey), errors.Is(err, keyring.ErrMasterKeyMissing):
		return hinted{said, "put back the master key that this store is under, or name it with --master-key; to change it, name the new one with --master-key and the present one with --other-master-key. Without the key it is under the private keys cannot be opened"}
	}
	return said
}

// masterKeyChange gets what is stored under the master key, in the background.
type masterKeyChange struct {
	change *keyring.Change
	log    *slog.Logger
	done   atomic.Bool
}

// watchMasterKey prepares the change if there are two master keys. ring asks the store, not
// its copy.
func (n *node) watchMasterKey(ring *keyring.Keyring) {
	if n.cfg.OtherKey == "" {
		return
	}
	c := &masterKeyChange{change: ring.Change(n.store), log: n.log}
	n.change = c
	n.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lacre_master_key_changed",
		Help: "1 once this process has seen all that is stored under the master key; 0 until then. Only with --other-master-key."},
		func() float64 {
			if c.done.Load() {
				return 1
			}
			return 0
		}))
}

// The pauses between two attempts. A key service or a store that is away comes back; damage
// stays, and need not be told every second.
const firstPause, longestPause = time.Second, 10 * time.Minute

// run goes on until all is under the master key, or ctx ends. It does nothing without a
// change.
func (c *masterKeyChange) run(ctx context.Context) {
	if c == nil {
		return
	}
	for pause := firstPause; !c.pass(ctx, pause); pause = min(2*pause, longestPause) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// pass makes one attempt and says in the log what came of it.
func (c *masterKeyChange) pass(ctx context.Context, pause time.Duration) (done bool) {
	counts, err := c.change.Pass(ctx)
	switch {
	case err == nil:
		c.done.Store(true)
		c.log.Info("all that is stored is under the master key; --other-master-key is no longer needed once all nodes have said so",
			"wrapped_again", counts.Rewrapped, "under_it_already", counts.Already)
		return true
	case ctx.Err() != nil:
	case errors.Is(err, keyring.ErrOvertaken):
		c.log.Warn("this node leaves the change of the master key to another one, whose master key is the other of the two; restart this one if that is not wanted",
			"err", err, "looks_again_in", pause)
	default:
		c.log.Error("not all that is stored could be wrapped under the master key; --other-master-key is still needed",
			"err", err, "tries_again_in", pause)
	}
	return false
}
