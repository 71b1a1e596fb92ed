package cluster

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// leafNode is a leaf of the tree as it is stored, that names a client.
func leafNode(client string) []byte {
	leaf := mls.LeafNode{
		EncryptionKey: []byte("encryption key"), SignatureKey: []byte("signature key"), Credential: mls.BasicCredential{Identity: []byte(client)},
		Source: mls.Lifetime{NotAfter: 1}, Signature: []byte("signature"),
	}
	var w mls.Writer
	w.Uint8(1)
	leaf.AppendTo(&w)
	return w.Bytes()
}

// clientRoom is a room of the clients of a test, who are all in it from its beginning.
func (c *testCluster) clientRoom(at, name string, clients ...string) *fsmtest.Room {
	c.t.Helper()
	r := fsmtest.NewRoom(room(c.t, name), 0, []mimi.UserURI{user(c.t, "alice")}, []mimi.Provider{provider(c.t, "a.example")})
	create := r.Create()
	create.Facts.TreeWidth, create.Facts.TreeChanges = uint32(2*len(clients)-1), nil
	for i, client := range clients {
		create.Facts.TreeChanges = append(create.Facts.TreeChanges, fsm.TreeChange{Index: uint32(2 * i), Node: leafNode(client)})
	}
	outcome, _ := propose(c.t, c, at, create)
	if _, ok := outcome.(fsm.Accepted); !ok {
		c.t.Fatalf("create %s: %#v", name, outcome)
	}
	shard, _ := c.nodes[at].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	r.Incarnation, r.Settings = c.incarnationIn(shard.ID, r.URI), c.settingsIn(shard.ID)
	return r
}

// awaitEvents reads a client's inbox at a node until so much is in it.
func (c *testCluster) awaitEvents(at, client string, count int) (events []fsm.ClientEvent) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("%s has %d events", client, count), func() bool {
		page, err := c.nodes[at].ReadEvents(c.context(), fsm.EventQuery{Name: fsm.MemberName(client), Items: 1000})
		events = page.Events
		return err == nil && page.Whole && len(events) >= count
	})
	if len(events) != count {
		c.t.Fatalf("%s has %d events, not %d", client, len(events), count)
	}
	return events
}

// What a client sees is the same at every node, before and after the leader of its rooms is gone; what it has acknowledged does not come
// again; and it is not disturbed by what came before it or comes after it.
func TestClientInboxes(t *testing.T) {
	t.Parallel()
	const staying, leaving = "mimi://a.example/d/staying", "mimi://a.example/d/leaving"
	c := threeNodesOf(t, func(s *fsm.Settings) { s.Bulk.ClientInboxes = true })
	c.awaitSettings()
	var rooms []*fsmtest.Room
	for i := range 3 {
		rooms = append(rooms, c.clientRoom("n1", fmt.Sprint("clients", i), staying, leaving))
	}
	const messages = 5
	for _, r := range rooms {
		c.say("n1", r, messages, 10)
		removal := r.Commit(fsmtest.Next{Label: "removal"})
		removal.Ruling = fsm.Ruling{Made: true, Member: true, Removals: []fsm.Removal{{Leaf: 1}}}
		removal.Facts.TreeWidth, removal.Facts.TreeChanges = 1, nil
		propose(t, c, "n2", removal)
		r.Advance(removal)
		c.say("n3", r, messages, 10)
	}
	for at := range c.nodes {
		c.awaitEvents(at, leaving, len(rooms)*(messages+1))
		c.awaitEvents(at, staying, len(rooms)*(2*messages+1))
	}
	c.checkClientOrder(c.awaitEvents("n2", staying, len(rooms)*(2*messages+1)))
	// Of each room the first half is acknowledged, some by position and some one by one.
	had := map[mimi.RoomURI][]uint64{}
	for _, e := range c.awaitEvents("n1", staying, len(rooms)*(2*messages+1)) {
		if len(had[e.Room]) <= messages {
			had[e.Room] = append(had[e.Room], e.Position)
		}
	}
	for _, r := range rooms {
		acknowledge := fsm.AcknowledgeEvents{Room: fsm.HashOfRoom(r.URI), Name: staying, Through: had[r.URI][2], Positions: had[r.URI][3:]}
		if outcome, _ := propose(t, c, "n3", acknowledge); outcome != (fsm.Acknowledged{Items: messages + 1}) {
			t.Errorf("acknowledged: %#v", outcome)
		}
		for at := range c.nodes {
			eventually(t, "the whole inbox is read at "+at, func() bool {
				page, err := c.nodes[at].ReadEvents(c.context(), fsm.EventQuery{Name: staying, Items: 1000})
				if slices.ContainsFunc(page.Events, func(e fsm.ClientEvent) bool { return e.Room == r.URI && slices.Contains(had[e.Room], e.Position) }) {
					t.Fatalf("%s shows what was acknowledged", at)
				}
				return err == nil && page.Whole
			})
		}
	}
	c.digests("n1")
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(rooms[0].URI))
	c.stop(c.leaderNode(shard.ID))
	for at := range c.nodes {
		c.checkClientOrder(c.awaitEvents(at, staying, len(rooms)*messages))
		events := c.awaitEvents(at, leaving, len(rooms)*(messages+1))
		for _, r := range rooms {
			var last fsm.ClientEvent
			for _, e := range events {
				if e.Room == r.URI {
					last = e
				}
			}
			if last.Class != fsm.ClassCommit {
				t.Errorf("%s: the last of %s is of class %s", at, r.URI, last.Class)
			}
		}
	}
}

// checkClientOrder holds events to the order of their rooms.
func (c *testCluster) checkClientOrder(events []fsm.ClientEvent) {
	c.t.Helper()
	last := map[mimi.RoomURI]uint64{}
	seen := map[[32]byte]bool{}
	for _, e := range events {
		hash := sha256.Sum256(e.Message)
		if e.Position <= last[e.Room] || seen[hash] {
			c.t.Errorf("%d of %s comes after %d, or twice", e.Position, e.Room, last[e.Room])
		}
		last[e.Room], seen[hash] = e.Position, true
	}
}
