package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"parley/fsm"
	"parley/mimi"
)

// PeerDelivery is how the delivery to one destination stands, as the nodes tell.
type PeerDelivery struct {
	Destination mimi.Provider
	Shards      []ShardDelivery // in which something waits, by shard
	Lanes       []Lane          // of the nodes that deliver, or did a moment ago; by node
}

// ShardDelivery is what waits for a destination in one shard, as its leader tells.
type ShardDelivery struct {
	Shard     fsm.ShardID
	Leader    string
	Deliverer string // none where nobody is appointed at the moment
	Waits     fsm.OutboxBacklog
}

// Lane is what a node has learnt of a destination by delivering to it.
type Lane struct {
	Node         string
	FailingSince time.Time    // of the destination as a whole; zero while it answers
	Error        string       // the last, where it fails
	NextTry      time.Time    // nothing is sent before; zero: nothing holds it back
	InFlight     int          // rooms with a body on its way
	Parked       []ParkedRoom // by room
	ParkedMore   int          // rooms that are parked and not listed
}

// ParkedRoom is a room whose next body a destination refuses.
type ParkedRoom struct {
	Room    mimi.RoomURI
	Since   time.Time
	NextTry time.Time
	Refusal string // the last
}

// Deliveries are how the deliveries to all destinations stand.
type Deliveries struct {
	Peers  []PeerDelivery    // by destination; of those for which nothing waits, only where a node has a lane
	Failed map[string]string // why a node could not be asked: what it leads or delivers is missing
}

// nodeDeliveries is what one node tells.
type nodeDeliveries struct {
	Shards map[string][]ShardDelivery // by destination, of the shards that it leads
	Lanes  map[string]Lane            // by destination
}

// ReportLanes says who knows the lanes of this node: report returns what is learnt of each destination at that moment, with no Node. It
// must not block. Before it is called there are none.
func (n *Node) ReportLanes(report func() map[mimi.Provider]Lane) { n.lanes.Store(&report) }

// Deliveries asks every node how its deliveries stand.
func (n *Node) Deliveries(ctx context.Context) (Deliveries, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return Deliveries{}, err
	}
	defer done()
	answers, failed := askAll(ctx, n, methodDeliveries, nil, n.serveDeliveries, func(raw []byte) (d nodeDeliveries, err error) {
		return d, json.Unmarshal(raw, &d)
	})
	return mergeDeliveries(answers, failed)
}

func mergeDeliveries(answers map[string]nodeDeliveries, failed map[string]error) (all Deliveries, err error) {
	peers := make(map[string]*PeerDelivery)
	of := func(destination string) *PeerDelivery {
		if peers[destination] == nil {
			p, wrong := mimi.ParseProvider(destination)
			err = errors.Join(err, wrong)
			peers[destination] = &PeerDelivery{Destination: p}
		}
		return peers[destination]
	}
	for node, answer := range answers {
		for destination, shards := range answer.Shards {
			p := of(destination)
			p.Shards = append(p.Shards, shards...)
		}
		for destination, lane := range answer.Lanes {
			lane.Node = node
			p := of(destination)
			p.Lanes = append(p.Lanes, lane)
		}
	}
	for _, p := range peers {
		// Where two take themselves for the leader, both are shown.
		slices.SortFunc(p.Shards, func(a, b ShardDelivery) int {
			return cmp.Or(cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Leader, b.Leader))
		})
		slices.SortFunc(p.Lanes, func(a, b Lane) int { return cmp.Compare(a.Node, b.Node) })
		all.Peers = append(all.Peers, *p)
	}
	slices.SortFunc(all.Peers, func(a, b PeerDelivery) int { return a.Destination.Compare(b.Destination) })
	all.Failed = make(map[string]string)
	for node, why := range failed {
		all.Failed[node] = why.Error()
	}
	return all, err
}

// serveDeliveries answers methodDeliveries with what this node leads and delivers, as JSON.
func (n *Node) serveDeliveries(context.Context, string, []byte) ([]byte, error) {
	d := nodeDeliveries{Shards: make(map[string][]ShardDelivery), Lanes: make(map[string]Lane)}
	for _, r := range n.led() {
		waits := make(map[mimi.Provider]fsm.OutboxBacklog)
		if err := r.count(waits); err != nil {
			return nil, err
		}
		for destination, sum := range waits {
			if destination == n.localDestination() || sum.Items == 0 && sum.Dropped == 0 {
				continue
			}
			d.Shards[destination.String()] = append(d.Shards[destination.String()], ShardDelivery{
				Shard: r.shard, Leader: n.id, Deliverer: n.appointer.deliverer(r.shard, lotOf(destination)), Waits: sum,
			})
		}
	}
	if report := n.lanes.Load(); report != nil {
		for destination, lane := range (*report)() {
			d.Lanes[destination.String()] = lane
		}
	}
	return json.Marshal(d)
}
