package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// The leader's part of rebuilding a replica (rebuild.go), and of its departure (departure.go): it takes a replica whose node asks for it
// out of the group, once the voters that stay can decide without it. Its place back, without a vote first, it gets as any other that the
// map wants (members.go).

// evictionReply is what methodEvict returns:
//
//	struct { uint8 version = 1; uint32 group; } EvictRequest;
//	struct {
//	    uint8 version = 1;
//	    opaque refusal<V>; // why the leader does not; empty otherwise
//	    opaque leader<V>;  // who leads, where it is not who was asked; may be empty
//	    uint64 term;
//	    uint64 index;      // 0 where nothing was decided
//	} EvictAnswer;
type evictionReply struct {
	eviction
	refusal string
	leader  string
}

func (a evictionReply) encode() []byte {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Opaque([]byte(a.refusal))
	w.Opaque([]byte(a.leader))
	w.Uint64(a.term)
	w.Uint64(a.index)
	return w.Bytes()
}

func (n *Node) evictionFrom(ctx context.Context, target string, group uint32) (a evictionReply, err error) {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint32(group)
	raw, _, err := n.call(ctx, target, methodEvict, w.Bytes())
	if err != nil {
		return a, err
	}
	r := mls.NewReader("EvictAnswer", raw)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	a.refusal, a.leader = string(r.Opaque("refusal")), string(r.Opaque("leader"))
	a.term, a.index = r.Uint64("term"), r.Uint64("index")
	return a, r.Close()
}

// serveEvict takes the replica of the node that asks out of a group. Who the node is, its certificate says.
func (n *Node) serveEvict(ctx context.Context, from string, payload []byte) ([]byte, error) {
	r := mls.NewReader("EvictRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	id := r.Uint32("group")
	if err := r.Close(); err != nil {
		return nil, err
	}
	g := n.groupOf(id)
	if g == nil {
		return evictionReply{}.encode(), nil
	}
	if !g.leads() {
		return evictionReply{leader: g.leader()}.encode(), nil
	}
	out, err := n.evict(ctx, g, from)
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return evictionReply{refusal: refused.Reason}.encode(), nil
	case err != nil:
		return nil, err
	}
	n.log.Warn("a replica was taken out of its group, to be rebuilt", "group", id, "node", from, "index", out.index)
	return evictionReply{eviction: out}.encode(), nil
}

// evict takes a node's replica out of a group that this node leads. It may be repeated. The answer's index is of an entry behind the
// removal, and both are of one term: as long as that lasts nothing of this replica's own log goes away, so once the entry is decided the
// removal is, also where it was an earlier call's.
func (n *Node) evict(ctx context.Context, g *group, node string) (eviction, error) {
	term := g.raft.CurrentTerm()
	index := g.machine.configured.Load() // before the members are read: a change since then is refused by Raft
	future := g.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return eviction{}, err
	}
	configuration := future.Configuration()
	if slices.ContainsFunc(configuration.Servers, func(s raft.Server) bool { return string(s.ID) == node }) {
		if err := n.suffices(ctx, g, configuration, node); err != nil {
			return eviction{}, err
		}
		if err := g.raft.RemoveServer(raft.ServerID(node), index, membershipWait).Error(); err != nil {
			return eviction{}, fmt.Errorf("take %s out of group %d: %w", node, g.id, err)
		}
	}
	behind, err := n.fence(ctx, g)
	if err != nil {
		return eviction{}, err
	}
	if !g.leads() || g.raft.CurrentTerm() != term {
		return eviction{}, &RefusedError{"the leadership has changed meanwhile"}
	}
	return eviction{term: term, index: behind}, nil
}

// suffices refuses where the voters that stay could not decide anything.
func (n *Node) suffices(ctx context.Context, g *group, configuration raft.Configuration, without string) error {
	voters, answering := 0, 0
	for _, server := range configuration.Servers {
		id := string(server.ID)
		if server.Suffrage != raft.Voter || id == without {
			continue
		}
		voters++
		if id == n.id {
			answering++
			continue
		}
		if view, err := n.statusWithin(ctx, id); err == nil && view.of(fsm.ShardID(g.id)).Running {
			answering++
		}
	}
	if 2*answering <= voters {
		return &RefusedError{fmt.Sprintf("only %d of the %d other voters answer", answering, voters)}
	}
	return nil
}

// fence brings an entry that changes nothing through a group's log, and answers its index.
func (n *Node) fence(ctx context.Context, g *group) (uint64, error) {
	if g.id == metaGroup {
		reply := n.changeHere(meta.UpdateNode{Node: n.self()}) // it changes nothing, or what is true
		if reply.code != answerOutcome {
			return 0, fmt.Errorf("a fence in the meta group: answer %d", reply.code)
		}
		return reply.index, nil
	}
	reply := n.proposeHere(ctx, fsm.ShardID(g.id), fsm.Fence{})
	if reply.code != answerOutcome {
		return 0, fmt.Errorf("a fence in group %d: answer %d", g.id, reply.code)
	}
	return reply.index, nil
}
