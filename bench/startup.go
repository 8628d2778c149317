package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const partStart = "Starting"

// starts is how often each start is measured.
const starts = 10

// storedStarts is the same for a store with something in it.
const storedStarts = 5

// startup measures how long it takes until something works.
func (b *bench) startup(ctx context.Context) error {
	var demo, ready []float64
	for i := range starts {
		ms, err := b.demo(ctx)
		if err != nil {
			return err
		}
		demo = append(demo, ms)
		if ms, err = b.emptyStart(i); err != nil {
			return err
		}
		ready = append(ready, ms)
	}
	b.report.add(partStart, "lacre demo --once, all of it", "lacre", "ms", "< 2,000", demo...)
	b.report.add(partStart, "process start to /readyz, empty store", "lacre", "ms", "< 500", ready...)
	for _, n := range []int{1000, 10000} {
		if err := b.storedStart(n); err != nil {
			return fmt.Errorf("starting with %d certificates: %w", n, err)
		}
	}
	return ctx.Err()
}

func (b *bench) demo(ctx context.Context) (float64, error) {
	begin := time.Now()
	out, err := exec.CommandContext(ctx, b.binary, "demo", "--once").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("lacre demo --once: %w\n%s", err, out)
	}
	return millis(time.Since(begin)), nil
}

// emptyStart starts a lacre on a new directory and asks it whether it is ready, again
// and again from the beginning.
func (b *bench) emptyStart(i int) (float64, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("empty-%d", i))
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	api := fmt.Sprintf("127.0.0.1:%d", port)
	p, err := start(dir, "lacre", anyCore, b.binary, "serve", "--data-dir", filepath.Join(dir, "lacre-data"),
		"--api", api, "--edge", "127.0.0.1:0", "--edge-http", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer p.stop()
	client := &http.Client{Timeout: patience}
	err = p.until(func() error {
		resp, err := client.Get("http://" + api + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("HTTP %s", resp.Status)
		}
		return nil
	})
	return millis(time.Since(p.started)), err
}

// storedStart measures from the start of a process with n certificates in its store, all
// of them bound, to the first handshake, for the last of the hosts.
func (b *bench) storedStart(n int) error {
	dir := filepath.Join(b.dir, fmt.Sprintf("stored-%d", n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(ecc)
	if err != nil {
		return err
	}
	pairs, err := ca.pairs(n)
	if err != nil {
		return err
	}
	node := newLacre(b.binary, dir, anyCore)
	if err := node.start(); err != nil {
		return err
	}
	begin := time.Now()
	err = node.seed(pairs, "")
	node.stop()
	if err != nil {
		return err
	}
	b.talkf("%d certificates created and bound in %.1f s", n, time.Since(begin).Seconds())
	var first, all []float64
	for range storedStarts {
		ms, complete, err := storedOnce(node, n)
		if err != nil {
			return err
		}
		first, all = append(first, ms), append(all, complete)
	}
	b.report.add(partStart, fmt.Sprintf("process start to first handshake, %d certificates stored and bound", n), "lacre", "ms", "", first...)
	b.report.add(partStart, fmt.Sprintf("process start to all loaded (endpoints.json), %d certificates stored and bound", n), "lacre", "ms", "", all...)
	return nil
}

// storedOnce starts a node that was stopped. It is asked for a handshake again and again
// from the beginning; the last host's certificate need not be loaded by then.
func storedOnce(node *lacreNode, n int) (first, complete float64, err error) {
	if err := node.launch(); err != nil {
		return 0, 0, err
	}
	defer node.stop()
	client, err := newClient13(rand.Reader)
	if err != nil {
		return 0, 0, err
	}
	err = node.until(func() error { return load{addr: node.at.Edge}.handshake(client, hostName(n-1)) })
	first = millis(time.Since(node.started))
	if err == nil {
		err = node.until(func() error { return readJSON(node.announced(), &node.at) })
	}
	return first, millis(time.Since(node.started)), err
}
