package lacre

import (
	"errors"
	"log/slog"
)

// Secret is text that must not leave the process: it reads from JSON, and refuses to
// be written anywhere.
type Secret string

var errSecret = errors.New("a secret cannot be marshalled")

func (Secret) String() string               { return "[secret]" }
func (Secret) GoString() string             { return "[secret]" }
func (Secret) LogValue() slog.Value         { return slog.StringValue("[secret]") }
func (Secret) MarshalJSON() ([]byte, error) { return nil, errSecret }
func (Secret) MarshalText() ([]byte, error) { return nil, errSecret }

// UnmarshalText reads the secret as it is.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = Secret(b)
	return nil
}
