package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	levelStep = slog.LevelInfo - slog.LevelDebug

	// repeatPause is how long a line of a library is not said again. With a node away, Raft says several a second for each group.
	repeatPause = time.Minute
	// repeatsKept bounds what is remembered of lines; beyond it all is forgotten, and lines come again.
	repeatsKept = 512
)

// quiet is a logger for the libraries beneath: one level lower, since Raft calls routine events (an election, a follower that is
// away) warnings and errors, and without what it has just said already.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(quieter{Handler: log.Handler(), said: &repeats{last: make(map[string]time.Time)}})
}

// quieter lowers the level of all that passes through it by one step, and drops repetitions. A repetition is the same message
// with the same group and peer, whatever else it says.
type quieter struct {
	slog.Handler
	said *repeats
	of   string // what With has added: the group
}

func (q quieter) Enabled(ctx context.Context, level slog.Level) bool {
	return q.Handler.Enabled(ctx, level-levelStep)
}

func (q quieter) Handle(ctx context.Context, record slog.Record) error {
	key := q.of + record.Message
	record.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "peer", "target", "server-id":
			key += fmt.Sprint(" ", a.Value)
		}
		return true
	})
	if q.said.again(key, record.Time) {
		return nil
	}
	record.Level -= levelStep
	return q.Handler.Handle(ctx, record)
}

func (q quieter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quieter{q.Handler.WithAttrs(attrs), q.said, q.of + fmt.Sprint(attrs, " ")}
}

func (q quieter) WithGroup(name string) slog.Handler {
	return quieter{q.Handler.WithGroup(name), q.said, q.of + name + " "}
}

// repeats remembers when each line was said last. Safe for concurrent use.
type repeats struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// again reports whether a line was said within repeatPause, and remembers it otherwise.
func (r *repeats) again(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, said := r.last[key]; said && now.Sub(before) < repeatPause {
		return true
	}
	if len(r.last) >= repeatsKept {
		clear(r.last)
	}
	r.last[key] = now
	return false
}
