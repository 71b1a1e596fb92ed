package dev

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"parley/mimi"
	"parley/mls"
)

// kept is a small book that balances: in a room of the first side's a Proposal, the Commit that includes it, four letters of the second
// side's speaker, of which one is wrong and one has waited.
type kept struct {
	t     *testing.T
	book  *book
	sides [2]*side
	forum *forum

	proposal, commit mls.MLSMessage
	letters          []mls.MLSMessage // of epochs 5, 5, 6 and 6; the last is wrong
	items            int
}

func newKept(t *testing.T) *kept {
	t.Helper()
	k := &kept{t: t, book: newBook()}
	k.book.tells = true
	for i, domain := range []string{here, there} {
		k.sides[i] = &side{place: i, provider: &provider{domain: domain}}
	}
	var err error
	k.forum = &forum{hub: k.sides[0], far: k.sides[1], began: 5}
	if k.forum.room, err = mimi.ParseRoomURI("mimi://" + here + "/r/forum"); err != nil {
		t.Fatal(err)
	}
	k.forum.epoch.Store(6)
	k.proposal, k.commit = k.handshake(mls.SelfRemove{}), k.handshake(mls.Commit{})
	k.enter(k.proposal, letter{kind: kindForumProposal, to: everybody, origin: 1, epoch: 5})
	k.book.names("ref", hashOf(k.proposal))
	k.enter(k.commit, letter{kind: kindForumCommit, to: everybody, origin: 0, epoch: 5, first: 1, last: 1})
	for i, epoch := range []mls.Epoch{5, 5, 6, 6} {
		m := mls.MLSMessage{Body: &mls.PrivateMessage{GroupID: "group", Epoch: epoch, ContentType: mls.ContentApplication, Ciphertext: []byte{byte(i)}}}
		k.letters = append(k.letters, m)
		l := letter{to: everybody, origin: 1, epoch: epoch, first: uint32(i), last: uint32(i)}
		if i == 3 {
			l.want = mimi.VerdictNotParticipant
		}
		k.enter(m, l)
	}
	return k
}

func hashOf(m mls.MLSMessage) [32]byte { return sha256.Sum256(m.Marshal()) }

func (k *kept) handshake(body mls.Content) mls.MLSMessage {
	m := &mls.PublicMessage{Content: mls.FramedContent{GroupID: "group", Epoch: 5, Sender: mls.MemberSender{Leaf: 0}, Body: body}}
	m.Auth.Signature, m.MembershipTag = []byte("signature"), make([]byte, 32)
	if body.ContentType() == mls.ContentCommit {
		m.Auth.ConfirmationTag = make([]byte, 32)
	}
	return mls.MLSMessage{Body: m}
}

func (k *kept) enter(m mls.MLSMessage, l letter) {
	l.forum, l.bytes = k.forum, len(m.Marshal())
	k.book.enter(hashOf(m), l)
}

// answer says what became of all letters.
func (k *kept) answer() {
	k.book.accepted(hashOf(k.proposal))
	k.book.accepted(hashOf(k.commit))
	k.book.accepted(hashOf(k.letters[0]))
	k.book.keeps(hashOf(k.letters[1]), receiptHeld)
	k.book.accepted(hashOf(k.letters[2]))
	k.book.rejects(hashOf(k.letters[3]), mimi.VerdictNotParticipant, 6)
}

// arrive puts an item into a side's inbox.
func (k *kept) arrive(side int, messages ...mls.MLSMessage) {
	k.items++
	k.receive(side, inboxBody{id: fmt.Sprint(k.items), messages: fanned(messages...)})
}

func (k *kept) receive(side int, item inboxBody) {
	k.book.acknowledged(k.sides[side], k.book.receive(k.sides[side], item))
}

func fanned(messages ...mls.MLSMessage) (fan []mimi.FanoutMessage) {
	for _, m := range messages {
		event := mimi.FanoutEvent(mimi.FanoutProposals{Proposals: []mls.MLSMessage{m}})
		switch body := m.Body.(type) {
		case *mls.PrivateMessage:
			event = mimi.FanoutApplication{Message: body}
		case *mls.PublicMessage:
			if body.Content.Body.ContentType() == mls.ContentCommit {
				event = mimi.FanoutCommit{Commit: m}
			}
		}
		fan = append(fan, mimi.FanoutMessage{Millis: uint64(time.Now().UnixMilli()), Event: event})
	}
	return fan
}

func (k *kept) tell(side int, about mls.MLSMessage, code mimi.VerdictCode) {
	k.items++
	k.receive(side, inboxBody{id: fmt.Sprint(k.items), verdicts: []mimi.Verdict{{Receipt: hashOf(about), Code: code, Current: 6}}})
}

func (k *kept) fate(side int, ref mls.ProposalRef, end mimi.ProposalEnd) {
	k.items++
	k.receive(side, inboxBody{id: fmt.Sprint(k.items), fates: []mimi.ProposalFate{{Ref: ref, End: end, Epoch: 5}}})
}

// toldAll tells everything that is owed.
func (k *kept) toldAll() {
	k.tell(1, k.letters[1], mimi.VerdictAccepted)
	k.tell(1, k.letters[3], mimi.VerdictNotParticipant)
	k.fate(1, "ref", mimi.ProposalCommitted)
}

// arriveAll brings everything to a side in order.
func (k *kept) arriveAll(side int) {
	k.arrive(side, k.letters[0], k.letters[1])
	k.arrive(side, k.proposal, k.commit)
	k.arrive(side, k.letters[2])
}

func TestBookFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		live   func(k *kept) // what happens
		broken bulkPromise   // bulkPromises for none
		want   string        // of the output
	}{
		"all is well": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.toldAll()
		}, bulkPromises, "held: 1 accepted, 0 rejected; queued: 0 accepted"},
		"what arrives before its answer, and an item that is read again": {func(k *kept) {
			k.arriveAll(0)
			k.arriveAll(1)
			k.receive(1, inboxBody{id: "1", messages: fanned(k.letters[0])})
			k.toldAll()
			k.answer()
		}, bulkPromises, "at two providers"},
		"what comes twice counts once": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.arriveAll(1)
			k.toldAll()
		}, bulkPromises, "at two providers"},
		"a submission of unknown outcome may come in either turn": {func(k *kept) {
			k.book.again(hashOf(k.letters[0]), 1)
			k.book.again(hashOf(k.letters[1]), 2)
			k.answer()
			for s := range 2 {
				k.arrive(s, k.letters[1], k.letters[0])
				k.arrive(s, k.proposal, k.commit, k.letters[2])
			}
			k.toldAll()
		}, bulkPromises, "at two providers"},
		"its epoch left the window on the way": {func(k *kept) {
			k.answer()
			k.enter(k.handshake(mls.ReInit{GroupID: "late"}), letter{to: everybody, origin: 1, epoch: 3})
			k.book.rejects(hashOf(k.handshake(mls.ReInit{GroupID: "late"})), mimi.VerdictEpochTooOld, 6)
			k.tell(1, k.handshake(mls.ReInit{GroupID: "late"}), mimi.VerdictEpochTooOld)
			k.arriveAll(0)
			k.arriveAll(1)
			k.toldAll()
		}, bulkPromises, "1 more came too late"},

		"a letter is lost": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arrive(1, k.letters[1])
			k.arrive(1, k.proposal, k.commit, k.letters[2])
			k.toldAll()
		}, promiseDelivered, "did not arrive at " + there},
		"what was rejected arrives": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.arrive(0, k.letters[3])
			k.toldAll()
		}, promiseDelivered, "it was rejected as notParticipant, and arrived"},
		"a Commit before its Proposal": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arrive(1, k.letters[0], k.letters[1], k.commit, k.proposal, k.letters[2])
			k.toldAll()
		}, promiseOrder, "arrived in place of 0"},
		"a letter before the Commit that begins its epoch": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arrive(1, k.letters[0], k.letters[1], k.proposal, k.letters[2], k.commit)
			k.toldAll()
		}, promiseOrder, "only the Commits up to epoch 5"},
		"a sender's letters exchanged": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arrive(1, k.letters[1], k.letters[0], k.proposal, k.commit, k.letters[2])
			k.toldAll()
		}, promiseOrder, "submitted in turn 1 arrived before it"},
		"what must be rejected is accepted": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.toldAll()
			wrong := k.handshake(mls.ReInit{GroupID: "wrong"})
			k.enter(wrong, letter{origin: 1, epoch: 6, want: mimi.VerdictFutureEpoch})
			k.book.accepted(hashOf(wrong))
		}, promiseVerdict, "must be rejected as futureEpoch"},
		"rejected, and nothing is wrong with it": {func(k *kept) {
			k.book.rejects(hashOf(k.letters[0]), mimi.VerdictEpochTooOld, 6)
			k.tell(1, k.letters[0], mimi.VerdictEpochTooOld)
			k.book.rejects(hashOf(k.letters[3]), mimi.VerdictNotParticipant, 6)
			k.book.accepted(hashOf(k.proposal))
			k.book.accepted(hashOf(k.commit))
			k.book.accepted(hashOf(k.letters[2]))
			for s := range 2 {
				k.arrive(s, k.letters[1], k.proposal, k.commit, k.letters[2])
			}
			k.toldAll()
		}, promiseVerdict, "nothing is wrong with it"},
		"rejected for another reason": {func(k *kept) {
			k.book.rejects(hashOf(k.letters[3]), mimi.VerdictWrongGroup, 6)
			k.arriveAll(0)
			k.arriveAll(1)
			k.tell(1, k.letters[1], mimi.VerdictAccepted)
			k.tell(1, k.letters[3], mimi.VerdictWrongGroup)
			k.fate(1, "ref", mimi.ProposalCommitted)
			for _, m := range []mls.MLSMessage{k.proposal, k.commit, k.letters[0], k.letters[2]} {
				k.book.accepted(hashOf(m))
			}
		}, promiseVerdict, "must be as notParticipant"},
		"a rejection is not told": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.tell(1, k.letters[1], mimi.VerdictAccepted)
			k.fate(1, "ref", mimi.ProposalCommitted)
		}, promiseTold, "never came on its submitter's stream"},
		"what was held is not told": {func(k *kept) {
			k.answer()
			k.book.accepted(hashOf(k.letters[1]))
			k.arriveAll(0)
			k.arriveAll(1)
			k.tell(1, k.letters[3], mimi.VerdictNotParticipant)
			k.fate(1, "ref", mimi.ProposalCommitted)
		}, promiseKept, "never came on its submitter's stream"},
		"what was held is told twice": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.toldAll()
			k.tell(1, k.letters[1], mimi.VerdictAccepted)
		}, promiseKept, "2 times that it is accepted"},
		"a Proposal's fate is not told": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.tell(1, k.letters[1], mimi.VerdictAccepted)
			k.tell(1, k.letters[3], mimi.VerdictNotParticipant)
		}, promiseTold, "never came on its submitter's stream"},
		"a verdict is told to the other side": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.toldAll()
			k.tell(0, k.letters[3], mimi.VerdictNotParticipant)
		}, promiseTold, "who did not submit it"},
		"a Proposal is said to be dropped": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.toldAll()
			k.fate(1, "ref", mimi.ProposalDropped)
		}, promiseTold, "that it was dropped"},
		"a receipt is answered with something else": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.toldAll()
			k.book.confirm(hashOf(k.letters[3]), receipt{state: receiptUnknown})
		}, promiseTold, "its receipt is answered with"},
		"nobody knows what became of it": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.toldAll()
			k.enter(k.handshake(mls.ReInit{GroupID: "open"}), letter{origin: 1, epoch: 6})
		}, promiseExplained, "nobody knows what became of it"},
		"something that nobody submitted": {func(k *kept) {
			k.answer()
			k.arriveAll(0)
			k.arriveAll(1)
			k.toldAll()
			k.arrive(1, k.handshake(mls.ReInit{GroupID: "from nowhere"}))
		}, promiseExplained, "which nobody submitted"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKept(t)
			test.live(k)
			findings := k.book.judge()
			for p := range bulkPromises {
				if broken := findings[p].broken; (len(broken) > 0) != (p == test.broken) {
					t.Errorf("%q: %q", p, broken)
				}
			}
			var out bytes.Buffer
			err := printFindings(&out, findings)
			if (err != nil) != (test.broken != bulkPromises) || err != nil && !errors.Is(err, errBroken) || !strings.Contains(out.String(), test.want) {
				t.Errorf("error %v, want %q in:\n%s", err, test.want, out.String())
			}
			if test.broken == bulkPromises && k.book.outstanding() > 0 {
				t.Error("something is under way")
			}
		})
	}
}

func TestBookCounts(t *testing.T) {
	k := newKept(t)
	if n := k.book.outstanding(); n != 6 {
		t.Errorf("%d letters are under way before anything was answered", n)
	}
	k.answer()
	k.arriveAll(0)
	k.arriveAll(1)
	k.arriveAll(1)
	k.toldAll()
	for to, want := range []traffic{
		{accepted: 5, messages: 3, delivered: 5, acknowledged: 5},
		{accepted: 5, messages: 3, delivered: 5, acknowledged: 5, twice: 5},
	} {
		got := k.book.between[0][to]
		if got.accepted != want.accepted || got.messages != want.messages || got.delivered != want.delivered ||
			got.acknowledged != want.acknowledged || got.twice != want.twice || got.acceptedBytes != got.deliveredBytes {
			t.Errorf("to side %d: %+v", to, got)
		}
	}
	if r := k.book.read(); r.accepted != 10 || r.recent.count != 6 {
		t.Errorf("%+v", r)
	}
	if r := k.book.read(); r.recent.count != 0 {
		t.Errorf("what was read is recent still: %d", r.recent.count)
	}
}

func TestLatencies(t *testing.T) {
	var h latencies
	if h.percentile(50) != 0 {
		t.Error("nothing has a median")
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for p, want := range map[int]time.Duration{50: 500 * time.Millisecond, 99: 990 * time.Millisecond, 100: time.Second} {
		if got := h.percentile(p); got < want*95/100 || got > want*105/100 {
			t.Errorf("percentile %d: %s, want about %s", p, got, want)
		}
	}
	h.add(24 * time.Hour) // beyond the last class
	if got := h.percentile(100); got < time.Hour {
		t.Errorf("a day is %s", got)
	}
}
