//go:build !linux

package store

import "context"

func readAhead(context.Context, string) {} // pages are read when they are needed
