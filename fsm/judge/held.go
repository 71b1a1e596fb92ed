package judge

import (
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// HeldSubmission is a submission for a room hosted here that waits in a node's journal for its shard to decide again.
type HeldSubmission struct {
	From       mimi.Provider // who submitted, and is told the verdict
	Submission mimi.Submission
	Millis     uint64 // by the clock of the node that took it
}

const heldVersion = 1

// Encode writes it for the journal.
//
//	struct {
//	    uint8 version = 1;
//	    opaque from<V>;
//	    uint64 millis;
//	    Submission submission;
//	} HeldSubmission;
func (h HeldSubmission) Encode() []byte {
	var w mls.Writer
	w.Uint8(heldVersion)
	h.From.AppendTo(&w)
	w.Uint64(h.Millis)
	h.Submission.AppendTo(&w)
	return w.Bytes()
}

// DecodeHeld reads what Encode wrote, and aliases it. The error is a *mls.MalformedError.
func DecodeHeld(b []byte) (HeldSubmission, error) {
	r := mls.NewReader("HeldSubmission", b)
	if v := r.Uint8("version"); !r.Failed() && v != heldVersion {
		r.Fail("version", fmt.Sprintf("version %d is unknown", v))
	}
	h := HeldSubmission{From: mimi.ReadProvider(r, "from"), Millis: r.Uint64("millis"), Submission: readSubmission(r)}
	return h, r.Close()
}

func readSubmission(r *mls.Reader) mimi.Submission {
	return mimi.Submission{Room: string(r.Opaque("roomId")), Kind: mimi.SubmissionKind(r.Uint8("kind")), Body: r.Opaque("body")}
}

// VerdictOf puts the outcome of a single message, or of Proposals, into the words of a verdict; false where it is none.
func VerdictOf(receipt mimi.Receipt, outcome fsm.Outcome) (v mimi.Verdict, decided bool) {
	v.Receipt = receipt
	switch o := outcome.(type) {
	case fsm.Accepted:
		v.Code, v.AcceptedMillis, v.Current = mimi.VerdictAccepted, o.Millis, o.Epoch
	case fsm.EpochTooOld:
		v.Code, v.Current, v.Reason = mimi.VerdictEpochTooOld, o.Current, "the message's epoch has left the room's window"
	case fsm.WrongEpoch:
		v.Code, v.Current, v.Reason = mimi.VerdictWrongEpoch, o.Current, "the group is in another epoch"
	case fsm.NotAllowed:
		v.Code, v.Reason = mimi.VerdictNotAllowed, o.Reason
	case fsm.InvalidProposal:
		v.Code, v.Reason = mimi.VerdictInvalid, o.Reason
	case fsm.NoSuchRoom:
		v.Code, v.Reason = mimi.VerdictNoSuchRoom, "there is no such room"
	case fsm.RoomEnded:
		v.Code, v.Reason = mimi.VerdictRoomEnded, o.Reason()
	case fsm.StaleRoom:
		v.Code, v.Current, v.Reason = mimi.VerdictRoomStale, o.Epoch, o.Reason()
	default:
		return v, false
	}
	return v, true
}
