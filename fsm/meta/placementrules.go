package meta

import (
	"fmt"

	"parley/mls"
)

// replaceAfterDefault is how long a node is silent before its replicas are replaced, where nothing else was said.
const replaceAfterDefault = 15 * 60 * 1000

// Bounds of what can be said of placement.
const (
	ReplaceAfterMillisMin = 30 * 1000 // less would take a restart for a loss
	PlacementRateMin      = 64 << 10  // bytes a second; less would never come to an end
)

// PlacementRules say how replicas are placed, and by whose word: the last change that was made.
type PlacementRules struct {
	Paused             bool   // nothing is moved or replaced by itself
	ReplaceAfterMillis uint64 // a node's silence after which its replicas are replaced; 0: never
	BytesPerSecond     uint64 // that a node reads and sends for replicas and slots elsewhere, at most; 0: as the node is configured
	ReplicationFactor  uint32 // replicas of a shard that are wanted
	By                 string // at most DutyTextBytesMax
	Why                string // likewise
	Millis             uint64 // the meta group's time, since 1970; 0 where nothing was ever changed
}

// same reports whether two rules say the same, by whosever word.
func (p PlacementRules) same(o PlacementRules) bool {
	p.By, p.Why, p.Millis = o.By, o.Why, o.Millis
	return p == o
}

// ChangePlacement replaces the rules for who has read them: it is refused where they are of another version by then. The same again
// changes nothing. Millis is apply's to say. It is of fsm.FormatResize.
type ChangePlacement struct {
	Version uint64 // of the rules that were read
	Rules   PlacementRules
	Stamp   uint64
}

// WithStamp implements Stamped.
func (c ChangePlacement) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// About implements Described.
func (c ChangePlacement) About() string {
	r := c.Rules
	return fmt.Sprintf("paused %v, replace after %d s, %d bytes a second, %d replicas: %q",
		r.Paused, r.ReplaceAfterMillis/1000, r.BytesPerSecond, r.ReplicationFactor, r.Why)
}

func (ChangePlacement) kind() commandKind { return kindChangePlacement }

//	struct {
//	    uint64 version;
//	    PlacementRules rules;
//	    uint64 stamp;
//	} ChangePlacement;
func (c ChangePlacement) appendTo(w *mls.Writer) {
	w.Uint64(c.Version)
	c.Rules.appendTo(w)
	w.Uint64(c.Stamp)
}

func readChangePlacement(r *mls.Reader) ChangePlacement {
	return ChangePlacement{Version: r.Uint64("version"), Rules: readPlacementRules(r), Stamp: r.Uint64("stamp")}
}

//	struct {
//	    uint8 paused;
//	    uint64 replace_after_millis;
//	    uint64 bytes_per_second;
//	    uint32 replication_factor;
//	    opaque by<V>;
//	    opaque why<V>;
//	    uint64 millis;
//	} PlacementRules;
func (p PlacementRules) appendTo(w *mls.Writer) {
	w.Bool(p.Paused)
	w.Uint64(p.ReplaceAfterMillis)
	w.Uint64(p.BytesPerSecond)
	w.Uint32(p.ReplicationFactor)
	appendText(w, p.By)
	appendText(w, p.Why)
	w.Uint64(p.Millis)
}

func readPlacementRules(r *mls.Reader) PlacementRules {
	return PlacementRules{
		Paused: r.Bool("paused"), ReplaceAfterMillis: r.Uint64("replace_after_millis"), BytesPerSecond: r.Uint64("bytes_per_second"),
		ReplicationFactor: r.Uint32("replication_factor"), By: string(r.Opaque("by")), Why: string(r.Opaque("why")), Millis: r.Uint64("millis"),
	}
}

//	struct {
//	    uint64 version;       // of the map, when they last changed
//	    PlacementRules rules;
//	} PlacementRecord;
type placementRecord struct {
	version uint64
	rules   PlacementRules
}

func (p placementRecord) appendTo(w *mls.Writer) {
	w.Uint64(p.version)
	p.rules.appendTo(w)
}

func readPlacementRecord(r *mls.Reader) placementRecord {
	return placementRecord{version: r.Uint64("version"), rules: readPlacementRules(r)}
}

func (c ChangePlacement) apply(t *tx) Outcome {
	if fault := t.resizeFault(); fault != nil {
		return fault
	}
	rules, version := t.m.Placement()
	switch fault := placementFault(t.m, c.Rules); {
	case fault != "":
		return Refused{fault}
	case rules.same(c.Rules):
		return t.unchanged()
	case c.Version != version:
		return refuse("the rules of placement are of version %d by now, and the change was made to version %d", version, c.Version)
	}
	c.Rules.Millis = t.now(c.Stamp)
	t.set(newKey(keyPlacement), placementRecord{t.next(), c.Rules}.appendTo)
	return t.stamped(c.Stamp)
}

func placementFault(m *Map, p PlacementRules) string {
	serving := len(m.ServingNodes())
	switch {
	case p.ReplaceAfterMillis != 0 && p.ReplaceAfterMillis < ReplaceAfterMillisMin:
		return fmt.Sprintf("a node's replicas are replaced after %d s of silence at the least", ReplaceAfterMillisMin/1000)
	case p.BytesPerSecond != 0 && p.BytesPerSecond < PlacementRateMin:
		return fmt.Sprintf("moves cannot be held to less than %d bytes a second", PlacementRateMin)
	case p.ReplicationFactor < 1 || p.ReplicationFactor > ReplicasMax:
		return fmt.Sprintf("the replication factor is not between 1 and %d", ReplicasMax)
	case int(p.ReplicationFactor) > m.ReplicationFactor() && int(p.ReplicationFactor) > serving:
		return fmt.Sprintf("only %d nodes serve, too few for %d replicas of each shard", serving, p.ReplicationFactor)
	case len(p.By) > DutyTextBytesMax || len(p.Why) > DutyTextBytesMax:
		return fmt.Sprintf("who changes how replicas are placed and why must be at most %d bytes each", DutyTextBytesMax)
	}
	return ""
}

// Placement is how replicas are placed, with the version to change it under.
func (m *Map) Placement() (rules PlacementRules, version uint64) {
	if m.placement.version == 0 {
		return PlacementRules{ReplaceAfterMillis: replaceAfterDefault, ReplicationFactor: m.cluster.replication}, 0
	}
	return m.placement.rules, m.placement.version
}

// ReplicationFactor is how many replicas of a shard are wanted.
func (m *Map) ReplicationFactor() int {
	rules, _ := m.Placement()
	return int(rules.ReplicationFactor)
}
