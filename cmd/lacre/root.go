package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of the command line contract.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef says how the command should have been called.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hinted is an error with a line that says what to do about it.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// run is the whole program but for the process it runs in.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	root := newRoot(environment(environ))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(stderr, "lacre: %s\n", printableLines(err.Error()))
	if h, ok := errors.AsType[hinted](err); ok {
		fmt.Fprintf(stderr, "hint: %s\n", printableLines(h.hint))
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func newRoot(env map[string]string) *cobra.Command {
	root := &cobra.Command{
		Use:   "lacre",
		Short: "A self-hosted SSL-certificate service for API gateways",
		Long: `Lacre keeps SSL certificates behind an API that is wire-compatible with Huawei Cloud
ROMA Connect (apic) and APIG (apigw), and serves them at a TLS edge by SNI. A modified
certificate is served from the moment the API has answered: no reload, no dropped
connection.`,
		Example: `  lacre demo                                   see all of it, in a temporary directory
  lacre serve --data-dir /var/lib/lacre        run it
  lacre cert list --data-dir /var/lib/lacre    ask it`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("lacre {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hinted{usageError{err}, "see '" + cmd.CommandPath() + " --help'"}
	})
	root.AddCommand(serveCommand(env), demoCommand(env), certCommand(env), importCommand(env), explainCommand(env), auditCommand(env), backupCommand(env), restoreCommand(env), iamCommand(env), tlcpCommand())
	root.CompletionOptions.HiddenDefaultCmd = true
	wrapArgErrors(root)
	return root
}

// wrapArgErrors makes wrong positional arguments, unknown commands included, usage errors.
func wrapArgErrors(cmd *cobra.Command) {
	check := cmd.Args
	cmd.Args = func(c *cobra.Command, args []string) error {
		if check == nil {
			check = cobra.ArbitraryArgs
		}
		if err := check(c, args); err != nil {
			return hinted{usageError{err}, "see '" + c.CommandPath() + " --help'"}
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		wrapArgErrors(sub)
	}
}

// environment turns "K=V" strings into a map.
func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return env
}

// version is what the Go toolchain recorded about this build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	out := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			out += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return out + " " + info.GoVersion
}
