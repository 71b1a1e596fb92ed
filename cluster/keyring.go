package cluster

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"parley/fsm/meta"
)

// The keys of gossip are changed without splitting it, one step at a time, each begun only when every active node says that it
// has done the one before:
//
//	1  the new key is in the map, and every node decrypts with it as well;
//	2  it is the primary one, and every node encrypts with it;
//	3  the old one is gone.
//
// A node that does not answer holds the change up: it might be hearing the others all the same. The map says how far the change is, so
// whoever leads the meta group goes on with it.

// gossipKeyID names a key without telling it.
func gossipKeyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("parley gossip key/"), key...))
	return hex.EncodeToString(sum[:8])
}

func (n *Node) gossipKeyContext(id string) string {
	return "parley gossip key/" + n.config.Credentials.ClusterID() + "/" + id
}

func (n *Node) putGossipKey(ctx context.Context, key []byte) error {
	id := gossipKeyID(key)
	sealed, err := seal(n.config.SealKey, key, n.gossipKeyContext(id))
	if err != nil {
		return err
	}
	return n.change(ctx, meta.PutGossipKey{Key: meta.GossipKey{ID: id, Sealed: sealed}})
}

// openGossipKeys are the map's keys, the primary one first; none where the cluster goes by its configured key alone.
func (n *Node) openGossipKeys(current *meta.Map) ([][]byte, error) {
	var keys [][]byte
	for _, k := range current.GossipKeys() {
		key, err := unseal(n.sealKeys(), k.Sealed, n.gossipKeyContext(k.ID))
		if err != nil {
			return nil, fmt.Errorf("gossip key %s: %w", k.ID, err)
		}
		if k.Primary {
			keys = slices.Insert(keys, 0, key)
		} else {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (n *Node) primaryGossipKey() ([32]byte, error) {
	keys, err := n.openGossipKeys(n.Map())
	if err != nil || len(keys) == 0 {
		return n.config.GossipKey, err
	}
	return [32]byte(keys[0]), nil
}

// setGossipKeys gives gossip the map's keys.
func (n *Node) setGossipKeys(current *meta.Map) error {
	keys, err := n.openGossipKeys(current)
	if err != nil || len(keys) == 0 {
		return err
	}
	return n.gossip.SetKeys(keys)
}

// gossipKeyIDs are the keys that gossip goes by on this node, the primary one first.
func (n *Node) gossipKeyIDs() []string {
	var ids []string
	for _, key := range n.gossip.Keys() {
		ids = append(ids, gossipKeyID(key))
	}
	return ids
}

// RotateGossipKey begins the change to a new key. It returns when the key is in the map; the rest goes on by itself, and Keyring tells
// how far it is. While a change is under way it is a *RefusedError. Where it is said from which key, a change from that one that is under way
// or has been made is the one that is wanted, so that it may be repeated.
func (n *Node) RotateGossipKey(ctx context.Context, from string) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	switch current := n.Map(); {
	case !current.Initialised():
		return ErrNotInitialised
	case from != "" && !changesFrom(current, from):
		return nil
	case len(current.GossipKeys()) > 1:
		return &RefusedError{"the gossip keys are being changed already"}
	case len(current.GossipKeys()) == 0:
		// A cluster of before: the configured key, which all share, is the one to change from.
		if err := n.putGossipKey(ctx, n.config.GossipKey[:]); err != nil {
			return err
		}
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	return n.putGossipKey(ctx, key[:])
}

// changesFrom reports whether a key is the only one, so that it has yet to be changed.
func changesFrom(current *meta.Map, id string) bool {
	keys := current.GossipKeys()
	return len(keys) == 0 || len(keys) == 1 && keys[0].ID == id
}

// Keyring is the state of the gossip keys.
type Keyring struct {
	Keys  []meta.GossipKey    // oldest first
	Nodes map[string][]string // by active node: the IDs of the keys that it goes by, the primary one first
	Waits string              // whom a change under way waits for; empty where nobody has to be waited for
}

// Keyring asks every active node for its keys.
func (n *Node) Keyring(ctx context.Context) (Keyring, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return Keyring{}, err
	}
	defer done()
	current := n.Map()
	if !current.Initialised() {
		return Keyring{}, ErrNotInitialised
	}
	ring := Keyring{Keys: current.GossipKeys(), Nodes: make(map[string][]string)}
	for _, id := range activeNodes(current) {
		view, err := n.statusWithin(ctx, id)
		if err == nil {
			ring.Nodes[id] = view.GossipKeys
		}
	}
	if _, err := nextKeyringStep(current, ring.Nodes); err != nil {
		ring.Waits = err.Error()
	}
	return ring, nil
}

// nextKeyringStep is the command that a change under way needs next, nil where there is none, or an error that says who is waited for.
func nextKeyringStep(current *meta.Map, nodes map[string][]string) (meta.Command, error) {
	keys := current.GossipKeys()
	if len(keys) < 2 {
		return nil, nil
	}
	old, fresh := keys[0], keys[len(keys)-1]
	var waits []error
	for _, id := range activeNodes(current) {
		has, answered := nodes[id]
		switch {
		case !answered:
			waits = append(waits, fmt.Errorf("node %s does not answer", id))
		case !fresh.Primary && !slices.Contains(has, fresh.ID):
			waits = append(waits, fmt.Errorf("node %s does not have the new key yet", id))
		case fresh.Primary && (len(has) == 0 || has[0] != fresh.ID):
			waits = append(waits, fmt.Errorf("node %s does not use the new key yet", id))
		}
	}
	switch {
	case len(waits) > 0:
		return nil, errors.Join(waits...)
	case !fresh.Primary:
		return meta.UseGossipKey{ID: fresh.ID}, nil
	default:
		return meta.RemoveGossipKey{ID: old.ID}, nil
	}
}

// tendKeyring takes the next step of a change, where this node leads the meta group and knows the map as it is.
func (n *Node) tendKeyring(ctx context.Context, current *meta.Map) error {
	g := n.meta.started.Load()
	if len(current.GossipKeys()) < 2 || g == nil || !g.leads() || n.meta.settled.Load() != g.raft.CurrentTerm() {
		return nil
	}
	nodes := make(map[string][]string)
	for _, id := range activeNodes(current) {
		if view, err := n.statusWithin(ctx, id); err == nil && view.MapVersion >= current.Version() {
			nodes[id] = view.GossipKeys
		}
	}
	step, err := nextKeyringStep(current, nodes)
	if err != nil || step == nil {
		return err
	}
	return n.change(ctx, step)
}

// statusWithin is a node's own view, if it tells it soon.
func (n *Node) statusWithin(ctx context.Context, id string) (NodeView, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return n.statusOf(ctx, id)
}
