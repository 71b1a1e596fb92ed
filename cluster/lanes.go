package cluster

import (
	"sync"

	"parley/fsm"
)

// A lane is bounded by both figures; a full one refuses at once, since a caller that waits here could as well retry.
const (
	laneCommandsMax = 8192
	laneBytesMax    = 32 << 20
)

// proposal is a command on its way into a shard's log.
type proposal struct {
	command fsm.Command
	bytes   int           // of the encoded command
	share   int           // of an entry: what apply gets to do for it, with the pieces that it names
	decided chan decision // capacity 1; gets exactly one
	at      int           // which command of its entry is this one's; set when the entry is sent
}

// decision is what became of a proposal: an outcome at an index, or an error of the unavailable family.
type decision struct {
	outcome fsm.Outcome
	index   uint64
	err     error
}

// lane is a bounded queue of proposals, first in first out.
type lane struct {
	arrived chan struct{} // capacity 1: something is in the queue, or it was closed

	mu     sync.Mutex
	queue  []*proposal
	bytes  int
	closed bool
}

func newLane() *lane { return &lane{arrived: make(chan struct{}, 1)} }

// push adds a proposal, or says why not: ErrOverloaded, or ErrNotProposed after close.
func (l *lane) push(p *proposal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return fsm.ErrNotProposed
	case len(l.queue) >= laneCommandsMax || l.bytes+p.bytes > laneBytesMax:
		return fsm.ErrOverloaded
	}
	l.queue = append(l.queue, p)
	l.bytes += p.bytes
	select {
	case l.arrived <- struct{}{}:
	default:
	}
	return nil
}

// take removes proposals from the front as long as their shares stay within a number of bytes together. The first is always taken
// if nothing has been taken before. So what one large command makes for a destination is not put into one body with more.
func (l *lane) take(taken []*proposal, room int) (_ []*proposal, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.queue) && (l.queue[n].share <= room || len(taken) == 0) {
		p := l.queue[n]
		taken = append(taken, p)
		room -= p.share
		l.bytes -= p.bytes
		l.queue[n] = nil
		n++
	}
	l.queue = l.queue[n:]
	if len(l.queue) == 0 {
		l.queue = nil
	}
	return taken, room
}

// waiting reports whether anything is in the queue.
func (l *lane) waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) > 0
}

// close refuses what comes later and gives back what is still in the queue.
func (l *lane) close() []*proposal {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	rest := l.queue
	l.queue, l.bytes = nil, 0
	return rest
}
