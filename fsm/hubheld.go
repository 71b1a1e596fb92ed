package fsm

import (
	"cmp"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// What of a followed room came before its turn waits in the state, durable as the inbox is, until what comes before it has come. That may
// be never: a hub can lose something. After HubGapMillis without progress, or hubPatienceMillis where there is less to hope for, the stream goes
// on with the first of what waits, and the local provider is told of the gap.

const (
	// heldBodiesMax and heldBytesMax bound what waits of one room. One body waits however large it is.
	heldBodiesMax = 500
	heldBytesMax  = 4 << 20

	// hubPatienceMillis is how long is waited for what may not come at all: Proposals that a hub need not have sent, the epochs during
	// which nobody here was in the room, what the hub itself says to be lost.
	hubPatienceMillis = 10 * 1000
)

// heldBody is what is left of a body from the first message on that has to wait.
type heldBody struct {
	number   uint64 // its key
	messages []HubMessage
	notices  []mimi.Notice
}

func (h heldBody) bytes() (n uint64) {
	for _, m := range h.messages {
		n += uint64(len(m.Bytes))
	}
	return n
}

func heldKey(s *hubStream, number uint64) key {
	return roomKey(keyHubHeld, s.room).provider(s.hub).uint64(number)
}

// fits reports whether another body may wait.
func (s *hubStream) fits(h heldBody) bool {
	return s.roomy || s.held == 0 || s.held < heldBodiesMax && s.heldBytes+h.bytes() <= heldBytesMax
}

// hold lets a body wait.
func (t *tx) hold(s *hubStream, h heldBody) {
	if s.held == 0 {
		s.gapMillis = t.now
	}
	h.number = s.nextHeld
	s.nextHeld++
	t.putHeld(s, h)
	if due := addUpTo(t.now, t.patience(s, h)); s.dueMillis == 0 || due < s.dueMillis {
		s.dueMillis = due
	}
}

func (t *tx) putHeld(s *hubStream, h heldBody) {
	s.held++
	s.heldBytes += h.bytes()
	t.set(heldKey(s, h.number), record(h.appendTo))
}

func (t *tx) dropHeld(s *hubStream, h heldBody) {
	s.held--
	s.heldBytes -= h.bytes()
	t.delete(heldKey(s, h.number))
}

// patience is how long is waited for what comes before a body.
func (t *tx) patience(s *hubStream, h heldBody) uint64 {
	lost := s.told || tellsOfGap(h.notices)
	if !s.begun || lost || len(h.messages) == 0 || startsStream(h.messages) || h.messages[0].Group == s.group && h.messages[0].Epoch == s.epoch {
		return hubPatienceMillis
	}
	return t.settings.Bulk.hubGap()
}

// expectGap: the hub says that something before what it sends next is lost.
func (t *tx) expectGap(s *hubStream) {
	s.told = true
	if s.held > 0 {
		s.dueMillis = min(s.dueMillis, addUpTo(t.now, hubPatienceMillis))
	}
}

func tellsOfGap(notices []mimi.Notice) bool {
	return slices.ContainsFunc(notices, func(n mimi.Notice) bool { return n.NoticeKind() == mimi.NoticeStreamGap })
}

// allHeld are the bodies that wait, in the order in which they may go on.
func (t *tx) allHeld(s *hubStream) (all []heldBody) {
	prefix := roomKey(keyHubHeld, s.room).provider(s.hub)
	t.check(scanRecords(t.store, prefix, "body that waits", readHeldBody, func(rest []byte, h heldBody) (bool, error) {
		h.number = numberOf(rest)
		all = append(all, h)
		return true, nil
	}))
	slices.SortStableFunc(all, s.compareHeld)
	return all
}

// compareHeld puts what is of the current group first, by epoch, and notices alone last.
func (s *hubStream) compareHeld(a, b heldBody) int {
	rank := func(h heldBody) int {
		switch {
		case len(h.messages) == 0:
			return 2
		case h.messages[0].Group != s.group && h.messages[0].Kind != HubWelcome:
			return 1
		default:
			return 0
		}
	}
	epoch := func(h heldBody) mls.Epoch {
		if len(h.messages) == 0 {
			return 0
		}
		return h.messages[0].Epoch
	}
	proposals := func(h heldBody) int { // before the Commit of their epoch
		if len(h.messages) > 0 && h.messages[0].Kind == HubCommit {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(epoch(a), epoch(b)), cmp.Compare(proposals(a), proposals(b)), cmp.Compare(a.number, b.number))
}

// release lets go on what now can, and reports whether anything did.
func (t *tx) release(s *hubStream) (progress bool) {
	all := t.allHeld(s)
	for {
		slices.SortStableFunc(all, s.compareHeld) // by the group that is the current one by now
		i := slices.IndexFunc(all, func(h heldBody) bool { return t.mayGo(s, h, len(all)) })
		if i < 0 {
			break
		}
		progress = true
		h := all[i]
		all = slices.Delete(all, i, i+1)
		t.dropHeld(s, h)
		if rest := t.takeReady(s, h.messages); len(rest) > 0 {
			h.messages = rest
			t.putHeld(s, h)
			all = append(all, h)
			continue
		}
		t.enterNotices(s, h.notices)
	}
	if progress || s.held == 0 {
		t.renewHeldDue(s, all)
	}
	return progress
}

// mayGo reports whether the first of a body may go on; notices alone stand behind all that waits.
func (t *tx) mayGo(s *hubStream, h heldBody, waiting int) bool {
	if len(h.messages) == 0 {
		return s.begun && waiting == 1
	}
	return t.ready(s, h.messages[0])
}

func (t *tx) renewHeldDue(s *hubStream, all []heldBody) {
	s.dueMillis = 0
	for _, h := range all {
		if due := addUpTo(t.now, t.patience(s, h)); s.dueMillis == 0 || due < s.dueMillis {
			s.dueMillis = due
		}
	}
	s.gapMillis = t.now
}

// expireHubStream goes on without what has not come. k is the stream's.
func (t *tx) expireHubStream(k key) {
	s, found := get(t, func(r Reader) (*hubStream, bool, error) {
		return readRecord(r, k, "stream of a followed room", readHubStream)
	})
	if !found || s.held == 0 || s.dueMillis > t.now {
		return
	}
	t.leap(s)
	t.setHubStream(s)
}

// leap goes on with the first body that waits, and tells the local provider what is missing before it.
func (t *tx) leap(s *hubStream) {
	all := t.allHeld(s)
	first := all[0]
	switch {
	case !s.begun:
		s.begun = true
	case len(first.messages) == 0:
		// It waits behind nothing but other notices.
		for _, h := range all {
			t.dropHeld(s, h)
			t.enterNotices(s, h.notices)
		}
	case first.messages[0].Group != s.group:
		t.tellOfGap(s, first, 1)
		t.turnTo(s, first.messages[0].Group)
	case first.messages[0].Epoch == s.epoch:
		s.loose = true
	default:
		to := first.messages[0].Epoch
		t.tellOfGap(s, first, uint64(to-s.epoch))
		t.deletePrefix(offersKey(s, s.epoch))
		s.epoch, s.since = to, to
		s.loose = true // Proposals of the epoch may be among what is missing
	}
	if !t.release(s) {
		t.renewHeldDue(s, t.allHeld(s))
	}
	s.told, s.loose = false, false
}

// tellOfGap tells what of a followed room is missing, unless its hub has said so itself.
func (t *tx) tellOfGap(s *hubStream, before heldBody, commits uint64) {
	if !s.told && !tellsOfGap(before.notices) {
		t.enterNotices(s, []mimi.Notice{mimi.StreamGap{Items: commits, FirstMillis: s.gapMillis, LastMillis: t.now}})
	}
}

//	struct {
//	    HubMessage messages<V>;
//	    Notice notices<V>;
//	} HeldBody;
func (h heldBody) appendTo(w *mls.Writer) {
	appendList(w, h.messages, appendHubMessage)
	appendList(w, h.notices, mimi.AppendNotice)
}

func readHeldBody(r *mls.Reader) heldBody {
	return heldBody{messages: readList(r, "messages", readHubMessage), notices: readList(r, "notices", mimi.ReadNotice)}
}
