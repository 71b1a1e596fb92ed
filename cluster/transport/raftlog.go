package transport

import (
	"context"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// RaftLogger makes raft, and its relatives that log through hclog, write to a slog.Logger. The level is the slog handler's.
func RaftLogger(to *slog.Logger) hclog.Logger { return raftLogger{to: to} }

type raftLogger struct {
	to      *slog.Logger
	name    string
	implied []any
}

// level maps hclog's levels: trace is below slog's debug.
func level(l hclog.Level) slog.Level {
	switch l {
	case hclog.Trace:
		return slog.LevelDebug - 4
	case hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

func (l raftLogger) Log(at hclog.Level, msg string, args ...any) {
	to := l.to
	if l.name != "" {
		to = to.With("component", l.name)
	}
	to.Log(context.Background(), level(at), msg, args...)
}

func (l raftLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l raftLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l raftLogger) enabled(at hclog.Level) bool {
	return l.to.Enabled(context.Background(), level(at))
}
func (l raftLogger) IsTrace() bool { return l.enabled(hclog.Trace) }
func (l raftLogger) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l raftLogger) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l raftLogger) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l raftLogger) IsError() bool { return l.enabled(hclog.Error) }

func (l raftLogger) ImpliedArgs() []any { return l.implied }
func (l raftLogger) Name() string       { return l.name }

func (l raftLogger) With(args ...any) hclog.Logger {
	l.to = l.to.With(args...)
	l.implied = append(l.implied[:len(l.implied):len(l.implied)], args...)
	return l
}

func (l raftLogger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

func (l raftLogger) ResetNamed(name string) hclog.Logger {
	l.name = name
	return l
}

// SetLevel does nothing: levels are set at the slog handler.
func (l raftLogger) SetLevel(hclog.Level) {}

func (l raftLogger) GetLevel() hclog.Level {
	for _, at := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn} {
		if l.enabled(at) {
			return at
		}
	}
	return hclog.Error
}

func (l raftLogger) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(opts), "", 0)
}

func (l raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lineWriter{l.to} }

// lineWriter logs each line that is written to it, at the level that a leading "[WARN] " names.
type lineWriter struct{ to *slog.Logger }

func (w lineWriter) Write(b []byte) (int, error) {
	line, at := strings.TrimSpace(string(b)), slog.LevelInfo
	for prefix, named := range map[string]slog.Level{
		"[DEBUG] ": slog.LevelDebug, "[INFO] ": slog.LevelInfo, "[WARN] ": slog.LevelWarn, "[ERR] ": slog.LevelError, "[ERROR] ": slog.LevelError,
	} {
		if rest, found := strings.CutPrefix(line, prefix); found {
			line, at = rest, named
			break
		}
	}
	w.to.Log(context.Background(), at, line)
	return len(b), nil
}
