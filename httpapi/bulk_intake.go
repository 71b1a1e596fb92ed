package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// Bounds of what one command carries. A shard's log takes several of them in one entry.
const (
	batchMessagesMax = 250
	batchBytesMax    = 96 << 10 // of messages; a larger one comes alone
)

// submitPatience is how long a bulk submission waits for its shards. What is not decided by then is answered as such.
const submitPatience = 5 * time.Second

// bulkIntake is one bulk submission as its answers come together.
type bulkIntake struct {
	desk    *Desk
	from    submitter
	answers []mimi.SubmissionAnswer // in the request's order
	faults  error                   // of this node
	refusal error                   // why the last of what was not taken was not
}

// part is a request to the hub, and which of the answers it decides.
type part struct {
	request  judge.Request
	room     mimi.RoomURI
	places   []int
	messages []mimi.SubmittedMessage // of a batch; none of Proposals
	bytes    int
}

// intake decides a bulk submission: each part in its slot, all at the same time, and of one room in order.
func (d *Desk) intake(ctx context.Context, from submitter, request mimi.BulkSubmitRequest) *bulkIntake {
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	in := &bulkIntake{
		desk: d, from: from,
		answers: make([]mimi.SubmissionAnswer, len(request.Submissions)),
	}
	parts := in.sort(request.Submissions)
	in.decide(ctx, parts)
	in.recordProposals(ctx, parts)
	return in
}

func (in *bulkIntake) settle(place int, a mimi.SubmissionAnswer) { in.answers[place] = a }

func (in *bulkIntake) reject(place int, receipt mimi.Receipt, code mimi.VerdictCode, reason string) {
	in.settle(place, mimi.DecidedAnswer(mimi.Verdict{Receipt: receipt, Code: code, Reason: reason}))
}

// sort reads the submissions, answers those that need no room to be decided, and gathers the others into requests: messages of one room
// and provider together.
func (in *bulkIntake) sort(submissions []mimi.Submission) (parts []*part) {
	open := map[mimi.RoomURI]*part{} // the last of each room
	for i, s := range submissions {
		submitted, err := s.Read()
		if err != nil {
			in.reject(i, s.UnreadReceipt(), mimi.VerdictMalformed, err.Error())
			continue
		}
		room := submitted.ForRoom()
		if !in.desk.isOurs(room.Provider()) {
			in.elsewhere(i, submitted)
			continue
		}
		switch s := submitted.(type) {
		case mimi.SubmittedMessage:
			if !in.admits(i, s) {
				continue
			}
			p := open[room]
			if p == nil || !p.takes(s) {
				p = &part{room: room}
				open[room], parts = p, append(parts, p)
			}
			p.places, p.messages, p.bytes = append(p.places, i), append(p.messages, s), p.bytes+len(s.Encoded)
		case mimi.SubmittedProposals:
			p := &part{room: room, places: []int{i}}
			if p.request, err = judge.NewUpdate(in.from.domain, room, s.Body); err != nil {
				in.reject(i, s.Receipt(), mimi.VerdictMalformed, err.Error())
				continue
			}
			in.answers[i].Verdict.Receipt = s.Receipt()
			open[room], parts = nil, append(parts, p)
		}
	}
	return parts
}

// elsewhere answers what is for a room of another provider. The peer listener takes nothing of the kind; for the provider's own users
// nothing is kept here to be brought there.
func (in *bulkIntake) elsewhere(place int, s mimi.Submitted) {
	if !in.from.local {
		in.reject(place, s.Receipt(), mimi.VerdictNoSuchRoom, fmt.Sprintf("the room belongs to %s", s.ForRoom().Provider()))
		return
	}
	in.notTaken(place, s.Receipt(), newProblem(http.StatusServiceUnavailable, problemNotProposed, "", "What is for a room of another provider is submitted by itself.").after(retrySoon))
}

// admits rejects a message that is too large, or is of nobody for whom the submitter speaks.
func (in *bulkIntake) admits(place int, m mimi.SubmittedMessage) bool {
	switch {
	case !in.from.speaksFor(m.Request.Sender.Provider()):
		in.reject(place, m.Receipt(), mimi.VerdictNotYours, "sendingUri is no user of the submitting provider")
	case len(m.Encoded)+len(m.Request.Message.GroupID) > mimi.MessageBytesMax:
		in.reject(place, m.Receipt(), mimi.VerdictTooLarge, fmt.Sprintf("a message has at most %d octets", mimi.MessageBytesMax))
	default:
		return true
	}
	return false
}

// takes reports whether a batch has room for another message, which must be of the same provider's users.
func (p *part) takes(m mimi.SubmittedMessage) bool {
	return len(p.messages) > 0 && len(p.messages) < batchMessagesMax && p.bytes+len(m.Encoded) <= batchBytesMax &&
		p.messages[0].Request.Sender.Provider() == m.Request.Sender.Provider()
}

// decide asks the hub. Where a shard takes no batches yet, their messages are submitted one by one.
func (in *bulkIntake) decide(ctx context.Context, parts []*part) {
	var requests []judge.Request
	var asked []*part
	for _, p := range parts {
		if p.request == nil {
			batch, err := judge.NewSubmitBatch(p.messages[0].Request.Sender.Provider(), p.room, p.messages, false)
			if err != nil {
				in.undecided(p, err)
				continue
			}
			p.request = batch
		}
		requests, asked = append(requests, p.request), append(asked, p)
	}
	var singly []*part
	for i, d := range in.desk.bulk.DoMany(ctx, requests) {
		if !in.conclude(asked[i], d) {
			singly = append(singly, asked[i])
		}
	}
	in.decideSingly(ctx, singly)
}

// conclude settles the answers of a part; false where its messages have to be submitted one by one.
func (in *bulkIntake) conclude(p *part, d judge.Decided) bool {
	if d.Err != nil {
		in.undecided(p, d.Err)
		return true
	}
	switch o := d.Outcome.(type) {
	case fsm.FormatNotReached:
		if p.messages != nil {
			return false
		}
		in.undecided(p, unexpected("a submission", o))
	case fsm.BatchDecided:
		if len(o.Verdicts) != len(p.places) {
			in.undecided(p, fmt.Errorf("%d verdicts for %d messages", len(o.Verdicts), len(p.places)))
			return true
		}
		for i, v := range o.Verdicts {
			if v.Undecided {
				in.settle(p.places[i], waiting(mimi.SubmissionUndecided, v.Receipt, "an earlier attempt may have been accepted"))
			} else {
				in.settle(p.places[i], mimi.DecidedAnswer(v.Verdict))
			}
		}
	default:
		for i, place := range p.places {
			verdict, err := verdictOf(in.receipt(p, i), d.Outcome)
			if err != nil {
				in.undecided(p, err)
				return true
			}
			in.settle(place, mimi.DecidedAnswer(verdict))
		}
	}
	return true
}

func (in *bulkIntake) receipt(p *part, i int) mimi.Receipt {
	if p.messages != nil {
		return p.messages[i].Receipt()
	}
	return in.answers[p.places[i]].Receipt()
}

// verdictOf puts the outcome of a single message, or of Proposals, into the words of a verdict.
func verdictOf(receipt mimi.Receipt, outcome fsm.Outcome) (mimi.Verdict, error) {
	v := mimi.Verdict{Receipt: receipt}
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
	default:
		return v, unexpected("a submission", outcome)
	}
	return v, nil
}

func (in *bulkIntake) decideSingly(ctx context.Context, parts []*part) {
	var requests []judge.Request
	var places []int
	for _, p := range parts {
		for i, m := range p.messages {
			request, err := judge.NewSubmit(m.Request.Sender.Provider(), p.room, m.Request.Marshal())
			if err != nil {
				in.undecided(&part{places: p.places[i : i+1], messages: p.messages[i : i+1]}, err)
				continue
			}
			in.answers[p.places[i]].Verdict.Receipt = m.Receipt()
			requests, places = append(requests, request), append(places, p.places[i])
		}
	}
	if len(requests) == 0 {
		return
	}
	for i, d := range in.desk.bulk.DoMany(ctx, requests) {
		in.conclude(&part{places: places[i : i+1]}, d)
	}
}

// undecided answers a part that the cluster could not decide.
func (in *bulkIntake) undecided(p *part, err error) {
	var malformed *mls.MalformedError
	for i, place := range p.places {
		receipt := in.receipt(p, i)
		switch {
		case errors.As(err, &malformed):
			in.reject(place, receipt, mimi.VerdictMalformed, malformed.Error())
		case errors.Is(err, fsm.ErrNotProposed), errors.Is(err, fsm.ErrOverloaded):
			in.notTaken(place, receipt, err)
		default:
			in.settle(place, waiting(mimi.SubmissionUndecided, receipt, "the outcome is not known"))
		}
	}
	if malformed == nil && !isUnavailable(err) {
		in.faults = errors.Join(in.faults, err)
	}
}

func isUnavailable(err error) bool {
	return errors.Is(err, fsm.ErrNotProposed) || errors.Is(err, fsm.ErrOverloaded) || errors.Is(err, fsm.ErrUnknownOutcome)
}

// notTaken answers a submission of which nothing was written, with what would be said of it if it had come by itself.
func (in *bulkIntake) notTaken(place int, receipt mimi.Receipt, err error) {
	in.refusal = err
	problem, _ := problemOf(err)
	a := waiting(mimi.SubmissionNotTaken, receipt, problem.Detail)
	a.RetryAfterSeconds = seconds(problem.retryAfter)
	in.settle(place, a)
}

func waiting(state mimi.SubmissionState, receipt mimi.Receipt, reason string) mimi.SubmissionAnswer {
	return mimi.SubmissionAnswer{State: state, Verdict: mimi.Verdict{Receipt: receipt, Reason: reason}, RetryAfterSeconds: seconds(retrySoon)}
}

// nothingTaken reports whether nothing was written of the whole request.
func (in *bulkIntake) nothingTaken() bool {
	return !slices.ContainsFunc(in.answers, func(a mimi.SubmissionAnswer) bool { return a.State != mimi.SubmissionNotTaken })
}

// recordProposals records what the judge said of Proposals, and tells rejections: a batch of messages does that in the entry that decides on
// it. The answers are final already; where the record cannot be made they are all that says so.
func (in *bulkIntake) recordProposals(ctx context.Context, parts []*part) {
	verdicts := map[mimi.RoomURI][]mimi.Verdict{}
	var rooms []mimi.RoomURI
	for _, p := range parts {
		if p.messages != nil || !in.answers[p.places[0]].State.Decided() {
			continue
		}
		v := in.answers[p.places[0]].Verdict
		if v.Code == mimi.VerdictNoSuchRoom {
			continue
		}
		if verdicts[p.room] == nil {
			rooms = append(rooms, p.room)
		}
		verdicts[p.room] = append(verdicts[p.room], v)
	}
	var requests []judge.Request
	for _, room := range rooms {
		request, err := judge.NewRecordVerdicts(room, in.from.domain, verdicts[room], false)
		if err != nil {
			in.faults = errors.Join(in.faults, err)
			continue
		}
		requests = append(requests, request)
	}
	if len(requests) == 0 {
		return
	}
	for _, d := range in.desk.bulk.DoMany(ctx, requests) {
		if d.Err != nil && !isUnavailable(d.Err) {
			in.faults = errors.Join(in.faults, d.Err)
		}
	}
}
