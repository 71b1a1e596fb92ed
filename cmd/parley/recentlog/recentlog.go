// Package recentlog keeps the last lines of a process's log in memory, for whoever asks later what has happened.
package recentlog

import (
	"bytes"
	"sync"
)

// bytesMax bounds what is kept.
const bytesMax = 512 << 10

// Lines keeps what is written to it, each write a line or some, as slog's handlers do. The zero value is ready; safe for concurrent use.
type Lines struct {
	mu    sync.Mutex
	lines [][]byte
	bytes int
}

// Write implements io.Writer. It never fails.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := bytes.Clone(p[:min(len(p), bytesMax)])
	l.lines = append(l.lines, kept)
	for l.bytes += len(kept); l.bytes > bytesMax; l.lines = l.lines[1:] {
		l.bytes -= len(l.lines[0])
	}
	return len(p), nil
}

// Bytes are the lines that are kept, the oldest first.
func (l *Lines) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Join(l.lines, nil)
}
