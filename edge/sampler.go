package edge

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// sampleEvery is the least time between two lines of a sampler.
const sampleEvery = 100 * time.Millisecond

// sampler keeps what clients can cause from flooding the log: at most one line per
// sampleEvery, saying how many were left out.
type sampler struct {
	last    atomic.Int64 // Unix nanoseconds
	skipped atomic.Int64
}

func (s *sampler) debug(log *slog.Logger, message string, args ...any) {
	s.log(log, slog.LevelDebug, message, args)
}

func (s *sampler) warn(log *slog.Logger, message string, args ...any) {
	s.log(log, slog.LevelWarn, message, args)
}

func (s *sampler) error(log *slog.Logger, message string, args ...any) {
	s.log(log, slog.LevelError, message, args)
}

func (s *sampler) log(log *slog.Logger, level slog.Level, message string, args []any) {
	if !log.Enabled(context.Background(), level) {
		return
	}
	now, last := time.Now().UnixNano(), s.last.Load()
	recent := now >= last && now-last < int64(sampleEvery) // not when the clock was set back
	if recent || !s.last.CompareAndSwap(last, now) {
		s.skipped.Add(1)
		return
	}
	log.Log(context.Background(), level, message, append(args, "skipped", s.skipped.Swap(0))...)
}
