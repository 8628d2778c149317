package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const partStored = "Starting with certificates stored and bound"

// storedStarts is how often each start is measured.
const storedStarts = 5

// stored measures, for each size, what lacre's start and an idle lacre cost.
func (b *bench) stored(ctx context.Context) error {
	for _, n := range b.sizes {
		if err := b.storedOf(ctx, n); err != nil {
			return fmt.Errorf("starting with %d certificates: %w", n, err)
		}
	}
	return nil
}

func (b *bench) storedOf(ctx context.Context, n int) error {
	dir := filepath.Join(b.dir, fmt.Sprintf("stored-%d", n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	begin := time.Now()
	node, err := newPopulated(ctx, b.binary, dir, serverCore, n, nil, "")
	if err != nil {
		return err
	}
	b.talkf("%d certificates stored in %.0f s", n, time.Since(begin).Seconds())
	return b.startsOf(node, n)
}

// startsOf measures the starts of a node that is stopped.
func (b *bench) startsOf(node *lacreNode, n int) error {
	size := fmt.Sprintf("%d certificates: ", n)
	for range storedStarts {
		s, err := startStored(node, n)
		if err != nil {
			return err
		}
		b.talkf("%d certificates: first handshake after %.0f ms, all loaded after %.0f ms, %.0f MiB", n, s.first, s.all, mebi(s.anonymous))
		b.report.gather(partStored, size+"process start to first handshake", "lacre", "ms", s.first)
		b.report.gather(partStored, size+"process start to everything loaded", "lacre", "ms", s.all)
		b.report.gather(partStored, size+"resident anonymous memory, idle after the start", "lacre", "MiB", mebi(s.anonymous))
		b.report.gather(partStored, size+"resident pages of mapped files, idle after the start", "lacre", "MiB", mebi(s.file))
	}
	return nil
}

// storedStart is one start of a node: milliseconds to the first handshake and until
// everything is loaded (endpoints.json is there), and the memory a moment later.
type storedStart struct {
	first, all float64
	memory
}

// startStored starts a node that is stopped, and stops it again. From the beginning it is
// asked for a handshake, again and again; the last host's certificate need not be loaded
// by then.
func startStored(node *lacreNode, n int) (s storedStart, err error) {
	if err := node.launch(); err != nil {
		return s, err
	}
	defer node.stop()
	client, err := newClient13(rand.Reader)
	if err != nil {
		return s, err
	}
	if err := node.until(func() error { return load{addr: node.at.Edge}.handshake(client, hostName(n-1)) }); err != nil {
		return s, err
	}
	s.first = millis(time.Since(node.started))
	if err := node.until(func() error { return readJSON(node.announced(), &node.at) }); err != nil {
		return s, err
	}
	s.all = millis(time.Since(node.started))
	time.Sleep(settling)
	s.memory, err = memoryOf(node.pid())
	return s, err
}
