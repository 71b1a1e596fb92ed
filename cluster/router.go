package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
	"parley/storage"
)

const (
	// requestTimeout bounds a request whose context has no deadline.
	requestTimeout = 10 * time.Second

	// catchUpPatience is how long a request waits for this node's replica to reach an index before the leader's node takes it
	// over. An idle leader tells its followers the commit index only every RaftSettings.Commit; a busy one within this time.
	catchUpPatience = 30 * time.Millisecond

	// changesMax is how often a request is judged anew because what it was judged against is gone, before the leader's node
	// takes it over, where the replica is never behind.
	changesMax = 3
)

var (
	// errBehind: this node's replica does not reach the index in time.
	errBehind = errors.New("the replica is behind")
	// errElsewhere: another node may do better. Nothing is known of the outcome beyond what tries remembers.
	errElsewhere = errors.New("try another node")
)

// Do decides a request: it is judged against this node's replica of the shard, or by a node that has one; what must be decided
// in order goes through the shard's log; and a *no* is given only by a replica that has applied a fence. Every step can be
// repeated, so Do retries through changes of leader until the context's deadline (10 s without one).
//
// Errors are *mls.MalformedError, or wrap fsm.ErrNotProposed, fsm.ErrUnknownOutcome or fsm.ErrOverloaded; anything else is a
// fault of this node. It may be called by many goroutines.
func (n *Node) Do(ctx context.Context, request judge.Request) (fsm.Outcome, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	q := newQuery(n, request)
	q.takeCaller(ctx)
	return q.settle(ctx)
}

// newQuery begins with a request: with one that is made again, where the attempt before has ended.
func newQuery(n *Node, request judge.Request) *query {
	request, again := judge.MayBeDecided(request)
	return &query{tries: tries{node: n, at: request.Slot(), open: again}, request: request, unsettled: again}
}

// settle makes attempts until the request is decided, or there is no more time.
func (q *query) settle(ctx context.Context) (fsm.Outcome, error) {
	n := q.node
	var pause backoff
	for {
		wait := func(ctx context.Context) error { return n.awaitPlace(ctx, &pause) }
		if shard, ok := n.servingSlot(q.request.Slot()); ok {
			q.turnTo(shard.ID)
			before := n.leadOf(uint32(shard.ID))
			outcome, err := q.decide(ctx, shard)
			to, moved := outcome.(fsm.MovedTo)
			switch {
			case err == nil && !moved:
				if err := n.awaitAcknowledged(ctx, q.request, shard, q.decidedAt); err != nil {
					q.open = true
					return nil, q.unavailable(err)
				}
				return outcome, nil
			case moved:
				if n.heedMoved(q.request.Slot(), to) || n.hasLeft(shard.ID, q.request.Slot()) {
					continue
				}
			case !errors.Is(err, errElsewhere):
				return nil, q.final(err)
			default:
				wait = func(ctx context.Context) error { return n.retry(ctx, &pause, uint32(shard.ID), before) }
			}
		}
		if err := wait(ctx); err != nil {
			return nil, q.unavailable(err)
		}
	}
}

// final is the error that the request ends with. Once something of it may be in the log, whatever went wrong after that leaves the outcome
// unknown: a fault of this node, or a complaint about the request, would read as a failure.
func (q *query) final(err error) error {
	if !q.open || errors.Is(err, fsm.ErrUnknownOutcome) {
		return err
	}
	q.node.log.Error("a request failed after it may have been decided", "error", err)
	return fmt.Errorf("%w: %v", fsm.ErrUnknownOutcome, err)
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, requestTimeout)
}

// query is one request on its way. It belongs to one goroutine.
type query struct {
	tries
	request judge.Request
	// floor is an index of a shard's log that was committed after the request came: a replica that has applied it may say no, if it serves
	// the slot. 0 for none yet.
	floor   uint64
	floorOf fsm.ShardID
	// decidedAt is the index at which a log has decided it; 0 where none was asked.
	decidedAt uint64
	// caller is whose request it is, where called. vouched is how far another node knows him; 0 at the node that took the request.
	caller  meta.Caller
	called  bool
	vouched vouched
	// unsettled: an attempt may have been accepted under settings that have changed since, or may have, and the request has to be judged anew.
	unsettled bool
}

// turnTo begins with a shard: indexes of another one's log mean nothing there.
func (q *query) turnTo(shard fsm.ShardID) {
	if q.floorOf != shard {
		q.floor, q.floorOf = 0, shard
	}
}

// decide makes one attempt: here if there is a replica, and at the leader's node where there is none or it is behind.
func (q *query) decide(ctx context.Context, shard meta.Shard) (fsm.Outcome, error) {
	if replica := q.node.replica(shard.ID); replica != nil {
		outcome, _, err := q.judge(ctx, replica, shard, catchUpPatience)
		if !errors.Is(err, errBehind) {
			return outcome, err
		}
		if replica.leads() {
			return nil, errElsewhere // so it was: leadership came in between; begin again
		}
	}
	return q.handOver(ctx, shard)
}

// judge runs the request against a replica and, where the verdict says so, through the log. The index is the one at which the
// outcome was decided, 0 where no log was asked. errBehind means that the replica cannot serve the request soon enough.
func (q *query) judge(ctx context.Context, replica *replica, shard meta.Shard, patience time.Duration) (fsm.Outcome, uint64, error) {
	for changes := 0; ; {
		if err := replica.reach(ctx, q.floor, patience); err != nil {
			return nil, 0, err
		}
		verdict, to, err := judgeOn(replica, q.request)
		if err != nil {
			return nil, 0, err
		}
		switch v := verdict.(type) {
		case nil:
			return to, 0, nil
		case judge.Answer:
			return v.Outcome, 0, nil
		case judge.Refuse:
			if q.floor > 0 {
				outcome, err := q.refused(v.Outcome)
				return outcome, 0, err
			}
			fence, err := q.fence(ctx, shard)
			if err != nil {
				return nil, 0, err
			}
			q.floor = fence.index
		case judge.Propose:
			if denied, err := q.admit(v.Command); denied != nil || err != nil {
				return denied, 0, err
			}
			decided, err := q.propose(ctx, shard, v.Command)
			if err != nil {
				return nil, 0, err
			}
			if decided.outcome, err = q.known(decided.outcome); err != nil {
				return nil, 0, err
			}
			if changed, yes := decided.outcome.(fsm.ReadSetChanged); yes {
				q.floor = max(q.floor, changed.Index)
				_, bound := v.Command.(fsm.Judged)
				q.unsettled = q.unsettled || bound && q.open
				if changes++; changes >= changesMax && !replica.leads() {
					return nil, 0, errBehind
				}
				continue
			}
			q.open = true // it is in the log: whatever fails from here on, "nothing was written" would be a lie
			q.decidedAt = decided.index
			outcome, err := q.complete(ctx, replica, decided, patience)
			return outcome, decided.index, err
		default:
			return nil, 0, fmt.Errorf("judge: a verdict of type %T", verdict)
		}
	}
}

// fence brings a fence into the log. It decides nothing, so that it is not known what became of one leaves nothing open.
func (q *query) fence(ctx context.Context, shard meta.Shard) (decision, error) {
	single := &tries{node: q.node, at: q.at, next: q.next}
	d, err := single.bring(ctx, shard, fsm.Fence{})
	if err != nil && (q.open || errors.Is(err, fsm.ErrUnknownOutcome)) {
		err = q.unavailable(err)
	}
	return d, err
}

// refused is the refusal of a verdict. Such a one looks at no record of what was accepted, so after a change of settings it would deny
// what an earlier attempt may have got.
func (q *query) refused(outcome fsm.Outcome) (fsm.Outcome, error) {
	if q.unsettled {
		return nil, q.unavailable(errors.New("an earlier attempt may have been accepted, under settings that have changed since"))
	}
	return q.known(outcome)
}

// elsewhere is the outcome that another node has come to, which does not know what this one has attempted.
func (q *query) elsewhere(outcome fsm.Outcome) (fsm.Outcome, error) {
	if _, no := outcome.(fsm.NotAllowed); no {
		return q.refused(outcome) // it may be its verdict
	}
	return q.known(outcome)
}

// known is the outcome, unless it could be the answer to a retry of something that an earlier attempt of this request got accepted.
func (q *query) known(outcome fsm.Outcome) (fsm.Outcome, error) {
	if batch, yes := outcome.(fsm.BatchDecided); yes && q.open {
		return undecidedAgain(batch), nil
	}
	if q.open && forgotten(outcome) {
		return nil, q.unavailable(errors.New("an earlier attempt may have been accepted, and the record of it is gone"))
	}
	return outcome, nil
}

// undecidedAgain is known for the messages of a batch: each of them may be the retry that looks too old.
func undecidedAgain(batch fsm.BatchDecided) fsm.BatchDecided {
	verdicts := slices.Clone(batch.Verdicts)
	for i, v := range verdicts {
		verdicts[i].Undecided = v.Undecided || v.Code == mimi.VerdictEpochTooOld
	}
	return fsm.BatchDecided{Verdicts: verdicts}
}

// forgotten reports a refusal that a retry of something accepted gets as well, once the record of the acceptance has been dropped: a
// message of an epoch that has left the window, a Commit of an epoch whose winner is no longer known.
func forgotten(outcome fsm.Outcome) bool {
	switch o := outcome.(type) {
	case fsm.EpochTooOld:
		return true
	case fsm.WrongEpoch:
		return o.Winner == [32]byte{}
	default:
		return false
	}
}

// judgeOn judges a request on a replica's state as it is now. There is no verdict where the replica does not serve the slot: then that is
// all that it has to say.
func judgeOn(replica *replica, request judge.Request) (verdict judge.Verdict, to fsm.MovedTo, err error) {
	view, err := replica.view()
	if err != nil {
		return nil, to, behindIfReplaced(err)
	}
	to, serves, err := replica.elsewhere(view, request.Slot())
	if err == nil && serves {
		verdict, err = judge.On(judge.Remembering{Reader: view, Groups: replica.node.known, Signers: replica.node}, request)
	}
	return verdict, to, behindIfReplaced(errors.Join(err, view.Close()))
}

// behindIfReplaced makes errBehind of a state that a snapshot is taking the place of: another node can serve meanwhile.
func behindIfReplaced(err error) error {
	if errors.Is(err, storage.ErrReplaced) || errors.Is(err, storage.ErrRestoring) {
		return fmt.Errorf("%w: %w", errBehind, err)
	}
	return err
}

// complete lets the request read what it needs from a replica that has applied the command. Most need nothing, and then
// nothing is waited for.
func (q *query) complete(ctx context.Context, replica *replica, d decision, patience time.Duration) (fsm.Outcome, error) {
	reader := &laterReader{ctx: ctx, replica: replica, slot: q.request.Slot(), index: d.index, patience: patience}
	outcome, err := q.request.Complete(reader, d.outcome)
	return outcome, behindIfReplaced(errors.Join(err, reader.close()))
}

// handOver lets another node that has a replica decide the whole request, the leader's if it is known.
func (q *query) handOver(ctx context.Context, shard meta.Shard) (fsm.Outcome, error) {
	target := q.node.leaderOf(shard.ID)
	for target == "" || target == q.node.id {
		target = shard.Replicas[q.next%len(shard.Replicas)]
		q.next++
		if len(shard.Replicas) == 1 && target == q.node.id {
			return nil, errElsewhere
		}
	}
	known, gone := q.vouch()
	if gone {
		return q.shutOut()
	}
	var w mls.Writer
	w.Uint8(doVersion)
	w.Uint32(uint32(shard.ID))
	w.Uint64(q.floor)
	request := q.request
	if q.open {
		request = judge.Repeated(request)
	}
	w.Opaque(judge.EncodeRequest(request))
	known.appendTo(&w)
	ctx, done := q.node.whileLeads(ctx, uint32(shard.ID), target, shard.Replicas)
	defer done()
	switch reply := received(q.node.call(ctx, target, methodDo, w.Bytes())); reply.code {
	case answerOutcome:
		q.decidedAt = reply.index
		return q.elsewhere(reply.outcome)
	case answerMalformed:
		return nil, &reply.fault
	case answerUnknown:
		q.open = q.open || !judge.Reads(q.request)
	case answerOverloaded:
		if !q.open {
			return nil, fsm.ErrOverloaded
		}
	}
	q.node.forgetLeader(shard.ID, target)
	if by := supersededBy(ctx); by != "" {
		q.node.noteLeader(shard.ID, by)
	}
	return nil, errElsewhere
}

// serveDo answers methodDo with this node's own replica and hands the request to nobody:
//
//	struct {
//	    uint8 version = 2;
//	    uint32 shard;
//	    uint64 floor;
//	    opaque request<V>;
//	    uint64 vouched; // the version of the settings as of which the caller is known; none in version 1
//	} DoRequest;
func (n *Node) serveDo(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("DoRequest", payload)
	version := r.Uint8("version")
	if version == 0 || version > doVersion {
		r.Fail("version", "is not known")
	}
	id := fsm.ShardID(r.Uint32("shard"))
	floor := r.Uint64("floor")
	encoded := r.Opaque("request")
	known := readVouched(r, version)
	if err := r.Close(); err != nil {
		return answerOf(err).encode(), nil
	}
	request, err := judge.DecodeRequest(encoded)
	if err != nil {
		return answerOf(err).encode(), nil
	}
	return n.doHere(ctx, id, request, floor, known).encode(), nil
}

func (n *Node) doHere(ctx context.Context, id fsm.ShardID, request judge.Request, floor uint64, known vouched) answer {
	shard, placed := n.Map().Shard(id)
	replica := n.replica(id)
	if !placed || replica == nil {
		return answer{code: answerNoReplica}
	}
	q := newQuery(n, request)
	q.floor, q.floorOf, q.vouched = floor, id, known
	outcome, index, err := q.judge(ctx, replica, shard, requestTimeout)
	switch {
	case err == nil:
		return answer{code: answerOutcome, outcome: outcome, index: index}
	case errors.Is(err, errBehind), errors.Is(err, errElsewhere):
		return answerOf(q.unavailable(err))
	default:
		if reply := answerOf(q.final(err)); reply.code != answerFault {
			return reply
		}
		n.log.Error("request from another node", "shard", id, "error", err)
		return answer{code: answerFault}
	}
}
