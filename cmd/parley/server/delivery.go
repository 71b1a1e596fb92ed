package server

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/httpapi"
	"parley/mimi"
	"parley/mls"
)

// HoldPeer pauses a peer or lets it go on, and returns the word that stands then: an earlier one, where it was so already.
func (o *operations) HoldPeer(ctx context.Context, domain mimi.Provider, paused bool, r httpapi.HoldRequest) (httpapi.PeerHold, error) {
	for field, text := range map[string]string{"by": r.By, "why": r.Why} {
		if len(text) > meta.HoldTextBytesMax {
			return httpapi.PeerHold{}, &mls.MalformedError{Field: field, Reason: fmt.Sprintf("it is longer than %d bytes", meta.HoldTextBytesMax)}
		}
	}
	p, known := o.node.Peer(domain)
	if !known {
		return httpapi.PeerHold{}, &httpapi.NotFoundError{What: "peer " + domain.String()}
	}
	if err := o.node.HoldPeer(ctx, meta.Hold{Domain: p.Domain, Paused: paused, By: r.By, Why: r.Why}); err != nil {
		return httpapi.PeerHold{}, refusal(err)
	}
	o.settle(ctx)
	hold, _ := o.node.Map().HoldOf(p.Domain)
	return *shownHold(hold), nil
}

func shownHold(h meta.Hold) *httpapi.PeerHold {
	return &httpapi.PeerHold{Paused: h.Paused, By: h.By, Why: h.Why, Since: shownMillis(h.Millis)}
}

// shownMillis is none where there are none.
func shownMillis(millis uint64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(millis)).UTC()
}

// holdOf is the last word on the peer that a destination belongs to.
func (o *operations) holdOf(destination mimi.Provider) *httpapi.PeerHold {
	if p, known := o.node.Peer(destination); known {
		if hold, held := o.node.Map().HoldOf(p.Domain); held {
			return shownHold(hold)
		}
	}
	return nil
}

func (o *operations) ReplayPeer(ctx context.Context, domain mimi.Provider) (httpapi.ReplayReport, error) {
	if _, known := o.node.Peer(domain); !known {
		return httpapi.ReplayReport{}, &httpapi.NotFoundError{What: "peer " + domain.String()}
	}
	told, failed, err := o.node.Replay(ctx, domain)
	if err != nil {
		return httpapi.ReplayReport{}, refusal(err)
	}
	reasons := make(map[string]string)
	for node, why := range failed {
		reasons[node] = why.Error()
	}
	return httpapi.ReplayReport{Nodes: told, Failed: failures(reasons)}, nil
}

func failures(reasons map[string]string) []httpapi.NodeFailure {
	list := []httpapi.NodeFailure{}
	for _, node := range slices.Sorted(maps.Keys(reasons)) {
		list = append(list, httpapi.NodeFailure{Node: node, Reason: reasons[node]})
	}
	return list
}

func (o *operations) Backlog(ctx context.Context) (httpapi.Backlog, error) {
	seen, err := o.node.Deliveries(ctx)
	if err != nil {
		return httpapi.Backlog{}, refusal(err)
	}
	backlog := httpapi.Backlog{Peers: []httpapi.PeerBacklog{}, Failed: failures(seen.Failed)}
	for _, p := range seen.Peers {
		backlog.Peers = append(backlog.Peers, o.peerBacklog(p))
	}
	for _, p := range o.node.Peers() {
		if !slices.ContainsFunc(seen.Peers, func(d cluster.PeerDelivery) bool { return d.Destination == p.Domain }) {
			backlog.Peers = append(backlog.Peers, o.peerBacklog(cluster.PeerDelivery{Destination: p.Domain}))
		}
	}
	slices.SortFunc(backlog.Peers, func(a, b httpapi.PeerBacklog) int { return a.Destination.Compare(b.Destination) })
	return backlog, nil
}

func (o *operations) peerBacklog(seen cluster.PeerDelivery) httpapi.PeerBacklog {
	p := httpapi.PeerBacklog{
		Destination: seen.Destination, Hold: o.holdOf(seen.Destination), Shards: []httpapi.ShardBacklog{}, Lanes: []httpapi.DeliveryLane{},
	}
	var sum fsm.OutboxBacklog
	for _, s := range seen.Shards {
		sum.Merge(s.Waits)
		p.Shards = append(p.Shards, httpapi.ShardBacklog{Shard: s.Shard, Leader: s.Leader, Deliverer: s.Deliverer, Waits: waits(s.Waits)})
	}
	p.Waits = waits(sum)
	for _, l := range seen.Lanes {
		lane := httpapi.DeliveryLane{
			Node: l.Node, FailingSince: l.FailingSince, Error: l.Error, NextTry: l.NextTry, RoomsInFlight: l.InFlight,
			Parked: []httpapi.ParkedRoom{}, ParkedMore: l.ParkedMore,
		}
		for _, r := range l.Parked {
			lane.Parked = append(lane.Parked, httpapi.ParkedRoom{Room: r.Room, Since: r.Since, NextTry: r.NextTry, Refusal: r.Refusal})
		}
		p.Lanes = append(p.Lanes, lane)
	}
	return p
}

func waits(b fsm.OutboxBacklog) httpapi.Waits {
	return httpapi.Waits{Items: b.Items, Bytes: b.Bytes, Rooms: b.Rooms, Oldest: shownMillis(b.OldestMillis), DroppedItems: b.Dropped}
}

// lanesOf are the deliverer's, for other nodes to see.
func lanesOf(deliverer *httpapi.Deliverer) func() map[mimi.Provider]cluster.Lane {
	return func() map[mimi.Provider]cluster.Lane {
		lanes := make(map[mimi.Provider]cluster.Lane)
		for destination, l := range deliverer.Lanes() {
			lane := cluster.Lane{
				FailingSince: l.FailingSince, Error: l.Error, NextTry: l.NextTry, InFlight: l.RoomsInFlight, ParkedMore: l.ParkedMore,
			}
			for _, r := range l.Parked {
				lane.Parked = append(lane.Parked, cluster.ParkedRoom{Room: r.Room, Since: r.Since, NextTry: r.NextTry, Refusal: r.Refusal})
			}
			slices.SortFunc(lane.Parked, func(a, b cluster.ParkedRoom) int { return cmp.Compare(a.Room.String(), b.Room.String()) })
			lanes[destination] = lane
		}
		return lanes
	}
}
