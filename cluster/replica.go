package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/storage"
)

const (
	tendInterval  = 500 * time.Millisecond // how often a leader looks after its shard
	sweepInterval = 10 * time.Second       // how often it removes what has expired, where there is anything; each time until nothing is left
	sweepMax      = 500                    // records a sweep, so that one stays short
	tendTimeout   = 5 * time.Second        // for a command of the leader's own
)

// replica is this node's copy of one shard.
type replica struct {
	*group
	node     *Node
	shard    fsm.ShardID
	proposer *proposer
	time     *hubTime
	outbox   *outboxIndex
	queues   *queueIndex
	carrier  *carrier
	usher    *usher
	reclaims *reclaimer
	turns    headsTurns
	herald   *herald
	offered  bool          // the lead was offered to another; of tend's goroutine
	overdue  bool          // the last sweep has left something; likewise
	format   atomic.Uint32 // the shard's fsm.Format, as of the applied index

	goneAt lastGone

	fencedTerm atomic.Uint64 // the term in which this leader has decided on a fence, see serving

	// Of the batch under way, guarded by machine.mu:
	touched []fsm.OutboxRef
	urgent  []fsm.OutboxRef // of touched
	dropped []fsm.OutboxDrop
	freed   uint64 // bytes that have gone late
	posted  []fsm.SlotID
	queued  []fsm.QueuePosition
	leaving []mimi.RoomURI // rooms that somebody has to leave
	slots   slotChanges
	millis  uint64     // hub time after its last entry
	reached fsm.Format // the format after it

	stop    context.CancelFunc
	stopped chan struct{}
}

// openReplica starts this node's copy of a shard. servers bootstrap it if the shard is being created and nothing of it is here.
func (n *Node) openReplica(place meta.Shard) (*replica, error) {
	if err := n.stores.occupy(uint32(place.ID)); err != nil {
		return nil, err
	}
	stores, err := n.stores.group(uint32(place.ID))
	if err != nil {
		return nil, err
	}
	r := &replica{node: n, shard: place.ID, time: newHubTime(n.config.Clock), outbox: newOutboxIndex(), queues: newQueueIndex(), stopped: make(chan struct{})}
	r.carrier = newCarrier(r)
	r.usher = newUsher(r)
	r.herald = newHerald(r)

	r.reclaims = newReclaimer(r)
	m := &machine{
		group: uint32(place.ID), node: n.id, state: stores.state, sync: n.stores.state.Sync, fatal: n.fatal, log: n.log, watch: n.config.Applied,
		apply: r.apply, settled: r.settled, advanced: r.herald.wake,
	}
	m.restored = func() error { return r.recall(m) }
	if r.group, err = n.openGroup(m, stores, birth(place)); err != nil {
		return nil, errors.Join(err, stores.close())
	}
	r.proposer = newProposer(r.group, r.time)
	r.proposer.took = r.node.load.note
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go r.tend(ctx)
	go r.carrier.run(ctx)
	go r.usher.run(ctx)
	go r.herald.run(ctx)

	go r.reclaims.run(ctx)
	return r, nil
}

// recall takes from the state what the replica keeps in memory.
func (r *replica) recall(m *machine) (err error) {
	view, err := m.state.View()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	millis, err := fsm.ReadClock(view)
	if err != nil {
		return err
	}
	r.time.observe(millis)
	if err := r.recallFormat(view); err != nil {
		return err
	}
	owned, err := ownedSlots(view)
	if err != nil {
		return err
	}
	r.forgetOthers(owned)
	r.outbox.forgetDropped()
	return r.recallSlots(view, owned)
}

func (r *replica) recallOutboxes(view fsm.Reader, owned []fsm.SlotID) error {
	var refs, urgent []fsm.OutboxRef
	for _, slot := range owned {
		err := fsm.OutboxPositions(view, slot, func(p fsm.OutboxPosition) (bool, error) {
			ref := fsm.OutboxRef{Slot: slot, Destination: p.Destination}
			if p.Waiting > 0 {
				refs = append(refs, ref)
			}
			if p.Urgent() {
				urgent = append(urgent, ref)
			}
			r.outbox.addDropped(ref, p.Dropped)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	r.outbox.add(refs, urgent)
	return nil
}

// ownedSlots are those of the shard, in order. Only they are looked through: a node may have replicas of many shards, and all slots
// for each of them would be the most of its start.
func ownedSlots(view fsm.Reader) (slots []fsm.SlotID, err error) {
	err = fsm.VisitOwnedSlots(view, func(slot fsm.SlotID, _ fsm.Ownership) (bool, error) {
		slots = append(slots, slot)
		return true, nil
	})
	return slots, err
}

// recallFormat quarantines a state that a newer program has to read.
func (r *replica) recallFormat(view fsm.Reader) error {
	format, err := fsm.ReadFormat(view)
	if unknown := (*fsm.UnknownFormatError)(nil); errors.As(err, &unknown) {
		return &quarantine{reason: unknown.Error(), sound: true}
	}
	r.reached = format
	r.format.Store(uint32(format))
	return err
}

func (r *replica) close() error {
	r.stop()
	<-r.stopped
	<-r.carrier.stopped
	<-r.usher.stopped
	<-r.herald.stopped

	<-r.reclaims.stopped
	r.proposer.close()
	err := r.group.close()
	r.herald.tells.Wait() // the transport's end has cut them off
	return err
}

// view is the state as of one applied index. The caller closes it.
func (r *replica) view() (*storage.View, error) { return r.machine.state.View() }

// reach waits until the replica has applied an index: errBehind after patience, or when the context ends.
func (r *replica) reach(ctx context.Context, index uint64, patience time.Duration) error {
	if r.machine.applied.current() >= index {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.machine.applied.wait(ctx, index); err != nil {
		return fmt.Errorf("%w: %w", errBehind, err)
	}
	return nil
}

// apply implements machine.apply.
func (r *replica) apply(store fsm.Store, index uint64, entry []byte) (any, error) {
	result, err := fsm.Apply(store, index, entry)
	if err != nil {
		return nil, err
	}
	r.touched = append(r.touched, result.Touched...)
	r.urgent = append(r.urgent, result.Urgent...)
	r.dropped = append(r.dropped, result.Dropped...)
	r.freed += result.FreedLate
	r.posted = append(r.posted, result.Posted...)
	r.queued = append(r.queued, result.Queues...)
	r.leaving = append(r.leaving, result.Departing...)
	r.slots.note(result)
	r.reached = result.Format
	if r.millis, err = fsm.ReadClock(store); err != nil {
		return nil, err
	}
	return applyResult{index: index, outcomes: result.Outcomes}, nil
}

// settled implements machine.settled.
func (r *replica) settled() error {
	r.time.observe(r.millis)
	r.format.Store(uint32(r.reached))
	if len(r.touched) > 0 {
		r.outbox.add(r.touched, r.urgent)
		r.touched, r.urgent = nil, nil
		r.node.wakeOutbox()
	}
	if len(r.dropped) > 0 {
		r.noteDropped(r.dropped)
		r.dropped = nil
	}
	if r.freed > 0 {
		r.reclaims.gone(r.freed)
		r.freed = 0
	}
	if len(r.queued) > 0 {
		r.queues.note(r.queued)
		r.queued = nil
		r.node.wakeOutbox()
	}
	if len(r.posted) > 0 {
		r.carrier.posted(r.posted)
		r.posted = nil
	}
	if len(r.leaving) > 0 {
		r.usher.noted(r.leaving)
		r.leaving = nil
	}
	changes := r.slots // behind all that the batch has added of slots that are gone
	r.slots = slotChanges{}
	return r.slotsChanged(changes)
}

// tend does a leader's duties: it gives a new shard its slots, brings in the settings, and removes what has expired. It reads
// what there is to do from the state each time, so that nothing that an earlier term knew is relied on.
func (r *replica) tend(ctx context.Context) {
	defer close(r.stopped)
	ticker := time.NewTicker(tendInterval)
	defer ticker.Stop()
	var swept time.Time
	for {
		_, changed := r.node.meta.watch()
		select {
		case <-ctx.Done():
			return
		case leads := <-r.raft.LeaderCh():
			r.node.log.Info("leadership of a shard changed", "shard", r.shard, "leads", leads, "term", r.raft.CurrentTerm())
			r.node.appointer.wake()
		case <-ticker.C:
		case <-changed:
		}
		if !r.leads() {
			continue
		}
		r.carrier.wake()
		r.usher.wake()
		due := r.overdue || time.Since(swept) >= sweepInterval
		if due {
			swept = time.Now()
		}
		if err := r.tendOnce(ctx, due); err != nil && ctx.Err() == nil {
			r.node.log.Info("shard duties will be tried again", "shard", r.shard, "error", err)
		}
	}
}

func (r *replica) tendOnce(ctx context.Context, sweep bool) error {
	place, known := r.node.Map().Shard(r.shard)
	if !known {
		return nil
	}
	commands, ready, err := r.duties(place, sweep)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tendTimeout)
	defer cancel()
	for _, command := range commands {
		reply := r.node.proposeHere(ctx, r.shard, command)
		if reply.code != answerOutcome {
			return fmt.Errorf("%T: answer %d", command, reply.code)
		}
		if refused, yes := reply.outcome.(fsm.NotAllowed); yes {
			return fmt.Errorf("%T: %s", command, refused.Reason)
		}
	}
	if sweep {
		if r.overdue, err = r.sweepLeft(); err != nil {
			return err
		}
	}
	if place.State == meta.ShardRetired {
		return nil // supervise ends it
	}
	if place.State == meta.ShardCreating {
		if !ready || r.offerLead(place.Replicas[0]) {
			return nil
		}
		return r.node.change(ctx, meta.ActivateShard{ID: r.shard})
	}
	if len(place.Replicas) == 0 {
		return nil
	}
	return r.reconcile(ctx, place)
}

// offerLead hands a shard that is being created to its preferred leader, so that the leaderships begin spread over the nodes. It
// tries once: a node that is not there does not hold the shard up.
func (r *replica) offerLead(preferred string) (taken bool) {
	if preferred == r.node.id || r.offered {
		return false
	}
	r.offered = true
	return r.handOver(preferred) == nil
}

// duties lists the commands that the state lacks. ready says that after them the shard can serve.
func (r *replica) duties(place meta.Shard, sweep bool) (commands []fsm.Command, ready bool, err error) {
	settings, version := r.node.Map().Settings()
	if settings.Format > fsm.FormatNewest {
		return nil, false, &fsm.UnknownFormatError{Format: settings.Format}
	}
	view, err := r.view()
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if _, entered, err := fsm.ReadSettings(view); err != nil {
		return nil, false, err
	} else if entered < version {
		commands = append(commands, fsm.EnterSettings{Version: version, Settings: settings})
	}
	// Behind the settings, which bring the format in which a shard may be born without slots.
	if _, born, err := fsm.ReadShard(view); err != nil {
		return nil, false, err
	} else if !born && place.State == meta.ShardCreating {
		commands = append(commands, r.birthOf(place))
	}
	if began, err := fsm.ReadGeneration(view); err != nil {
		return nil, false, err
	} else if current := r.node.Map(); began < current.Generation() {
		commands = append(commands, fsm.BeginGeneration{Generation: current.Generation(), EndedMillis: current.HistoryEndedMillis()})
	}
	if sweep {
		if something, err := sweepable(view); err != nil {
			return nil, false, err
		} else if something {
			commands = append(commands, fsm.Sweep{Max: sweepMax})
		}
	}
	return commands, version > 0, nil
}

// sweepLeft reports whether something has expired that no sweep has come to yet.
func (r *replica) sweepLeft() (left bool, err error) {
	view, err := r.view()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	return fsm.Overdue(view)
}

// sweepable reports whether the shard holds anything beside its own records, which stand behind all slots.
func sweepable(view fsm.Reader) (something bool, err error) {
	var upper [2]byte
	binary.BigEndian.PutUint16(upper[:], fsm.SlotCount)
	err = view.Scan([]byte{0, 0}, upper[:], func(_, _ []byte) (bool, error) {
		something = true
		return false, nil
	})
	return something, err
}
