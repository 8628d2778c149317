package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// hideInput switches the echo of a terminal off and returns how to switch it on again.
// The error says that f is no terminal.
func hideInput(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	hidden.Lflag |= unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return nil, err
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil
}

// prompt asks at a terminal for a line that is not shown. The echo comes back when the
// user interrupts, too.
func prompt(ctx context.Context, f *os.File, talk io.Writer, question string) (string, error) {
	restore, err := hideInput(f)
	if err != nil {
		return "", err
	}
	defer fmt.Fprintln(talk) // the user's own line break was not shown
	defer restore()
	fmt.Fprint(talk, question)
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := firstLine(f)
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		return a.line, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
