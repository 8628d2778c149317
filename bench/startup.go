package main

import (
	"context"
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
