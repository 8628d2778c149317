package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const (
	masterSize = 32 // bytes of an AES-256 key
	// longestKeyText bounds what is read from a key file that is not one.
	longestKeyText = 4096
)

// openMaster returns the master key that source names. Only a fresh store may get a
// new one. Its Decrypt fails with ErrAltered when the key is not the right one.
func openMaster(source string, fresh bool) (tink.AEAD, error) {
	scheme, rest, _ := strings.Cut(source, ":")
	switch {
	case scheme == "file" && rest != "":
		return fileMaster(rest, fresh)
	case scheme == "env" && rest != "":
		return envMaster(rest)
	case scheme == "hcvault":
		return vaultMaster(source)
	}
	return nil, errors.New("master key: want file:PATH, env:NAME or hcvault://HOST/transit/keys/NAME")
}

func envMaster(name string) (tink.AEAD, error) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return nil, fmt.Errorf("%w: environment variable %s is not set (want base64 of %d bytes)",
			ErrMasterKeyMissing, name, masterSize)
	}
	master, err := parseMaster([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("environment variable %s: %w", name, err)
	}
	return master, nil
}

func fileMaster(path string, fresh bool) (tink.AEAD, error) {
	text, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !fresh {
			return nil, fmt.Errorf("%w: there is no %s, and none is made beside what is sealed already, or beside another master key: restore the file from its backup",
				ErrMasterKeyMissing, path)
		}
		if err := createKeyFile(path); err != nil {
			return nil, fmt.Errorf("creating master key file: %w", err)
		}
		text, err = readKeyFile(path) // ours, or that of whoever was faster
	}
	if err != nil {
		return nil, fmt.Errorf("master key file: %w", err)
	}
	defer clear(text)
	master, err := parseMaster(text)
	if err != nil {
		return nil, fmt.Errorf("master key file %s: %w", path, err)
	}
	return master, nil
}

// readKeyFile looks at the mode of the file it has open, not of the path: the two may
// differ by the time of the read.
func readKeyFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w: %s has mode %04o: make it 0600, and change the key if others may have read it",
			ErrExposedMasterKey, path, info.Mode().Perm())
	}
	return io.ReadAll(io.LimitReader(file, longestKeyText))
}

// createKeyFile writes a fresh master key. The file appears whole and on disk or not at
// all, whatever crashes, and one that exists is left alone: a link fails where a rename
// would replace it.
func createKeyFile(path string) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".master-key-*") // O_EXCL, 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	err = errors.Join(writeKey(file), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func writeKey(w io.Writer) error {
	var key [masterSize]byte
	rand.Read(key[:]) // never fails, see crypto/rand
	defer clear(key[:])
	text := base64.StdEncoding.AppendEncode(nil, key[:])
	defer clear(text)
	_, err := w.Write(text)
	return err
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// parseMaster reads base64 of 32 bytes, white space around it allowed. Its errors do
// not quote what they read.
func parseMaster(text []byte) (tink.AEAD, error) {
	key, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(text))
	defer clear(key)
	if err != nil || len(key) != masterSize {
		return nil, fmt.Errorf("not a master key: want base64 of %d bytes, as from: openssl rand -base64 %d",
			masterSize, masterSize)
	}
	return localMaster(key)
}

// local is a master key in this process.
type local struct{ tink.AEAD }

func localMaster(key []byte) (tink.AEAD, error) {
	parameters, err := aesgcm.NewParameters(aesgcm.ParametersOpts{
		KeySizeInBytes: masterSize, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantNoPrefix,
	})
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	secret := secretdata.NewBytesFromData(key, insecuresecretdataaccess.Token{})
	aesKey, err := aesgcm.NewKey(secret, 0, parameters)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	primitive, err := aesgcm.NewAEAD(aesKey)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return local{primitive}, nil
}

// Decrypt implements tink.AEAD.
func (l local) Decrypt(ciphertext, associated []byte) ([]byte, error) {
	plaintext, err := l.AEAD.Decrypt(ciphertext, associated)
	if err != nil {
		return nil, ErrAltered
	}
	return plaintext, nil
}
