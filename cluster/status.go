package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// statusTimeout bounds what one node waits for another's view.
const statusTimeout = 2 * time.Second

// Status is the cluster as its nodes see it.
type Status struct {
	ClusterID  string
	Node       string // who answers
	MapVersion uint64
	Generation fsm.Generation // the cluster's, by the map
	Meta       ReplicaStatus  // this node's replica of the meta group
	Nodes      []NodeStatus   // by ID; removed ones are left out
	Shards     []ShardStatus  // by ID
}

// NodeStatus is a member. Without an answer from it, Error says why and Replicas is empty.
type NodeStatus struct {
	ID      string
	Address string
	Duty    meta.Duty
	Zone    string
	Alive   bool // by gossip, which is a hint
	Error   string
	View    NodeView
}

// NodeView is what a node tells of itself.
type NodeView struct {
	MapVersion uint64
	Meta       ReplicaStatus
	Replicas   []ReplicaStatus // by shard
	UpMillis   uint64          // since it was opened
	DiskLow    bool            // its disk's reserve is touched: it takes nothing new for what it leads
	GossipKeys []string        // IDs of the keys that its gossip goes by, the primary one first
	SealKeys   []string        // IDs of the seal keys that it has, the one that it seals with first
	Held       HeldStatus      // its journal of bulk submissions; to be empty before the node goes for good
	Cleared    uint64          // replicas that it has cleared for damage since it started, to be rebuilt
	// ClockOffsetMillis is how far its clock is ahead of the median of all nodes that it votes with; nil where it knows the clocks of
	// no majority of them.
	ClockOffsetMillis *int64
	Version           string     // of its program, as that calls itself
	Knows             fsm.Format // the newest format that its program knows; 0 of a program that does not say
}

// ReplicaStatus is one node's copy of one group.
type ReplicaStatus struct {
	Shard       fsm.ShardID // 0 is the meta group
	Node        string
	Running     bool
	Quarantined string // why it must not run; empty otherwise
	Rebuilding  bool   // it was cleared and is on its way back, or comes again; it does not vote yet
	Departing   bool   // its shard has no replica here any more, and what is left of it is being cleared
	Role        string // Raft's: Leader, Follower, Candidate
	Leader      string // whom it takes for the leader
	Term        uint64
	Applied     uint64 // in the state
	Commit      uint64
	LastLog     uint64
	Snapshot    uint64 // index of the last one
	Voter       bool
	Bytes       uint64       // about what its state has on the disk
	Members     []Member     // of the group, by this replica's word; where it leads, and nowhere else
	Fetching    *FetchStatus // nil where no state is being fetched
}

// Member is a node with a replica of a group, whatever the map wants.
type Member struct {
	Node  string
	Voter bool
}

// FetchStatus is how far a replica has come that gets a whole state from another, because nobody has the log that it lacks. First the
// state is brought here, in chunks that outlive a cut and a restart; then it is written into the engine, and exchanged for the old one.
type FetchStatus struct {
	Source  string // the node that is asked
	Fetched uint64 // bytes that came over the network, of all attempts since the node was started
	Reused  uint64 // that need not come, as they were here: in chunks of earlier attempts, or in the replica's own state
	Here    uint64 // of the state, in this attempt: come or reused
	Written uint64 // into the engine
	Total   uint64 // about what the state has; 0 before the source has said it
}

// ShardStatus is a shard with its replicas, in the map's order.
type ShardStatus struct {
	Shard    meta.Shard
	Slots    int    // that it has, by the map
	Moving   int    // of them, on their way to other shards
	Leader   string // by the replica with the highest term that knows one
	Term     uint64
	Replicas []ReplicaStatus
}

// Status asks every node for its view. A node that does not answer within 2 s is shown as such.
func (n *Node) Status(ctx context.Context) (Status, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return Status{}, err
	}
	defer done()
	return n.statusOfAll(ctx), nil
}

// statusOfAll is Status for callers that are admitted already.
func (n *Node) statusOfAll(ctx context.Context) Status {
	current := n.Map()
	status := Status{ClusterID: current.ClusterID(), Node: n.id, MapVersion: current.Version(), Generation: current.Generation(), Meta: n.view().Meta}
	for _, node := range current.Nodes() {
		if node.State == meta.NodeActive {
			zone, _ := current.ZoneOf(node.ID)
			status.Nodes = append(status.Nodes, NodeStatus{ID: node.ID, Address: node.ClusterAddr, Duty: current.Duty(node.ID), Zone: zone})
		}
	}
	var wait sync.WaitGroup
	for i := range status.Nodes {
		wait.Go(func() { n.lookAt(ctx, &status.Nodes[i]) })
	}
	wait.Wait()
	counts, moving := current.SlotCounts(), make(map[fsm.ShardID]int)
	for _, move := range current.Moves() {
		moving[move.From]++
	}
	for _, shard := range current.Shards() {
		if shard.State == meta.ShardRetired {
			continue
		}
		seen := shardStatus(shard, status.Nodes)
		seen.Slots, seen.Moving = counts[shard.ID], moving[shard.ID]
		status.Shards = append(status.Shards, seen)
	}
	return status
}

func (n *Node) lookAt(ctx context.Context, node *NodeStatus) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	_, node.Alive = n.gossip.Lookup(node.ID)
	view, err := n.statusOf(ctx, node.ID)
	if err != nil {
		node.Error = err.Error()
		return
	}
	node.View = view
}

func shardStatus(shard meta.Shard, nodes []NodeStatus) ShardStatus {
	status := ShardStatus{Shard: shard}
	for _, id := range shard.Replicas {
		found := ReplicaStatus{Shard: shard.ID, Node: id}
		for _, node := range nodes {
			if node.ID != id {
				continue
			}
			if i := slices.IndexFunc(node.View.Replicas, func(r ReplicaStatus) bool { return r.Shard == shard.ID }); i >= 0 {
				found = node.View.Replicas[i]
			}
		}
		if found.Leader != "" && found.Term >= status.Term {
			status.Leader, status.Term = found.Leader, found.Term
		}
		status.Replicas = append(status.Replicas, found)
	}
	return status
}

// statusOf is a node's own view.
func (n *Node) statusOf(ctx context.Context, id string) (NodeView, error) {
	if id == n.id {
		return n.view(), nil
	}
	var view NodeView
	raw, _, err := n.call(ctx, id, methodStatus, nil)
	if err != nil {
		return view, err
	}
	return view, json.Unmarshal(raw, &view)
}

func (n *Node) serveStatus(context.Context, string, []byte) ([]byte, error) {
	return json.Marshal(n.view())
}

func (n *Node) view() NodeView {
	current := n.Map()
	view := NodeView{
		MapVersion: current.Version(), Meta: n.meta.status(n.id), GossipKeys: n.gossipKeyIDs(), SealKeys: sealKeyIDs(n.sealKeys()),
		UpMillis: uint64(time.Since(n.opened).Milliseconds()), Cleared: n.cleared.Load(), DiskLow: n.disk.low.Load(),
		ClockOffsetMillis: n.clocks.offsetMillis(), Held: n.held.statusAsOf(current),
		Version: n.config.Version, Knows: fsm.FormatNewest,
	}
	n.mu.Lock()
	running := slices.Collect(maps.Values(n.replicas))
	for shard, held := range n.quarantined {
		view.Replicas = append(view.Replicas, ReplicaStatus{
			Shard: shard, Node: n.id, Quarantined: held.reason, Departing: held.reason == movedAway,
		})
	}
	n.mu.Unlock()
	for _, r := range running { // without the lock: Raft may be busy when it is asked
		view.Replicas = append(view.Replicas, r.status(n.id))
	}
	slices.SortFunc(view.Replicas, func(a, b ReplicaStatus) int { return cmp.Compare(a.Shard, b.Shard) })
	return view
}

func (g *group) status(node string) ReplicaStatus {
	status := ReplicaStatus{
		Shard: fsm.ShardID(g.id), Node: node, Running: true, Role: g.raft.State().String(), Leader: g.leader(),
		Term: g.raft.CurrentTerm(), Applied: g.machine.applied.current(), Commit: g.raft.CommitIndex(), LastLog: g.raft.LastIndex(),
	}
	status.Fetching = g.machine.fetching.status()
	if manifests, err := g.stores.snapshots.List(); err == nil && len(manifests) > 0 {
		status.Snapshot = manifests[0].Index
	}
	if future := g.raft.GetConfiguration(); future.Error() == nil {
		status.Voter = isVoter(future.Configuration(), node)
		for _, server := range future.Configuration().Servers {
			if status.Role == raft.Leader.String() {
				status.Members = append(status.Members, Member{Node: string(server.ID), Voter: server.Suffrage == raft.Voter})
			}
		}
	}
	if bytes, err := g.machine.state.EstimateBytes(); err == nil {
		status.Bytes = bytes
	}
	status.Rebuilding = g.stores.rebuilding != nil && !g.rebuilt.Load()
	return status
}

// ReplicaDigest is the digest of one replica's state at an index, or why there is none.
type ReplicaDigest struct {
	Node    string
	Index   uint64
	Digest  [32]byte // of everything
	Content [32]byte // without hub clock and settings; stays the same while nothing happens
	Err     error
}

// Digest sums up every replica of a shard once it has applied what was committed before the call. Only digests of one index
// can be compared: while the shard is written to, replicas may answer for later ones.
func (n *Node) Digest(ctx context.Context, shard fsm.ShardID) ([]ReplicaDigest, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	place, known := n.Map().Shard(shard)
	if !known {
		return nil, &RefusedError{fmt.Sprintf("there is no shard %d", shard)}
	}
	_, index, err := n.proposeToShard(ctx, shard, fsm.Fence{})
	if err != nil {
		return nil, err
	}
	digests := make([]ReplicaDigest, len(place.Replicas))
	var wait sync.WaitGroup
	for i, id := range place.Replicas {
		wait.Go(func() {
			digests[i] = n.digestOf(ctx, shard, id, index)
			digests[i].Node = id
		})
	}
	wait.Wait()
	return digests, nil
}

// digestOf asks one node:
//
//	struct { uint8 version = 1; uint32 shard; uint64 at_least; } DigestRequest;
//	struct { uint64 index; opaque digest[32]; opaque content[32]; } DigestAnswer;
func (n *Node) digestOf(ctx context.Context, shard fsm.ShardID, id string, atLeast uint64) (d ReplicaDigest) {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint32(uint32(shard))
	w.Uint64(atLeast)
	var raw []byte
	if id == n.id {
		raw, d.Err = n.serveDigest(ctx, id, w.Bytes())
	} else {
		raw, _, d.Err = n.call(ctx, id, methodDigest, w.Bytes())
	}
	if d.Err != nil {
		return d
	}
	r := mls.NewReader("DigestAnswer", raw)
	d.Index = r.Uint64("index")
	copy(d.Digest[:], r.Fixed("digest", len(d.Digest)))
	copy(d.Content[:], r.Fixed("content", len(d.Content)))
	d.Err = r.Close()
	return d
}

func (n *Node) serveDigest(ctx context.Context, _ string, payload []byte) (_ []byte, err error) {
	r := mls.NewReader("DigestRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	shard, atLeast := fsm.ShardID(r.Uint32("shard")), r.Uint64("at_least")
	if err := r.Close(); err != nil {
		return nil, err
	}
	replica := n.replica(shard)
	if replica == nil {
		return nil, fmt.Errorf("shard %d is not here", shard)
	}
	if err := replica.machine.applied.wait(ctx, atLeast); err != nil {
		return nil, err
	}
	view, err := replica.view()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	digest, err := fsm.Digest(view)
	if err != nil {
		return nil, err
	}
	content, err := fsm.ContentDigest(view)
	var w mls.Writer
	w.Uint64(view.Applied())
	w.Fixed(digest[:])
	w.Fixed(content[:])
	return w.Bytes(), err
}
