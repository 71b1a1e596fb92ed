package server

import (
	"context"
	"time"

	"parley/cmd/parley/sdnotify"
)

// statusInterval is how often systemd is told how the node is.
const statusInterval = 5 * time.Second

// say tells systemd something. Where it cannot be told the log says so: a service that is never ready is ended.
func (s *Server) say(words ...string) {
	if err := sdnotify.Tell(words...); err != nil {
		s.log.Warn("the service manager was not told", "error", err)
	}
}

// tellSystemd says that the node is ready once its listeners answer, and from then on how it is, until the context ends. A node that waits
// for init or join is ready too: the operator's next command goes to it. As long as systemd watches, it hears only of a node that still
// answers for itself.
func (s *Server) tellSystemd(ctx context.Context) {
	s.say(sdnotify.Ready, sdnotify.Status("%s", s.summary(ctx)))
	interval := statusInterval
	if watched := sdnotify.WatchdogInterval(); watched > 0 {
		interval = min(interval, watched/3)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.say(sdnotify.Status("%s", s.summary(ctx)), sdnotify.Watchdog)
		}
	}
}

// summary is the node in a line. It asks the node's replicas, so it does not return while one of them is stuck.
func (s *Server) summary(ctx context.Context) string {
	if out := s.outcast(); out != nil {
		return "out of its cluster: " + out.why
	}
	if !s.isOpen() {
		return "waits for 'parley cluster init' or 'parley node join'"
	}
	readiness := (&operations{node: s.node}).Ready(ctx)
	if readiness.Ready {
		return "serves " + s.config.Domain + " as node " + readiness.Node
	}
	return "not ready: " + readiness.Reasons[0]
}
