package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"parley/fsm/meta"
	"parley/mls"
)

// A node that hears nothing of the meta group's leader asks others what stands about it in their maps. What it takes for true is only what
// stays true whatever comes later: that its directory's node was removed. A removed ID is never used again, so a map in which it is removed
// is not an older one than a map in which it is a member. From that:
//
//   - One that is behind cannot say it of a member. That it does not know the node, which may have joined a moment ago, says nothing.
//   - It has to be of this node's own generation. An earlier one's history is over; and where it is of a later one, this node's own is
//     (generation.go).
//   - It is a member by this node's own map: who is barred there is not asked (transport). And its map has to be later than this node's,
//     or one of the two is wrong.
//
// That the node's certificate is refused for another reason, a revocation, is no removal: there may be another certificate soon. It is kept
// for whoever asks why the node hears nothing.

const (
	standingPatience = 1500 * time.Millisecond // of silence; heartbeats come several times as often
	standingInterval = time.Second             // between rounds, at first
	standingsAsked   = 3                       // nodes in a round; the next are others
	standingTimeout  = 2 * time.Second         // for one of them
	// standingDoublings is how often the time between rounds doubles: where all are silent since machines are overloaded, handshakes help nobody.
	standingDoublings = 3
)

// nodeStanding is what a node's map says of another.
//
//	struct {
//	    uint8 version = 1;
//	    uint64 generation;       // of the node that answers; 0: it has no history
//	    uint64 map_version;
//	    opaque incarnation<V>;   // of the node that asks, as the map has it; empty: it does not
//	    uint8 removed;
//	    opaque barred<V>;        // why its certificate is refused; empty: it is not
//	} Standing;
type nodeStanding struct {
	generation  uint64
	mapVersion  uint64
	incarnation string
	removed     bool
	barred      string
}

func (s nodeStanding) encode() []byte {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint64(s.generation)
	w.Uint64(s.mapVersion)
	w.Opaque([]byte(s.incarnation))
	w.Bool(s.removed)
	w.Opaque([]byte(s.barred))
	return w.Bytes()
}

func decodeStanding(raw []byte) (s nodeStanding, err error) {
	r := mls.NewReader("Standing", raw)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	s.generation, s.mapVersion = r.Uint64("generation"), r.Uint64("map_version")
	s.incarnation, s.removed, s.barred = string(r.Opaque("incarnation")), r.Bool("removed"), string(r.Opaque("barred"))
	return s, r.Close()
}

// tellStanding answers a node from this one's copy of the map.
func (n *Node) tellStanding(node string, serial []byte) []byte {
	return standingIn(n.Map(), n.generation.Load(), node, serial).encode()
}

func standingIn(current *meta.Map, generation uint64, node string, serial []byte) nodeStanding {
	s := nodeStanding{generation: generation, mapVersion: current.Version(), barred: current.Barred(node, serial)}
	if known, found := current.Node(node); found {
		s.incarnation, s.removed = known.Incarnation, known.State == meta.NodeRemoved
	}
	return s
}

// settlesRemoval reports whether an answer says for good that this node is out of the cluster.
func (n *Node) settlesRemoval(current *meta.Map, s nodeStanding) bool {
	return s.removed && s.generation == n.generation.Load() && s.incarnation == n.stores.identity.Incarnation && s.mapVersion > current.Version()
}

// tendStanding finds out that this node is out of the cluster, by its own map or by others', and ends then.
func (n *Node) tendStanding() {
	ticker := time.NewTicker(standingInterval)
	defer ticker.Stop()
	turn, rounds, due := 0, 0, time.Time{} // whose turn it is; how often this silence was asked about, and when it is again
	for {
		current, changed := n.meta.watch()
		by := n.removedByMap(current)
		if self, known := current.Node(n.id); by == "" && known && self.State == meta.NodeActive {
			switch now := time.Now(); {
			case n.MetaSilence() <= standingPatience:
				rounds, due = 0, time.Time{}
				n.shutOut.Store(nil)
			case !now.Before(due):
				by = n.askStanding(current, turn)
				due = now.Add(standingInterval << min(rounds, standingDoublings))
				turn, rounds = turn+standingsAsked, rounds+1
			}
		}
		if by != "" {
			n.part(by)
			return
		}
		select {
		case <-n.life.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}

// askStanding asks the nodes whose turn it is, and says by whose word this one is out of the cluster, or nothing.
func (n *Node) askStanding(current *meta.Map, turn int) string {
	others := slices.DeleteFunc(activeNodes(current), func(id string) bool { return id == n.id })
	if len(others) == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(n.life, standingTimeout)
	defer cancel()
	var wait sync.WaitGroup
	answers := make([]nodeStanding, min(standingsAsked, len(others)))
	failed := make([]error, len(answers))
	asked := func(i int) string { return others[(turn+i)%len(others)] }
	for i := range answers {
		wait.Go(func() { answers[i], failed[i] = n.standingAt(ctx, asked(i)) })
	}
	wait.Wait()
	for i, s := range answers {
		switch {
		case failed[i] != nil:
		case s.generation > n.generation.Load() && n.generation.Load() > 0:
			n.superseded(asked(i), s.generation)
			return ""
		case n.settlesRemoval(current, s):
			return fmt.Sprintf("as node %s says by version %d of the map, in generation %d", asked(i), s.mapVersion, s.generation)
		case s.barred != "":
			said := fmt.Sprintf("%s, as node %s says", s.barred, asked(i))
			n.shutOut.Store(&said)
		}
	}
	return ""
}

func (n *Node) standingAt(ctx context.Context, id string) (nodeStanding, error) {
	address, known := n.addressOf(id)
	if !known {
		return nodeStanding{}, errors.New("its address is not known")
	}
	raw, err := n.port.AskStanding(ctx, id, address)
	if err != nil {
		return nodeStanding{}, err
	}
	return decodeStanding(raw)
}

// ShutOut is why others refuse this node, though it is a member as far as it knows; empty while it hears of the cluster.
func (n *Node) ShutOut() string {
	if said := n.shutOut.Load(); said != nil {
		return *said
	}
	return ""
}
