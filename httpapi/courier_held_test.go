package httpapi

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"parley/mimi"
)

// What a hub holds is asked for by its receipt, after a while, and not brought a second time; nor is what stands behind it before that is decided.
func TestCourierAsksForWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCourierWorld(t, true, CourierConfig{})
		first := outboundReceipt(t, outboundMessage(peerRoom(1), "one"))
		w.peer.fault = func(receipt mimi.Receipt, attempt int) (f playedFault) {
			if receipt == first && attempt == 1 {
				f.state = mimi.SubmissionHeld
			}
			return f
		}
		w.submit(peerRoom(1), "one")
		time.Sleep(100 * time.Millisecond)
		if got := w.verdicts()[first]; len(got) > 0 {
			t.Errorf("asked for at once: %+v", got)
		}
		second := w.submit(peerRoom(1), "two")[0]
		time.Sleep(time.Minute)
		w.stop()
		w.expectOne(mimi.VerdictAccepted, first, second)
		for name, receipt := range map[string]mimi.Receipt{"held": first, "behind it": second} {
			if n := w.peer.attempts[receipt]; n != 1 {
				t.Errorf("what was %s was brought %d times", name, n)
			}
		}
		if w.peer.empty > 0 {
			t.Errorf("%d requests with nothing in them", w.peer.empty)
		}
	})
}

// A hub that cannot be asked now is left alone for a while, with what it holds of other rooms and with what is new.
func TestCourierWaitsForAHubThatCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCourierWorld(t, true, CourierConfig{Failing: Backoff{time.Hour, time.Hour}})
		w.peer.fault = func(_ mimi.Receipt, attempt int) (f playedFault) {
			if attempt == 1 {
				f.state = mimi.SubmissionHeld
			}
			return f
		}
		held := append(w.submit(peerRoom(1), "one"), w.submit(peerRoom(2), "two")...)
		time.Sleep(10 * time.Millisecond) // brought, and not due to be asked for yet
		w.peer.mu.Lock()
		if len(w.peer.held) != len(held) {
			t.Errorf("%d are held", len(w.peer.held))
		}
		w.peer.mute, w.peer.down, w.peer.fault = true, true, nil
		w.peer.mu.Unlock()
		fresh := w.submit(peerRoom(3), "three")[0] // meets the hub away, so that all three are due together
		time.Sleep(time.Second)
		w.setDown(false)
		time.Sleep(time.Hour)
		w.peer.mu.Lock()
		if asked, brought := w.peer.asked, w.peer.attempts[fresh]; asked != 1 || brought > 0 {
			t.Errorf("asked %d times, and brought what is new %d times", asked, brought)
		}
		w.peer.mute = false
		w.peer.mu.Unlock()
		time.Sleep(2 * time.Hour)
		w.stop()
		w.expectOne(mimi.VerdictAccepted, append(held, fresh)...)
	})
}

// What a hub does not know any more that it held may only not be decided yet: it is brought again, and not at once.
func TestCourierBringsAgainWhatIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCourierWorld(t, true, CourierConfig{})
		w.peer.fault = func(_ mimi.Receipt, attempt int) (f playedFault) {
			if attempt == 1 {
				f = playedFault{state: mimi.SubmissionHeld, forgotten: true}
			}
			return f
		}
		receipt := w.submit(peerRoom(1), "one")[0]
		time.Sleep(time.Minute)
		w.stop()
		w.expectOne(mimi.VerdictAccepted, receipt)
		if n, after := w.peer.attempts[receipt], w.between(receipt, 0); n != 2 || after < 700*time.Millisecond {
			t.Errorf("brought %d times, again after %s", n, after)
		}
	})
}

// That an attempt may have been accepted stays so, though a later one was certainly not.
func TestCourierDoesNotForgetItsDoubts(t *testing.T) {
	for _, later := range []playedFault{{unsent: true}, {status: http.StatusTooManyRequests, state: mimi.SubmissionNotTaken}} {
		bothKinds(t, func(t *testing.T, bulk bool) { keepsDoubts(t, bulk, later) })
	}
}

// keepsDoubts plays a hub whose first answer is lost, to which a later attempt does not come, and which then refuses.
func keepsDoubts(t *testing.T, bulk bool, later playedFault) {
	t.Helper()
	w := newCourierWorld(t, bulk, CourierConfig{})
	w.peer.forgetful = true
	w.peer.fault = func(_ mimi.Receipt, attempt int) playedFault {
		switch attempt {
		case 1:
			return playedFault{lost: true}
		case 2:
			return later
		default:
			return playedFault{verdict: mimi.VerdictEpochTooOld}
		}
	}
	receipt := w.submit(peerRoom(1), "one")[0]
	time.Sleep(5 * time.Second)
	if got := w.verdicts()[receipt]; len(got) > 0 {
		t.Errorf("a verdict at once: %+v", got)
	}
	time.Sleep(5 * time.Minute)
	w.stop()
	w.expectOne(mimi.VerdictEpochTooOld, receipt)
}

// Where a hub refuses what stands beside it in the same round, and is sent that one by one, what it holds is still not brought a second time.
func TestCourierAsksForWhatIsHeldBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCourierWorld(t, true, CourierConfig{Waiting: Backoff{time.Second, time.Second}})
		held := outboundReceipt(t, outboundMessage(peerRoom(1), "held"))
		w.peer.fault = func(receipt mimi.Receipt, attempt int) (f playedFault) {
			if receipt == held && attempt == 1 {
				f.state = mimi.SubmissionHeld
			}
			return f
		}
		w.submit(peerRoom(1), "held")
		time.Sleep(100 * time.Millisecond)
		w.setDown(true)
		others := w.submit(peerRoom(2), "beside it")
		time.Sleep(30 * time.Second) // both are due
		w.peer.mu.Lock()
		w.peer.refuses, w.peer.down = true, false
		w.peer.mu.Unlock()
		time.Sleep(5 * time.Minute)
		w.stop()
		w.expectOne(mimi.VerdictAccepted, append(others, held)...)
		if n := w.peer.attempts[held]; n != 1 {
			t.Errorf("what was held was brought %d times", n)
		}
	})
}
