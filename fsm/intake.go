package fsm

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// intake decides on messages for one room within a command. What concerns all of them is read once: nothing that it decides changes
// it, and another command of the entry may.
type intake struct {
	t      *tx
	room   mimi.RoomURI
	head   roomHead
	exists bool
	ended  Outcome // why the room takes nothing any more; nil where it does
	rules  RoomRules
	oldest mls.Epoch // of which messages are taken
	before bool      // verdicts may be recorded at the room
	limit  int       // of a message's octets; 0 for none beside that of a command

	// Looked up by key, never ranged over.
	standings map[mimi.UserURI]standing

	prefix      key // of the records of accepted messages of a group and epoch:
	prefixGroup mls.GroupID
	prefixEpoch mls.Epoch

	accepted mls.Writer // FanoutMessages that were accepted, not yet delivered
}

// standing is what a user may do in the room as things stand.
type standing struct {
	participant bool
	since       mls.Epoch
	refusal     Outcome // of its messages; nil for none
}

// refusal is why a message is not taken; the zero value where it is.
type refusal struct {
	code     mimi.VerdictCode
	outcome  Outcome
	recorded bool // before; then the verdict was:
	earlier  mimi.Verdict
	passing  bool // it is about who asks, and says nothing of the message
}

func notAllowed(code mimi.VerdictCode, reason string) refusal {
	return refusal{code: code, outcome: NotAllowed{Reason: reason}}
}

// verdict is the refusal in words for the submitter.
func (f refusal) verdict(receipt mimi.Receipt, current mls.Epoch) mimi.Verdict {
	if f.recorded {
		return f.earlier
	}
	return mimi.Verdict{Receipt: receipt, Code: f.code, Current: current, Reason: reasonOf(f.outcome)}
}

func (t *tx) intake(room mimi.RoomURI) *intake {
	in := &intake{t: t, room: room}
	if in.head, in.exists = t.head(room); !in.exists {
		return in
	}
	in.before = t.rejectsAny(room)
	if in.ended = t.refuseEnded(in.head); in.ended != nil && t.salvaging && t.isStale(in.head) {
		in.ended = nil
	}
	if in.ended == nil {
		in.rules = t.roomRules(room)
		in.oldest = max(in.head.floor, since(in.head.epoch, t.epochWindow(in.rules)))
	}
	return in
}

// decide accepts a message, or says why not. One that was accepted before is accepted again, with what it got then.
func (in *intake) decide(m BatchMessage) (knownMessage, refusal) {
	if !in.exists {
		return knownMessage{}, refusal{code: mimi.VerdictNoSuchRoom, outcome: NoSuchRoom{}}
	}
	k := in.messageKey(m)
	known, found := get(in.t, func(r Reader) (knownMessage, bool, error) { return readMessageAt(r, k) })
	if found && known.sender == m.Sender {
		return known, refusal{}
	}
	switch refused, yes := in.refusedBefore(m); {
	case yes && refused.code == mimi.VerdictAccepted: // and told, to who did not wait
		accepted := Accepted{Millis: refused.earlier.AcceptedMillis, Epoch: refused.earlier.Current}
		return knownMessage{accepted: accepted, sender: m.Sender, told: true}, refusal{}
	case yes:
		return known, refused
	}
	if found {
		refused := notAllowed(mimi.VerdictNotAllowed, "the message was accepted from another sender")
		refused.passing = true
		return known, refused
	}
	refused := in.refuse(m)
	if in.limit > 0 && len(m.Message) > in.limit {
		refused = notAllowed(mimi.VerdictTooLarge, fmt.Sprintf("the message is larger than %d octets", in.limit))
	}
	if refused.outcome != nil {
		in.before = true // it may be recorded, and come again
		return known, refused
	}
	known = knownMessage{accepted: Accepted{Millis: in.t.now, Epoch: in.head.epoch}, sender: m.Sender}
	in.t.set(k, known.record())
	mimi.AppendFanoutApplication(&in.accepted, in.t.now, m.Message, nil)
	return known, refusal{}
}

// refusedBefore finds the verdict on the same message of the same sender: what was rejected in bulk stays rejected, whoever hands it in
// again and where.
func (in *intake) refusedBefore(m BatchMessage) (refusal, bool) {
	if !in.before {
		return refusal{}, false
	}
	v, found := in.t.rejectionAt(rejectionKey(in.room, m.receipt(), m.provider(), m.Sender))
	if !found {
		return refusal{}, false
	}
	refused := notAllowed(v.verdict.Code, v.verdict.Reason)
	switch {
	case v.verdict.Code == mimi.VerdictEpochTooOld:
		refused.outcome = EpochTooOld{Current: in.head.epoch}
	case v.verdict.Code == mimi.VerdictRoomEnded && in.ended != nil:
		refused.outcome = in.ended
	}
	refused.recorded, refused.earlier = true, v.verdict
	return refused, true
}

// refuse says why a message is not taken. A wider window brings no epoch back that had left it, and none from before the room's creation
// here.
func (in *intake) refuse(m BatchMessage) refusal {
	switch {
	case in.ended != nil && in.head.status == RoomOpen: // it is stale, and may take the message when it is no more
		return refusal{code: mimi.VerdictRoomStale, outcome: in.ended, passing: true}
	case in.ended != nil:
		return refusal{code: mimi.VerdictRoomEnded, outcome: in.ended}
	case m.GroupID != in.head.groupID:
		return notAllowed(mimi.VerdictWrongGroup, "the message is of another group")
	case m.Epoch > in.head.epoch:
		return notAllowed(mimi.VerdictFutureEpoch, "the message is of a future epoch")
	case m.Epoch < in.oldest:
		return refusal{code: mimi.VerdictEpochTooOld, outcome: EpochTooOld{Current: in.head.epoch}}
	}
	switch s := in.standing(m.Sender); {
	case !s.participant:
		return notAllowed(mimi.VerdictNotParticipant, "the sender is not a participant")
	case m.Epoch < s.since:
		return notAllowed(mimi.VerdictNotParticipant, "the sender was not a participant in the message's epoch")
	case s.refusal != nil:
		return refusal{code: mimi.VerdictNotAllowed, outcome: s.refusal}
	case m.Fault != "":
		return notAllowed(mimi.VerdictNotAllowed, m.Fault)
	default:
		return refusal{}
	}
}

func (in *intake) standing(user mimi.UserURI) standing {
	if s, known := in.standings[user]; known {
		return s
	}
	var s standing
	s.since, s.participant = in.t.participantSince(in.room, user)
	if s.participant {
		if reason := in.t.silenced(in.room, user, in.rules); reason != "" {
			s.refusal = NotAllowed{Reason: reason}
		} else {
			s.refusal = in.t.refuseDeparted(in.head, user)
		}
	}
	if in.standings == nil {
		in.standings = make(map[mimi.UserURI]standing)
	}
	in.standings[user] = s
	return s
}

func (in *intake) messageKey(m BatchMessage) key {
	if in.prefix == nil || m.GroupID != in.prefixGroup || m.Epoch != in.prefixEpoch {
		in.prefix, in.prefixGroup, in.prefixEpoch = epochKey(keyMessage, in.room, m.GroupID, m.Epoch), m.GroupID, m.Epoch
	}
	return in.prefix.raw(m.Hash[:])
}

// deliver puts what was accepted, in order, into the bodies of all who follow the room.
func (in *intake) deliver() {
	if messages := in.accepted.Bytes(); len(messages) > 0 {
		in.t.sendAll(in.room, in.head.destinations, messages)
		in.accepted = mls.Writer{}
	}
}
