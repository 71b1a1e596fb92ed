package fsm

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"parley/mimi"
	"parley/mls"
)

// Leave is what an accepted Proposal does at once to somebody on the way out (mimi-protocol-06 §5.3): the user, or one client of it,
// may send nothing more but Proposals that take its own clients out. It lasts until the epoch ends, as the Proposal does. Of layout 2 of
// SubmitProposals.
type Leave struct {
	Ref    mls.ProposalRef
	Client bool          // one client, at Leaf; else the user and all its clients
	Leaf   mls.LeafIndex // of Client
	Self   bool          // of Client: by a SelfRemove
	User   mimi.UserURI  // of the whole user
	// Silent is of a user who stays in the list, and each of whose clients is on its way out: only its messages are stopped, for of
	// them it cannot be told from which client they are.
	Silent bool
	// Due is set for who is to be let go: after the settings' LeaveGraceMillis no Commit may leave it out.
	Due bool
}

// LeaveRecord is a Leave with the hub time of its acceptance.
//
//	struct {
//	    Leave leave;
//	    uint64 millis;
//	} LeaveRecord;
type LeaveRecord struct {
	Leave
	Millis uint64
}

//	struct {
//	    opaque ref<V>;
//	    uint8 client;
//	    select (client) {
//	        case 1: uint32 leaf; uint8 self;
//	        case 0: opaque user<V>; uint8 silent;
//	    };
//	    uint8 due;
//	} Leave;
func (l Leave) appendTo(w *mls.Writer) {
	appendText(w, l.Ref)
	w.Bool(l.Client)
	if l.Client {
		w.Uint32(uint32(l.Leaf))
		w.Bool(l.Self)
	} else {
		l.User.AppendTo(w)
		w.Bool(l.Silent)
	}
	w.Bool(l.Due)
}

func readLeave(r *mls.Reader) Leave {
	l := Leave{Ref: readText[mls.ProposalRef](r, "ref"), Client: r.Bool("client")}
	if l.Client {
		l.Leaf, l.Self = mls.LeafIndex(r.Uint32("leaf")), r.Bool("self")
	} else {
		l.User, l.Silent = mimi.ReadUserURI(r, "user"), r.Bool("silent")
	}
	l.Due = r.Bool("due")
	return l
}

func (l LeaveRecord) appendTo(w *mls.Writer) {
	l.Leave.appendTo(w)
	w.Uint64(l.Millis)
}

func readLeaveRecord(r *mls.Reader) LeaveRecord {
	return LeaveRecord{Leave: readLeave(r), Millis: r.Uint64("millis")}
}

// ReadLeavingClient returns by what a member's client is on its way out of a room; false where it is not.
func ReadLeavingClient(r Reader, room mimi.RoomURI, leaf mls.LeafIndex) (LeaveRecord, bool, error) {
	return readRecord(r, leavingClientKey(room, leaf), "leaving client", readLeaveRecord)
}

// ReadLeavingUser returns by what a participant is on its way out of a room, or banned; false where it is not.
func ReadLeavingUser(r Reader, room mimi.RoomURI, user mimi.UserURI) (LeaveRecord, bool, error) {
	return readRecord(r, leavingUserKey(room, user), "leaving user", readLeaveRecord)
}

// ReadLeavingUsers returns the participants of a room that are on their way out, or banned, in no meaningful but a stable order.
func ReadLeavingUsers(r Reader, room mimi.RoomURI) (leaves []LeaveRecord, err error) {
	err = scanRecords(r, roomKey(keyLeavingUser, room), "leaving user", readLeaveRecord, func(_ []byte, l LeaveRecord) (bool, error) {
		leaves = append(leaves, l)
		return true, nil
	})
	return leaves, err
}

func leavingClientKey(room mimi.RoomURI, leaf mls.LeafIndex) key {
	return roomKey(keyLeavingClient, room).uint32(uint32(leaf))
}

func leavingUserKey(room mimi.RoomURI, user mimi.UserURI) key {
	return roomKey(keyLeavingUser, room).user(user)
}

func (t *tx) leavingUser(room mimi.RoomURI, user mimi.UserURI) (LeaveRecord, bool) {
	return get(t, func(r Reader) (LeaveRecord, bool, error) { return ReadLeavingUser(r, room, user) })
}

func (t *tx) leavingClient(room mimi.RoomURI, leaf mls.LeafIndex) (LeaveRecord, bool) {
	return get(t, func(r Reader) (LeaveRecord, bool, error) { return ReadLeavingClient(r, room, leaf) })
}

// noteLeaves records who is on the way out by fresh Proposals. The first of several stands, but for a SelfRemove, which no Remove may
// forestall, and for one that says more: that is due, or stops more than messages.
func (t *tx) noteLeaves(room mimi.RoomURI, leaves []Leave, fresh []PendingProposal) {
	for _, l := range leaves {
		if !slices.ContainsFunc(fresh, func(p PendingProposal) bool { return p.Ref == l.Ref }) {
			continue
		}
		k := leavingUserKey(room, l.User)
		before, known := t.leavingUser(room, l.User)
		if l.Client {
			k = leavingClientKey(room, l.Leaf)
			before, known = t.leavingClient(room, l.Leaf)
		}
		if !known || l.Self && !before.Self || l.Due && !before.Due || before.Silent && !l.Silent {
			t.set(k, record(LeaveRecord{l, t.now}.appendTo))
		}
	}
}

// checkLeaving holds a Commit to those who are on their way out, as they are now and not when it was judged: nobody of them commits,
// a SelfRemove is not overtaken by a Remove, and who has waited for the grace is let go.
func (t *tx) checkLeaving(c AcceptCommit) Outcome {
	if !c.Ruling.Made {
		return nil
	}
	if leave, leaving := t.leavingUser(c.Room, c.Sender); leaving && !leave.Silent {
		return NotAllowed{Reason: "the committer is leaving the room, or is banned"}
	}
	if _, leaving := t.leavingClient(c.Room, c.Ruling.Committer); leaving && c.Ruling.Member {
		return NotAllowed{Reason: "the committer is leaving the group"}
	}
	gone := make(map[mls.LeafIndex]bool)
	for _, m := range c.Ruling.Removals {
		gone[m.Leaf] = true
		if leave, leaving := t.leavingClient(c.Room, m.Leaf); leaving && leave.Self && !m.Self {
			return ReadSetChanged{Index: t.index} // the SelfRemove came after it was judged
		}
	}
	if omitted := t.omitted(c, gone); len(omitted) > 0 {
		return NotAllowed{Reason: "the Commit leaves out members who left longer ago than the hub lets them wait; it has to name the Proposals " + strings.Join(omitted, ", ")}
	}
	return nil
}

// omitted are the Proposals, in hexadecimal, by which somebody is due to go whom a Commit does not let go. An external Commit can name
// no Proposal but SelfRemoves (mls-extensions), and is held to those.
func (t *tx) omitted(c AcceptCommit, gone map[mls.LeafIndex]bool) (refs []string) {
	add := func(l LeaveRecord) {
		due := l.Due && t.now-min(t.now, l.Millis) >= t.settings.LeaveGraceMillis
		if ref := hex.EncodeToString([]byte(l.Ref)); due && !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	t.visitLeaves(keyLeavingClient, c.Room, func(rest []byte, l LeaveRecord) {
		if !gone[mls.LeafIndex(binary.BigEndian.Uint32(rest))] && (c.Ruling.Member || l.Self) {
			add(l)
		}
	})
	t.visitLeaves(keyLeavingUser, c.Room, func(_ []byte, l LeaveRecord) {
		stays := slices.ContainsFunc(c.Facts.Participants, func(p Participant) bool { return p.User == l.User })
		if stays && c.Ruling.Member {
			add(l)
		}
	})
	return refs
}

func (t *tx) visitLeaves(kind keyKind, room mimi.RoomURI, visit func(rest []byte, l LeaveRecord)) {
	t.check(scanRecords(t.store, roomKey(kind, room), "leave", readLeaveRecord, func(rest []byte, l LeaveRecord) (bool, error) {
		visit(rest, l)
		return true, nil
	}))
}

// endLeaves forgets who was on the way out, with the epoch whose Proposals these were.
func (t *tx) endLeaves(room mimi.RoomURI) {
	for _, kind := range []keyKind{keyLeavingClient, keyLeavingUser} {
		any := false
		t.visitLeaves(kind, room, func([]byte, LeaveRecord) { any = true })
		if any {
			t.deletePrefix(roomKey(kind, room))
		}
	}
}
