//go:build !linux

package store

func readAhead(string) {} // pages are read when they are needed
