package meta

import (
	"cmp"
	"fmt"
	"slices"

	"parley/mls"
)

// DutyTextBytesMax bounds who wants something of a node, and why.
const DutyTextBytesMax = 256

// DutyKind is what a node is wanted for. Numbers are append-only.
type DutyKind uint8

const (
	Serving  DutyKind = 1 // it leads, and takes replicas; what a node is wanted for of which nothing was said
	Draining DutyKind = 2 // it keeps its replicas, leads nothing and takes none
	Leaving  DutyKind = 3 // likewise, and its replicas go to other nodes
)

func (k DutyKind) String() string {
	switch k {
	case Serving:
		return "serving"
	case Draining:
		return "draining"
	case Leaving:
		return "leaving"
	default:
		return fmt.Sprintf("duty %d", uint8(k))
	}
}

// Duty says what a node is wanted for, since when, and by whose word. It is a record of its own: the node itself writes its Node anew
// whenever its address changes.
type Duty struct {
	Node string
	Kind DutyKind
	// Successor is the node that is to have what a leaving one has, wherever it can; empty lets each replica go where it is best.
	Successor string
	By        string // who wanted it so, as he called himself; at most DutyTextBytesMax
	Why       string // likewise
	Millis    uint64 // the meta group's time, since 1970
}

// AssignNode changes what a node is wanted for. Who asks for what is so already changes nothing: the first word stands. A node may leave
// only if as many nodes as a shard has replicas go on serving, and drain only if one does. Millis is apply's to say. Every node has to
// know it: it is of fsm.FormatResize.
type AssignNode struct {
	Duty  Duty
	Stamp uint64
}

// DismissNode takes a node that has no replica any more out of the cluster for good, and revokes its certificates. The same again changes
// nothing. It is of fsm.FormatResize.
type DismissNode struct {
	Node  string
	Stamp uint64
}

// WithStamp implements Stamped.
func (c AssignNode) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// WithStamp implements Stamped.
func (c DismissNode) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// About implements Described.
func (c AssignNode) About() string {
	text := fmt.Sprintf("node %s is %s", c.Duty.Node, c.Duty.Kind)
	if c.Duty.Successor != "" {
		text += ", for " + c.Duty.Successor
	}
	return fmt.Sprintf("%s: %q", text, c.Duty.Why)
}

// About implements Described.
func (c DismissNode) About() string { return "node " + c.Node }

func (AssignNode) kind() commandKind  { return kindAssignNode }
func (DismissNode) kind() commandKind { return kindDismissNode }

//	struct {
//	    Duty duty;
//	    uint64 stamp;
//	} AssignNode;
func (c AssignNode) appendTo(w *mls.Writer) {
	c.Duty.appendTo(w)
	w.Uint64(c.Stamp)
}

//	struct {
//	    opaque node<V>;
//	    uint64 stamp;
//	} DismissNode;
func (c DismissNode) appendTo(w *mls.Writer) {
	appendText(w, c.Node)
	w.Uint64(c.Stamp)
}

//	struct {
//	    opaque node<V>;
//	    uint8 kind;
//	    opaque successor<V>;
//	    opaque by<V>;
//	    opaque why<V>;
//	    uint64 millis;
//	} Duty;
func (d Duty) appendTo(w *mls.Writer) {
	appendText(w, d.Node)
	w.Uint8(uint8(d.Kind))
	appendText(w, d.Successor)
	appendText(w, d.By)
	appendText(w, d.Why)
	w.Uint64(d.Millis)
}

func readDuty(r *mls.Reader) Duty {
	return Duty{
		Node: string(r.Opaque("node")), Kind: DutyKind(r.Uint8("kind")), Successor: string(r.Opaque("successor")),
		By: string(r.Opaque("by")), Why: string(r.Opaque("why")), Millis: r.Uint64("millis"),
	}
}

func dutyKey(node string) []byte { return newKey(keyDuty, []byte(node)...) }

func (c AssignNode) apply(t *tx) Outcome {
	if fault := t.resizeFault(); fault != nil {
		return fault
	}
	d := c.Duty
	n, found := t.m.Node(d.Node)
	switch was := t.m.Duty(d.Node); {
	case !found:
		return refuse("the node %q does not exist", d.Node)
	case n.State != NodeActive:
		return refuse("the node %q was removed; its ID is not used again", d.Node)
	case len(d.By) > DutyTextBytesMax || len(d.Why) > DutyTextBytesMax:
		return refuse("who wants something of a node and why must be at most %d bytes each", DutyTextBytesMax)
	case was.Kind == d.Kind && was.Successor == d.Successor:
		return t.unchanged()
	}
	if reason := t.m.DutyFault(d); reason != "" {
		return refuse("the node %q: %s", d.Node, reason)
	}
	d.Millis = t.now(c.Stamp)
	t.set(dutyKey(d.Node), d.appendTo)
	return t.stamped(c.Stamp)
}

// DutyFault says why a node cannot be wanted for something, or nothing.
func (m *Map) DutyFault(d Duty) string {
	others := slices.DeleteFunc(m.ServingNodes(), func(node string) bool { return node == d.Node })
	switch {
	case d.Kind < Serving || d.Kind > Leaving:
		return "what it is wanted for is not known"
	case d.Successor != "" && d.Kind != Leaving:
		return "only a node that leaves has a successor"
	case d.Successor != "" && !slices.Contains(others, d.Successor):
		return fmt.Sprintf("its successor %q is none of the other nodes that serve", d.Successor)
	case d.Kind == Draining && len(others) == 0:
		return "no other node serves"
	case d.Kind == Leaving && len(others) < m.ReplicationFactor():
		return fmt.Sprintf("without it %d nodes serve, and each shard is to have %d replicas", len(others), m.ReplicationFactor())
	}
	return ""
}

func (c DismissNode) apply(t *tx) Outcome {
	if fault := t.resizeFault(); fault != nil {
		return fault
	}
	n, found := t.m.Node(c.Node)
	switch {
	case !found:
		return refuse("the node %q does not exist", c.Node)
	case n.State == NodeRemoved:
		return t.unchanged()
	}
	for _, s := range t.m.shards {
		if slices.Contains(s.Replicas, c.Node) {
			return refuse("the node %q has a replica of shard %d", c.Node, s.ID)
		}
	}
	if active := slices.DeleteFunc(slices.Clone(t.m.nodes), func(n Node) bool { return n.State != NodeActive }); len(active) == 1 {
		return refuse("the node %q is the last one", c.Node)
	}
	t.removeNode(c.Node)
	t.revokeAll(c.Node, c.Stamp)
	return t.stamped(c.Stamp)
}

// revokeAll revokes a node's certificates, those that are on record and those that are not.
func (t *tx) revokeAll(node string, stamp uint64) {
	for _, o := range t.m.certificates {
		if o.Node == node && !o.Revoked {
			o.Revoked = true
			t.set(certificateKey(o.Serial), o.appendTo)
		}
	}
	t.set(newKey(keyRevocation, []byte(node)...), Revocation{node, t.now(stamp)}.appendTo)
}

func (m *Map) dutyOf(node string) (Duty, bool) {
	return find(m.duties, func(d Duty) int { return cmp.Compare(d.Node, node) })
}

// Duty is what a node is wanted for.
func (m *Map) Duty(node string) Duty {
	if d, said := m.dutyOf(node); said {
		return d
	}
	return Duty{Node: node, Kind: Serving}
}

// Serves reports whether a node is in the cluster, leads and takes replicas.
func (m *Map) Serves(node string) bool {
	n, found := m.Node(node)
	return found && n.State == NodeActive && m.Duty(node).Kind == Serving
}

// ServingNodes are the nodes that serve, by ID. The slice is the caller's.
func (m *Map) ServingNodes() (nodes []string) {
	for _, n := range m.nodes {
		if m.Serves(n.ID) {
			nodes = append(nodes, n.ID)
		}
	}
	return nodes
}
