package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The cores that servers and load generators are pinned to.
const (
	serverCore = 0
	loadCore   = 1
	anyCore    = -1
)

// process is a program under measurement.
type process struct {
	name    string
	log     string // file with what it wrote
	cmd     *exec.Cmd
	started time.Time
	ended   chan struct{} // closed when it has ended
}

// start runs a program on one core; what it writes goes to a file of dir.
func start(dir, name string, core int, argv ...string) (*process, error) {
	if core != anyCore {
		argv = append([]string{"taskset", "-c", strconv.Itoa(core)}, argv...)
	}
	p := &process{name: name, log: filepath.Join(dir, name+".log"), cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // that it ended is seen by whoever talks to it
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// profile tells a lacre that was built for it (make pgo) to begin or to end a CPU profile.
func (p *process) profile() error {
	if p.name != "lacre" || os.Getenv("LACRE_CPUPROFILE") == "" {
		return nil
	}
	return p.cmd.Process.Signal(syscall.SIGUSR1)
}

// stop ends the process, by force when it takes more than half a minute.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.kill()
	}
}

// kill ends the process without a word to it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// slowest is how long a start or a reload may take. Caddy needs more than six minutes for
// 100,000 certificates.
const slowest = 15 * time.Minute

// until tries again, a millisecond later each time, until try succeeds. It gives up when
// the process ends or is too slow.
func (p *process) until(try func() error) error {
	for deadline := time.Now().Add(slowest); ; time.Sleep(time.Millisecond) {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s has ended: %s", p.name, p.lastWords())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: %w", p.name, err)
		}
	}
}

// lastWords is the end of what the process wrote.
func (p *process) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-500):])
}

// freePort is a port of the loopback that nobody uses right now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// drive runs a generator process against addr and returns what it achieved. Failures of
// more than one operation in a thousand are an error: the figure would not mean much.
func drive(ctx context.Context, kind string, l load) (outcome, error) {
	var o outcome
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	cmd := exec.CommandContext(ctx, "taskset", "-c", strconv.Itoa(loadCore), self, "generate", kind, "-addr", l.addr,
		"-hosts", strconv.Itoa(l.hosts), "-conns", strconv.Itoa(l.conns), "-seconds", fmt.Sprint(l.seconds))
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return o, fmt.Errorf("generating %s: %w", kind, err)
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return o, fmt.Errorf("reading what the generator says: %w", err)
	}
	return o, o.check()
}

func (o *outcome) check() error {
	if o.Done == 0 || o.Failed*1000 > o.Done {
		return errors.New(strconv.Itoa(o.Failed) + " operations failed, " + strconv.Itoa(o.Done) + " did not; the first: " + o.Problem)
	}
	return nil
}
