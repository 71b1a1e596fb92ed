package meta

import (
	"cmp"

	"parley/mls"
)

// Zone is the failure domain that a node says it is in: what may fail together has one name. Replicas of a shard are spread over zones.
type Zone struct {
	Node string
	Name string // of a node's ID's form; empty where the node was told none
}

// TellZone is a node's word on its zone. It is of fsm.FormatResize.
type TellZone struct{ Zone Zone }

func (TellZone) kind() commandKind        { return kindTellZone }
func (c TellZone) appendTo(w *mls.Writer) { c.Zone.appendTo(w) }
func zoneKey(node string) []byte          { return newKey(keyZone, []byte(node)...) }

//	struct {
//	    opaque node<V>;
//	    opaque name<V>;
//	} Zone;
func (z Zone) appendTo(w *mls.Writer) {
	appendText(w, z.Node)
	appendText(w, z.Name)
}

func readZone(r *mls.Reader) Zone {
	return Zone{Node: string(r.Opaque("node")), Name: string(r.Opaque("name"))}
}

// ZoneFault says what is wrong with a zone's name, or nothing.
func ZoneFault(name string) string {
	if name == "" {
		return ""
	}
	return nameFault(name)
}

func (c TellZone) apply(t *tx) Outcome {
	if fault := t.resizeFault(); fault != nil {
		return fault
	}
	n, found := t.m.Node(c.Zone.Node)
	switch was, told := t.m.ZoneOf(c.Zone.Node); {
	case !found || n.State != NodeActive:
		return refuse("the node %q is not an active one", c.Zone.Node)
	case told && was == c.Zone.Name:
		return t.unchanged()
	}
	if reason := ZoneFault(c.Zone.Name); reason != "" {
		return refuse("the zone %s", reason)
	}
	t.set(zoneKey(c.Zone.Node), c.Zone.appendTo)
	return t.changed()
}

// ZoneOf is the zone of a node, which may be the empty one; false where the node has not said anything yet.
func (m *Map) ZoneOf(node string) (name string, told bool) {
	z, told := find(m.zones, func(z Zone) int { return cmp.Compare(z.Node, node) })
	return z.Name, told
}
