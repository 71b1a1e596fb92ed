package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// While nobody leads a room's shard, what is submitted in bulk is held, in order, up to a bound; what comes after it does not go past it. What may
// be in the log is not held, and a single message never is.
func TestBulkSubmitHolds(t *testing.T) {
	s := newSubmitTable(t)
	s.a.hub.mu.Lock()
	s.a.hub.holdsMax = 3
	s.a.hub.mu.Unlock()
	ask := func(labels ...string) []submissionRead {
		t.Helper()
		var all []mimi.Submission
		for _, label := range labels {
			all = append(all, submission(ourRoom.String(), mimi.SubmissionMessage, s.message(label, bob, s.now).Marshal()))
		}
		a := s.b.post(s.a, bulkSubmitPath, bulkOf(all...))
		if a.status != http.StatusOK {
			return nil
		}
		got := readSubmissions(t, a.body)
		for i, label := range labels {
			if got[i].receipt != receiptOf(s.message(label, bob, s.now)) {
				t.Errorf("%s is answered under another receipt", label)
			}
		}
		return got
	}
	expectHeld := func(labels ...string) {
		t.Helper()
		s.a.hub.mu.Lock()
		defer s.a.hub.mu.Unlock()
		if len(s.a.hub.journal) != len(labels) {
			t.Fatalf("%d are held, not %q", len(s.a.hub.journal), labels)
		}
		for i, label := range labels {
			held := s.a.hub.journal[i]
			if held.From != peerDomain || must(held.Submission.Read()).Receipt() != receiptOf(s.message(label, bob, s.now)) {
				t.Errorf("%d of the journal is another than %s", i, label)
			}
		}
	}
	leaderless := func(why error) func(fsm.SlotID) error {
		return func(fsm.SlotID) error { return why }
	}

	s.a.hub.lead(leaderless(fmt.Errorf("%w: lost", fsm.ErrUnknownOutcome)))
	if got := ask("open"); got[0].state != 6 {
		t.Errorf("what may be in the log: %+v", got)
	}
	expectHeld()
	s.a.hub.lead(leaderless(fmt.Errorf("%w: no leader", fsm.ErrNotProposed)))
	if got := ask("one", "two"); got[0].state != 3 || got[1].state != 3 {
		t.Errorf("%+v", got)
	}
	expectHeld("one", "two")
	if a := s.b.post(s.a, path("submitMessage", ourRoom), s.message("single", bob, s.now).Marshal()); a.status != http.StatusServiceUnavailable {
		t.Errorf("a single message: %d", a.status)
	}
	s.a.hub.lead(nil)
	if got := ask("three"); got[0].state != 3 {
		t.Errorf("it went past what is held: %+v", got)
	}
	if got := ask("four"); got != nil {
		t.Errorf("the journal is full: %+v", got)
	}
	expectHeld("one", "two", "three")
	s.a.hub.mu.Lock()
	s.a.hub.journal = nil
	s.a.hub.mu.Unlock()
	if got := ask("five"); got[0].state != 1 {
		t.Errorf("%+v", got)
	}
}

// What may have been written when a request first asked is never said not to be taken, however its second question ends; what was certainly not
// written then is no more open for having been asked for twice.
func TestBulkSubmitAsksTwice(t *testing.T) {
	s := newSubmitTable(t)
	proposal, _ := s.propose(mls.MemberSender{Leaf: bobsLeaf}, mls.Remove{Removed: 2})
	submissions := map[string]mimi.Submission{
		"message":   submission(ourRoom.String(), mimi.SubmissionMessage, s.message("twice", bob, s.now).Marshal()),
		"Proposals": submission(ourRoom.String(), mimi.SubmissionProposals, mimi.ProposalBundle{Proposals: []mls.MLSMessage{proposal}}.Marshal()),
	}
	for name, submission := range submissions {
		for _, first := range []error{fsm.ErrUnknownOutcome, fsm.ErrNotProposed} {
			asked := 0
			s.a.hub.fail(func(r judge.Request) error {
				switch r, _ := judge.MayBeDecided(r); r.(type) {
				case *judge.SubmitBatch, *judge.Update:
					if asked++; asked == 1 {
						return first
					}
					return fsm.ErrNotProposed
				}
				return nil
			})
			a := s.b.post(s.a, bulkSubmitPath, bulkOf(submission))
			switch {
			case asked != 2:
				t.Errorf("%s, %v: it was asked for %d times", name, first, asked)
			case first == fsm.ErrNotProposed && a.status != http.StatusServiceUnavailable:
				t.Errorf("%s of which nothing was written: %d %s", name, a.status, a.body)
			case first == fsm.ErrUnknownOutcome && (a.status != http.StatusOK || readSubmissions(t, a.body)[0].state != 6):
				t.Errorf("%s that may have been written: %d %s", name, a.status, a.body)
			}
		}
	}
}

// What is behind something that the journal has no room for is not held either, though it would have been small enough.
func TestBulkSubmitHoldsInOrder(t *testing.T) {
	s := newSubmitTable(t)
	proposal, _ := s.propose(mls.MemberSender{Leaf: bobsLeaf}, mls.Remove{Removed: 2})
	ask := func(labels ...string) (states []uint8) {
		t.Helper()
		var all []mimi.Submission
		for _, label := range labels {
			all = append(all, submission(ourRoom.String(), mimi.SubmissionMessage, s.message(label, bob, s.now).Marshal()))
		}
		all = append(all, submission(ourRoom.String(), mimi.SubmissionProposals, mimi.ProposalBundle{Proposals: []mls.MLSMessage{proposal}}.Marshal()))
		a := s.b.post(s.a, bulkSubmitPath, bulkOf(all...))
		if a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests {
			return nil
		}
		for _, got := range readSubmissions(t, a.body) {
			states = append(states, got.state)
		}
		return states
	}
	hold := func(most int) {
		s.a.hub.mu.Lock()
		defer s.a.hub.mu.Unlock()
		s.a.hub.holdsMax = most
	}

	s.a.hub.lead(func(fsm.SlotID) error { return fsm.ErrNotProposed })
	hold(1)
	if got := ask("one", "two"); got != nil {
		t.Errorf("two do not fit, and what stands behind them is %d", got)
	}
	hold(2)
	if got := ask("one"); !slices.Equal(got, []uint8{3, 3}) {
		t.Errorf("both fit: %d", got)
	}
	hold(3)
	if got := ask("three", "four"); got != nil {
		t.Errorf("two do not fit behind what is held, and what stands behind them is %d", got)
	}
}
