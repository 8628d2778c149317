//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
	"os"
)

// prompt is not built for this system: a terminal would show the password.
func prompt(context.Context, *os.File, io.Writer, string) (string, error) {
	return "", errors.New("this system has no hidden prompt")
}
