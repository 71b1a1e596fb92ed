package fsm

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// Of a room that another provider hosts, a roster says which leaves of its tree are taken. It begins with the tree that comes with a
// Welcome, and goes on with each Commit, whose Proposals stand in it or came before it; a new member's leaf is the leftmost that is free
// (RFC 9420 §7.7), so nothing else of the tree need be kept. All handshakes are PublicMessages and were read before the log.
//
// Where it cannot go on, because the first that came of the room was a client's own external Commit, or a Commit names a Proposal that
// never came, it is lost until the next Welcome. Windows then end only where a leaf is known: by a Welcome's tree or from a path of its own.

// roster is what is known of the tree of a room that is followed.
//
//	struct {
//	    opaque group_id<V>;
//	    uint8 kept;     // 0: it is lost
//	    uint16 suite;
//	    uint8 dated;    // whether epoch is known
//	    uint64 epoch;   // the next Commit's
//	    uint8 fresh;    // 1: since the last Commit a Welcome has come, which may be of another group
//	    uint32 pending; // Proposals that wait for it
//	    opaque taken<V>; // a bit for each leaf, from the least of the first octet on
//	} Roster;
type roster struct {
	group   mls.GroupID
	kept    bool
	suite   mls.CipherSuite
	dated   bool
	epoch   mls.Epoch
	fresh   bool
	pending uint32
	taken   []byte
}

func (o roster) appendTo(w *mls.Writer) {
	appendText(w, o.group)
	w.Bool(o.kept)
	w.Uint16(uint16(o.suite))
	w.Bool(o.dated)
	w.Uint64(uint64(o.epoch))
	w.Bool(o.fresh)
	w.Uint32(o.pending)
	w.Opaque(o.taken)
}

func readRoster(r *mls.Reader) roster {
	return roster{
		group: readText[mls.GroupID](r, "group_id"), kept: r.Bool("kept"), suite: mls.CipherSuite(r.Uint16("suite")),
		dated: r.Bool("dated"), epoch: mls.Epoch(r.Uint64("epoch")), fresh: r.Bool("fresh"), pending: r.Uint32("pending"), taken: slices.Clone(r.Opaque("taken")),
	}
}

// What stands under keyRoster, by the octet behind the kind.
const (
	rosterOfRoom    = 0 // ‖ R: roster
	rosterProposal  = 1 // ‖ R ‖ ref: what a Proposal that waits does to leaves
	memberRooms     = 2 // ‖ N ‖ R: a room in which a name has windows, see clientrooms.go
	memberDeparted  = 3 // ‖ N: that a name's client is lost
	rosterProposals = 1000
)

func rosterKey(room RoomHash) key {
	return newKey(room.Slot(), keyRoster).raw([]byte{rosterOfRoom}).raw(room[:])
}

func rosterProposalsKey(room RoomHash) key {
	return newKey(room.Slot(), keyRoster).raw([]byte{rosterProposal}).raw(room[:])
}

func (t *tx) roster(room RoomHash) roster {
	o, _ := get(t, func(r Reader) (roster, bool, error) { return readRecord(r, rosterKey(room), "roster", readRoster) })
	return o
}

func (t *tx) setRoster(room RoomHash, o roster) { t.set(rosterKey(room), record(o.appendTo)) }

func (o *roster) has(leaf mls.LeafIndex) bool {
	return int(leaf/8) < len(o.taken) && o.taken[leaf/8]&(1<<(leaf%8)) != 0
}

func (o *roster) take(leaf mls.LeafIndex) {
	for int(leaf/8) >= len(o.taken) {
		o.taken = append(o.taken, 0)
	}
	o.taken[leaf/8] |= 1 << (leaf % 8)
}

func (o *roster) free(leaf mls.LeafIndex) { o.taken[leaf/8] &^= 1 << (leaf % 8) }

// leftmost is the first leaf that is free.
func (o *roster) leftmost() mls.LeafIndex {
	leaf := mls.LeafIndex(0)
	for o.has(leaf) {
		leaf++
	}
	return leaf
}

// meets reports whether a handshake is of the roster's group and epoch. After a Welcome, which tells neither, the first one says of which
// group it is.
func (o *roster) meets(content mls.FramedContent) bool {
	if content.GroupID != o.group {
		if !o.fresh {
			return false
		}
		o.group, o.dated = content.GroupID, false
	}
	if o.dated {
		return content.Epoch == o.epoch
	}
	o.dated, o.epoch = true, content.Epoch
	return true
}

// rosterChange is what one Proposal does to the leaves.
//
//	struct {
//	    uint8 kind;    // of those below
//	    uint32 leaf;   // that is taken out
//	} RosterChange;
type rosterChange struct {
	kind uint8
	leaf mls.LeafIndex
}

const (
	changesNothing uint8 = iota
	changesRemoves
	changesAdds
)

func (c rosterChange) appendTo(w *mls.Writer) {
	w.Uint8(c.kind)
	w.Uint32(uint32(c.leaf))
}

func readRosterChange(r *mls.Reader) rosterChange {
	return rosterChange{kind: r.Uint8("kind"), leaf: mls.LeafIndex(r.Uint32("leaf"))}
}

// changeBy is what a Proposal of a sender does.
func changeBy(p mls.Content, sender mls.Sender) rosterChange {
	switch p := p.(type) {
	case mls.Add:
		return rosterChange{kind: changesAdds}
	case mls.Remove:
		return rosterChange{changesRemoves, p.Removed}
	case mls.SelfRemove:
		if member, ok := sender.(mls.MemberSender); ok {
			return rosterChange{changesRemoves, member.Leaf}
		}
	}
	return rosterChange{}
}

// awaitProposals keeps what Proposals would do until a Commit includes them. A roster that may not keep them all is lost.
func (t *tx) awaitProposals(room RoomHash, o *roster, messages []mls.MLSMessage) {
	suite, err := o.suite.Suite()
	if !o.kept {
		return
	}
	if err != nil {
		o.kept = false
		return
	}
	for _, m := range messages {
		public, ok := m.Body.(*mls.PublicMessage)
		if !ok || !o.meets(public.Content) {
			continue
		}
		if o.pending == rosterProposals {
			o.kept = false
			return
		}
		o.pending++
		k := rosterProposalsKey(room).text(string(suite.ProposalRef(public.Authenticated())))
		t.set(k, record(changeBy(public.Content.Body, public.Content.Sender).appendTo))
	}
}

// turned is what a Commit did to a roster.
type turned struct {
	gone   []mls.LeafIndex
	joiner mls.LeafIndex // of an external Commit
}

// followLeaves brings a roster to the epoch that a Commit begins. It is lost where that does not work out.
func (t *tx) followLeaves(room RoomHash, o *roster, content mls.FramedContent, commit mls.Commit) (done turned) {
	done.joiner = unknownLeaf
	if o.kept && !o.meets(content) {
		o.kept = false
	}
	adds := 0
	for _, p := range commit.Proposals {
		change, known := t.rosterChangeOf(room, p, content.Sender)
		switch {
		case !known:
			o.kept = false
		case change.kind == changesAdds:
			adds++
		case change.kind == changesRemoves:
			done.gone = append(done.gone, change.leaf)
			if o.kept && !o.has(change.leaf) {
				o.kept = false
			}
			if o.kept {
				o.free(change.leaf)
			}
		}
	}
	if _, joins := content.Sender.(mls.NewMemberCommit); joins {
		adds++
		if o.kept {
			done.joiner = o.leftmost()
		}
	}
	for ; o.kept && adds > 0; adds-- {
		o.take(o.leftmost())
	}
	t.deletePrefix(rosterProposalsKey(room))
	o.group, o.dated, o.epoch, o.fresh, o.pending = content.GroupID, true, content.Epoch+1, false, 0
	return done
}

func (t *tx) rosterChangeOf(room RoomHash, p mls.ProposalOrRef, committer mls.Sender) (rosterChange, bool) {
	switch p := p.(type) {
	case mls.InlineProposal:
		return changeBy(p.Proposal, committer), true
	case mls.ProposalRef:
		return get(t, func(r Reader) (rosterChange, bool, error) {
			return readRecord(r, rosterProposalsKey(room).text(string(p)), "Proposal of a roster", readRosterChange)
		})
	default:
		return rosterChange{}, false
	}
}

// beginWith takes up the tree that comes with a Welcome, and returns the local members in it. false where the tree is elsewhere.
func (t *tx) beginWith(o *roster, welcome mimi.FanoutWelcome) (members []namedMember, whole bool) {
	full, ok := welcome.Tree.(mimi.FullTree)
	if !ok {
		o.kept = false
		return nil, false
	}
	tree, err := full.ParseTree()
	if err != nil {
		o.kept = false
		return nil, false
	}
	*o = roster{group: o.group, kept: true, suite: welcome.Welcome.Suite, dated: o.kept && o.dated, epoch: o.epoch, fresh: true}
	for leaf, node := range tree.Leaves() {
		o.take(leaf)
		if name := t.localName(node.Credential); name != "" {
			members = append(members, namedMember{leaf, name, name})
		}
	}
	return members, true
}
