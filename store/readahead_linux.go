package store

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// readAhead has the kernel read a file into its cache. bbolt maps a file for random access,
// and would wait for the disk at each page. It is a hint: whatever fails, pages are read when
// they are needed. It ends with ctx.
func readAhead(ctx context.Context, path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return
	}
	const step = 128 << 10 // of more, a call reads the beginning only where the disk has small settings
	for at := int64(0); at < info.Size() && ctx.Err() == nil; at += step {
		if unix.Fadvise(int(f.Fd()), at, step, unix.FADV_WILLNEED) != nil {
			return
		}
	}
}
