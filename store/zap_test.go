package store_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/zap"

	"lacre/store"
)

func TestWhatEtcdSaysIsLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := store.NewZap(slog.New(slog.NewTextHandler(&out, nil)), zap.WarnLevel, nil).With(zap.String("member", "m1"))
	logger.Info("chatter")
	logger.Warn("slow disk", zap.Int("ms", 700))
	logger.Error("no peer")
	logger.Error("failed to update storage version") // of every first start
	if err := logger.Sync(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want 2:\n%s", len(lines), out.String())
	}
	for i, parts := range [][]string{{"level=WARN", "slow disk", "700", "m1"}, {"level=ERROR", "no peer", "m1"}} {
		for _, part := range parts {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %q lacks %q", lines[i], part)
			}
		}
	}
}

// TestWhatEtcdSaysIsClipped: etcd names every key of a request that took long: one line must not take megabytes.
func TestWhatEtcdSaysIsClipped(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := store.NewZap(slog.New(slog.NewTextHandler(&out, nil)), zap.WarnLevel, nil)
	logger.Warn("slow request", zap.String("request", strings.Repeat("é", 1<<20)), zap.Int("ms", 700))
	if line := out.String(); len(line) > 1000 || !utf8.ValidString(line) || !strings.Contains(line, "éé…") || !strings.Contains(line, "700") {
		t.Errorf("got %d bytes, %.100q..., want a beginning of the request, and the time", len(line), line)
	}
}

// A fatal or panicking entry ends its goroutine and nothing else, and its cause is told.
func TestEtcdCannotEndTheProcess(t *testing.T) {
	t.Parallel()
	cause := errors.New("input/output error")
	for name, last := range map[string]func(*zap.Logger){
		"fatal":         func(l *zap.Logger) { l.Fatal("failed to save", zap.Error(cause)) },
		"panic":         func(l *zap.Logger) { l.Panic("failed to save", zap.Error(cause)) },
		"sugared fatal": func(l *zap.Logger) { l.Sugar().Fatalw("failed to save", "error", cause) },
	} {
		var died error
		logger := store.NewZap(slog.New(slog.DiscardHandler), zap.WarnLevel, func(err error) { died = err })
		ended := make(chan bool)
		go func() {
			wentOn := false
			defer func() { ended <- wentOn }()
			last(logger)
			wentOn = true
		}()
		if wentOn := <-ended; wentOn || !errors.Is(died, cause) {
			t.Errorf("%s: went on: %v, cause: %v; want the goroutine ended with the cause", name, wentOn, died)
		}
	}
}
