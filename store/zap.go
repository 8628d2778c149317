package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// bridge is a zapcore.Core that hands what etcd has to say to slog, from level on.
type bridge struct {
	zapcore.LevelEnabler
	log    *slog.Logger
	fields []zapcore.Field
}

// With implements zapcore.Core.
func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	b.fields = append(slices.Clip(b.fields), fields...)
	return b
}

// longestField is how many bytes of a field are logged: etcd names every key of a slow
// request, which may be a thousand.
const longestField = 512

// harmless is what etcd says, as a warning and an error, at every first start of a single
// member: there is no older schema to detect, and it goes on to write the current one.
var harmless = []string{"Failed to detect schema version", "failed to update storage version"}

// Check implements zapcore.Core.
func (b bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) && !slices.Contains(harmless, e.Message) {
		return ce.AddCore(e, b)
	}
	return ce
}

// Write implements zapcore.Core.
func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range append(slices.Clip(b.fields), fields...) {
		f.AddTo(encoder)
	}
	for name, field := range encoder.Fields {
		if text, ok := field.(string); ok && len(text) > longestField {
			encoder.Fields[name] = strings.ToValidUTF8(text[:longestField], "") + "…"
		}
	}
	b.log.Log(context.Background(), level, "etcd: "+e.Message, "etcd", encoder.Fields)
	return nil
}

// Sync implements zapcore.Core.
func (b bridge) Sync() error { return nil }

// lastWords takes the place of what zap does at a fatal or panicking entry. etcd says
// such things when its disk fails it: ending the process without a word, or with a stack
// trace, is not ours to do. The goroutine ends, and died hears why.
type lastWords struct{ died func(error) }

// OnWrite implements zapcore.CheckWriteHook; it does not return, as zap demands.
func (l lastWords) OnWrite(ce *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := errors.New(ce.Message)
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok {
			err = fmt.Errorf("%s: %w", ce.Message, cause)
		}
	}
	l.died(err)
	runtime.Goexit()
}

// newZap makes a logger for etcd that writes to log what is at level or above. died is
// called when etcd gives up.
func newZap(log *slog.Logger, level zapcore.LevelEnabler, died func(error)) *zap.Logger {
	last := lastWords{died}
	return zap.New(bridge{LevelEnabler: level, log: log}, zap.WithFatalHook(last), zap.WithPanicHook(last))
}
