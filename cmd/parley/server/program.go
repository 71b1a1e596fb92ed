package server

import (
	"fmt"
	"log/slog"

	"parley/cmd/parley/recentlog"
)

// Program is the process that a Server runs in.
type Program struct {
	Version string
	Log     *slog.Logger
	Level   *slog.LevelVar   // of Log
	Recent  *recentlog.Lines // what Log has said last
}

// SetLevel changes what is logged: debug, info, warn or error.
func (p Program) SetLevel(name string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	p.Level.Set(level)
	return nil
}
