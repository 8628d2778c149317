package keyring

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go-hcvault/v2/integration/hcvault"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// vaultTimeout bounds one question to Vault. The client asks up to three times and
// knows no context, so a dead Vault holds a caller for about half a minute.
const vaultTimeout = 10 * time.Second

// vaultMaster returns a master key that stays in Vault (or OpenBao): the transit key
// at hcvault://HOST/MOUNT/keys/NAME, always over HTTPS. The client reads VAULT_TOKEN,
// VAULT_CACERT, VAULT_NAMESPACE and their kind; VAULT_ADDR and agents are not used.
func vaultMaster(uri string) (tink.AEAD, error) {
	address, err := url.Parse(uri)
	if err != nil || address.Host == "" || address.User != nil {
		return nil, errors.New("master key: want hcvault://HOST/transit/keys/NAME")
	}
	if os.Getenv(api.EnvVaultToken) == "" {
		return nil, fmt.Errorf("%w: %s is not set", ErrMasterKeyMissing, api.EnvVaultToken)
	}
	config := api.DefaultConfig()
	config.Address, config.AgentAddress = "https://"+address.Host, ""
	config.Timeout = vaultTimeout
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("master key in vault: %w", err)
	}
	key, err := hcvault.NewAEAD(address.EscapedPath(), client.Logical())
	if err != nil {
		return nil, fmt.Errorf("master key: want hcvault://HOST/transit/keys/NAME: %w", err)
	}
	return transit{key}, nil
}

// transit is a master key in Vault. Its errors say how Vault answered and leave out
// the answer's body, which may repeat what was sent.
type transit struct{ key tink.AEAD }

// Encrypt implements tink.AEAD.
func (t transit) Encrypt(plaintext, associated []byte) ([]byte, error) {
	sealed, err := t.key.Encrypt(plaintext, associated)
	if err != nil {
		return nil, vaultError(err)
	}
	return sealed, nil
}

// Decrypt implements tink.AEAD. Vault answers 400 to a ciphertext that is not its own
// or whose associated data differ.
func (t transit) Decrypt(ciphertext, associated []byte) ([]byte, error) {
	plaintext, err := t.key.Decrypt(ciphertext, associated)
	if answer, ok := errors.AsType[*api.ResponseError](err); ok && answer.StatusCode == http.StatusBadRequest {
		return nil, ErrAltered
	}
	if err != nil {
		return nil, vaultError(err)
	}
	return plaintext, nil
}

func vaultError(err error) error {
	if answer, ok := errors.AsType[*api.ResponseError](err); ok {
		return fmt.Errorf("vault answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	return fmt.Errorf("asking vault: %w", err)
}
