package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Files of the data directory for whoever uses this lacre, see Credentials and Endpoints.
const (
	credentialsFile = "credentials.json"
	endpointsFile   = "endpoints.json"
)

// masterKeyFile is where the master key is in the data directory, unless --master-key says otherwise.
const masterKeyFile = "master.key"

// writeFile replaces DIR/name with v as JSON: whole or not at all, also after a crash.
func writeFile(dir, name string, v any, mode os.FileMode) (err error) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreMissing(os.Remove(f.Name()))) }()
	_, werr := f.Write(append(text, '\n'))
	if err := errors.Join(werr, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
