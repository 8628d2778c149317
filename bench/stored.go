package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

const partStored = "Starting with certificates stored and bound"

// How often each start is measured: after stops in order, and after kills.
const (
	orderlyStarts = 5
	killedStarts  = 3
)

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

// startsOf measures the starts of a node that is stopped: first those from the exact copy
// that a stop in order leaves beside the store, then those without.
func (b *bench) startsOf(node *lacreNode, n int) error {
	if err := node.makeCopy(); err != nil {
		return err
	}
	for i := range orderlyStarts {
		end := (*process).stop
		if i == orderlyStarts-1 {
			end = (*process).kill
		}
		s, err := startStored(node, n, end)
		if err != nil {
			return err
		}
		b.gatherStart(n, "process start", s)
		b.report.gather(partStored, sized(n)+"resident anonymous memory, idle after the start", "lacre", "MiB", mebi(s.anonymous))
		b.report.gather(partStored, sized(n)+"resident pages of mapped files, idle after the start", "lacre", "MiB", mebi(s.file))
	}
	for range killedStarts {
		s, err := startStored(node, n, (*process).kill)
		if err != nil {
			return err
		}
		b.gatherStart(n, "process start after kill -9", s)
	}
	return nil
}

func sized(n int) string { return fmt.Sprintf("%d certificates: ", n) }

func (b *bench) gatherStart(n int, from string, s storedStart) {
	b.talkf("%s%s to first handshake %.0f ms, whole index %.0f ms, all ready %.0f ms, %.0f MiB", sized(n), from, s.first, s.index, s.all, mebi(s.anonymous))
	b.report.gather(partStored, sized(n)+from+" to first handshake", "lacre", "ms", s.first)
	b.report.gather(partStored, sized(n)+from+" to the whole index", "lacre", "ms", s.index)
	b.report.gather(partStored, sized(n)+from+" to everything ready, the API too", "lacre", "ms", s.all)
}

// makeCopy runs a node that is stopped until the copy of its store is complete.
func (n *lacreNode) makeCopy() error {
	if err := n.start(); err != nil {
		return err
	}
	defer n.stop()
	return n.until(func() error {
		text, err := n.metrics()
		if err == nil && !copyMade.Match(text) {
			err = errors.New("no copy of the store yet")
		}
		return err
	})
}

var copyMade = regexp.MustCompile(`(?m)^lacre_store_copy_revision [1-9]`)

func (n *lacreNode) metrics() ([]byte, error) {
	resp, err := n.client.Get(n.at.API + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// storedStart is one start of a node: milliseconds to the first handshake, until the edge
// has all certificates in its index and until all else is ready as well (endpoints.json is
// there), and the memory a moment later.
type storedStart struct {
	first, index, all float64
	memory
}

// startStored starts a node that is stopped, and ends it again. From the beginning it is
// asked for a handshake, again and again; the last host's certificate need not be loaded
// by then.
func startStored(node *lacreNode, n int, end func(*process)) (s storedStart, err error) {
	if err := node.launch(); err != nil {
		return s, err
	}
	defer func() { end(node.process) }()
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
	if s.index, err = node.indexed(); err != nil {
		return s, err
	}
	time.Sleep(settling)
	s.memory, err = memoryOf(node.pid())
	return s, err
}

// indexLine is the line that the edge logs when it has everything in its index.
var indexLine = regexp.MustCompile(`(?m)^time=(\S+) level=INFO msg=loaded `)

// indexed is how many milliseconds the start that was the last one took until that line.
func (n *lacreNode) indexed() (float64, error) {
	text, err := os.ReadFile(n.log)
	if err != nil {
		return 0, err
	}
	lines := indexLine.FindAllSubmatch(text, -1)
	if len(lines) == 0 {
		return 0, fmt.Errorf("%s has no line of a loaded index", n.log)
	}
	at, err := time.Parse(time.RFC3339, string(lines[len(lines)-1][1]))
	return millis(at.Sub(n.started)), err
}
