package cluster

import (
	"context"

	"parley/fsm"
	"parley/fsm/meta"
)

// A run is commands of one slot that are decided in their order: none of them is proposed before one in front of it that is still to be.
// They need no company of each other; each has its own outcome.

// runMember is one command of a run on its way.
type runMember struct {
	*tries
	command fsm.Command
	settled bool
	decided decision // valid once settled; or:
	err     error    // the final one
}

// bringRun asks the shard's leader, wherever it is, until each command of a run has a decision or a final error, or there is no more time.
func bringRun(ctx context.Context, node *Node, shard meta.Shard, run []*runMember) {
	var pause backoff
	var target, was string
	for open := run; ; {
		before := node.leadOf(uint32(shard.ID))
		if target == "" {
			target = node.leaderOf(shard.ID)
		}
		if target == "" || target == was {
			target = shard.Replicas[open[0].next%len(shard.Replicas)]
			open[0].next++
		}
		var told string
		open, told = attempt(ctx, node, target, shard, open)
		if len(open) == 0 {
			return
		}
		was = target
		node.forgetLeader(shard.ID, was)
		target = told
		if target != "" && target != was && pause.next == 0 {
			pause.next = backoffFirst // the first redirection costs no wait
			continue
		}
		if open = leaveShard(node, shard.ID, open); len(open) == 0 {
			return
		}
		if err := node.retry(ctx, &pause, uint32(shard.ID), before); err != nil {
			for _, m := range open {
				m.err, m.settled = m.unavailable(err), true
			}
			return
		}
	}
}

// leaveShard settles what the shard need not be asked for any more, since the slot has gone elsewhere meanwhile: it has moved. It returns the rest.
func leaveShard(node *Node, shard fsm.ShardID, open []*runMember) (rest []*runMember) {
	for _, m := range open {
		if node.hasLeft(shard, m.at) {
			m.decided, m.settled = decision{outcome: fsm.MovedTo{}}, true
		} else {
			rest = append(rest, m)
		}
	}
	return rest
}

// attempt asks one node and settles what its answer settles. It returns the rest, and whom the node takes for the leader.
func attempt(ctx context.Context, node *Node, target string, shard meta.Shard, open []*runMember) (rest []*runMember, leader string) {
	commands := make([]fsm.Command, len(open))
	for i, m := range open {
		if commands[i] = m.command; m.open {
			commands[i] = fsm.Repeated(m.command)
		}
	}
	for i, reply := range node.ask(ctx, target, shard, commands) {
		m := open[i]
		switch reply.code {
		case answerOutcome:
			node.noteLeader(shard.ID, target)
			m.decided, m.settled = decision{outcome: reply.outcome, index: reply.index}, true
		case answerMalformed:
			m.err, m.settled = &reply.fault, true
		case answerOverloaded:
			if !m.open {
				m.err, m.settled = fsm.ErrOverloaded, true
			}
		case answerUnknown:
			m.open = true
		}
		if !m.settled {
			rest = append(rest, m)
		}
		if reply.leader != "" {
			leader = reply.leader // none but from one who knows it
		}
	}
	return rest, leader
}

// ask proposes a run at one node, as long as no other is known to lead. It answers in the words of the wire also where the node is this one.
func (n *Node) ask(ctx context.Context, target string, shard meta.Shard, commands []fsm.Command) (replies []answer) {
	ctx, done := n.whileLeads(ctx, uint32(shard.ID), target, shard.Replicas)
	defer done()
	switch {
	case target == n.id:
		replies = n.start(ctx, shard.ID, commands).await(ctx)
	case commands[0].Lane() == fsm.Bulk:
		replies = n.convoys.ask(ctx, target, shard.ID, commands)
	default:
		for _, command := range commands {
			replies = append(replies, n.askOne(ctx, target, shard.ID, command))
		}
	}
	if by := supersededBy(ctx); by != "" {
		for i := range replies {
			if replies[i].code != answerOutcome {
				replies[i].leader = by
			}
		}
	}
	return replies
}

// startedRun is a run whose commands are in the proposer's queue, from the first on up to one that did not get there.
type startedRun struct {
	answers []answer // of those that are decided on already
	waiting []<-chan decision
	rest    []answer // of those behind them
}

// start puts a run into the shard's log if this node leads it.
func (n *Node) start(ctx context.Context, shard fsm.ShardID, commands []fsm.Command) *startedRun {
	encoded := make([][]byte, len(commands))
	for i, command := range commands {
		encoded[i] = fsm.EncodeCommand(command)
	}
	return n.startEncoded(ctx, shard, commands, encoded)
}

// startEncoded is start for commands whose encodings are there already.
func (n *Node) startEncoded(ctx context.Context, shard fsm.ShardID, commands []fsm.Command, encoded [][]byte) *startedRun {
	run := new(startedRun)
	for i, command := range commands {
		decided, refused := n.startOne(ctx, shard, command, encoded[i])
		switch {
		case decided != nil:
			run.waiting = append(run.waiting, decided)
		case !stopsRun(refused.code):
			run.waiting = append(run.waiting, settledWith(refused))
		default:
			run.rest = append([]answer{refused}, all(len(commands)-i-1, behind(refused))...)
			return run
		}
	}
	return run
}

// startOne queues a command, or says what becomes of it instead.
func (n *Node) startOne(ctx context.Context, shard fsm.ShardID, command fsm.Command, encoded []byte) (<-chan decision, answer) {
	replica := n.replica(shard)
	if replica == nil {
		return nil, answer{code: answerNoReplica}
	}
	if reply, seeded := n.seededAnswer(replica, command); seeded {
		return nil, reply
	}
	if !replica.leads() {
		return nil, answer{code: answerNotLeader, leader: replica.leader()}
	}
	if n.disk.low.Load() && !makesRoom(command) || replica.queueIsFull(command) {
		return nil, answer{code: answerOverloaded}
	}
	if replica.formatFault(command) != nil {
		if reply, refused := replica.denyFormat(ctx, command); refused {
			return nil, reply
		}
	}
	decided, err := replica.proposer.proposeEncoded(command, encoded)
	if err != nil {
		return nil, answerOf(err)
	}
	return decided, answer{}
}

// settledWith is where an answer that is there already is waited for.
func settledWith(reply answer) <-chan decision {
	decided := make(chan decision, 1)
	if reply.code == answerOutcome {
		decided <- decision{outcome: reply.outcome, index: reply.index}
	} else {
		fault := reply.fault
		decided <- decision{err: &fault}
	}
	return decided
}

// await waits for what becomes of each command.
func (s *startedRun) await(ctx context.Context) []answer {
	answers := s.answers
	for _, decided := range s.waiting {
		answers = append(answers, awaitOne(ctx, decided))
	}
	return append(answers, s.rest...)
}

func awaitOne(ctx context.Context, decided <-chan decision) answer {
	select {
	case d := <-decided:
		if d.err != nil {
			return answerOf(d.err)
		}
		return answer{code: answerOutcome, outcome: d.outcome, index: d.index}
	case <-ctx.Done():
		return answer{code: answerUnknown}
	}
}
