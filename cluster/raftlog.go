package cluster

import (
	"context"
	"log/slog"
)

const levelStep = slog.LevelInfo - slog.LevelDebug

// quiet is a logger for the libraries beneath, one level lower: Raft calls routine events (an election, a follower that is
// away) warnings and errors, once per group and second.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(quieter{log.Handler()}) }

// quieter lowers the level of all that passes through it by one step.
type quieter struct{ slog.Handler }

func (q quieter) Enabled(ctx context.Context, level slog.Level) bool {
	return q.Handler.Enabled(ctx, level-levelStep)
}

func (q quieter) Handle(ctx context.Context, record slog.Record) error {
	record.Level -= levelStep
	return q.Handler.Handle(ctx, record)
}

func (q quieter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quieter{q.Handler.WithAttrs(attrs)}
}

func (q quieter) WithGroup(name string) slog.Handler { return quieter{q.Handler.WithGroup(name)} }
