package cluster

import (
	"math"
	"sync"

	"parley/fsm"
)

// A lane is bounded by both figures; a full one refuses at once, since a caller that waits here could as well retry. One origin may fill
// the half of a lane. Who has less than a small share in it is let in beyond the bound, by a quarter of it at most, so that two who fill it
// shut out nobody.
const (
	laneCommandsMax = 8192
	laneBytesMax    = 32 << 20

	originShare    = 2  // an origin's part of the lane
	smallShare     = 32 // what always finds a place
	overdraftShare = 4  // beyond the bound, for small ones

	// What an origin, and within it a slot, may take in one turn. Whoever takes more waits longer for its next.
	originTurnBytes = 32 << 10
	slotTurnBytes   = 8 << 10
)

// proposal is a command on its way into a shard's log.
type proposal struct {
	command fsm.Command
	encoded []byte        // the command, as of fsm.EncodeCommand
	bytes   int           // of it, with what stands around it in an entry
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

// lane is a bounded queue of proposals. Origins take turns in it, and the slots of each origin; what one origin has for one slot keeps its
// order. A lane that is not shared is first in first out.
type lane struct {
	shared  bool
	arrived chan struct{} // capacity 1: something is in the queue, or it was closed

	mu       sync.Mutex
	origins  turns[string, *originLane]
	commands int
	bytes    int
	closed   bool
}

// originLane is what one origin has in a lane.
type originLane struct {
	slots    turns[fsm.SlotID, *[]*proposal]
	commands int
	bytes    int
}

func newLane(shared bool) *lane { return &lane{shared: shared, arrived: make(chan struct{}, 1)} }

// push adds a proposal, or says why not: ErrOverloaded, or ErrNotProposed after close.
func (l *lane) push(p *proposal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var origin string
	var slot fsm.SlotID
	if l.shared {
		origin, slot = originOf(p.command), p.command.Slot()
	}
	of, known := l.origins.get(origin)
	if !known {
		of = new(originLane)
	}
	switch {
	case l.closed:
		return fsm.ErrNotProposed
	case !l.admits(origin, of, p):
		return fsm.ErrOverloaded
	}
	if !known {
		l.origins.add(origin, of)
	}
	queue, waits := of.slots.get(slot)
	if !waits {
		queue = new([]*proposal)
		of.slots.add(slot, queue)
	}
	*queue = append(*queue, p)
	of.commands, of.bytes = of.commands+1, of.bytes+p.bytes
	l.commands, l.bytes = l.commands+1, l.bytes+p.bytes
	select {
	case l.arrived <- struct{}{}:
	default:
	}
	return nil
}

// admits decides whether a lane has room for an origin's proposal. What is nobody's but the shard's own has no share to keep to.
func (l *lane) admits(origin string, of *originLane, p *proposal) bool {
	commands, bytes := of.commands+1, of.bytes+p.bytes
	if origin != "" && (commands > laneCommandsMax/originShare || bytes > laneBytesMax/originShare) {
		return false
	}
	if l.commands < laneCommandsMax && l.bytes+p.bytes <= laneBytesMax {
		return true
	}
	return l.shared && commands <= laneCommandsMax/smallShare && bytes <= laneBytesMax/smallShare &&
		l.commands < laneCommandsMax+laneCommandsMax/overdraftShare && l.bytes+p.bytes <= laneBytesMax+laneBytesMax/overdraftShare
}

// take removes proposals, whose turn it is, as long as their shares stay within a number of bytes together. The first is always taken
// if nothing has been taken before. So what one large command makes for a destination is not put into one body with more.
func (l *lane) take(taken []*proposal, room int) (_ []*proposal, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.commands > 0 {
		name, of, credit := l.origins.turn(originTurnBytes)
		slot, queue, slotCredit := of.slots.turn(slotTurnBytes)
		p := (*queue)[0]
		if p.share > room && len(taken) > 0 {
			break
		}
		taken, room = append(taken, p), room-p.share
		*credit, *slotCredit = *credit-p.share, *slotCredit-p.share
		l.commands, l.bytes = l.commands-1, l.bytes-p.bytes
		of.commands, of.bytes = of.commands-1, of.bytes-p.bytes
		(*queue)[0] = nil
		if *queue = (*queue)[1:]; len(*queue) == 0 {
			of.slots.remove(slot)
		}
		if of.commands == 0 {
			l.origins.remove(name)
		}
	}
	return taken, room
}

// waiting reports whether anything is in the queue.
func (l *lane) waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.commands > 0
}

// close refuses what comes later and gives back what is still in the queue.
func (l *lane) close() []*proposal {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	rest, _ := l.take(nil, math.MaxInt)
	return rest
}

// originOf is whose a command is, for the lane to be fair between them; none for the shard's own, and for what only makes room.
func originOf(command fsm.Command) string {
	switch c := command.(type) {
	case fsm.Judged:
		return originOf(c.Command)
	case fsm.SubmitMessage:
		return c.Sender.Provider().String()
	case fsm.SubmitProposals:
		return c.Sender.Provider().String()
	case fsm.SubmitBatch:
		if len(c.Messages) > 0 {
			return c.Messages[0].Sender.Provider().String()
		}
		return ""
	case fsm.ReceiveFanout:
		return c.Hub.String()
	default:
		return ""
	}
}
