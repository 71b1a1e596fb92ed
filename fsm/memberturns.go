package fsm

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// Of a room that is hosted here the ratchet tree says whose leaf is whose: what a Commit changes of the leaves begins and ends windows.

// memberLog is the log of a room that is hosted here. When the room has none yet, as one that is older than inboxes for clients, those who
// are in it now are in it from here on. false where there is no such room, or it is no more.
func (t *tx) memberLog(room mimi.RoomURI) (clientLog, bool) {
	if l, found := t.clientLog(HashOfRoom(room)); found {
		return l, true
	}
	head, found := t.head(room)
	if !found || head.status == RoomDestroyed {
		return clientLog{}, false
	}
	l := t.newClientLog(room, t.settings.Domains[0])
	l.epoch = head.epoch
	t.openForTree(&l)
	t.setClientLog(l)
	return l, true
}

// openForTree begins the windows of all local leaves of the tree as it stands.
func (t *tx) openForTree(l *clientLog) {
	nodes, _, err := ReadTree(t.store, l.room)
	t.check(err)
	for i := 0; i < len(nodes); i += 2 {
		if name := t.nameInNode(nodes[i]); name != "" {
			t.openWindow(l, window{name: name, called: name, leaf: mls.LeafIndex(i / 2), from: l.next})
		}
	}
}

// beginMembersAnew ends the windows of a group that another one follows, and begins those of its first members.
func (t *tx) beginMembersAnew(room mimi.RoomURI) {
	if !t.clientInboxes() {
		return
	}
	l, found := t.clientLog(HashOfRoom(room))
	if !found {
		return // it begins with what comes first
	}
	t.endAll(&l, l.next-1)
	if head, found := t.head(room); found {
		l.epoch = head.epoch
	}
	t.openForTree(&l)
	t.setClientLog(l)
}

// memberTurns is what a Commit does to the local leaves of a room.
type memberTurns struct {
	kept bool            // clients have inboxes
	next uint64          // the log's next position before the Commit
	gone []mls.LeafIndex // whose windows end
	came []namedMember   // whose begin
}

// memberTurnsOf compares the tree with what a Commit makes of it, before it does.
func (t *tx) memberTurnsOf(head roomHead, c AcceptCommit) (turns memberTurns) {
	if !t.clientInboxes() {
		return memberTurns{}
	}
	l, found := t.memberLog(c.Room)
	if !found {
		return memberTurns{}
	}
	turns = memberTurns{kept: true, next: l.next}
	for _, r := range c.Ruling.Removals {
		turns.gone = append(turns.gone, r.Leaf)
	}
	for _, change := range c.Facts.TreeChanges {
		if change.Index%2 != 0 {
			continue
		}
		leaf := mls.LeafIndex(change.Index / 2)
		before, after := t.nameInNode(t.treeNode(head.room, change.Index)), t.nameInNode(change.Node)
		removed := slices.Contains(turns.gone, leaf)
		if before == after && !removed {
			continue
		}
		if !removed {
			turns.gone = append(turns.gone, leaf)
		}
		if after != "" {
			turns.came = append(turns.came, namedMember{leaf, after, after})
		}
	}
	return turns
}

func (t *tx) treeNode(room mimi.RoomURI, index uint32) []byte {
	node, _ := get(t, func(r Reader) ([]byte, bool, error) {
		return readRecord(r, roomKey(keyTreeNode, room).uint32(index), "tree node", readTreeNode)
	})
	return node
}

// turnMembers begins and ends windows when a Commit and its Welcomes are in the log. The Commit is the last that a leaf gets which it takes
// out, and the first that one gets which comes in by it from outside; who is added begins with the Welcome behind it.
func (t *tx) turnMembers(turns memberTurns, c AcceptCommit) {
	if !turns.kept {
		return
	}
	l, _ := t.clientLog(HashOfRoom(c.Room))
	commit, welcome := t.placesOfCommit(l, turns.next)
	for _, leaf := range turns.gone {
		if v, open := t.windowAt(HashOfRoom(c.Room), leaf); open {
			t.endWindow(&l, v, commit)
		}
	}
	member := c.Ruling.Member || !c.Ruling.Made
	for _, m := range t.knownByRoute(c, turns.came) {
		v := window{name: m.name, called: m.called, leaf: m.leaf, from: commit}
		if member {
			v.from, v.welcome = commit+1, welcome
		}
		t.openWindow(&l, v)
	}
	t.dropUnneeded(l, turns.next)
	t.setClientLog(l)
}

// placesOfCommit finds the Commit, and the Welcome if there is one, among what the entry has logged. A Commit of which the local provider
// hears nothing is as if it stood before all that.
func (t *tx) placesOfCommit(l clientLog, next uint64) (commit, welcome uint64) {
	commit = next - 1
	t.check(visitEventIndex(t.store, HashOfRoom(l.room), next, l.next-1, func(position uint64, x eventIndex) (bool, error) {
		switch x.class {
		case ClassCommit:
			commit = position
		case ClassWelcome:
			welcome = position
		}
		return true, nil
	}))
	return commit, welcome
}

// knownByRoute gives a leaf that names a user alone the name of the client for which the room has claimed the KeyPackage that the
// Commit's Welcome names, where there is just one of the user's: then no other can be meant.
func (t *tx) knownByRoute(c AcceptCommit, came []namedMember) []namedMember {
	refs, _ := welcomedRefs(c.Welcomes)
	return t.namedByRoutes(c.Room, refs, came)
}

func (t *tx) namedByRoutes(room mimi.RoomURI, refs []mls.KeyPackageRef, came []namedMember) []namedMember {
	clients := make(map[MemberName][]MemberName)
	for _, ref := range refs {
		route, found := get(t, func(r Reader) (KeyPackageRoute, bool, error) { return ReadRoute(r, room, ref) })
		if found && !route.User.IsZero() && !route.Client.IsZero() {
			user := NameOfUser(route.User)
			clients[user] = append(clients[user], NameOfClient(route.Client))
		}
	}
	count := make(map[MemberName]int)
	for _, m := range came {
		count[m.name]++
	}
	named := slices.Clone(came)
	for i, m := range came {
		if count[m.name] == 1 && len(clients[m.name]) == 1 {
			named[i].name = clients[m.name][0]
		}
	}
	return named
}
