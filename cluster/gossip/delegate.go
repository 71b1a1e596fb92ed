package gossip

import (
	"fmt"

	"github.com/hashicorp/memberlist"

	"parley/mls"
)

// identity is what a node says of itself in gossip.
type identity struct{ cluster, node, clusterAddr string }

//	struct {
//	    uint8 version = 1;
//	    opaque cluster<V>;
//	    opaque node<V>;
//	    opaque cluster_addr<V>;
//	} Identity;
func (id identity) encode() []byte {
	var w mls.Writer
	w.Uint8(1)
	w.Opaque([]byte(id.cluster))
	w.Opaque([]byte(id.node))
	w.Opaque([]byte(id.clusterAddr))
	return w.Bytes()
}

func decodeIdentity(b []byte) (identity, error) {
	r := mls.NewReader("Identity", b)
	if version := r.Uint8("version"); !r.Failed() && version != 1 {
		r.Fail("version", "it is not known to this program")
	}
	id := identity{string(r.Opaque("cluster")), string(r.Opaque("node")), string(r.Opaque("cluster_addr"))}
	return id, r.Close()
}

// delegate is what memberlist calls. Its methods run concurrently and must not block.
type delegate struct{ g *Gossip }

// NodeMeta implements memberlist.Delegate. Start has checked the length against the limit.
func (d delegate) NodeMeta(int) []byte { return d.g.self.encode() }

// Nothing but membership is gossiped.
func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// NotifyAlive implements memberlist.AliveDelegate: a node of another cluster, or one that goes by another's name, is no member.
func (d delegate) NotifyAlive(node *memberlist.Node) error {
	id, err := decodeIdentity(node.Meta)
	switch {
	case err != nil:
		return err
	case id.cluster != d.g.self.cluster:
		return fmt.Errorf("node %q is of cluster %q", node.Name, id.cluster)
	case id.node != node.Name:
		return fmt.Errorf("node %q goes by the name %q", id.node, node.Name)
	}
	return nil
}

// NotifyMerge implements memberlist.MergeDelegate: it refuses a whole list that holds a node of another cluster.
func (d delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, node := range nodes {
		if err := d.NotifyAlive(node); err != nil {
			return err
		}
	}
	return nil
}

// NotifyJoin, NotifyUpdate and NotifyLeave implement memberlist.EventDelegate. The node is lent for the call: memberlist holds its
// lock meanwhile, and writes to the node afterwards.
func (d delegate) NotifyJoin(node *memberlist.Node) {
	d.g.met(node)
	d.wake()
}

func (d delegate) NotifyUpdate(node *memberlist.Node) {
	d.g.met(node)
	d.wake()
}

func (d delegate) NotifyLeave(node *memberlist.Node) {
	d.g.missed(node)
	d.wake()
}

func (d delegate) wake() {
	select {
	case d.g.changed <- struct{}{}:
	default: // one is waiting already, and whoever receives it reads Members then
	}
}
