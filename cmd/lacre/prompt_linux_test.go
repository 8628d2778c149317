package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// terminal opens a pseudo terminal: what a person types at, and what the program reads.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		cannot(t, "no pseudo terminals here", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		cannot(t, "no pseudo terminals here", err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// shouting is a writer that says when it was written to.
type shouting struct {
	bytes.Buffer
	asked chan struct{}
}

func (s *shouting) Write(b []byte) (int, error) {
	if s.Len() == 0 {
		defer close(s.asked)
	}
	return s.Buffer.Write(b)
}

func TestAPasswordTypedAtATerminalIsNotShown(t *testing.T) {
	person, program := terminal(t)
	talk := &shouting{asked: make(chan struct{})}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	cmd.SetIn(program)
	cmd.SetErr(talk)
	go func() {
		<-talk.asked // the echo is off by then
		if echoes(t, program) {
			t.Error("the terminal echoes while the password is asked for")
		}
		person.WriteString("typed password\n")
	}()
	got, err := (&session{}).newPassword(cmd)
	if err != nil || got != "typed password" {
		t.Errorf("got %q, %v, want what was typed", got, err)
	}
	if !strings.HasPrefix(talk.String(), "New password: ") || strings.Contains(talk.String(), "typed") {
		t.Errorf("got %q on stderr, want the question and not the answer", talk.String())
	}
	if !echoes(t, program) {
		t.Error("the terminal does not echo afterwards")
	}
}

func TestAnInterruptedPromptBringsTheEchoBack(t *testing.T) {
	_, program := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	talk := &shouting{asked: make(chan struct{})}
	go func() {
		<-talk.asked
		cancel()
	}()
	if _, err := prompt(ctx, program, talk, "New password: "); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want that of the context", err)
	}
	if !echoes(t, program) {
		t.Error("the terminal does not echo afterwards")
	}
}
