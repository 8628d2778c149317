package edge

import (
	"context"
	"net"
	"time"
)

// How a connection that says nothing is found to be dead: after keepAliveIdle it is asked,
// and again every keepAliveInterval; when keepAliveCount of these went unanswered it ends.
// These are the values that package net gives to each connection.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 9
)

// Listen opens a listener for ServeTLS or ServePlain on a TCP address (host:port). Where
// connections inherit what is set on their listener, keep-alive probes are set there, once,
// instead of in four system calls for each connection. MPTCP is off: on its sockets not
// every kernel knows these options.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	config := listenConfig()
	config.SetMultipathTCP(false)
	return config.Listen(ctx, "tcp", address)
}
