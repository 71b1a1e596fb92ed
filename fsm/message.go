package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// readAccepted reads the record of an answer that a retry gets again.
func readAccepted(r *mls.Reader) Accepted {
	return Accepted{Millis: r.Uint64("millis"), Epoch: mls.Epoch(r.Uint64("epoch"))}
}

// knownMessage is an accepted message: its answer, and who may ask for it again.
//
//	struct {
//	    Accepted accepted;
//	    opaque sender<V>;
//	} KnownMessage;
type knownMessage struct {
	accepted Accepted
	sender   mimi.UserURI
}

func (m knownMessage) appendTo(w *mls.Writer) {
	m.accepted.appendTo(w)
	m.sender.AppendTo(w)
}

func readKnownMessage(r *mls.Reader) knownMessage {
	return knownMessage{accepted: readAccepted(r), sender: mimi.ReadUserURI(r, "sender")}
}

// ReadKnownMessage returns the answer that a message got; false where it was not accepted, or its epoch has left the window.
// hash is the SHA-256 of its MLSMessage.
func ReadKnownMessage(r Reader, room mimi.RoomURI, group mls.GroupID, epoch mls.Epoch, hash [32]byte) (Accepted, bool, error) {
	known, found, err := readRecord(r, messageKey(room, group, epoch, hash), "accepted message", readKnownMessage)
	return known.accepted, found, err
}

func messageKey(room mimi.RoomURI, group mls.GroupID, epoch mls.Epoch, hash [32]byte) key {
	return epochKey(keyMessage, room, group, epoch).raw(hash[:])
}

// submitMessage accepts an application message (mimi-protocol-06 §5.4) for every destination that follows the room.
func (t *tx) submitMessage(c SubmitMessage) Outcome {
	head, found := t.head(c.Room)
	if !found {
		return NoSuchRoom{}
	}
	k := messageKey(c.Room, c.GroupID, c.Epoch, c.Hash)
	known, found := get(t, func(r Reader) (knownMessage, bool, error) {
		return readRecord(r, k, "accepted message", readKnownMessage)
	})
	switch {
	case found && known.sender == c.Sender:
		return known.accepted
	case found:
		return NotAllowed{Reason: "the message was accepted from another sender"}
	}
	if refusal := t.refuseMessage(head, c); refusal != nil {
		return refusal
	}
	accepted := Accepted{Millis: t.now, Epoch: head.epoch}
	t.set(k, record(knownMessage{accepted, c.Sender}.appendTo))
	t.sendAll(c.Room, head.destinations, t.fanoutApplication(c.Message))
	return accepted
}

// refuseMessage says why a message is not taken; nil where it is. A wider window brings no epoch back that had left it, and
// none from before the room's creation here.
func (t *tx) refuseMessage(head roomHead, c SubmitMessage) Outcome {
	if refusal := t.refuseEnded(head); refusal != nil {
		return refusal
	}
	if c.GroupID != head.groupID {
		return NotAllowed{Reason: "the message is of another group"}
	}
	rules := t.roomRules(c.Room)
	oldest := max(head.floor, since(head.epoch, t.epochWindow(rules)))
	switch {
	case c.Epoch > head.epoch:
		return NotAllowed{Reason: "the message is of a future epoch"}
	case c.Epoch < oldest:
		return EpochTooOld{Current: head.epoch}
	}
	switch joined, found := t.participantSince(c.Room, c.Sender); {
	case !found:
		return NotAllowed{Reason: "the sender is not a participant"}
	case c.Epoch < joined:
		return NotAllowed{Reason: "the sender was not a participant in the message's epoch"}
	}
	if reason := t.silenced(c.Room, c.Sender, rules); reason != "" {
		return NotAllowed{Reason: reason}
	}
	return t.refuseDeparted(head, c.Sender)
}
