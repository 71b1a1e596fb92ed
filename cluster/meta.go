package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
	"parley/storage"
)

// RefusedError says that the meta group refused a change of the cluster, and why. Nothing changed.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "refused: " + e.Reason }

// ErrNotInitialised: this node belongs to no cluster yet.
var ErrNotInitialised = errors.New("the node belongs to no cluster yet")

// metaReplica is this node's copy of the meta group's state. Every node has one; it votes on a few. Its Raft runs only once the node
// was let into a cluster: before, it would vote with an empty log and a memory that may have been lost with a disk.
type metaReplica struct {
	machine *machine
	held    atomic.Pointer[quarantine] // why it must not run; nil otherwise
	started atomic.Pointer[group]      // nil before the node was let in
	starts  sync.Mutex                 // held while it is being started
	time    *hubTime                   // stamps the commands that are judged by time
	settled atomic.Uint64              // the term in which this replica, as its leader, has applied a command

	mu      sync.Mutex
	current *meta.Map
	changed chan struct{} // closed when current changes
}

// openMeta reads this node's copy of the map.
func (n *Node) openMeta() (*metaReplica, error) {
	r := &metaReplica{current: &meta.Map{}, changed: make(chan struct{}), time: newHubTime(n.config.Clock)}
	m := &machine{
		group: metaGroup, node: n.id, state: n.stores.state.Group(metaGroup), sync: n.stores.state.Sync, fatal: n.fatal, log: n.log, watch: n.config.Applied,
		apply: func(store fsm.Store, index uint64, entry []byte) (any, error) {
			outcome, err := meta.Apply(store, index, entry)
			return metaResult{index, outcome}, err
		},
	}
	m.settled = func() error { return r.read(m) }
	m.restored = m.settled
	r.machine = m
	held, err := n.stores.held(metaGroup)
	if err != nil {
		return nil, err
	}
	// A map of before is as good as any until a newer one comes. Where it is damaged there is none.
	if err := r.read(m); err != nil && held == nil && !errors.Is(err, storage.ErrRestoring) {
		return nil, err
	}
	return r, nil
}

// How a node was let into its cluster, as its directory records it.
const (
	admittedByInit = "init"
	admittedByJoin = "join"
)

// startMeta lets this node's replica take part, if the node was let in. servers begin the group where it has no state at all.
func (n *Node) startMeta(servers []raft.Server) error {
	n.meta.starts.Lock()
	defer n.meta.starts.Unlock()
	how, err := n.stores.dir.Admission()
	if err != nil || how == "" || n.meta.started.Load() != nil {
		return err
	}
	g, err := n.openMetaGroup(servers)
	var held *quarantine
	if errors.As(err, &held) {
		n.meta.held.Store(held)
		n.log.Error("this node's replica of the meta group must not run", "reason", held.reason)
	}
	if err != nil {
		return err
	}
	n.meta.started.Store(g)
	return nil
}

func (n *Node) openMetaGroup(servers []raft.Server) (*group, error) {
	stores, err := n.stores.group(metaGroup)
	if err != nil {
		return nil, err
	}
	g, err := n.openGroup(n.meta.machine, stores, servers)
	if err != nil {
		return nil, errors.Join(err, stores.close())
	}
	return g, nil
}

// leader is the node that this replica takes for the leader, or none.
func (r *metaReplica) leader() string {
	if g := r.started.Load(); g != nil {
		return g.leader()
	}
	return ""
}

func (r *metaReplica) status(node string) ReplicaStatus {
	if g := r.started.Load(); g != nil {
		return g.status(node)
	}
	status := ReplicaStatus{Node: node}
	if held := r.held.Load(); held != nil {
		status.Quarantined = held.reason
	}
	return status
}

func (r *metaReplica) apply(entry []byte) (any, error) {
	if g := r.started.Load(); g != nil {
		return g.apply(entry)
	}
	return nil, raft.ErrNotLeader
}

func (r *metaReplica) close() error {
	r.starts.Lock()
	defer r.starts.Unlock()
	if g := r.started.Load(); g != nil {
		return g.close()
	}
	return nil
}

// metaResult is what the meta group's state machine answers Raft for one entry.
type metaResult struct {
	index   uint64
	outcome meta.Outcome
}

// read takes the map from the state and wakes those who wait for a change.
func (r *metaReplica) read(m *machine) error {
	view, err := m.state.View()
	if err != nil {
		return err
	}
	current, err := meta.ReadMap(view)
	if err := errors.Join(err, view.Close()); err != nil {
		return err
	}
	r.time.observe(current.Clock())
	r.mu.Lock()
	defer r.mu.Unlock()
	if current.Version() < r.current.Version() {
		return nil // the replica begins anew; what was known stays true until it is there again
	}
	r.current = current
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// watch is the map as this node knows it, and a channel that is closed when it has changed.
func (r *metaReplica) watch() (*meta.Map, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current, r.changed
}

// Map is the cluster's map as this node knows it. It may be behind the meta group's leader.
func (n *Node) Map() *meta.Map {
	current, _ := n.meta.watch()
	return current
}

// Change brings a command into the meta group's log, from any node, and returns once this node's own map has it. A refusal is
// a *RefusedError; other errors wrap fsm.ErrNotProposed or fsm.ErrUnknownOutcome. Commands can be repeated, so it retries
// until the context ends (10 s without a deadline).
func (n *Node) Change(ctx context.Context, command meta.Command) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, first := command.(meta.InitCluster); !first && !n.Map().Initialised() {
		return ErrNotInitialised // nobody could be asked
	}
	return n.change(ctx, command)
}

// change is Change for callers that are admitted already. The context has a deadline.
func (n *Node) change(ctx context.Context, command meta.Command) error {
	_, err := n.changeAt(ctx, command)
	return err
}

// changeAt is change, with the index of the entry that it was decided by, refusals too; 0 where it was not.
func (n *Node) changeAt(ctx context.Context, command meta.Command) (index uint64, err error) {
	return n.bringMeta(ctx, n.audited(ctx, command))
}

// bringMeta brings a command into the meta group's log as it is.
func (n *Node) bringMeta(ctx context.Context, command meta.Command) (index uint64, err error) {
	t := &tries{node: n}
	var pause backoff
	for {
		before := n.leadOf(metaGroup)
		reply := n.askMeta(ctx, n.metaTarget(t), command)
		switch reply.code {
		case answerOutcome:
			if reply.refusal != "" {
				return reply.index, &RefusedError{reply.refusal}
			}
			if err := n.meta.machine.applied.wait(ctx, reply.index); err != nil {
				return 0, fmt.Errorf("%w: it is accepted, and not here yet: %v", fsm.ErrUnknownOutcome, err)
			}
			return reply.index, nil
		case answerUnknown:
			t.open = true
		}
		if err := n.retry(ctx, &pause, metaGroup, before); err != nil {
			return 0, t.unavailable(err)
		}
	}
}

// metaTarget is the node to ask: the leader as far as it is known here, else one node after the other.
func (n *Node) metaTarget(t *tries) string {
	if leader := n.meta.leader(); leader != "" {
		return leader
	}
	nodes := n.Map().Nodes()
	if len(nodes) == 0 {
		return n.id
	}
	t.next++
	return nodes[t.next%len(nodes)].ID
}

// metaAnswer is what methodMeta returns:
//
//	struct {
//	    uint8 version = 1;
//	    uint8 code;        // answerOutcome, answerNotLeader, answerNotProposed, answerUnknown, answerFault
//	    uint64 index;
//	    opaque refusal<V>; // empty where the command was taken
//	} MetaAnswer;
type metaAnswer struct {
	code    answerCode
	index   uint64
	refusal string
}

func (a metaAnswer) encode() []byte {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint8(uint8(a.code))
	w.Uint64(a.index)
	w.Opaque([]byte(a.refusal))
	return w.Bytes()
}

func (n *Node) askMeta(ctx context.Context, target string, command meta.Command) metaAnswer {
	if target == n.id {
		return n.changeHere(command)
	}
	ctx, done := n.whileLeads(ctx, metaGroup, target, activeNodes(n.Map()))
	defer done()
	raw, sent, err := n.call(ctx, target, methodMeta, meta.EncodeCommand(command))
	if err == nil {
		r := mls.NewReader("MetaAnswer", raw)
		if version := r.Uint8("version"); version != answerVersion {
			r.Fail("version", "is not known")
		}
		a := metaAnswer{code: answerCode(r.Uint8("code")), index: r.Uint64("index"), refusal: string(r.Opaque("refusal"))}
		if r.Close() == nil {
			return a
		}
	}
	if sent {
		return metaAnswer{code: answerUnknown}
	}
	return metaAnswer{code: answerNotProposed}
}

func (n *Node) serveMeta(_ context.Context, _ string, payload []byte) ([]byte, error) {
	command, err := meta.DecodeCommand(payload)
	if err != nil {
		return nil, err // a node of a newer version; what it asks for must not reach the log
	}
	return n.changeHere(command).encode(), nil
}

// changeHere proposes a command at this node's replica, with its time where the command is judged by time.
func (n *Node) changeHere(command meta.Command) metaAnswer {
	if stamped, timely := command.(meta.Stamped); timely {
		command = stamped.WithStamp(n.meta.time.stamp())
	}
	response, err := n.meta.apply(meta.EncodeCommand(command))
	switch {
	case err == nil:
	case errors.Is(err, raft.ErrNotLeader):
		return metaAnswer{code: answerNotLeader}
	case errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return metaAnswer{code: answerNotProposed}
	default:
		return metaAnswer{code: answerUnknown}
	}
	result, ok := response.(metaResult)
	if !ok {
		return metaAnswer{code: answerUnknown}
	}
	a := metaAnswer{code: answerOutcome, index: result.index}
	if refused, yes := result.outcome.(meta.Refused); yes {
		a.refusal = refused.Reason
	}
	return a
}
