package fsm_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// What is submitted in bulk is decided as if each message had come by itself, but that a rejection stands.
func TestBatchesAreSingles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newBatchModel(t)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			m.step()
		}
		m.compare()
	})
}

// batchModel drives two stores: one takes batches, the other the same messages one by one.
type batchModel struct {
	t            *rapid.T
	bulk, single *fsmtest.Store
	room         *fsmtest.Room
	index, now   uint64
	made         int
	old          []fsm.SubmitMessage
	rejected     map[string]mimi.Verdict // by hash and sender
}

func newBatchModel(t *rapid.T) *batchModel {
	m := &batchModel{t: t, bulk: fsmtest.NewStore(), single: fsmtest.NewStore(), now: 1000, rejected: map[string]mimi.Verdict{}}
	m.room = fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	slot := fsm.SlotOfRoom(club)
	m.both(fsm.OwnSlots{Shard: 1, Generation: 1, First: slot, Last: slot},
		fsm.EnterSettings{Version: 1, Settings: fsm.DefaultSettings(hub)}, m.room.Create())
	m.room.Incarnation = m.index
	return m
}

// both applies commands to each store.
func (m *batchModel) both(commands ...fsm.Command) {
	m.index++
	for _, store := range []*fsmtest.Store{m.bulk, m.single} {
		m.apply(store, commands)
	}
}

func (m *batchModel) apply(store *fsmtest.Store, commands []fsm.Command) []fsm.Outcome {
	result, err := fsm.Apply(store, m.index, fsm.EncodeEntry(fsm.Entry{StampMillis: m.now, Commands: commands}))
	if err != nil {
		m.t.Fatal(err)
	}
	return result.Outcomes
}

func (m *batchModel) step() {
	m.now += rapid.Uint64Range(0, 5000).Draw(m.t, "later")
	switch rapid.IntRange(0, 9).Draw(m.t, "step") {
	case 0, 1:
		c := m.room.Commit(fsmtest.Next{Label: fmt.Sprint(m.index)})
		m.both(c)
		m.room.Advance(c)
	case 2: // bob is on the way out until the next Commit
		c := m.room.Propose(m.room.Epoch, alice, fmt.Sprint("p", m.index))
		c.Leaves = []fsm.Leave{{Ref: c.Proposals[0].Ref, User: bob}}
		m.both(c)
	default:
		m.submit()
	}
}

// submit hands the same messages in to both stores, and holds the verdicts against the outcomes.
func (m *batchModel) submit() {
	batch := fsm.SubmitBatch{Room: club}
	var singles []fsm.Command
	expected := map[int]int{} // of the batch's places, in singles
	var again []mimi.Verdict
	for i := range rapid.IntRange(1, 12).Draw(m.t, "messages") {
		message := m.message()
		batch.Messages = append(batch.Messages, batchOf(message))
		verdict, stands := m.rejected[string(message.Hash[:])+message.Sender.String()]
		again = append(again, verdict)
		if !stands {
			expected[i] = len(singles)
			singles = append(singles, message)
		}
	}
	m.index++
	decided := m.apply(m.bulk, []fsm.Command{batch})[0].(fsm.BatchDecided)
	outcomes := m.apply(m.single, singles)
	for i, v := range decided.Verdicts {
		message := batch.Messages[i]
		if v.Receipt != message.Hash || v.Undecided {
			m.t.Fatalf("verdict %d is %+v", i, v)
		}
		at, decidedNow := expected[i]
		if !decidedNow {
			if v.Verdict != again[i] {
				m.t.Fatalf("what was rejected with %+v is answered %+v", again[i], v)
			}
			continue
		}
		if earlier, stands := m.rejected[string(message.Hash[:])+message.Sender.String()]; stands { // by this batch
			if v.Verdict != earlier {
				m.t.Fatalf("what this batch has rejected with %+v is answered %+v", earlier, v)
			}
			continue
		}
		if got, want := verdictOutcome(v.Verdict), outcomes[at]; got != want {
			m.t.Fatalf("message %d: in bulk %+v, by itself %+v", i, v, want)
		}
		if v.Code != mimi.VerdictAccepted && v.Reason != "the message was accepted from another sender" {
			m.rejected[string(message.Hash[:])+message.Sender.String()] = v.Verdict
		}
	}
}

// verdictOutcome is what a single message with that verdict comes to.
func verdictOutcome(v mimi.Verdict) fsm.Outcome {
	switch v.Code {
	case mimi.VerdictAccepted:
		return fsm.Accepted{Millis: v.AcceptedMillis, Epoch: v.Current}
	case mimi.VerdictEpochTooOld:
		return fsm.EpochTooOld{Current: v.Current}
	default:
		return fsm.NotAllowed{Reason: v.Reason}
	}
}

// message is a new one or an old one, of an epoch about the present one.
func (m *batchModel) message() fsm.SubmitMessage {
	if len(m.old) > 0 && rapid.IntRange(0, 2).Draw(m.t, "again") == 0 {
		old := rapid.SampledFrom(m.old).Draw(m.t, "which")
		if rapid.IntRange(0, 4).Draw(m.t, "other sender") == 0 {
			old.Sender = rapid.SampledFrom([]mimi.UserURI{alice, bob, user("mallory")}).Draw(m.t, "who")
		}
		return old
	}
	m.made++
	epoch := m.room.Epoch + mls.Epoch(rapid.IntRange(0, 1).Draw(m.t, "ahead"))
	epoch -= min(epoch, mls.Epoch(rapid.IntRange(0, 4).Draw(m.t, "behind")))
	message := m.room.Message(fmt.Sprint(m.made), epoch, rapid.SampledFrom([]mimi.UserURI{alice, bob, user("mallory")}).Draw(m.t, "who"))
	m.old = append(m.old, message)
	return message
}

// compare holds the outboxes against each other, body by body, and what is told against what was rejected.
func (m *batchModel) compare() {
	if err := fsm.VerifyState(m.bulk); err != nil {
		m.t.Fatal(err)
	}
	told := map[mimi.Receipt]int{}
	for _, destination := range []mimi.Provider{hub, peer} {
		bulk, notices := m.stream(m.bulk, destination)
		single, _ := m.stream(m.single, destination)
		if !bytes.Equal(bulk, single) {
			m.t.Fatalf("%s gets another stream", destination)
		}
		for _, v := range notices {
			told[v.Receipt]++
		}
	}
	rejected := map[mimi.Receipt]int{}
	for _, v := range m.rejected {
		rejected[v.Receipt]++
	}
	for receipt, n := range rejected {
		if told[receipt] < n {
			m.t.Fatalf("%x was rejected for %d senders and told %d times", receipt[:4], n, told[receipt])
		}
	}
	for receipt, n := range told {
		if n > rejected[receipt] {
			m.t.Fatalf("%x was rejected for %d senders and told %d times", receipt[:4], rejected[receipt], n)
		}
	}
}

func (m *batchModel) stream(store *fsmtest.Store, destination mimi.Provider) (bodies []byte, told []mimi.Verdict) {
	err := fsm.ReadOutbox(store, fsm.SlotOfRoom(club), destination, 0, func(item fsm.OutboxItem) (bool, error) {
		bodies = append(bodies, item.Body...)
		for _, n := range item.Notes {
			noticed, _ := n.(fsm.Noticed)
			if verdict, yes := noticed.Notice.(mimi.Verdict); yes {
				told = append(told, verdict)
			}
		}
		return true, nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return bodies, told
}

// A provider has so many recorded verdicts at a room; what goes beyond is answered and neither kept nor told, unless nobody waits for the
// answer. Another provider has a bound of its own.
func TestRejectionsAreBounded(t *testing.T) {
	store, r := bornRoomOf(t, fsm.DefaultSettings(hub))
	carol := user("carol@c.example")
	reject := func(index uint64, from, n int, sender mimi.UserURI, tell bool) fsm.BatchDecided {
		batch := fsm.SubmitBatch{Room: club, Tell: tell}
		for i := range n {
			batch.Messages = append(batch.Messages, batchOf(r.Message(fmt.Sprint("m", from+i), 5, sender)))
		}
		return applyTo(t, store, index, 2000, batch)[0].(fsm.BatchDecided)
	}
	told := func(destination mimi.Provider) (n int) {
		check(t, fsm.ReadOutbox(store, fsm.SlotOfRoom(club), destination, 0, func(item fsm.OutboxItem) (bool, error) {
			n += len(item.Notes)
			return true, nil
		}))
		return n
	}
	known := func(label string, of mimi.Provider) bool {
		_, found, err := fsm.ReadSubmission(store, club, r.Message(label, 5, bob).Hash, []mimi.Provider{of})
		check(t, err)
		return found
	}
	index := uint64(1)
	for from := 0; from < fsm.RejectionsMax; from += 1000 {
		index++
		reject(index, from, 1000, bob, false)
	}
	over := reject(index+1, fsm.RejectionsMax, 3, bob, false)
	if over.Verdicts[2].Code != mimi.VerdictFutureEpoch || told(peer) != fsm.RejectionsMax || known(fmt.Sprint("m", fsm.RejectionsMax), peer) {
		t.Errorf("beyond the bound: %+v, %d told", over.Verdicts[2], told(peer))
	}
	reject(index+2, fsm.RejectionsMax+10, 1, bob, true)
	if told(peer) != fsm.RejectionsMax+1 {
		t.Error("what nobody waits for was not told")
	}
	reject(index+3, fsm.RejectionsMax+20, 1, carol, false)
	if !known(fmt.Sprint("m", fsm.RejectionsMax+20), carol.Provider()) || told(carol.Provider()) != 1 {
		t.Error("another provider has no room left")
	}
	check(t, fsm.VerifyState(store))
}

// A message that is too large for a follower is rejected; the bound is on the message alone.
func TestBatchSize(t *testing.T) {
	store, r := bornRoomOf(t, fsm.DefaultSettings(hub))
	large := r.Message(string(make([]byte, mimi.MessageBytesMax-64)), 0, bob)
	larger := r.Message(string(make([]byte, mimi.MessageBytesMax)), 0, bob)
	decided := applyTo(t, store, 2, 2000, fsm.SubmitBatch{Room: club, Messages: []fsm.BatchMessage{batchOf(larger), batchOf(large)}})[0].(fsm.BatchDecided)
	codes := []mimi.VerdictCode{decided.Verdicts[0].Code, decided.Verdicts[1].Code}
	if !slices.Equal(codes, []mimi.VerdictCode{mimi.VerdictTooLarge, mimi.VerdictAccepted}) {
		t.Errorf("%v", codes)
	}
}

// A shard that was not raised takes no batch, and its single messages are decided as ever.
func TestBatchNeedsItsFormat(t *testing.T) {
	store, r := bornRoomOf(t, thirdSettings(hub))
	m := r.Message("m", 0, bob)
	outcomes := applyTo(t, store, 2, 2000, fsm.SubmitBatch{Room: club, Messages: []fsm.BatchMessage{batchOf(m)}}, fsm.RecordVerdicts{Room: club, Provider: peer}, m)
	for _, o := range outcomes[:2] {
		if o != (fsm.FormatNotReached{Needs: fsm.FormatBulk, Has: fsm.FormatExclusive}) {
			t.Errorf("%+v", o)
		}
	}
	if outcomes[2] != (fsm.Accepted{Millis: 2000}) {
		t.Errorf("%+v", outcomes[2])
	}
}
