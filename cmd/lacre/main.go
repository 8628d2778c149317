// Command lacre is a self-hosted SSL-certificate service for API gateways: the
// certificate API, the TLS edge that serves what the API holds, and tools for both.
//
// Rules for what goes where: data on stdout (-o json|table), talk on stderr, one line
// for an error, hints on lines of their own. Exit codes: 0 done, 1 failed, 2 wrong usage.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)  // a second signal does not wait for the drain
	signal.Ignore(syscall.SIGHUP) // nothing needs a reload, and a closed terminal is no reason to stop
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
