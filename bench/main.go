// Command bench measures a real lacre process on this machine, and its edge beside
// nginx, HAProxy and Caddy, and writes every figure with how it was found.
//
// It uses the loopback only, takes about ten minutes, and pins servers and load
// generators to a core each where the two would otherwise fight. Run it by `make bench`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the bench itself, or one of its generator processes.
func run(ctx context.Context, args []string, out, talk io.Writer) error {
	if len(args) > 1 {
		switch args[0] {
		case "generate":
			return generate(args[1:], out)
		case "upstream":
			l, err := net.Listen("tcp", args[1])
			if err != nil {
				return err
			}
			return upstream(l)
		case "populate":
			return populate(ctx, args[1:], talk)
		}
	}
	b := &bench{talk: talk, report: &Report{Date: time.Now(), Command: "bench " + strings.Join(args, " ")}}
	if err := b.options(args); err != nil {
		return err
	}
	if runtime.NumCPU() < 2 {
		return errors.New("at least two cores are needed, one for the servers and one for the load")
	}
	if err := b.all(ctx); err != nil {
		return err
	}
	fmt.Fprint(out, b.report.markdown())
	return b.report.save(b.results)
}

// bench is one run.
type bench struct {
	binary  string // lacre
	caddy   string
	certs   []int // of each edge
	rounds  int
	only    string
	sizes   []int // of the stores that lacre is started on
	results string

	stormSize int // certificates among which the storm rotates
	stormTime int // seconds with, and as many without the storm

	dir    string // temporary
	talk   io.Writer
	report *Report

	// What the rounds of the modifications have collected.
	rates, together64, alone1, putCPU, visible []float64
}

func (b *bench) options(args []string) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(b.talk)
	f.StringVar(&b.binary, "lacre", "bin/lacre", "the binary to measure")
	f.StringVar(&b.caddy, "caddy", "bin/peers/caddy", "the Caddy to compare with")
	edges := f.String("certs", "1000", "certificates of each edge: one or more sizes")
	stores := f.String("stored", "1000,10000", "certificates in the stores that lacre is started on")
	f.IntVar(&b.stormSize, "storm", 1000, "certificates among which the storm rotates")
	f.IntVar(&b.stormTime, "storm-seconds", 20, "seconds with, and as many without the storm of rotations")
	f.IntVar(&b.rounds, "rounds", 3, "rounds in which every server has its turn")
	f.StringVar(&b.only, "only", "modify,start,stored,edges,storm,sm2", "parts to run")
	f.StringVar(&b.results, "results", "bench/results", "where latest.md and latest.json go")
	full := f.Bool("full", false, "edges and stores of 1,000, 10,000 and 100,000 certificates; takes an hour or two")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *full {
		*edges, *stores = "1000,10000,100000", "1000,10000,100000"
	}
	if f.NArg() > 0 || min(b.rounds, b.stormSize, b.stormTime) < 1 {
		return errors.New("expected no arguments, and at least one round, certificate and second")
	}
	var err1, err2 error
	b.certs, err1 = numbers(*edges)
	b.sizes, err2 = numbers(*stores)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	binary, err := filepath.Abs(b.binary)
	b.binary = binary
	return err
}

// numbers reads whole numbers above 0, parted by commas.
func numbers(text string) (all []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q: expected whole numbers above 0, parted by commas", text)
		}
		all = append(all, n)
	}
	return all, nil
}

// all runs the parts in a temporary directory.
func (b *bench) all(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "lacre-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.describe(); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"modify", b.modifications}, {"start", b.startup}, {"stored", b.stored}, {"edges", b.edges}, {"storm", b.storm}, {"sm2", b.sm2}} {
		if !strings.Contains(","+b.only+",", ","+part.name+",") {
			b.report.missing("%s: left out by -only", part.name)
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	b.report.Seconds = time.Since(b.report.Date).Seconds()
	b.report.finish()
	return nil
}

// talkf says how far the run has come.
func (b *bench) talkf(format string, args ...any) {
	fmt.Fprintf(b.talk, "%4.0f s  %s\n", time.Since(b.report.Date).Seconds(), fmt.Sprintf(format, args...))
}
