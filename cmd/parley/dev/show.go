package dev

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// show tells the person at the terminal what happens, a line a step. Safe for concurrent use.
type show struct {
	mu   sync.Mutex
	out  io.Writer
	step int
}

func (s *show) heading(format string, arguments ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "\n%s\n", fmt.Sprintf(format, arguments...))
}

// done tells of a step and how long its requests took; details stand below it.
func (s *show) done(took time.Duration, text string, details ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step++
	fmt.Fprintf(s.out, "%3d  %-76s %9s\n", s.step, text, milliseconds(took))
	for _, detail := range details {
		fmt.Fprintf(s.out, "       %s\n", detail)
	}
}

func (s *show) note(format string, arguments ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "     %s\n", fmt.Sprintf(format, arguments...))
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
