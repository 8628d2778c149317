package edge_test

import (
	"bufio"
	"io"
	"syscall"
	"testing"
	"time"
)

// BenchmarkProxied makes requests over connections that stay open. Client and upstream
// are in this process too, and do as little as they can.
func BenchmarkProxied(b *testing.B) {
	w := newWorld(b)
	w.site("a.example.com", upstream("http://"+terseUpstream(b)))
	b.ReportAllocs()
	b.SetParallelism(8)
	begin := processorTime(b)
	defer func() { b.ReportMetric(float64((processorTime(b)-begin).Microseconds())/float64(b.N), "µs-CPU/op") }()
	b.RunParallel(func(pb *testing.PB) {
		c := w.connect("a.example.com")
		in := bufio.NewReader(c)
		for pb.Next() {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
			for line, err := in.ReadSlice('\n'); err == nil && len(line) > 2; {
				line, err = in.ReadSlice('\n')
			}
			if body, err := in.ReadSlice('\n'); err != nil || string(body) != "ok\n" {
				b.Errorf("got %q, %v, want ok", body, err)
				return
			}
		}
	})
}

// processorTime is what this process has used: on a busy machine it means more than the
// time that passed.
func processorTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// terseUpstream answers requests without a body.
func terseUpstream(tb testing.TB) string {
	l := listen(tb)
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					line, err := in.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) == 2 {
						io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n")
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
