package httpapi

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"parley/mimi"
)

// doubts plays a hub that forgets what it has accepted: the first attempt meets a fault, and the next are refused. It reports whether the
// refusal is a verdict at once.
func doubts(t *testing.T, bulk bool, fault playedFault, refusal mimi.VerdictCode) (atOnce bool) {
	t.Helper()
	w := newCourierWorld(t, bulk, CourierConfig{})
	w.peer.forgetful = true
	w.peer.fault = func(_ mimi.Receipt, attempt int) playedFault {
		if attempt == 1 {
			return fault
		}
		return playedFault{verdict: refusal}
	}
	receipt := w.submit(peerRoom(1), "one")[0]
	time.Sleep(5 * time.Second)
	atOnce = len(w.verdicts()[receipt]) > 0
	time.Sleep(5 * time.Minute)
	w.stop()
	w.expectOne(refusal, receipt)
	return atOnce
}

// After an attempt that the hub may have accepted, and after that alone, a refusal may only mean that.
func TestCourierKnowsWhatMayHaveBeenAccepted(t *testing.T) {
	for _, c := range []struct {
		bulk  bool
		fault playedFault
		maybe bool
	}{
		{false, playedFault{lost: true}, true},
		{false, playedFault{garbage: true}, true},
		{false, playedFault{status: http.StatusServiceUnavailable}, true},
		{false, playedFault{status: http.StatusInternalServerError}, true},
		{false, playedFault{strange: true}, true},
		{false, playedFault{unsent: true}, false},
		{false, playedFault{status: http.StatusTooManyRequests}, false},
		{true, playedFault{lost: true}, true},
		{true, playedFault{strange: true}, true},
		{true, playedFault{broken: http.StatusBadGateway}, true},
		{true, playedFault{broken: http.StatusInternalServerError}, true},
		{true, playedFault{broken: http.StatusTooManyRequests}, false},
		{true, playedFault{state: mimi.SubmissionUndecided}, true},
		{true, playedFault{unsent: true}, false},
		{true, playedFault{state: mimi.SubmissionNotTaken}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			if atOnce := doubts(t, c.bulk, c.fault, mimi.VerdictEpochTooOld); atOnce == c.maybe {
				t.Errorf("bulk %v, after %+v: a refusal is a verdict at once: %v", c.bulk, c.fault, atOnce)
			}
		})
	}
}

// Only what a hub may say of something that it has accepted and no longer knows is doubted.
func TestCourierDoubtsSomeRefusals(t *testing.T) {
	for code, doubted := range map[mimi.VerdictCode]bool{
		mimi.VerdictEpochTooOld: true, mimi.VerdictWrongEpoch: true, mimi.VerdictNotAllowed: true, mimi.VerdictInvalid: true,
		mimi.VerdictNoSuchRoom: true, mimi.VerdictRoomEnded: true,
		mimi.VerdictNotParticipant: false, mimi.VerdictWrongGroup: false, mimi.VerdictMalformed: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			if atOnce := doubts(t, true, playedFault{lost: true}, code); atOnce == doubted {
				t.Errorf("%s is a verdict at once: %v", code, atOnce)
			}
		})
	}
}

// What another courier may have tried, which led before, may have been accepted; also where this one has long been bringing other things, and where it
// has tried that itself before.
func TestCourierDoubtsForAnother(t *testing.T) {
	bothKinds(t, func(t *testing.T, bulk bool) {
		w := newCourierWorld(t, bulk, CourierConfig{})
		stuck := outboundReceipt(t, outboundMessage(peerRoom(999), "stuck"))
		w.peer.forgetful = true
		refuses := false
		w.peer.fault = func(receipt mimi.Receipt, _ int) playedFault {
			if receipt != stuck && refuses {
				return playedFault{verdict: mimi.VerdictEpochTooOld}
			}
			return playedFault{status: http.StatusInternalServerError, state: mimi.SubmissionNotTaken}
		}
		w.submit(peerRoom(999), "stuck") // so that the hub's lane goes on
		time.Sleep(time.Minute)
		taken := outboundReceipt(t, outboundMessage(peerRoom(1), "taken over"))
		w.hub.mu.Lock()
		w.hub.inherited = map[mimi.Receipt]bool{taken: true}
		w.hub.mu.Unlock()
		w.peer.mu.Lock()
		refuses = true
		w.peer.mu.Unlock()
		w.submit(peerRoom(1), "taken over")
		own := w.submit(peerRoom(2), "own")[0]
		time.Sleep(5 * time.Second)
		if got := w.verdicts(); len(got[taken]) > 0 || len(got[own]) != 1 {
			t.Errorf("verdicts at once: %+v on what was taken over, %+v on what was not", got[taken], got[own])
		}
		time.Sleep(5 * time.Minute)
		w.expectOne(mimi.VerdictEpochTooOld, taken, own)

		w.peer.mu.Lock()
		refuses = false
		w.peer.mu.Unlock()
		back := outboundReceipt(t, outboundMessage(peerRoom(3), "tried"))
		if bulk { // so that no doubt is left of the attempt itself
			w.submit(peerRoom(3), "tried")
			time.Sleep(time.Second)
			w.hub.mu.Lock()
			w.hub.inherited[back] = true
			w.hub.mu.Unlock()
			w.peer.mu.Lock()
			refuses = true
			w.peer.mu.Unlock()
			time.Sleep(8 * time.Second)
			if got := w.verdicts()[back]; len(got) > 0 {
				t.Errorf("a verdict at once: %+v", got)
			}
			time.Sleep(5 * time.Minute)
			w.expectOne(mimi.VerdictEpochTooOld, back)
		}
		w.stop()
	})
}

// Answers of class 400 that may be about us are final when there are some in a row, and not when there is another between them.
func TestCourierCountsRefusalsInARow(t *testing.T) {
	for _, between := range []playedFault{{garbage: true}, {status: http.StatusForbidden}} {
		synctest.Test(t, func(t *testing.T) {
			w := newCourierWorld(t, false, CourierConfig{})
			w.peer.fault = func(_ mimi.Receipt, attempt int) playedFault {
				switch {
				case attempt == refusalsMax:
					return between
				case attempt < 2*refusalsMax:
					return playedFault{status: http.StatusForbidden}
				default:
					return playedFault{}
				}
			}
			receipt := w.submit(peerRoom(1), "one")[0]
			time.Sleep(10 * time.Minute)
			w.stop()
			if between.garbage {
				w.expectOne(mimi.VerdictAccepted, receipt)
			} else {
				w.expectOne(mimi.VerdictNotAllowed, receipt)
			}
		})
	}
}

// Answers that are not those to the request are no answers.
func TestCourierComparesAnswers(t *testing.T) {
	for name, mangle := range map[string]func(*mimi.BulkSubmitResponse){
		"exchanged": func(r *mimi.BulkSubmitResponse) { r.Answers[0], r.Answers[1] = r.Answers[1], r.Answers[0] },
		"too few":   func(r *mimi.BulkSubmitResponse) { r.Answers = r.Answers[:1] },
		"too many":  func(r *mimi.BulkSubmitResponse) { r.Answers = append(r.Answers, r.Answers[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCourierWorld(t, true, CourierConfig{})
				w.peer.mangled = mangle
				poison := outboundReceipt(t, outboundMessage(peerRoom(1), "poison"))
				w.peer.fault = func(receipt mimi.Receipt, _ int) (f playedFault) {
					if receipt == poison {
						f.verdict = mimi.VerdictNotParticipant
					}
					return f
				}
				w.queue(peerRoom(1), outboundMessage(peerRoom(1), "poison"), outboundMessage(peerRoom(1), "fine"))
				time.Sleep(time.Minute)
				w.stop()
				w.expectOne(mimi.VerdictNotParticipant, poison)
				w.expectOne(mimi.VerdictAccepted, outboundReceipt(t, outboundMessage(peerRoom(1), "fine")))
			})
		})
	}
}

// Behind such answers the hub may have accepted what it then refuses.
func TestCourierDoubtsAfterOthersAnswers(t *testing.T) {
	for name, mangle := range map[string]func(*mimi.BulkSubmitResponse){
		"another's": func(r *mimi.BulkSubmitResponse) { r.Answers[0].Verdict.Receipt[0]++ },
		"none":      func(r *mimi.BulkSubmitResponse) { r.Answers = nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCourierWorld(t, true, CourierConfig{})
				w.peer.forgetful, w.peer.mangled = true, mangle
				w.peer.fault = func(_ mimi.Receipt, attempt int) (f playedFault) {
					if attempt > 1 {
						f.verdict = mimi.VerdictEpochTooOld
					}
					return f
				}
				receipt := w.submit(peerRoom(1), "one")[0]
				time.Sleep(5 * time.Second)
				if got := w.verdicts()[receipt]; len(got) > 0 {
					t.Errorf("a verdict at once: %+v", got)
				}
				time.Sleep(time.Minute)
				w.stop()
				w.expectOne(mimi.VerdictEpochTooOld, receipt)
			})
		})
	}
}

// A hub that refuses a bulk request whole is sent its submissions one by one; one that cannot be asked by receipt, or has lost what it held, is
// sent it again.
func TestCourierGoesAnotherWay(t *testing.T) {
	for name, play := range map[string]func(*playedHub){
		"refuses bulk":    func(p *playedHub) { p.refuses = true },
		"cannot be asked": func(p *playedHub) { p.noAsking = true },
		"loses":           func(p *playedHub) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCourierWorld(t, true, CourierConfig{})
				play(w.peer)
				if !w.peer.refuses {
					w.peer.fault = func(_ mimi.Receipt, attempt int) (f playedFault) {
						if attempt == 1 {
							f = playedFault{state: mimi.SubmissionHeld, forgotten: true}
						}
						return f
					}
				}
				receipts := w.submit(peerRoom(1), "one", "two")
				time.Sleep(5 * time.Minute)
				w.stop()
				w.expectOne(mimi.VerdictAccepted, receipts...)
			})
		})
	}
}
