package cluster

import (
	"context"
	"sync"

	"github.com/hashicorp/raft"
)

// leadership tells those who wait for it that a replica's Raft has changed its state, or its mind about who leads. What has become of
// it they ask Raft.
type leadership struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// observe registers with Raft. Observers with a channel may miss something when it is full; the filter runs for everything, so the
// work is done there and nothing passes it.
func (l *leadership) observe(r *raft.Raft) {
	r.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			l.wake()
		}
		return false
	}))
}

func (l *leadership) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// watch returns a channel that is closed at the next change. Ask Raft after watch, not before it.
func (l *leadership) watch() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

// leads reports whether this replica takes itself for the leader. Only the log knows for certain.
func (g *group) leads() bool { return g.raft.State() == raft.Leader }

// leader is the node that this replica takes for the leader, or none.
func (g *group) leader() string {
	_, id := g.raft.LeaderWithID()
	return string(id)
}

// lead is a leader of a group, and a term that is no earlier than its own.
type lead struct {
	term uint64
	node string // none where nobody is known to lead
}

// lead is what this replica knows. Raft moves the term before it names the leader, so the leader is read first.
func (g *group) lead() lead {
	node := g.leader()
	return lead{node: node, term: g.raft.CurrentTerm()}
}

// awaitOther returns once this replica knows a leader other than a node, or with the context's error.
func (g *group) awaitOther(ctx context.Context, than string) (lead, error) {
	return g.awaitLead(ctx, func(l lead) bool { return l.node != "" && l.node != than })
}

// awaitLead returns what this replica knows once that is as wanted, or the context's error.
func (g *group) awaitLead(ctx context.Context, wanted func(lead) bool) (lead, error) {
	for {
		changed := g.leadership.watch()
		if known := g.lead(); wanted(known) {
			return known, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return lead{}, ctx.Err()
		}
	}
}
