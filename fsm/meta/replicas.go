package meta

import (
	"cmp"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mls"
)

// ChangeReplicas changes by one node where a shard's replicas are to be: one is added, or one goes, or they stay and their order is
// another. It is refused where they are not as Was says, or where fewer would be left than the cluster wants of each shard. A node that
// comes has to serve. The same again changes nothing. It is of fsm.FormatResize.
//
// Leaves makes the addition of a node the first half of a move: the named one goes when the new one has the shard (see Succession).
// With Was and Replicas the same a succession that stands is given up, and all its nodes stay.
type ChangeReplicas struct {
	Shard    fsm.ShardID
	Was      []string
	Replicas []string // the first is the preferred leader
	Leaves   string
}

// Succession is a move of a replica that is under way: both nodes are among the shard's, until one of them goes. No other node comes or
// goes meanwhile.
type Succession struct {
	Shard  fsm.ShardID
	Joins  string
	Leaves string
}

// About implements Described.
func (c ChangeReplicas) About() string {
	text := fmt.Sprintf("shard %d from %v to %v", c.Shard, c.Was, c.Replicas)
	if c.Leaves != "" {
		text += ", then without " + c.Leaves
	}
	return text
}

func (ChangeReplicas) kind() commandKind { return kindChangeReplicas }

//	struct {
//	    uint32 shard;
//	    opaque was<V><V>;
//	    opaque replicas<V><V>;
//	    opaque leaves<V>;
//	} ChangeReplicas;
func (c ChangeReplicas) appendTo(w *mls.Writer) {
	w.Uint32(uint32(c.Shard))
	appendTexts(w, c.Was)
	appendTexts(w, c.Replicas)
	appendText(w, c.Leaves)
}

func readChangeReplicas(r *mls.Reader) ChangeReplicas {
	return ChangeReplicas{
		Shard: fsm.ShardID(r.Uint32("shard")), Was: readTexts(r, "was"), Replicas: readTexts(r, "replicas"), Leaves: string(r.Opaque("leaves")),
	}
}

//	struct {
//	    uint32 shard;
//	    opaque joins<V>;
//	    opaque leaves<V>;
//	} Succession;
func (s Succession) appendTo(w *mls.Writer) {
	w.Uint32(uint32(s.Shard))
	appendText(w, s.Joins)
	appendText(w, s.Leaves)
}

func readSuccession(r *mls.Reader) Succession {
	return Succession{Shard: fsm.ShardID(r.Uint32("shard")), Joins: string(r.Opaque("joins")), Leaves: string(r.Opaque("leaves"))}
}

func successionKey(shard fsm.ShardID) []byte {
	return newKey(keySuccession, shardKey(shard)[len(newKey(keyShard)):]...)
}

func (c ChangeReplicas) apply(t *tx) Outcome {
	if fault := t.resizeFault(); fault != nil {
		return fault
	}
	s, found := t.m.Shard(c.Shard)
	switch under, moving := t.m.Succession(c.Shard); {
	case !found:
		return refuse("shard %d does not exist", c.Shard)
	case s.State != ShardActive:
		return refuse("shard %d is %s", c.Shard, s.State)
	case slices.Equal(s.Replicas, c.Replicas) && moving && slices.Equal(c.Was, c.Replicas) && c.Leaves == "":
		t.delete(successionKey(s.ID))
		return t.changed()
	case slices.Equal(s.Replicas, c.Replicas) && under.Leaves == c.Leaves:
		return t.unchanged()
	case !slices.Equal(s.Replicas, c.Was):
		return refuse("the replicas of shard %d are on %v by now", c.Shard, s.Replicas)
	}
	joins, leaves := difference(c.Replicas, c.Was), difference(c.Was, c.Replicas)
	if reason := replicasFault(t.m, c, joins, leaves); reason != "" {
		return refuse("shard %d: %s", c.Shard, reason)
	}
	s.Replicas = c.Replicas
	t.set(shardKey(s.ID), s.appendTo)
	switch _, moving := t.m.Succession(c.Shard); {
	case c.Leaves != "":
		t.set(successionKey(s.ID), Succession{s.ID, joins[0], c.Leaves}.appendTo)
	case moving && len(leaves) > 0:
		t.delete(successionKey(s.ID))
	}
	return t.changed()
}

func replicasFault(m *Map, c ChangeReplicas, joins, leaves []string) string {
	most := ReplicasMax
	if c.Leaves != "" {
		most++
	}
	under, moving := m.Succession(c.Shard)
	switch {
	case len(c.Replicas) == 0 || len(c.Replicas) > most:
		return fmt.Sprintf("it would have %d replicas, and it has 1 to %d", len(c.Replicas), ReplicasMax)
	case len(slices.Compact(slices.Sorted(slices.Values(c.Replicas)))) != len(c.Replicas):
		return "a node is named twice"
	case len(joins)+len(leaves) > 1:
		return "its replicas change by one node at a time"
	case len(joins) == 1 && !m.Serves(joins[0]):
		return fmt.Sprintf("the node %q is none that serves", joins[0])
	case len(joins) == 1 && moving, len(leaves) == 1 && moving && leaves[0] != under.Joins && leaves[0] != under.Leaves:
		return fmt.Sprintf("it is being moved from node %q to node %q", under.Leaves, under.Joins)
	case c.Leaves != "" && (len(joins) == 0 || !slices.Contains(c.Was, c.Leaves)):
		return fmt.Sprintf("the node %q leaves it for another that comes, and has to have it", c.Leaves)
	case len(leaves) == 1 && len(c.Replicas) < m.ReplicationFactor():
		return fmt.Sprintf("%d replicas would be left, and %d are wanted", len(c.Replicas), m.ReplicationFactor())
	}
	return ""
}

// difference is what a has and b has not.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// Successions are the moves of replicas that are under way, by shard.
func (m *Map) Successions() []Succession { return m.successions }

// Succession is the move of a shard's replica that is under way.
func (m *Map) Succession(shard fsm.ShardID) (Succession, bool) {
	return find(m.successions, func(s Succession) int { return cmp.Compare(s.Shard, shard) })
}

// readPlacing reads what the map holds of where replicas are to be, beside the shards themselves.
func (m *Map) readPlacing(r fsm.Reader) (err error) {
	if m.duties, err = readAll(r, keyDuty, "duty", readDuty); err != nil {
		return err
	}
	if m.zones, err = readAll(r, keyZone, "zone", readZone); err != nil {
		return err
	}
	if m.placement, _, err = readOne(r, newKey(keyPlacement), "placement", readPlacementRecord); err != nil {
		return err
	}
	m.successions, err = readAll(r, keySuccession, "succession", readSuccession)
	return err
}
