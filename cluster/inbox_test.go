package cluster

import (
	"fmt"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// say has a room take messages with the given labels.
func (c *testCluster) say(at string, r *fsmtest.Room, count int, size int) {
	c.t.Helper()
	alice := user(c.t, "alice")
	for i := range count {
		label := fmt.Sprintf("%s %d %*s", r.URI, i, size, "")
		outcome, _ := propose(c.t, c, at, r.Message(label, r.Epoch, alice))
		if _, ok := outcome.(fsm.Accepted); !ok {
			c.t.Fatalf("message: %#v", outcome)
		}
	}
}

// wholeInbox is all that waits for the local provider, as a node reads it. A shard whose leader does not answer in time is left out of a page, and
// the page is not whole then.
func (c *testCluster) wholeInbox(at string) (items []fsm.OutboxItem) {
	c.t.Helper()
	eventually(c.t, "every shard's part of the inbox is read at "+at, func() bool {
		page, err := c.nodes[at].ReadInbox(c.context(), fsm.InboxQuery{Items: inboxItemsMax})
		items = page.Items
		return err == nil && page.Whole
	})
	return items
}

// readAll reads on behind each page until one is whole, and sees to it that no page leaves anything out between.
func (c *testCluster) readAll(at string, query fsm.InboxQuery) (items []fsm.OutboxItem, places fsm.InboxPlaces) {
	c.t.Helper()
	for {
		query.After = places
		var page fsm.InboxPage
		eventually(c.t, "there is a page with something, or the last one", func() bool {
			var err error
			page, err = c.nodes[at].ReadInbox(c.context(), query)
			return err == nil && (page.Whole || len(page.Items) > 0)
		})
		bytes := 0
		for _, item := range page.Items {
			places = places.With(item.Slot, item.Sequence)
			bytes += len(item.Body)
		}
		if len(page.Items) > query.Items || query.Bytes > 0 && len(page.Items) > 1 && bytes > query.Bytes {
			c.t.Fatalf("a page of %d items and %d bytes for %+v", len(page.Items), bytes, query)
		}
		items = append(items, page.Items...)
		if page.Whole {
			return items, places
		}
	}
}

func TestInboxPages(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	const quietRooms, busyMessages = 5, 40
	busy := c.openRoom("n1", "busy")
	c.say("n1", busy, busyMessages, 100)
	quiet := map[mimi.RoomURI]bool{}
	for i := range quietRooms {
		r := c.openRoom("n1", fmt.Sprint("quiet", i))
		quiet[r.URI] = true
		c.say("n2", r, 2, 100)
	}
	commit := busy.Commit(fsmtest.Next{Label: "last"})
	propose(t, c, "n1", commit)
	busy.Advance(commit)

	t.Run("every room has its turn", func(t *testing.T) {
		for id, n := range c.nodes {
			eventually(t, "the busy room keeps none out at "+id, func() bool { // but a shard's that does not answer in time
				page, err := n.ReadInbox(c.context(), fsm.InboxQuery{Items: 2 * (quietRooms + 1)})
				seen := map[mimi.RoomURI]bool{}
				for _, item := range page.Items {
					seen[item.Room] = true
				}
				return err == nil && !page.Whole && len(page.Items) == 2*(quietRooms+1) && len(seen) == quietRooms+1
			})
		}
	})
	t.Run("cursors leave nothing out", func(t *testing.T) {
		for _, query := range []fsm.InboxQuery{{Items: 7}, {Items: 1000, Bytes: 1000}, {Items: 1000}} {
			items, _ := c.readAll("n3", query)
			last := map[fsm.SlotID]uint64{}
			for _, item := range items {
				if item.Sequence != last[item.Slot]+1 {
					t.Fatalf("%+v: item %d of slot %d comes after %d", query, item.Sequence, item.Slot, last[item.Slot])
				}
				last[item.Slot] = item.Sequence
			}
			if want := busyMessages + 2*quietRooms + 1; len(items) != want {
				t.Errorf("%+v: %d items of %d", query, len(items), want)
			}
		}
	})
	t.Run("classes", func(t *testing.T) {
		items, _ := c.readAll("n1", fsm.InboxQuery{Items: 10, Classes: fsm.ClassCommit | fsm.ClassWelcome})
		if len(items) != 1 || items[0].Room != busy.URI {
			t.Errorf("handshakes: %v", items)
		}
	})
	t.Run("a cursor outlives the leader", func(t *testing.T) {
		var page fsm.InboxPage
		eventually(t, "the inbox is read", func() bool {
			var err error
			page, err = c.nodes["n1"].ReadInbox(c.context(), fsm.InboxQuery{Items: 20})
			return err == nil
		})
		var places fsm.InboxPlaces
		for _, item := range page.Items {
			places = places.With(item.Slot, item.Sequence)
		}
		shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(busy.URI))
		gone := c.leaderNode(shard.ID)
		c.stop(gone)
		var at string
		for id := range c.nodes {
			at = id
		}
		rest := map[mimi.RoomURI]uint64{}
		read := len(page.Items)
		eventually(t, "the rest is there behind the cursor", func() bool {
			after, err := c.nodes[at].ReadInbox(c.context(), fsm.InboxQuery{Items: 1000, After: places})
			if err != nil || !after.Whole || len(after.Items)+read < busyMessages+2*quietRooms+1 {
				return false
			}
			for _, item := range after.Items {
				if item.Sequence <= places.Of(item.Slot) {
					t.Fatalf("%d of slot %d comes again", item.Sequence, item.Slot)
				}
				rest[item.Room]++
			}
			return true
		})
		// All before the cursor is acknowledged at once, and never comes again.
		for _, place := range places {
			outcome, _ := propose(t, c, at, fsm.AcknowledgeThrough{At: place.Slot, Destination: provider(t, "a.example"), Through: place.Sequence})
			if acknowledged, ok := outcome.(fsm.Acknowledged); !ok || acknowledged.More {
				t.Fatalf("acknowledgement: %#v", outcome)
			}
		}
		left, _ := c.readAll(at, fsm.InboxQuery{Items: 1000})
		if len(left)+read != busyMessages+2*quietRooms+1 {
			t.Errorf("%d items are left of %d, and %d were acknowledged", len(left), busyMessages+2*quietRooms+1, read)
		}
		for _, item := range left {
			if item.Sequence <= places.Of(item.Slot) {
				t.Errorf("%d of slot %d was acknowledged and is there", item.Sequence, item.Slot)
			}
		}
	})
}
