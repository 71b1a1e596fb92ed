package mimi

import (
	"fmt"

	"parley/mls"
)

// SubmissionState says how far a submission has come.
type SubmissionState uint8

const (
	SubmissionAccepted  SubmissionState = 1 // decided in the hub's log: it is durable and will be delivered
	SubmissionRejected  SubmissionState = 2 // decided: nothing comes of it
	SubmissionHeld      SubmissionState = 3 // on the disk of one of the hub's nodes; its Verdict comes on the submitter's stream
	SubmissionQueued    SubmissionState = 4 // at the submitter's own provider, on its way to the room's hub; likewise
	SubmissionNotTaken  SubmissionState = 5 // nothing was written: submit it again after the wait
	SubmissionUndecided SubmissionState = 6 // it may have been accepted, or be yet: submit it again, it is recognised
	SubmissionUnknown   SubmissionState = 7 // only where a receipt is asked for: there is no record of it
)

func (s SubmissionState) String() string {
	return enumName(uint8(s), "SubmissionState", "reserved", "accepted", "rejected", "held", "queued", "notTaken", "undecided", "unknown")
}

// Decided reports whether the state is final and comes with a Verdict.
func (s SubmissionState) Decided() bool { return s == SubmissionAccepted || s == SubmissionRejected }

// NamesWait reports whether the state says when to submit again.
func (s SubmissionState) NamesWait() bool { return s == SubmissionNotTaken || s == SubmissionUndecided }

// BulkSubmitResponse answers a BulkSubmitRequest: each of its submissions, in its order. It also answers a SubmissionsRequest, each of its
// receipts in order.
//
//	struct {
//	    uint8 format = 1;
//	    SubmissionAnswer answers<V>;
//	} BulkSubmitResponse;
type BulkSubmitResponse struct{ Answers []SubmissionAnswer }

// SubmissionAnswer says what became of one submission so far.
//
//	struct {
//	    SubmissionState state;
//	    select (state) {
//	        case accepted:
//	        case rejected:
//	            Verdict verdict;
//	        case notTaken:
//	        case undecided:
//	            opaque receipt[32];
//	            uint32 retryAfterSeconds;
//	            opaque reason<V>; // UTF-8, for people
//	        default:
//	            opaque receipt[32];
//	    };
//	} SubmissionAnswer;
type SubmissionAnswer struct {
	State             SubmissionState
	Verdict           Verdict // of a state that is not decided only the Receipt, and the Reason where it names a wait
	RetryAfterSeconds uint32  // where the state names a wait
}

// Receipt is what the submission is known by.
func (a SubmissionAnswer) Receipt() Receipt { return a.Verdict.Receipt }

// DecidedAnswer is the answer with a verdict.
func DecidedAnswer(v Verdict) SubmissionAnswer {
	if v.Code == VerdictAccepted {
		return SubmissionAnswer{State: SubmissionAccepted, Verdict: v}
	}
	return SubmissionAnswer{State: SubmissionRejected, Verdict: v}
}

// ReadBulkSubmitResponse reads an answer of at most SubmissionsMax parts.
func ReadBulkSubmitResponse(r *mls.Reader) BulkSubmitResponse {
	readBulkFormat(r)
	m := BulkSubmitResponse{Answers: mls.ReadList(r, "answers", ReadSubmissionAnswer)}
	if !r.Failed() && len(m.Answers) > SubmissionsMax {
		r.Fail("answers", fmt.Sprintf("it lists %d, more than %d", len(m.Answers), SubmissionsMax))
	}
	return m
}

func ParseBulkSubmitResponse(b []byte) (BulkSubmitResponse, error) {
	return mls.Parse("BulkSubmitResponse", b, ReadBulkSubmitResponse)
}

func (m BulkSubmitResponse) AppendTo(w *mls.Writer) {
	w.Uint8(bulkFormat)
	mls.AppendList(w, m.Answers)
}

func (m BulkSubmitResponse) Marshal() []byte { return marshal(m) }

// ReadSubmissionAnswer takes only a verdict that fits the state.
func ReadSubmissionAnswer(r *mls.Reader) SubmissionAnswer {
	a := SubmissionAnswer{State: SubmissionState(r.Uint8("state"))}
	if a.State == 0 || a.State > SubmissionUnknown {
		failEnum(r, "state", uint8(a.State))
	}
	if a.State.Decided() {
		a.Verdict = mls.ReadIn(r, "verdict", ReadVerdict)
		if !r.Failed() && (a.State == SubmissionAccepted) != (a.Verdict.Code == VerdictAccepted) {
			r.Fail("verdict.code", fmt.Sprintf("%s does not fit the state %s", a.Verdict.Code, a.State))
		}
		return a
	}
	copy(a.Verdict.Receipt[:], r.Fixed("receipt", len(a.Verdict.Receipt)))
	if a.State.NamesWait() {
		a.RetryAfterSeconds = r.Uint32("retryAfterSeconds")
		a.Verdict.Reason = readText(r, "reason")
	}
	return a
}

func (a SubmissionAnswer) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(a.State))
	if a.State.Decided() {
		a.Verdict.AppendTo(w)
		return
	}
	w.Fixed(a.Verdict.Receipt[:])
	if a.State.NamesWait() {
		w.Uint32(a.RetryAfterSeconds)
		appendText(w, a.Verdict.Reason)
	}
}
