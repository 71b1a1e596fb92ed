package meta

import (
	"slices"

	"parley/fsm"
	"parley/mls"
)

// BeginGeneration begins a generation of the cluster after a part of its history was lost for good (fsm/generation.go). It is written by who recovers
// the cluster from the replicas that are left, into the log of the meta group's new beginning: the nodes that are lost are removed, and each shard
// has the replicas that are left of it. It raises the settings to fsm.FormatResize. A generation that is not above the map's changes nothing.
type BeginGeneration struct {
	Generation  fsm.Generation
	EndedMillis uint64   // by when the lost history had ended, see fsm.BeginGeneration
	Lost        []string // nodes that are lost for good, in order
	Shards      []ShardLeft
	Stamp       uint64
}

// ShardLeft is what is left of a shard's replicas, the one that it goes on from first.
type ShardLeft struct {
	ID       fsm.ShardID
	Replicas []string
}

const kindBeginGeneration commandKind = 65

const keyGeneration keyKind = 0x9d

// WithStamp implements Stamped.
func (c BeginGeneration) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

func (BeginGeneration) kind() commandKind { return kindBeginGeneration }

//	struct {
//	    uint64 generation;
//	    uint64 ended_millis;
//	    opaque lost<V><V>;
//	    ShardLeft shards<V>;
//	    uint64 stamp;
//	} BeginGeneration;
//
//	struct {
//	    uint32 id;
//	    opaque replicas<V><V>;
//	} ShardLeft;
func (c BeginGeneration) appendTo(w *mls.Writer) {
	w.Uint64(uint64(c.Generation))
	w.Uint64(c.EndedMillis)
	appendTexts(w, c.Lost)
	w.Vector(func(w *mls.Writer) {
		for _, s := range c.Shards {
			w.Uint32(uint32(s.ID))
			appendTexts(w, s.Replicas)
		}
	})
	w.Uint64(c.Stamp)
}

func readBeginGeneration(r *mls.Reader) BeginGeneration {
	return BeginGeneration{
		Generation: fsm.Generation(r.Uint64("generation")), EndedMillis: r.Uint64("ended_millis"), Lost: readTexts(r, "lost"),
		Shards: mls.ReadList(r, "shards", func(r *mls.Reader) ShardLeft {
			return ShardLeft{ID: fsm.ShardID(r.Uint32("id")), Replicas: readTexts(r, "replicas")}
		}),
		Stamp: r.Uint64("stamp"),
	}
}

// generationRecord is the cluster's generation.
//
//	struct {
//	    uint64 generation;
//	    uint64 ended_millis;
//	    opaque lost<V><V>; // nodes, of all generations so far
//	} GenerationRecord;
type generationRecord struct {
	generation  fsm.Generation
	endedMillis uint64
	lost        []string
}

func (g generationRecord) appendTo(w *mls.Writer) {
	w.Uint64(uint64(g.generation))
	w.Uint64(g.endedMillis)
	appendTexts(w, g.lost)
}

func readGenerationRecord(r *mls.Reader) generationRecord {
	return generationRecord{generation: fsm.Generation(r.Uint64("generation")), endedMillis: r.Uint64("ended_millis"), lost: readTexts(r, "lost")}
}

// Generation is the cluster's: its shards begin it before they decide anything.
func (m *Map) Generation() fsm.Generation { return max(m.generation.generation, fsm.FirstGeneration) }

// HistoryEndedMillis is by when the history that is lost had ended, in milliseconds since 1970; 0 in the first generation.
func (m *Map) HistoryEndedMillis() uint64 { return m.generation.endedMillis }

func (m *Map) readGeneration(r fsm.Reader) (err error) {
	m.generation, _, err = readOne(r, newKey(keyGeneration), "generation", readGenerationRecord)
	return err
}

// setGeneration makes a generation the cluster's.
func (t *tx) setGeneration(g fsm.Generation, endedMillis uint64) {
	t.set(newKey(keyGeneration), generationRecord{g, endedMillis, t.m.generation.lost}.appendTo)
}

func (c BeginGeneration) apply(t *tx) Outcome {
	if c.Generation <= t.m.Generation() {
		return t.unchanged()
	}
	for _, s := range c.Shards {
		if reason := c.shardFault(t.m, s); reason != "" {
			return refuse("shard %d: %s", s.ID, reason)
		}
	}
	for _, id := range c.Lost {
		if _, found := t.m.Node(id); !found {
			return refuse("the node %q does not exist", id)
		}
	}
	// Versions that the lost part has drawn are not drawn again: moves and settings are known by them.
	t.m.version = max(t.m.version, c.Generation.Above())
	for _, id := range c.Lost {
		t.removeNode(id)
	}
	for _, left := range c.Shards {
		s, _ := t.m.Shard(left.ID)
		s.Replicas = left.Replicas
		t.set(shardKey(s.ID), s.appendTo)
		if _, moving := t.m.Succession(s.ID); moving {
			t.delete(successionKey(s.ID))
		}
	}
	t.m.generation.lost = append(slices.Clone(t.m.generation.lost), c.Lost...)
	t.setGeneration(c.Generation, c.EndedMillis)
	settings := t.m.settings
	settings.Format = max(settings.Format, fsm.FormatResize)
	t.setSettings(settings)
	return t.stamped(c.Stamp)
}

// lostOnes reports whether a node was lost with a part of the cluster's history. Its certificates are as good as before, unless they are revoked: so
// that it hears, when it comes back with what it was, that it is over, instead of going on with others like it.
func (m *Map) lostOnes(node string) bool { return slices.Contains(m.generation.lost, node) }

// removeNode takes a node out of the cluster for good.
func (t *tx) removeNode(id string) {
	n, _ := t.m.Node(id)
	n.State = NodeRemoved
	t.set(newKey(keyNode, []byte(id)...), n.appendTo)
	if _, said := t.m.dutyOf(id); said {
		t.delete(dutyKey(id))
	}
	if _, told := t.m.ZoneOf(id); told {
		t.delete(zoneKey(id))
	}
}

func (c BeginGeneration) shardFault(m *Map, left ShardLeft) string {
	s, found := m.Shard(left.ID)
	switch {
	case !found:
		return "it does not exist"
	case len(left.Replicas) == 0:
		return "nothing is left of it"
	}
	for i, node := range left.Replicas {
		if !slices.Contains(s.Replicas, node) || slices.Contains(c.Lost, node) || slices.Contains(left.Replicas[:i], node) {
			return "its replicas are not some of those that it had, on nodes that are not lost"
		}
	}
	return ""
}
