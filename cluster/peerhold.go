package cluster

import (
	"context"
	"fmt"
	"sync"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// HoldPeer holds back what waits for a peer, or lets it go again, by the word of somebody who says why. Nothing that is new is sent from
// when on a node's map has it; what is on its way is not called back. The peer is found by any of its domains; Millis is not the caller's
// to say. The errors are those of Change: a cluster whose format is below fsm.FormatBulk refuses, since a node may run a program that
// does not know the command.
func (n *Node) HoldPeer(ctx context.Context, hold meta.Hold) error {
	if settings := n.Settings(); n.Map().Initialised() && settings.Format < fsm.FormatBulk {
		return &RefusedError{fmt.Sprintf("the cluster is of format %d, and a peer can be paused from format %d on", settings.Format, fsm.FormatBulk)}
	}
	if p, known := n.Peer(hold.Domain); known {
		hold.Domain = p.Domain
	}
	return n.Change(ctx, meta.HoldPeer{Hold: hold})
}

// replays counts how often it was asked for that a destination be tried again at once. Safe for concurrent use.
type replays struct {
	mu    sync.Mutex
	asked map[mimi.Provider]uint64 // by the peer's own domain
}

func newReplays() *replays { return &replays{asked: make(map[mimi.Provider]uint64)} }

func (r *replays) ask(peer mimi.Provider) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[peer]++
}

// Replays is a number that rises each time that somebody asks for what waits for a destination to be sent at once, from the start,
// whatever was learnt of the destination before. OutboxChanged receives then.
func (n *Node) Replays(destination mimi.Provider) uint64 {
	if p, known := n.Peer(destination); known {
		destination = p.Domain
	}
	n.replays.mu.Lock()
	defer n.replays.mu.Unlock()
	return n.replays.asked[destination]
}

// Replay makes every node try a peer again at once. It returns how many nodes have been told, and which could not be, with the reasons:
// they wait on as they did. A node that is down has nothing to forget.
func (n *Node) Replay(ctx context.Context, domain mimi.Provider) (told int, failed map[string]error, err error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer done()
	p, known := n.Peer(domain)
	if !known {
		return 0, nil, &RefusedError{fmt.Sprintf("there is no peer %s", domain)}
	}
	var w mls.Writer
	w.Uint8(answerVersion)
	p.Domain.AppendTo(&w)
	heard, failed := askAll(ctx, n, methodReplay, w.Bytes(), n.serveReplay, func([]byte) (struct{}, error) { return struct{}{}, nil })
	return len(heard), failed, nil
}

// serveReplay answers methodReplay:
//
//	struct { uint8 version = 1; opaque peer<V>; } ReplayRequest;
func (n *Node) serveReplay(_ context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("ReplayRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	peer := mimi.ReadProvider(r, "peer")
	if err := r.Close(); err != nil {
		return nil, err
	}
	n.replays.ask(peer)
	n.wakeOutbox()
	return nil, nil
}
