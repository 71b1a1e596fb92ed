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
	queued   []mimi.Submission       // for a room of another provider, of the provider's own users
	came     []mimi.Submission       // of a room hosted here, as they came
	held     bool                    // they are in the journal
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
			if p := in.elsewhere(i, s, submitted, open[room]); p != nil && p != open[room] {
				open[room], parts = p, append(parts, p)
			}
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
			p.came = append(p.came, submissions[i])
		case mimi.SubmittedProposals:
			p := &part{room: room, places: []int{i}, came: submissions[i : i+1]}
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

// elsewhere puts what is for a room of another provider into a part for the queue to that hub: the last one of the room, where it has room, or a
// new one. The peer listener takes nothing of the kind.
func (in *bulkIntake) elsewhere(place int, s mimi.Submission, read mimi.Submitted, last *part) *part {
	if !in.from.local {
		in.reject(place, read.Receipt(), mimi.VerdictNoSuchRoom, fmt.Sprintf("the room belongs to %s", read.ForRoom().Provider()))
		return nil
	}
	if message, ok := read.(mimi.SubmittedMessage); ok && !in.admits(place, message) {
		return nil
	}
	if len(s.Body) > mimi.MessageBytesMax {
		in.reject(place, read.Receipt(), mimi.VerdictTooLarge, fmt.Sprintf("what is queued has at most %d octets", mimi.MessageBytesMax))
		return nil
	}
	p := last
	if p == nil || len(p.queued) >= batchMessagesMax || p.bytes+len(s.Body) > batchBytesMax {
		p = &part{room: read.ForRoom()}
	}
	p.places, p.queued, p.bytes = append(p.places, place), append(p.queued, s), p.bytes+len(s.Body)
	in.answers[place].Verdict.Receipt = read.Receipt()
	return p
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
		if p.queued != nil {
			queue, err := judge.NewQueue(p.room, p.queued)
			if err != nil {
				in.undecided(p, err)
				continue
			}
			p.request = queue
		}
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
	for i, d := range in.askOrHold(ctx, asked, requests) {
		if !in.conclude(asked[i], d) {
			singly = append(singly, asked[i])
		}
	}
	in.decideSingly(ctx, singly)
}

// conclude settles the answers of a part; false where its messages have to be submitted one by one.
func (in *bulkIntake) conclude(p *part, d judge.Decided) bool {
	if p.held {
		for _, place := range p.places {
			in.settle(place, mimi.SubmissionAnswer{State: mimi.SubmissionHeld, Verdict: mimi.Verdict{Receipt: in.receiptAt(p, place)}})
		}
		return true
	}
	if d.Err != nil {
		in.undecided(p, d.Err)
		return true
	}
	switch o := d.Outcome.(type) {
	case fsm.FormatNotReached:
		if p.messages != nil {
			return false
		}
		if p.queued != nil {
			in.undecided(p, newProblem(http.StatusServiceUnavailable, problemNotProposed, "",
				"The cluster does not queue for other providers yet: what is for their rooms is submitted by itself.").after(retrySoon))
			return true
		}
		in.undecided(p, unexpected("a submission", o))
	case fsm.SubmissionsQueued:
		if len(o.Answers) != len(p.places) {
			in.undecided(p, fmt.Errorf("%d answers for %d submissions", len(o.Answers), len(p.places)))
			return true
		}
		for i, a := range o.Answers {
			if in.settle(p.places[i], a); a.State == mimi.SubmissionNotTaken {
				in.refusal = newProblem(http.StatusTooManyRequests, problemTooMany, "", a.Verdict.Reason+".").after(time.Duration(a.RetryAfterSeconds) * time.Second)
			}
		}
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
			verdict, decided := judge.VerdictOf(in.receipt(p, i), d.Outcome)
			if !decided {
				in.undecided(p, unexpected("a submission", d.Outcome))
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
		case errors.Is(err, fsm.ErrNotProposed), errors.Is(err, fsm.ErrOverloaded), isProblem(err):
			in.notTaken(place, receipt, err)
		default:
			in.settle(place, waiting(mimi.SubmissionUndecided, receipt, "the outcome is not known"))
		}
	}
	if malformed == nil && !isUnavailable(err) && !isProblem(err) {
		in.faults = errors.Join(in.faults, err)
	}
}

// isProblem reports an answer that is made already: nothing was written.
func isProblem(err error) bool { return errors.As(err, new(*Problem)) }

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
		if p.messages != nil || p.queued != nil || !in.answers[p.places[0]].State.Decided() {
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
