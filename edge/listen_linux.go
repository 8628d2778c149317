package edge

import (
	"net"
	"os"
	"syscall"
	"time"
)

func listenConfig() net.ListenConfig {
	return net.ListenConfig{KeepAlive: -1, Control: probe} // -1: nothing is set on connections
}

// probe makes the connections of a listener inherit keep-alive probes (tcp(7)).
func probe(_, _ string, raw syscall.RawConn) (err error) {
	failed := raw.Control(func(fd uintptr) {
		for _, o := range []struct{ level, name, value int }{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, int(keepAliveIdle / time.Second)},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, int(keepAliveInterval / time.Second)},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepAliveCount},
		} {
			if err == nil {
				err = os.NewSyscallError("setsockopt", syscall.SetsockoptInt(int(fd), o.level, o.name, o.value))
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}
