package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"parley/fsm"
	"parley/mls"
)

// A leader that is frozen, or cut off, answers nothing, and its connections stay up: whoever asked it would wait for as long as it has.
// So the node that asked listens for a leader of a later term meanwhile: at its own replica, which is told by the new leader itself, and
// while an answer takes long at the group's other replicas. Once there is one, the attempt is given up. What was sent may have been
// decided, or may still be, so the caller takes its outcome for unknown and asks the new leader, where it is recognised.

const (
	// askAroundAfter is how long an answer may take before the other replicas are asked who leads, and again each time after as
	// long. An election takes no longer, and an answer seldom does.
	askAroundAfter = 400 * time.Millisecond
	askAroundMax   = 300 * time.Millisecond // one round of it
)

// supersededError ends an attempt at a node that does not lead any more.
type supersededError struct{ by string }

func (e *supersededError) Error() string { return "there is a leader of a later term: " + e.by }

// supersededBy is the leader for whom an attempt was given up, or none.
func supersededBy(ctx context.Context) string {
	var superseded *supersededError
	if errors.As(context.Cause(ctx), &superseded) {
		return superseded.by
	}
	return ""
}

// whileLeads bounds an attempt at a node by its being superseded as the leader of a group. done ends the watch. replicas are the nodes
// that have a replica of the group.
func (n *Node) whileLeads(ctx context.Context, id uint32, target string, replicas []string) (_ context.Context, done func()) {
	ctx, give := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if by := n.awaitSuccessor(ctx, id, target, replicas); by != "" {
			give(&supersededError{by})
		}
	}()
	return ctx, func() { give(nil); <-ended }
}

// awaitSuccessor returns the node that leads a group after target, or none when the context ends. This node's own replica must know of
// a later term than at the beginning; of the others that of the latest term is believed, so that one that is behind misleads nobody.
func (n *Node) awaitSuccessor(ctx context.Context, id uint32, target string, replicas []string) string {
	around := time.NewTimer(askAroundAfter)
	defer around.Stop()
	own := n.groupOf(id)
	var since lead
	if own != nil {
		since = own.lead()
	}
	for {
		var changed <-chan struct{}
		if own != nil {
			changed = own.leadership.watch()
			if now := own.lead(); now.node != "" && now.node != target && now.term > since.term {
				return now.node
			}
		}
		select {
		case <-changed:
		case <-around.C:
			if found := n.rounds.ask(ctx, n, id, replicas); found.node != "" && found.node != target {
				return found.node
			}
			around.Reset(askAroundAfter)
		case <-ctx.Done():
			return ""
		}
	}
}

// rounds asks the replicas of groups who leads, once at a time for each group, however many requests wait. Safe for concurrent use.
type rounds struct {
	mu    sync.Mutex
	under map[uint32]*round
}

type round struct {
	over  chan struct{}
	found lead // valid once over
}

// ask is what the replica of the latest term that answers knows; none where nobody answers.
func (r *rounds) ask(ctx context.Context, n *Node, id uint32, replicas []string) lead {
	r.mu.Lock()
	current := r.under[id]
	mine := current == nil
	if mine {
		current = &round{over: make(chan struct{})}
		if r.under == nil {
			r.under = make(map[uint32]*round)
		}
		r.under[id] = current
	}
	r.mu.Unlock()
	if mine {
		current.found = n.askAround(ctx, id, replicas)
		r.mu.Lock()
		delete(r.under, id)
		r.mu.Unlock()
		close(current.over)
	}
	select {
	case <-current.over:
		return current.found
	case <-ctx.Done():
		return lead{}
	}
}

func (n *Node) askAround(ctx context.Context, id uint32, replicas []string) lead {
	ctx, cancel := context.WithTimeout(ctx, askAroundMax)
	defer cancel()
	answers := make(chan lead, len(replicas))
	for _, replica := range replicas {
		go func() { answers <- n.askLead(ctx, replica, id) }()
	}
	var latest lead
	for range replicas {
		if answer := <-answers; answer.node != "" && answer.term > latest.term {
			latest = answer
		}
	}
	return latest
}

// askLead asks a node what its replica of a group knows; a node that has none, or does not answer, knows nothing:
//
//	struct { uint8 version = 1; uint32 group; } LeadRequest;
//	struct { uint64 term; opaque leader<V>; } LeadAnswer;
func (n *Node) askLead(ctx context.Context, at string, id uint32) lead {
	if at == n.id {
		return n.leadOf(id)
	}
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint32(id)
	raw, _, err := n.call(ctx, at, methodLead, w.Bytes())
	if err != nil {
		return lead{}
	}
	r := mls.NewReader("LeadAnswer", raw)
	known := lead{term: r.Uint64("term"), node: string(r.Opaque("leader"))}
	if r.Close() != nil {
		return lead{}
	}
	return known
}

func (n *Node) serveLead(_ context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("LeadRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	id := r.Uint32("group")
	if err := r.Close(); err != nil {
		return nil, err
	}
	known := n.leadOf(id)
	var w mls.Writer
	w.Uint64(known.term)
	w.Opaque([]byte(known.node))
	return w.Bytes(), nil
}

// leadOf is what this node's replica of a group knows.
func (n *Node) leadOf(id uint32) lead {
	if g := n.groupOf(id); g != nil {
		return g.lead()
	}
	return lead{}
}

// groupOf is this node's replica of a group, or nil.
func (n *Node) groupOf(id uint32) *group {
	if id == metaGroup {
		return n.meta.started.Load()
	}
	if r := n.replica(fsm.ShardID(id)); r != nil {
		return r.group
	}
	return nil
}

// retry waits before a request is tried again: until this node's replica of the group knows a leader that it did not know before the
// attempt, but no longer than the pause. The error is the context's.
func (n *Node) retry(ctx context.Context, pause *backoff, id uint32, before lead) error {
	g := n.groupOf(id)
	if g == nil {
		return pause.wait(ctx)
	}
	return pause.waitFor(ctx, func(ctx context.Context) error {
		_, err := g.awaitLead(ctx, func(now lead) bool { return now.node != "" && now != before })
		return err
	})
}
