package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// followForClients brings an event of a room of another provider to the local clients that are in it. Nothing is kept of a room in which
// there is none.
func (t *tx) followForClients(room mimi.RoomURI, hub mimi.Provider, event loggedEvent, read mimi.FanoutEvent) {
	hash := HashOfRoom(room)
	l, found := t.clientLog(hash)
	if !found {
		l = t.newClientLog(room, hub)
	}
	switch e := read.(type) {
	case mimi.FanoutApplication:
		if l.open > 0 {
			t.logEvent(&l, event)
			t.setClientLog(l)
		}
		return
	case mimi.FanoutWelcome:
		t.followWelcome(&l, event, e)
	case mimi.FanoutProposals:
		if l.open == 0 {
			return
		}
		t.logEvent(&l, event)
		o := t.roster(hash)
		t.awaitProposals(hash, &o, e.Proposals)
		t.setRoster(hash, o)
	case mimi.FanoutCommit:
		content, ok := handshakeIn(e)
		commit, isCommit := content.Body.(mls.Commit)
		if !ok || !isCommit {
			return
		}
		t.followCommit(&l, event, content, commit, e.ExternalProposals)
	}
	t.keepWhileNeeded(l)
}

// followWelcome begins the windows of the local members that a Welcome's tree has and that are in none. Where the tree is elsewhere, the
// claims of the KeyPackages that it names say whom it is for.
func (t *tx) followWelcome(l *clientLog, event loggedEvent, welcome mimi.FanoutWelcome) {
	hash := HashOfRoom(l.room)
	o := t.roster(hash)
	position := t.logEvent(l, event)
	members, whole := t.beginWith(&o, welcome)
	t.setRoster(hash, o)
	if whole {
		t.endMissing(l, members, position-1)
	} else {
		members = t.claimedFor(l.room, welcome.Welcome.Refs())
	}
	for _, m := range t.namedByRoutes(l.room, welcome.Welcome.Refs(), t.unseen(*l, members)) {
		t.openWindow(l, window{name: m.name, called: m.called, leaf: m.leaf, from: position, welcome: position})
	}
	t.dropUnneeded(*l, position)
}

// claimedFor lists whom the KeyPackages were claimed for, as members whose leaves are not known.
func (t *tx) claimedFor(room mimi.RoomURI, refs []mls.KeyPackageRef) (members []namedMember) {
	for _, ref := range refs {
		route, found := get(t, func(r Reader) (KeyPackageRoute, bool, error) { return ReadRoute(r, room, ref) })
		if found && t.isLocal(route.Client.Provider()) {
			members = append(members, namedMember{unknownLeaf, NameOfClient(route.Client), NameOfClient(route.Client)})
		}
	}
	return members
}

// endMissing ends windows whose leaves are not in the tree any more, or somebody else's: what took them out was not seen.
func (t *tx) endMissing(l *clientLog, members []namedMember, until uint64) {
	at := make(map[mls.LeafIndex]MemberName, len(members))
	for _, m := range members {
		at[m.leaf] = m.called
	}
	for _, v := range t.openWindows(*l) {
		if v.leaf != unknownLeaf && at[v.leaf] != v.called {
			t.endWindow(l, v, until)
		}
	}
}

// unseen are the members without a window. One whose window is of a leaf that was not known gets that leaf.
func (t *tx) unseen(l clientLog, members []namedMember) (fresh []namedMember) {
	unknown := make(map[MemberName][]window)
	for _, v := range t.openWindows(l) {
		if v.leaf == unknownLeaf {
			unknown[v.called] = append(unknown[v.called], v)
		}
	}
	for _, m := range members {
		if m.leaf != unknownLeaf {
			if _, open := t.windowAt(HashOfRoom(l.room), m.leaf); open {
				continue
			}
		}
		if waiting := unknown[m.called]; len(waiting) > 0 {
			unknown[m.called] = waiting[1:]
			if m.leaf != unknownLeaf {
				t.learnLeaf(l, waiting[0], m.leaf)
			}
			continue
		}
		fresh = append(fresh, m)
	}
	return fresh
}

// followCommit ends the windows of the leaves that a Commit takes out, and begins that of a local client that joins by it.
func (t *tx) followCommit(l *clientLog, event loggedEvent, content mls.FramedContent, commit mls.Commit, stapled []mls.MLSMessage) {
	hash := HashOfRoom(l.room)
	joiner := MemberName("")
	if _, joins := content.Sender.(mls.NewMemberCommit); joins && commit.Path != nil {
		joiner = t.localName(commit.Path.Leaf.Credential)
	}
	if l.open == 0 && joiner == "" {
		return
	}
	t.learnCommitter(*l, content.Sender, commit)
	position := t.logEvent(l, event)
	o := t.roster(hash)
	done := t.followLeaves(hash, &o, content, commit)
	t.awaitProposals(hash, &o, stapled)
	t.setRoster(hash, o)
	for _, leaf := range done.gone {
		if v, open := t.windowAt(hash, leaf); open {
			t.endWindow(l, v, position)
		}
	}
	if joiner != "" {
		t.endUnknown(l, joiner, position)
		t.openWindow(l, window{name: joiner, called: joiner, leaf: done.joiner, from: position})
	}
	t.dropUnneeded(*l, position)
}

// learnCommitter finds out from a member's own path which leaf it has, where that was not known.
func (t *tx) learnCommitter(l clientLog, sender mls.Sender, commit mls.Commit) {
	member, ok := sender.(mls.MemberSender)
	if !ok || commit.Path == nil {
		return
	}
	if name := t.localName(commit.Path.Leaf.Credential); name != "" {
		t.unseen(l, []namedMember{{member.Leaf, name, name}})
	}
}

// endUnknown ends the window of a client that joins anew while its leaf was not known: that leaf is the one which its Commit removes.
func (t *tx) endUnknown(l *clientLog, name MemberName, until uint64) {
	for _, v := range t.openWindows(*l) {
		if v.leaf == unknownLeaf && v.called == name && v.from <= until {
			t.endWindow(l, v, until)
			return
		}
	}
}

// keepWhileNeeded writes a log's head, or forgets the room when no local client is in it or has anything left to have of it.
func (t *tx) keepWhileNeeded(l clientLog) {
	if l.open > 0 || t.livesHere(l) || len(t.allWindows(l)) > 0 {
		t.setClientLog(l)
		return
	}
	t.forgetLog(l)
}

// livesHere reports whether a log's room is hosted here and not destroyed: then local clients may come into it any time, and its log says
// that all who were in it before are known.
func (t *tx) livesHere(l clientLog) bool {
	head, found := t.head(l.room)
	return found && head.status != RoomDestroyed
}

func (t *tx) allWindows(l clientLog) []window {
	windows, err := readWindows(t.store, windowsKey(HashOfRoom(l.room)))
	t.check(err)
	return windows
}

// forgetLog drops all that is kept of a room for clients.
func (t *tx) forgetLog(l clientLog) {
	hash := HashOfRoom(l.room)
	for _, prefix := range []key{
		hash.key(keyClientEvent), hash.key(keyClientEventIndex), clientLogKey(hash), windowsKey(hash), hash.key(keyLeafWindow),
		rosterKey(hash), rosterProposalsKey(hash),
	} {
		t.deletePrefix(prefix)
	}
}
