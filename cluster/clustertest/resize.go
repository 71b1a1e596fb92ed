package clustertest

import (
	"context"
	"slices"
	"time"

	"parley/fsm/meta"
)

// assign asks for a duty of a node, of whoever lives.
func (w *World) assign(id string, kind meta.DutyKind) error {
	return w.change(meta.AssignNode{Duty: meta.Duty{Node: id, Kind: kind, By: "the plan"}})
}

// change brings a command into the meta group's log, at any node.
func (w *World) change(command meta.Command) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := context.Canceled
	for _, l := range w.alive() {
		if err = l.node.Change(ctx, command); err == nil {
			break
		}
	}
	return err
}

// leave wants a node to leave, and changes its mind after a while. It is refused where too few would be left.
func (p *plan) leave() func() { return p.duty(meta.Leaving) }
func (p *plan) drain() func() { return p.duty(meta.Draining) }

func (p *plan) duty(kind meta.DutyKind) func() {
	id := p.node()
	p.ends.Go(func() {
		if err := p.world.assign(id, kind); err != nil {
			p.world.log.Debug("duty", "node", id, "error", err)
		}
	})
	return func() {
		for p.world.assign(id, meta.Serving) != nil && p.pause(time.Second) {
		}
	}
}

// moveReplica begins to move a replica to a node that has none.
func (p *plan) moveReplica() func() {
	l := p.victim()
	if l == nil {
		return nil
	}
	shards := l.node.Map().Shards()
	place := shards[p.random.IntN(len(shards))]
	to := slices.DeleteFunc(p.world.ids(), func(id string) bool { return slices.Contains(place.Replicas, id) })
	if len(to) == 0 {
		return nil
	}
	joins, leaves := to[p.random.IntN(len(to))], place.Replicas[p.random.IntN(len(place.Replicas))]
	p.ends.Go(func() {
		change := meta.ChangeReplicas{Shard: place.ID, Was: place.Replicas, Replicas: append(slices.Clone(place.Replicas), joins), Leaves: leaves}
		if err := p.world.change(change); err != nil {
			p.world.log.Debug("move", "error", err)
		}
	})
	return nil
}
