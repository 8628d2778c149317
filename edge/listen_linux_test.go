package edge_test

import (
	"net"
	"syscall"
	"testing"

	"lacre/edge"
)

// Connections that are accepted must be asked whether they are still there as if package
// net had told each of them.
func TestListenKeepsAlive(t *testing.T) {
	l, err := edge.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, want := keepAliveOf(t, l), keepAliveOf(t, netListener(t))
	if got != want || got[0] == 0 {
		t.Errorf("SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT = %v, want %v", got, want)
	}
}

func netListener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// keepAliveOf reads the options of a connection that l accepts.
func keepAliveOf(t *testing.T, l net.Listener) (options [4]int) {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	names := [4][2]int{{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT}}
	for i, name := range names {
		err := raw.Control(func(fd uintptr) {
			if options[i], err = syscall.GetsockoptInt(int(fd), name[0], name[1]); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return options
}
