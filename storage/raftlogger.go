package storage

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// RaftLogger gives what raft and its stores say to a slog.Logger, each line with the name of its part under "part".
// A nil logger discards everything.
func RaftLogger(logger *slog.Logger) hclog.Logger {
	if logger == nil {
		return hclog.NewNullLogger()
	}
	level := hclog.Error
	for _, candidate := range []hclog.Level{hclog.Warn, hclog.Info, hclog.Debug} {
		if logger.Enabled(context.Background(), slogLevel(candidate)) {
			level = candidate
		}
	}
	// hclog's own output is not used. A sink hears everything at its level, whatever the output does.
	root := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: level})
	root.RegisterSink(slogSink{logger})
	return root
}

type slogSink struct{ logger *slog.Logger }

// Accept is called by hclog with the arguments in pairs.
func (s slogSink) Accept(name string, level hclog.Level, message string, args ...any) {
	at := slogLevel(level)
	if !s.logger.Enabled(context.Background(), at) {
		return
	}
	if name != "" {
		args = append([]any{"part", name}, args...)
	}
	for i, arg := range args {
		if text, ok := arg.(hclog.Format); ok && len(text) > 0 { // hclog.Fmt: a format and its arguments
			args[i] = fmt.Sprintf(fmt.Sprint(text[0]), text[1:]...)
		}
	}
	s.logger.Log(context.Background(), at, message, args...)
}

func slogLevel(level hclog.Level) slog.Level {
	switch level {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Info:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}
