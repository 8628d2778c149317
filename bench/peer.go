package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// edge is a TLS server under measurement, pinned to serverCore, with a certificate for
// each of a number of hosts, that proxies to the bench's upstream.
type edge interface {
	name() string
	version() string
	// start starts the server; it need not accept connections yet when start returns.
	start() error
	// rotate makes the server serve p for host i, the way its manual says. It returns
	// when the server has answered; new handshakes may be served p only later.
	rotate(i int, p pair) error
	address() string
	proc() *process
}

// setup is what every edge is given.
type setup struct {
	dir      string // its own
	pairs    []pair // by the number of the host
	upstream string // host:port
	port     int
}

func newSetup(dir, name string, pairs []pair, upstream string) (setup, error) {
	port, err := freePort()
	if err != nil {
		return setup{}, err
	}
	dir = filepath.Join(dir, name)
	return setup{dir, pairs, upstream, port}, os.MkdirAll(dir, 0o700)
}

func (s *setup) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s *setup) file(i int, suffix string) string {
	return filepath.Join(s.dir, "certs", hostName(i)+suffix)
}

// write puts every pair into files.
func (s *setup) write(put func(i int, p pair) error) error {
	if err := os.MkdirAll(filepath.Join(s.dir, "certs"), 0o700); err != nil {
		return err
	}
	for i, p := range s.pairs {
		if err := put(i, p); err != nil {
			return err
		}
	}
	return nil
}

// writePair puts a pair into two files.
func (s *setup) writePair(i int, p pair) error {
	return errors.Join(os.WriteFile(s.file(i, ".crt"), []byte(p.cert), 0o600), os.WriteFile(s.file(i, ".key"), []byte(p.key), 0o600))
}

// config writes a configuration file and returns its path.
func (s *setup) config(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// lacreEdge is lacre as an edge: certificates come through its API.
type lacreEdge struct {
	*lacreNode
	about string
}

func newLacreEdge(ctx context.Context, binary, about, dir string, pairs []pair, upstream string) (*lacreEdge, error) {
	s, err := newSetup(dir, "lacre", pairs, upstream)
	if err != nil {
		return nil, err
	}
	n, err := newPopulated(ctx, binary, s.dir, serverCore, len(pairs), pairs, "http://"+upstream)
	return &lacreEdge{n, about}, err
}

func (e *lacreEdge) name() string    { return "lacre" }
func (e *lacreEdge) version() string { return e.about }
func (e *lacreEdge) address() string { return e.at.Edge }
func (e *lacreEdge) proc() *process  { return e.process }
func (e *lacreEdge) start() error    { return e.launch() }

// rotate is the PUT of the API page.
func (e *lacreEdge) rotate(i int, p pair) error {
	if e.token == "" { // the first time: signing in is no part of a rotation
		return errors.New("nobody has signed in")
	}
	return e.modify(i, p)
}

// firstServed is how long it takes from the start of a stopped edge to the first
// handshake for host, in milliseconds. The edge is left running.
func firstServed(e edge, host string) (float64, error) {
	if err := e.start(); err != nil {
		return 0, err
	}
	client, err := newClient13(rand.Reader)
	if err != nil {
		return 0, err
	}
	err = e.proc().until(func() error { return load{addr: e.address()}.handshake(client, host) })
	return millis(time.Since(e.proc().started)), err
}

// rotated is how long it takes from the start of a rotation until a handshake is served
// the new pair, in milliseconds: after the server's answer, handshakes are tried one
// after the other.
func rotated(ctx context.Context, e edge, i int, p pair) (float64, error) {
	client, err := newClient13(rand.Reader)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := e.rotate(i, p); err != nil {
		return 0, fmt.Errorf("rotating with %s: %w", e.name(), err)
	}
	for ctx.Err() == nil && time.Since(begin) < slowest {
		if err := (load{addr: e.address()}).handshake(client, hostName(i)); err != nil {
			return 0, fmt.Errorf("a handshake during a rotation of %s: %w", e.name(), err)
		}
		if bytes.Equal(client.leaf, p.leaf) {
			return millis(time.Since(begin)), nil
		}
	}
	return 0, fmt.Errorf("%s does not serve the new certificate: %w", e.name(), context.Cause(ctx))
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}
