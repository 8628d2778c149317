package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"lacre"
	"lacre/iam"
	"lacre/keyring"
)

// tokenKey names the cluster secret that signs tokens.
const tokenKey = "token-key"

// makeIAM makes what recognises callers: our own IAM or an outside Keystone.
func (n *node) makeIAM(ctx context.Context, ring *keyring.Keyring) error {
	if n.cfg.KeystoneURL != "" {
		return n.makeKeystone()
	}
	key, err := ring.Secret(ctx, tokenKey, iam.NewTokenKey)
	if err != nil {
		return fmt.Errorf("reading the token key: %w", err)
	}
	defer clear(key)
	if n.iam, err = iam.New(iam.Config{Users: n.store, Sealer: ring, TokenKey: key, Now: n.now, Log: n.log}); err != nil {
		return err
	}
	n.auth, n.identity = n.iam, n.iam
	if !n.cfg.has("api") {
		return nil
	}
	return n.bootstrap(ctx)
}

// bootstrap makes an empty store usable and leaves the way in in credentials.json. The
// file is written before the store is, and completed at the next start when a crash got
// in between.
func (n *node) bootstrap(ctx context.Context) error {
	var saved bool
	created, err := n.iam.Bootstrap(ctx, func(c iam.Credentials) error {
		saved = true
		return n.saveCredentials(Credentials{
			ProjectID: c.ProjectID, DomainName: c.AccountName, UserName: c.UserName, Password: string(c.Password),
			AccessKey: c.AccessKey, SecretKey: string(c.SecretKey),
		})
	})
	if err != nil {
		return fmt.Errorf("preparing the empty store: %w", err)
	}
	path := filepath.Join(n.cfg.DataDir, credentialsFile)
	if saved && !created {
		return os.Remove(path) // another node was faster
	}
	return n.completeCredentials(ctx, path)
}

// completeCredentials adds the first instance to credentials.json unless it is there.
func (n *node) completeCredentials(ctx context.Context, path string) error {
	text, err := readOptional(path)
	if err != nil || text == nil {
		return err
	}
	var c Credentials
	if err := readJSON(path, &c); err != nil {
		return err
	}
	if c.InstanceID != "" {
		return nil
	}
	if c.InstanceID, err = n.firstInstance(ctx, c.ProjectID); err != nil {
		return fmt.Errorf("creating the first instance: %w", err)
	}
	if err := n.saveCredentials(c); err != nil {
		return err
	}
	n.log.Info("first start: a project, an instance and an administrator were created", "credentials", path)
	return nil
}

// firstInstance creates the project's first instance, or finds it when a crash came
// after its creation.
func (n *node) firstInstance(ctx context.Context, projectID string) (string, error) {
	by := lacre.Caller{UserName: "bootstrap", ProjectID: projectID, Role: lacre.RoleAdmin}
	in, err := n.service.CreateInstance(ctx, by, projectID, lacre.FirstInstance)
	if err == nil {
		return in.ID, nil
	}
	if lacre.CodeOf(err) != lacre.CodeInstanceNameTaken {
		return "", err
	}
	all, _, err := n.service.ListInstances(ctx, by, projectID, lacre.InstanceFilter{Name: lacre.FirstInstance})
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", errors.New("the instance is neither there nor free")
	}
	return all[0].ID, nil
}

func (n *node) saveCredentials(c Credentials) error {
	return writeFile(n.cfg.DataDir, credentialsFile, c, 0o600)
}
