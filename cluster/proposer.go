package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm"
)

const (
	gatherWindow     = 2 * time.Millisecond // the longest that a command waits for company
	gatherBytesMax   = 256 << 10            // commands gathered for one entry
	entryBytesMax    = 512 << 10            // one Raft entry
	commandBytesMax  = 480 << 10            // one command, see commandLimit
	entryOverhead    = 256                  // an entry's own fields, and the length in front of each command
	enqueueTimeout   = time.Second          // for Raft's own queue, which the bounds below keep short
	exclusiveFlights = 8                    // entries on their way into the log, per lane
	bulkFlights      = 3                    // few: each one delays the exclusive entries behind it
)

// raftApplier is the part of *raft.Raft that the proposer needs.
type raftApplier interface {
	Apply(entry []byte, timeout time.Duration) raft.ApplyFuture
}

// proposer puts commands into one shard's log: one goroutine gathers, stamps and calls raft.Apply, so that stamps rise in log
// order. It works on every replica alike; Raft refuses where it does not lead, and nothing here outlives a term but hub time,
// which only rises.
type proposer struct {
	raft  raftApplier
	time  *hubTime
	lanes [2]*lane                         // by fsm.Lane
	took  func(slot fsm.SlotID, bytes int) // told of each command; nil: nobody is. Set before the first

	landed  chan fsm.Lane // an entry of the lane left the log's pipeline
	stop    chan struct{}
	stopped chan struct{}
	flights sync.WaitGroup

	// Of the run goroutine alone:
	gathered [2][]*proposal
	room     [2]int // bytes left in the gathered entry
	since    [2]time.Time
	inFlight [2]int
}

func newProposer(r raftApplier, t *hubTime) *proposer {
	p := &proposer{
		raft: r, time: t,
		lanes:   [2]*lane{newLane(false), newLane(true)},
		landed:  make(chan fsm.Lane, exclusiveFlights+bulkFlights),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
		room:    [2]int{gatherBytesMax, gatherBytesMax},
	}
	go p.run()
	return p
}

// propose queues a command and returns where its decision will arrive. A command that no entry can hold is a
// *mls.MalformedError; a full lane is fsm.ErrOverloaded.
func (p *proposer) propose(command fsm.Command) (<-chan decision, error) {
	return p.proposeEncoded(command, fsm.EncodeCommand(command))
}

// proposeEncoded is propose for a command whose encoding is there already; it must not change any more.
func (p *proposer) proposeEncoded(command fsm.Command, encoded []byte) (<-chan decision, error) {
	size := len(encoded)
	if limit := commandLimit(command); size > limit {
		return nil, tooLarge(size, limit)
	}
	proposal := &proposal{command: command, encoded: encoded, bytes: size + 8, share: size + 8, decided: make(chan decision, 1)}
	if named, yes := command.(fsm.ApplyPieces); yes {
		proposal.share += int(named.Bytes)
	}
	if err := p.lanes[command.Lane()].push(proposal); err != nil {
		return nil, err
	}
	if p.took != nil {
		p.took(command.Slot(), size)
	}
	return proposal.decided, nil
}

// commandLimit is the most that a command may take in the log; what takes more comes in pieces. What comes from a hub's fanout may fill an entry; everything else stays
// below, so that what was accepted here fits a follower's log too, with the names that are added on the way.
func commandLimit(command fsm.Command) int {
	if _, fanout := command.(fsm.ReceiveFanout); fanout {
		return entryBytesMax - entryOverhead
	}
	return commandBytesMax
}

// close stops taking commands, waits until those in flight are decided, and refuses the rest. Raft has to run until it
// returns: a stopped Raft forgets futures in its queue.
func (p *proposer) close() {
	close(p.stop)
	<-p.stopped
	p.flights.Wait()
}

func (p *proposer) run() {
	defer close(p.stopped)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		for _, lane := range []fsm.Lane{fsm.Exclusive, fsm.Bulk} {
			wait = min(wait, p.sendReady(lane))
		}
		timer.Reset(wait)
		select {
		case <-p.lanes[fsm.Exclusive].arrived:
		case <-p.lanes[fsm.Bulk].arrived:
		case lane := <-p.landed:
			p.inFlight[lane]--
		case <-timer.C:
		case <-p.stop:
			p.refuseAll()
			return
		}
	}
}

// sendReady sends what is due in a lane and returns after how long there will be more to send if nothing else happens.
func (p *proposer) sendReady(lane fsm.Lane) time.Duration {
	for {
		before := len(p.gathered[lane])
		p.gathered[lane], p.room[lane] = p.lanes[lane].take(p.gathered[lane], p.room[lane])
		if before == 0 && len(p.gathered[lane]) > 0 {
			p.since[lane] = time.Now()
		}
		wait, due := p.due(lane)
		if !due {
			return wait
		}
		p.send(lane)
	}
}

// due: at once while nothing of the lane is in flight, or when the entry is full, or when its window is over; never beyond
// the lane's flights.
func (p *proposer) due(lane fsm.Lane) (wait time.Duration, due bool) {
	flights := exclusiveFlights
	if lane == fsm.Bulk {
		flights = bulkFlights
	}
	if len(p.gathered[lane]) == 0 || p.inFlight[lane] >= flights {
		return time.Hour, false
	}
	left := gatherWindow - time.Since(p.since[lane])
	if p.inFlight[lane] == 0 || left <= 0 || p.lanes[lane].waiting() {
		return 0, true
	}
	return left, false
}

func (p *proposer) send(lane fsm.Lane) {
	batch := p.gathered[lane]
	p.gathered[lane], p.room[lane] = nil, gatherBytesMax
	commands := together(batch)
	entry := fsm.JoinEntry(p.time.stamp(), commands)
	p.inFlight[lane]++
	future := p.raft.Apply(entry, enqueueTimeout)
	p.flights.Go(func() {
		settle(batch, len(commands), future)
		p.landed <- lane
	})
}

// together are the encoded commands of a batch in order, but of all its fences only the first: one serves everybody who waits for one.
// It notes at each proposal which command is its own.
func together(batch []*proposal) [][]byte {
	commands := make([][]byte, 0, len(batch))
	fence := -1
	for _, proposal := range batch {
		_, fences := proposal.command.(fsm.Fence)
		if fences && fence >= 0 {
			proposal.at = fence
			continue
		}
		if proposal.at = len(commands); fences {
			fence = proposal.at
		}
		commands = append(commands, proposal.encoded)
	}
	return commands
}

// settle waits for an entry's fate and tells each of its proposals.
func settle(batch []*proposal, commands int, future raft.ApplyFuture) {
	result, err := entryResult(future)
	if err == nil && len(result.outcomes) != commands {
		err = fmt.Errorf("%w: %d outcomes for %d commands", fsm.ErrUnknownOutcome, len(result.outcomes), commands)
	}
	for _, proposal := range batch {
		if err != nil {
			proposal.decided <- decision{err: err}
		} else {
			proposal.decided <- decision{outcome: result.outcomes[proposal.at], index: result.index}
		}
	}
}

// applyResult is what a replica's state machine answers Raft for one entry.
type applyResult struct {
	index    uint64
	outcomes []fsm.Outcome
}

// entryResult sorts Raft's answers: three errors say that the entry is in no log, every other one leaves it open.
func entryResult(future raft.ApplyFuture) (applyResult, error) {
	switch err := future.Error(); {
	case err == nil:
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return applyResult{}, fmt.Errorf("%w: %w", fsm.ErrNotProposed, err)
	default:
		return applyResult{}, fmt.Errorf("%w: %w", fsm.ErrUnknownOutcome, err)
	}
	switch response := future.Response().(type) {
	case applyResult:
		return response, nil
	case error:
		return applyResult{}, fmt.Errorf("%w: %w", fsm.ErrUnknownOutcome, response)
	default:
		return applyResult{}, fmt.Errorf("%w: the state machine answered %T", fsm.ErrUnknownOutcome, response)
	}
}

func (p *proposer) refuseAll() {
	for lane := range p.lanes {
		rest := append(p.gathered[lane], p.lanes[lane].close()...)
		p.gathered[lane] = nil
		for _, proposal := range rest {
			proposal.decided <- decision{err: fsm.ErrNotProposed}
		}
	}
}
