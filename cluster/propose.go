package cluster

import (
	"context"
	"errors"
	"fmt"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// Propose brings one command into the log of the shard that owns its slot, from any node, and returns its outcome with the
// log index at which it was decided. It retries until the context ends, which every command allows: it is recognised when it
// comes twice. Errors are those of Do.
func (n *Node) Propose(ctx context.Context, command fsm.Command) (fsm.Outcome, uint64, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	return n.proposeTo(ctx, &tries{node: n, at: command.Slot()}, command, func() (meta.Shard, bool) { return n.servingSlot(command.Slot()) })
}

// ProposeTo is Propose for a command that is for a shard, whatever slots it has.
func (n *Node) ProposeTo(ctx context.Context, shard fsm.ShardID, command fsm.Command) (fsm.Outcome, uint64, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	return n.proposeToShard(ctx, shard, command)
}

// proposeToShard is ProposeTo for callers that are admitted already. The context has a deadline.
func (n *Node) proposeToShard(ctx context.Context, shard fsm.ShardID, command fsm.Command) (fsm.Outcome, uint64, error) {
	return n.proposeTo(ctx, &tries{node: n, at: fsm.ShardLevel}, command, func() (meta.Shard, bool) {
		place, found := n.Map().Shard(shard)
		return place, found && place.State != meta.ShardRetired
	})
}

func (n *Node) proposeTo(ctx context.Context, t *tries, command fsm.Command, place func() (meta.Shard, bool)) (fsm.Outcome, uint64, error) {
	var pause backoff
	for {
		if shard, ok := place(); ok {
			d, err := t.propose(ctx, shard, command)
			if err != nil {
				return nil, 0, err
			}
			to, moved := d.outcome.(fsm.MovedTo)
			if !moved {
				return d.outcome, d.index, nil
			}
			if t.at < fsm.SlotCount && n.heedMoved(t.at, to) || n.hasLeft(shard.ID, t.at) {
				continue
			}
		}
		if err := n.awaitPlace(ctx, &pause); err != nil {
			return nil, 0, t.unavailable(err)
		}
	}
}

// tries is what one request remembers of its attempts. It belongs to one goroutine.
type tries struct {
	node *Node
	// open is set once an attempt of the request may have put a command into the log. From then on "not proposed" would be a lie.
	open bool
	next int        // the replica to try where no leader is known
	at   fsm.SlotID // whose shard is asked; ShardLevel where a shard was named, whatever slots it has
}

// unavailable is the error of a request that ran out of time, or otherwise got no decision.
func (t *tries) unavailable(cause error) error {
	kind := fsm.ErrNotProposed
	if t.open {
		kind = fsm.ErrUnknownOutcome
	}
	if errors.Is(cause, kind) {
		return cause
	}
	return fmt.Errorf("%w: %v", kind, cause)
}

// bring asks the shard's leader, wherever it is, until there is a decision, a final error, or no more time.
func (t *tries) bring(ctx context.Context, shard meta.Shard, command fsm.Command) (decision, error) {
	m := &runMember{tries: t, command: command}
	bringRun(ctx, t.node, shard, []*runMember{m})
	return m.decided, m.err
}

// askOne proposes at another node.
func (n *Node) askOne(ctx context.Context, target string, shard fsm.ShardID, command fsm.Command) answer {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint32(uint32(shard))
	w.Opaque(fsm.EncodeCommand(command))
	return received(n.call(ctx, target, methodPropose, w.Bytes()))
}

// received reads another node's answer. Where a call broke off after it was sent, nothing is known.
func received(raw []byte, sent bool, err error) answer {
	if err == nil {
		var reply answer
		if reply, err = decodeAnswer(raw); err == nil {
			return reply
		}
	}
	if sent {
		return answer{code: answerUnknown}
	}
	return answer{code: answerNotProposed}
}

// proposeHere puts a command into the shard's log if this node leads it.
func (n *Node) proposeHere(ctx context.Context, shard fsm.ShardID, command fsm.Command) answer {
	return n.start(ctx, shard, []fsm.Command{command}).await(ctx)[0]
}

// decide puts a command into the shard's log and waits for what becomes of it.
func (r *replica) decide(ctx context.Context, command fsm.Command) answer {
	decided, err := r.proposer.propose(command)
	if err != nil {
		return answerOf(err)
	}
	return awaitOne(ctx, decided)
}

// servePropose answers methodPropose:
//
//	struct { uint8 version = 1; uint32 shard; opaque command<V>; } ProposeRequest;
func (n *Node) servePropose(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("ProposeRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	shard := fsm.ShardID(r.Uint32("shard"))
	encoded := r.Opaque("command")
	if err := r.Close(); err != nil {
		return answerOf(err).encode(), nil
	}
	command, err := fsm.DecodeCommand(encoded)
	if err != nil {
		return answerOf(err).encode(), nil
	}
	return n.proposeHere(ctx, shard, command).encode(), nil
}
