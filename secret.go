package lacre

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Secret is text that must not leave the process: it reads from JSON, and refuses to
// be written anywhere.
type Secret string

var errSecret = errors.New("a secret cannot be marshalled")

const hidden = "[secret]"

// Format hides the secret from every verb: with String and GoString alone, fmt would
// print the text as it is beside a complaint about a verb such as %d.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

func (Secret) String() string               { return hidden }
func (Secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (Secret) MarshalJSON() ([]byte, error) { return nil, errSecret }
func (Secret) MarshalText() ([]byte, error) { return nil, errSecret }

// UnmarshalText reads the secret as it is.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = Secret(b)
	return nil
}
