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
//	    select (version) {
//	        case 1: struct {};
//	        case 2: uint8 told; // 0 or 1
//	    };
//	} KnownMessage;
type knownMessage struct {
	accepted Accepted
	sender   mimi.UserURI
	told     bool // the acceptance stands on the sender's provider's stream
}

// knownMessageVersion is the last layout. One that was told nobody is in the first.
const knownMessageVersion = 2

func (m knownMessage) verdict(receipt mimi.Receipt) mimi.Verdict {
	return mimi.Verdict{Receipt: receipt, Code: mimi.VerdictAccepted, AcceptedMillis: m.accepted.Millis, Current: m.accepted.Epoch}
}

func (m knownMessage) record() []byte {
	if m.told {
		return encode(2, func(w *mls.Writer) {
			m.appendTo(w)
			w.Bool(m.told)
		})
	}
	return encode(1, m.appendTo)
}

func (m knownMessage) appendTo(w *mls.Writer) {
	m.accepted.appendTo(w)
	m.sender.AppendTo(w)
}

func readKnownMessage(r *mls.Reader, version uint8) knownMessage {
	m := knownMessage{accepted: readAccepted(r), sender: mimi.ReadUserURI(r, "sender")}
	if version >= 2 {
		m.told = r.Bool("told")
	}
	return m
}

func readMessageAt(r Reader, k key) (knownMessage, bool, error) {
	return readRecordUpTo(r, k, "accepted message", knownMessageVersion, readKnownMessage)
}

// ReadKnownMessage returns the answer that a message got; false where it was not accepted, or its epoch has left the window.
// hash is the SHA-256 of its MLSMessage.
func ReadKnownMessage(r Reader, room mimi.RoomURI, group mls.GroupID, epoch mls.Epoch, hash [32]byte) (Accepted, bool, error) {
	known, found, err := readMessageAt(r, messageKey(room, group, epoch, hash))
	return known.accepted, found, err
}

func messageKey(room mimi.RoomURI, group mls.GroupID, epoch mls.Epoch, hash [32]byte) key {
	return epochKey(keyMessage, room, group, epoch).raw(hash[:])
}

// submitMessage accepts an application message (mimi-protocol-06 §5.4) for every destination that follows the room.
func (t *tx) submitMessage(c SubmitMessage) Outcome {
	in := t.intake(c.Room)
	m := BatchMessage{GroupID: c.GroupID, Epoch: c.Epoch, Sender: c.Sender, Hash: c.Hash, Message: c.Message}
	known, refused := in.decide(m)
	if refused.outcome != nil {
		return refused.outcome
	}
	in.deliver()
	return known.accepted
}
