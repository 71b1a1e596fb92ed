package fsm

import (
	"cmp"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// pendingRecord is a pending Proposal with its place among those of the room.
//
//	struct {
//	    uint64 number;
//	    PendingProposal proposal;
//	    select (version) {
//	        case 1: struct {};
//	        case 2: opaque from<V>; // empty: nobody is told the Proposal's fate
//	    };
//	} PendingRecord;
type pendingRecord struct {
	number   uint64
	proposal PendingProposal
	from     mimi.Provider // its sender's provider; none of an external sender's Proposal
}

// pendingVersion is the last layout of a pendingRecord.
const pendingVersion = 2

// encoded is the record in the first layout that can say all of it.
func (p pendingRecord) encoded() []byte {
	version := uint8(1)
	if !p.from.IsZero() {
		version = 2
	}
	return encode(version, func(w *mls.Writer) {
		w.Uint64(p.number)
		appendPending(w, p.proposal)
		if version >= 2 {
			p.from.AppendTo(w)
		}
	})
}

func readPendingRecord(r *mls.Reader, version uint8) pendingRecord {
	p := pendingRecord{number: r.Uint64("number"), proposal: readPending(r)}
	if version >= 2 {
		p.from = mimi.ReadProvider(r, "from")
	}
	return p
}

// ProposalFate is what became of a Proposal.
type ProposalFate uint8

const (
	ProposalPending  ProposalFate = 1
	ProposalAccepted ProposalFate = 2 // the Commit that ended the epoch referenced it
	ProposalDropped  ProposalFate = 3 // the epoch ended without it
)

// ProposalRecord outlives its Proposal, so that a retry gets the original answer and the proposer can be told the end.
//
//	struct {
//	    uint8 fate;
//	    uint64 millis;
//	} ProposalRecord;
type ProposalRecord struct {
	Fate   ProposalFate
	Millis uint64 // hub time of its acceptance
}

func (p ProposalRecord) appendTo(w *mls.Writer) {
	w.Uint8(uint8(p.Fate))
	w.Uint64(p.Millis)
}

func readProposalRecord(r *mls.Reader) ProposalRecord {
	return ProposalRecord{Fate: ProposalFate(r.Uint8("fate")), Millis: r.Uint64("millis")}
}

// ReadPending returns a Proposal that waits for a Commit; false where it does not.
func ReadPending(r Reader, room mimi.RoomURI, ref mls.ProposalRef) (PendingProposal, bool, error) {
	p, found, err := readRecordUpTo(r, pendingKey(room, ref), "pending Proposal", pendingVersion, readPendingRecord)
	return p.proposal, found, err
}

// ReadAllPending returns the Proposals that wait for a Commit, in order of acceptance.
func ReadAllPending(r Reader, room mimi.RoomURI) ([]PendingProposal, error) {
	records, err := readPendingRecords(r, room)
	if err != nil {
		return nil, err
	}
	var pending []PendingProposal
	for _, p := range records {
		pending = append(pending, p.proposal)
	}
	return pending, nil
}

func readPendingRecords(r Reader, room mimi.RoomURI) (records []pendingRecord, err error) {
	prefix := roomKey(keyPending, room)
	err = scanRangeUpTo(r, prefix, prefix, prefix.end(), "pending Proposal", pendingVersion, readPendingRecord, func(_ []byte, p pendingRecord) (bool, error) {
		records = append(records, p)
		return true, nil
	})
	slices.SortFunc(records, func(a, b pendingRecord) int { return cmp.Compare(a.number, b.number) })
	return records, err
}

// ReadProposalRecord returns what became of a Proposal of an epoch; false where it was never accepted or is no longer known.
func ReadProposalRecord(r Reader, room mimi.RoomURI, group mls.GroupID, epoch mls.Epoch, ref mls.ProposalRef) (ProposalRecord, bool, error) {
	return readRecord(r, fateKey(room, group, epoch, ref), "Proposal record", readProposalRecord)
}

func pendingKey(room mimi.RoomURI, ref mls.ProposalRef) key {
	return roomKey(keyPending, room).text(string(ref))
}

func fateKey(room mimi.RoomURI, group mls.GroupID, epoch mls.Epoch, ref mls.ProposalRef) key {
	return epochKey(keyFate, room, group, epoch).text(string(ref))
}

// submitProposals makes a bundle's Proposals pending. Known ones keep their place and time; a bundle that is wholly known is a
// retry and gets the original answer, also when its epoch has ended.
func (t *tx) submitProposals(c SubmitProposals) Outcome {
	head, found := t.head(c.Room)
	if !found {
		return NoSuchRoom{}
	}
	if len(c.Proposals) == 0 {
		return NotAllowed{Reason: "the bundle has no Proposal"}
	}
	original, fresh := t.splitKnown(c)
	if len(fresh) == 0 {
		return Accepted{Millis: original.Millis, Epoch: c.Epoch}
	}
	if refusal := t.refuseEnded(head); refusal != nil {
		return refusal
	}
	if c.GroupID != head.groupID {
		return ReadSetChanged{Index: t.index}
	}
	if c.Epoch != head.epoch {
		return t.wrongEpoch(head, c.Epoch)
	}
	if refusal := t.refuseDeparted(head, c.Sender); refusal != nil {
		return refusal
	}
	if !t.addPending(&head, fresh, c.Sender.Provider()) {
		return NotAllowed{Reason: "too many Proposals wait for a Commit"}
	}
	t.setHead(head)
	t.noteLeaves(c.Room, c.Leaves, fresh)
	t.sendAll(c.Room, head.destinations, t.fanoutProposals(c.Proposals))
	return Accepted{Millis: t.now, Epoch: c.Epoch}
}

// addPending makes Proposals wait in the head's epoch, none of which is known; false where the room may have no more. from is their
// sender's provider, which is told what becomes of them.
func (t *tx) addPending(head *roomHead, fresh []PendingProposal, from mimi.Provider) bool {
	if t.format < FormatBulk {
		from = mimi.Provider{}
	}
	if !t.changeLoad(head.room, func(l *roomLoad) { l.addPending(fresh) }) {
		return false
	}
	for _, p := range fresh {
		p.AcceptedMillis = t.now
		t.set(pendingKey(head.room, p.Ref), pendingRecord{head.proposals, p, from}.encoded())
		t.set(fateKey(head.room, head.groupID, head.epoch, p.Ref), record(ProposalRecord{ProposalPending, t.now}.appendTo))
		head.proposals++
	}
	return true
}

// splitKnown returns the record of the first Proposal that is known, and those that are not, each once.
func (t *tx) splitKnown(c SubmitProposals) (first ProposalRecord, fresh []PendingProposal) {
	seen := make(map[mls.ProposalRef]bool, len(c.Proposals))
	for _, p := range c.Proposals {
		if seen[p.Ref] {
			continue
		}
		seen[p.Ref] = true
		known, found := get(t, func(r Reader) (ProposalRecord, bool, error) {
			return ReadProposalRecord(r, c.Room, c.GroupID, c.Epoch, p.Ref)
		})
		switch {
		case !found:
			fresh = append(fresh, p)
		case first.Fate == 0:
			first = known
		}
	}
	return first, fresh
}

// settleProposals records the end of all pending Proposals, tells it, and clears them.
func (t *tx) settleProposals(head roomHead, committed []mls.ProposalRef) {
	accepted := make(map[mls.ProposalRef]bool, len(committed))
	for _, ref := range committed {
		accepted[ref] = true
	}
	pending, err := readPendingRecords(t.store, head.room)
	t.check(err)
	for _, p := range pending {
		ref, fate := p.proposal.Ref, ProposalDropped
		if accepted[ref] {
			fate = ProposalAccepted
		}
		t.set(fateKey(head.room, head.groupID, head.epoch, ref), record(ProposalRecord{fate, p.proposal.AcceptedMillis}.appendTo))
		t.tellFate(head, p, fate)
	}
	if len(pending) > 0 {
		t.deletePrefix(roomKey(keyPending, head.room))
		t.relieve(roomKey(keyRoomLoad, head.room), func(l *roomLoad) { l.pending, l.pendingBytes = 0, 0 })
	}
}
