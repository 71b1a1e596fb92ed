package cluster

import (
	"context"
	"errors"
	"sync"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
)

const (
	// slotsAtOnce is how many slots' requests of one DoMany are on their way at a time.
	slotsAtOnce = 256
	// runBytesMax is what goes to the leader at once of one slot's commands; the rest waits for their decisions.
	runBytesMax = 1 << 20
)

// DoMany decides many requests as Do does, each by itself. Those of one slot that wait in the bulk lane are decided in their order, and
// travel to the leader together with others that are under way. Errors are those of Do, one for each request.
func (n *Node) DoMany(ctx context.Context, requests []judge.Request) []judge.Decided {
	results := make([]judge.Decided, len(requests))
	ctx, done, err := n.begin(ctx)
	if err != nil {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	defer done()
	var slots []fsm.SlotID
	bySlot := make(map[fsm.SlotID][]*manyQuery)
	for i, request := range requests {
		q := &manyQuery{query: *newQuery(n, request), result: &results[i]}
		q.takeCaller(ctx)
		slot := request.Slot()
		if bySlot[slot] == nil {
			slots = append(slots, slot)
		}
		bySlot[slot] = append(bySlot[slot], q)
	}
	var wait sync.WaitGroup
	turns := make(chan struct{}, slotsAtOnce)
	for _, slot := range slots {
		turns <- struct{}{}
		wait.Go(func() {
			defer func() { <-turns }()
			n.doSlot(ctx, slot, bySlot[slot])
		})
	}
	wait.Wait()
	return results
}

// manyQuery is one of several requests on its way.
type manyQuery struct {
	query
	result *judge.Decided
	member *runMember // where it takes part in a run
	bytes  int        // of the member's command
}

// doSlot decides the requests of one slot. What can go to the log at once does so in runs; whatever cannot, or is not settled by that, is
// then decided as a single request is.
func (n *Node) doSlot(ctx context.Context, slot fsm.SlotID, queries []*manyQuery) {
	left := queries
	if shard, serving := n.servingSlot(slot); serving {
		if replica := n.replica(shard.ID); replica != nil {
			left = n.doRuns(ctx, replica, shard, slot, queries)
		}
	}
	for _, q := range left {
		q.result.Outcome, q.result.Err = q.settle(ctx)
	}
}

// doRuns judges requests on one view of a replica, brings what is to be proposed into the log, and returns those that are not settled.
func (n *Node) doRuns(ctx context.Context, replica *replica, shard meta.Shard, slot fsm.SlotID, queries []*manyQuery) (left []*manyQuery) {
	if n.judgeMany(replica, slot, queries) != nil {
		return queries // a fault that single attempts will meet, and tell
	}
	var run []*manyQuery
	size := 0
	flush := func() {
		members := make([]*runMember, len(run))
		for i, q := range run {
			members[i] = q.member
		}
		if len(run) > 0 {
			bringRun(ctx, n, shard, members)
		}
		run, size = nil, 0
	}
	for _, q := range queries {
		if q.member == nil {
			continue
		}
		if size > 0 && size+q.bytes > runBytesMax {
			flush()
		}
		run, size = append(run, q), size+q.bytes
	}
	flush()
	for _, q := range queries {
		if q.member == nil || !q.concluded(ctx, replica, shard) {
			left = append(left, q)
		}
	}
	return left
}

// judgeMany makes run members of the requests of a slot that wait in the bulk lane. The others stay as they are, and all of them where the
// replica does not serve the slot.
func (n *Node) judgeMany(replica *replica, slot fsm.SlotID, queries []*manyQuery) error {
	view, err := replica.view()
	if err != nil {
		return err
	}
	if _, serves, err := replica.elsewhere(view, slot); err != nil || !serves {
		return errors.Join(err, view.Close())
	}
	on := judge.Remembering{Reader: view, Groups: n.known, Signers: n}
	for _, q := range queries {
		verdict, err := judge.On(on, q.request)
		proposed, yes := verdict.(judge.Propose)
		if err != nil || !yes || proposed.Command.Lane() != fsm.Bulk {
			continue
		}
		if q.bytes = commandBytes(proposed.Command); q.bytes > commandLimit(proposed.Command) {
			continue
		}
		if denied, err := q.admit(proposed.Command); denied != nil || err != nil {
			continue
		}
		q.member = &runMember{tries: &q.tries, command: proposed.Command}
	}
	return view.Close()
}

// concluded settles a request by what its command came to; false where it has to be tried again.
func (q *manyQuery) concluded(ctx context.Context, replica *replica, shard meta.Shard) bool {
	m := q.member
	if m.err != nil {
		q.result.Err = q.final(m.err)
		return true
	}
	switch changed := m.decided.outcome.(type) {
	case fsm.MovedTo:
		q.node.heedMoved(q.request.Slot(), changed)
		return false
	case fsm.ReadSetChanged:
		q.turnTo(shard.ID)
		q.floor = max(q.floor, changed.Index)
		_, bound := m.command.(fsm.Judged)
		q.unsettled = q.unsettled || bound && q.open
		return false
	}
	outcome, err := q.known(m.decided.outcome)
	if err == nil {
		q.open = true // it is in the log: whatever fails from here on, "nothing was written" would be a lie
		m.decided.outcome = outcome
		outcome, err = q.complete(ctx, replica, m.decided, catchUpPatience)
	}
	if errors.Is(err, errBehind) {
		return false
	}
	if err == nil {
		err = q.node.awaitAcknowledged(ctx, q.request, shard, m.decided.index)
	}
	if err != nil {
		err = q.final(err)
	}
	q.result.Outcome, q.result.Err = outcome, err
	return true
}
