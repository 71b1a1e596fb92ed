package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// lanes counts those that are open.
func (w *courierWorld) lanes() int {
	w.courier.mu.Lock()
	defer w.courier.mu.Unlock()
	return len(w.courier.open)
}

// between is how long the hub was left in peace between two attempts on a submission, counted from 0.
func (w *courierWorld) between(receipt mimi.Receipt, first int) time.Duration {
	w.t.Helper()
	w.peer.mu.Lock()
	defer w.peer.mu.Unlock()
	times := w.peer.times[receipt]
	if len(times) < first+2 {
		w.t.Fatalf("%d attempts", len(times))
	}
	return times[first+1].Sub(times[first])
}

func (w *courierWorld) setDown(down bool) {
	w.peer.mu.Lock()
	defer w.peer.mu.Unlock()
	w.peer.down = down
}

// recorder says at first that nothing was recorded.
type recorder struct {
	Hub
	first []func() (fsm.Outcome, error)
	asked int
}

func (r *recorder) Do(context.Context, judge.Request) (fsm.Outcome, error) {
	if r.asked++; r.asked <= len(r.first) {
		return r.first[r.asked-1]()
	}
	return fsm.Done{}, nil
}

// Only the answer that it is done ends the recording of a verdict.
func TestCourierRecordsUntilItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCourierWorld(t, true, CourierConfig{})
		w.stop()
		r := &recorder{first: []func() (fsm.Outcome, error){
			func() (fsm.Outcome, error) { return fsm.NotAllowed{Reason: "not yet"}, nil },
			func() (fsm.Outcome, error) { return nil, fsm.ErrUnknownOutcome },
			func() (fsm.Outcome, error) { return fsm.Done{}, fsm.ErrUnknownOutcome },
		}}
		w.courier.hub = r
		w.courier.recordSlot(t.Context(), 1, peerDomain, []fsm.SettledSubmission{{Number: 1, Verdict: mimi.Verdict{Code: mimi.VerdictAccepted}}})
		if r.asked != len(r.first)+1 {
			t.Errorf("recorded %d times", r.asked)
		}
	})
}

// A courier that nobody wakes looks again by itself.
func TestCourierLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCourierWorld(t, true, CourierConfig{})
		synctest.Wait()
		w.hub.mu.Lock()
		w.hub.woken = nil
		w.hub.mu.Unlock()
		receipt := w.submit(peerRoom(1), "one")[0]
		time.Sleep(3 * time.Second)
		w.stop()
		w.expectOne(mimi.VerdictAccepted, receipt)
	})
}

// A lane looks again when the next room is due, and not at once for one that was due before and has nothing any more. What it knows of a
// submission goes with its verdict.
func TestCourierLaneRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCourierWorld(t, true, CourierConfig{Rescan: time.Minute})
		w.stop()
		lane, now := newCourierLane(w.courier, peerDomain), time.Now()
		if got := lane.untilDue(now); got != time.Minute {
			t.Errorf("rests for %s", got)
		}
		lane.waits[peerRoom(1)] = parking{until: now.Add(-time.Second)}
		lane.waits[peerRoom(2)] = parking{until: now.Add(time.Second)}
		lane.waits[peerRoom(3)] = parking{until: now.Add(2 * time.Second)}
		if got := lane.untilDue(now); got != time.Second {
			t.Errorf("rests for %s with a room that is due in a second", got)
		}
		q := fsm.QueuedSubmission{Slot: 1, Number: 1, Room: peerRoom(2)}
		round := &courierRound{lane: lane, settled: map[fsm.SlotID][]fsm.SettledSubmission{}}
		if lane.history(q); len(lane.items) != 1 {
			t.Errorf("%d submissions are known", len(lane.items))
		}
		round.settle(q, mimi.Verdict{Code: mimi.VerdictAccepted})
		if len(lane.items) > 0 || len(lane.waits) != 2 {
			t.Errorf("%d submissions are known, and %d rooms wait", len(lane.items), len(lane.waits))
		}
	})
}

// A hub that asks for less is left alone with all rooms, however often it does so, and that is never taken for a refusal; one whose answer cannot be
// read is asked again after a while.
func TestCourierIsPatientWithAHubThatDecidesNothing(t *testing.T) {
	for _, c := range []struct {
		fault playedFault
		whole bool // it is about the hub
	}{
		{playedFault{status: http.StatusTooManyRequests}, true}, {playedFault{status: http.StatusUnauthorized}, true}, {playedFault{garbage: true}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newCourierWorld(t, false, CourierConfig{Failing: Backoff{time.Minute, time.Minute}})
			first := outboundReceipt(t, outboundMessage(peerRoom(1), "one"))
			w.peer.fault = func(receipt mimi.Receipt, attempt int) (f playedFault) {
				if receipt == first && attempt <= 2*refusalsMax {
					return c.fault
				}
				return f
			}
			w.submit(peerRoom(1), "one")
			time.Sleep(100 * time.Millisecond)
			behind, beside := w.submit(peerRoom(1), "behind")[0], w.submit(peerRoom(2), "beside")[0]
			time.Sleep(20 * time.Second)
			w.peer.mu.Lock()
			if n := w.peer.attempts[behind]; n > 0 {
				t.Errorf("%+v: what stands behind it is brought", c.fault)
			}
			if n := w.peer.attempts[beside]; c.whole != (n == 0) {
				t.Errorf("%+v: what is for another room is brought %d times", c.fault, n)
			}
			w.peer.mu.Unlock()
			time.Sleep(20 * time.Minute)
			w.stop()
			w.expectOne(mimi.VerdictAccepted, first, behind, beside)
			if got := w.between(first, 0); got < 250*time.Millisecond {
				t.Errorf("%+v: asked again after %s", c.fault, got)
			}
		})
	}
}

// A verdict that cannot be recorded is kept until it can: the hub is not asked a second time.
func TestCourierRecordsUntilItIsRecorded(t *testing.T) {
	bothKinds(t, func(t *testing.T, bulk bool) {
		w := newCourierWorld(t, bulk, CourierConfig{})
		w.peer.fault = func(mimi.Receipt, int) playedFault {
			w.hub.lead(func(fsm.SlotID) error { return fsm.ErrNotProposed })
			return playedFault{}
		}
		receipt := w.submit(peerRoom(1), "one")[0]
		time.Sleep(10 * time.Second)
		w.hub.lead(nil)
		time.Sleep(10 * time.Second)
		w.stop()
		w.expectOne(mimi.VerdictAccepted, receipt)
		if n := w.peer.attempts[receipt]; n != 1 {
			t.Errorf("brought %d times", n)
		}
	})
}

// What is new does not make a hub that is away be tried earlier, and when it is back for a moment, its next failure is a first one again.
func TestCourierIsPatientWithAHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCourierWorld(t, true, CourierConfig{})
		w.setDown(true)
		stuck := w.submit(peerRoom(999), "stuck")[0] // so that the hub's lane goes on
		w.peer.fault = func(receipt mimi.Receipt, _ int) (f playedFault) {
			if receipt == stuck {
				f.state = mimi.SubmissionNotTaken
			}
			return f
		}
		all := w.submit(peerRoom(1), "first")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		before := len(w.peer.posts)
		for i := range 300 {
			all = append(all, w.submit(peerRoom(i), fmt.Sprint("new ", i))...)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := len(w.peer.posts) - before; n > 25 {
			t.Errorf("%d attempts in five minutes while new submissions came", n)
		}
		w.setDown(false)
		time.Sleep(time.Minute)
		w.setDown(true)
		late := w.submit(peerRoom(1), "late")
		time.Sleep(time.Second)
		w.setDown(false)
		time.Sleep(5 * time.Second)
		w.expectOne(mimi.VerdictAccepted, late...)
		w.stop()
		w.expectOne(mimi.VerdictAccepted, all...)
	})
}

// A wait that a hub names is kept, for itself or for a room, and up to a bound.
func TestCourierHeedsRetryAfter(t *testing.T) {
	for _, c := range []struct {
		bulk        bool
		fault       playedFault
		least, most time.Duration
	}{
		{false, playedFault{status: http.StatusServiceUnavailable, retryAfter: "20"}, 20 * time.Second, 30 * time.Second},
		{false, playedFault{status: http.StatusServiceUnavailable, retryAfter: "100000"}, 2 * time.Minute, 3 * time.Minute},
		{false, playedFault{status: http.StatusInternalServerError, retryAfter: "20"}, 20 * time.Second, 30 * time.Second},
		{false, playedFault{status: http.StatusInternalServerError, retryAfter: "100000"}, 2 * time.Minute, 3 * time.Minute},
		{false, playedFault{status: http.StatusForbidden, retryAfter: "20"}, 20 * time.Second, 30 * time.Second},
		{true, playedFault{broken: http.StatusTooManyRequests, retryAfter: "20"}, 20 * time.Second, 30 * time.Second},
		{true, playedFault{state: mimi.SubmissionNotTaken, retryAfter: "20"}, 20 * time.Second, 30 * time.Second},
		{true, playedFault{state: mimi.SubmissionNotTaken, retryAfter: "100000"}, 2 * time.Minute, 3 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newCourierWorld(t, c.bulk, CourierConfig{})
			first := outboundReceipt(t, outboundMessage(peerRoom(1), "one"))
			w.peer.fault = func(receipt mimi.Receipt, attempt int) playedFault {
				if receipt == first && attempt == 1 {
					return c.fault
				}
				return playedFault{}
			}
			receipts := w.submit(peerRoom(1), "one", "two") // of the second it is asked to wait for a second alone
			time.Sleep(5 * time.Minute)
			w.stop()
			w.expectOne(mimi.VerdictAccepted, receipts...)
			if got := w.between(first, 0); got < c.least || got > c.most {
				t.Errorf("%+v: tried again after %s", c.fault, got)
			}
		})
	}
}

// A room of which nothing is decided is asked for ever more seldom, without a word of the others, and anew once something is.
func TestCourierIsPatientWithARoom(t *testing.T) {
	bothKinds(t, func(t *testing.T, bulk bool) {
		w := newCourierWorld(t, bulk, CourierConfig{})
		stuck := true
		other := outboundReceipt(t, outboundMessage(peerRoom(2), "never decided"))
		slow := outboundReceipt(t, outboundMessage(peerRoom(1), "slow"))
		late := outboundReceipt(t, outboundMessage(peerRoom(1), "late"))
		w.peer.fault = func(receipt mimi.Receipt, attempt int) (f playedFault) {
			if receipt == slow && stuck || receipt == late && attempt == 1 || receipt == other {
				f = playedFault{status: http.StatusInternalServerError, state: mimi.SubmissionUndecided}
			}
			return f
		}
		w.submit(peerRoom(2), "never decided") // so that the hub's lane goes on
		w.submit(peerRoom(1), "slow")
		time.Sleep(10 * time.Minute)
		w.peer.mu.Lock()
		if n := w.peer.attempts[slow]; n < 10 || n > 40 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		stuck = false
		w.peer.mu.Unlock()
		time.Sleep(2 * time.Minute)
		w.submit(peerRoom(1), "late")
		time.Sleep(time.Minute)
		w.stop()
		w.expectOne(mimi.VerdictAccepted, slow, late)
		if got := w.between(late, 0); got > 2*time.Second {
			t.Errorf("what came after it was tried again after %s", got)
		}
	})
}

// A hub that gives no answer is not tried for each room of which something waits; one that answers without deciding is, since that may be about
// a part of it.
func TestCourierTriesAHubThatIsAwayOnce(t *testing.T) {
	for _, c := range []struct {
		fault playedFault
		most  int
	}{{playedFault{unsent: true}, 1}, {playedFault{status: http.StatusServiceUnavailable}, 20}} {
		synctest.Test(t, func(t *testing.T) {
			w := newCourierWorld(t, false, CourierConfig{RoomsAtOnce: 1, Failing: Backoff{time.Hour, time.Hour}})
			w.setDown(true)
			for n := range 20 {
				w.submit(peerRoom(n), fmt.Sprint(n))
			}
			time.Sleep(time.Minute)
			w.setDown(false)
			w.peer.mu.Lock()
			w.peer.fault = func(mimi.Receipt, int) playedFault { return c.fault }
			w.peer.mu.Unlock()
			time.Sleep(time.Hour - time.Minute + time.Second) // one attempt, with all that waits
			w.stop()
			if tried := len(w.peer.attempts); tried != c.most {
				t.Errorf("%+v: tried for %d rooms at once, not for %d", c.fault, tried, c.most)
			}
		})
	}
}

// As many rooms as are configured are brought at a time to a hub that takes one submission a request.
func TestCourierBringsSomeRoomsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCourierWorld(t, false, CourierConfig{RoomsAtOnce: 3})
		w.setDown(true)
		for n := range 20 {
			w.submit(peerRoom(n), fmt.Sprint(n))
		}
		time.Sleep(time.Second)
		w.setDown(false)
		time.Sleep(time.Minute)
		w.stop()
		if w.peer.most != 3 {
			t.Errorf("%d requests at once", w.peer.most)
		}
	})
}

// outboundProposal is a Proposal of ours, for a room of the peer.
func outboundProposal(room mimi.RoomURI, label string) mimi.Submission {
	m := &mls.PublicMessage{Content: mls.FramedContent{
		GroupID: mls.GroupID(room.String()), Epoch: 3, Sender: mls.MemberSender{Leaf: 0}, Body: mls.SelfRemove{}, AuthenticatedData: []byte(label),
	}}
	m.Auth.Signature, m.MembershipTag = []byte("signature"), make([]byte, 32)
	bundle := mimi.ProposalBundle{Proposals: []mls.MLSMessage{{Body: m}}}
	return mimi.Submission{Room: room.String(), Kind: mimi.SubmissionProposals, Body: bundle.Marshal()}
}

// Proposals go to the draft's update where the hub takes nothing in bulk, and its answers are told as they are.
func TestCourierBringsProposals(t *testing.T) {
	for _, want := range []mimi.VerdictCode{mimi.VerdictAccepted, mimi.VerdictWrongEpoch, mimi.VerdictInvalid, mimi.VerdictNotAllowed} {
		bothKinds(t, func(t *testing.T, bulk bool) {
			w := newCourierWorld(t, bulk, CourierConfig{})
			w.peer.fault = func(mimi.Receipt, int) (f playedFault) {
				if want != mimi.VerdictAccepted {
					f.verdict = want
				}
				return f
			}
			s := outboundProposal(peerRoom(1), want.String())
			w.queue(peerRoom(1), s)
			time.Sleep(10 * time.Second)
			w.stop()
			receipt := outboundReceipt(t, s)
			w.expectOne(want, receipt)
			v := w.verdicts()[receipt]
			if len(v) != 1 || want == mimi.VerdictWrongEpoch && v[0].Current != 9 || want == mimi.VerdictAccepted && v[0].AcceptedMillis != 77 ||
				!bulk && v[0].Reason != "as it is played" {
				t.Errorf("the verdict is %+v", v)
			}
		})
	}
}
