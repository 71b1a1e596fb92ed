package fsm_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// hubHistory is what another hub makes happen in one room, body by body, as its own log has it.
type hubHistory struct {
	t      testing.TB
	room   *fsmtest.Room
	bodies []fsm.HubBody
	stamp  uint64
	refs   []mls.ProposalRef // pending
}

func newHubHistory(t testing.TB, name string, epoch mls.Epoch) *hubHistory {
	uri := room(name)
	return &hubHistory{t: t, room: fsmtest.NewRoom(uri, epoch, []mimi.UserURI{alice}, []mimi.Provider{uri.Provider(), hub})}
}

// message makes a FanoutMessage with its facts.
func (h *hubHistory) message(write func(w *mls.Writer, millis uint64)) fsm.HubMessage {
	h.stamp++
	var w mls.Writer
	write(&w, h.stamp)
	m := must(mimi.ParseFanoutMessage(w.Bytes()))
	return fsm.HubMessage{Hash: sha256.Sum256(w.Bytes()[8:]), Bytes: w.Bytes(), HubMessageFacts: fsm.FactsOf(m, []mimi.Provider{hub})}
}

// body ends a body.
func (h *hubHistory) body(messages ...fsm.HubMessage) fsm.HubBody {
	b := bodyOf(messages)
	h.bodies = append(h.bodies, b)
	return b
}

func bodyOf(messages []fsm.HubMessage, notices ...mimi.Notice) fsm.HubBody {
	b := fsm.HubBody{Messages: messages, Notices: notices}
	var all []byte
	for _, m := range messages {
		all = append(all, m.Bytes...)
	}
	for _, n := range notices {
		all = append(all, mimi.MarshalNotice(n)...)
	}
	b.Hash = sha256.Sum256(all)
	return b
}

func (h *hubHistory) application(label string) fsm.HubMessage {
	return h.applicationOf(label, h.room.Epoch)
}

func (h *hubHistory) applicationOf(label string, epoch mls.Epoch) fsm.HubMessage {
	message := h.room.Message(label, epoch, alice).Message
	return h.message(func(w *mls.Writer, millis uint64) { mimi.AppendFanoutApplication(w, millis, message, nil) })
}

func (h *hubHistory) propose(labels ...string) fsm.HubMessage {
	var messages [][]byte
	for _, p := range h.room.Propose(h.room.Epoch, alice, labels...).Proposals {
		messages = append(messages, p.Message)
		h.refs = append(h.refs, refOf(h.t, p.Message))
	}
	return h.message(func(w *mls.Writer, millis uint64) { mimi.AppendFanoutProposals(w, millis, messages) })
}

func refOf(t testing.TB, message []byte) mls.ProposalRef {
	t.Helper()
	m, err := mls.ParseMLSMessage(message)
	if err != nil {
		t.Fatal(err)
	}
	suite, err := mls.CipherSuite(1).Suite()
	if err != nil {
		t.Fatal(err)
	}
	return suite.ProposalRef(m.Body.(*mls.PublicMessage).Authenticated())
}

// commit ends the epoch with a Commit of what is pending.
func (h *hubHistory) commit(label string) fsm.HubMessage {
	c := h.room.Commit(fsmtest.Next{Label: label, Proposals: h.refs})
	h.room.Advance(c)
	h.refs = nil
	return h.message(func(w *mls.Writer, millis uint64) { mimi.AppendFanoutCommit(w, millis, c.Commit, nil) })
}

func (h *hubHistory) welcome(labels ...string) fsm.HubMessage {
	d := fsmtest.Welcome(hub, mapped(labels, ref)...)
	return h.message(func(w *mls.Writer, millis uint64) { mimi.AppendFanoutWelcome(w, millis, d.Welcome, d.RatchetTree) })
}

// follower is the shard of a provider that follows rooms.
type follower struct {
	t     testing.TB
	store *fsmtest.Store
	index uint64
	now   uint64
}

func newFollower(t testing.TB) *follower {
	f := &follower{t: t, store: fsmtest.NewStore(), now: 1000}
	f.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: 0, Last: fsm.SlotCount - 1},
		fsm.EnterSettings{Version: 1, Settings: fsm.DefaultSettings(hub)})
	return f
}

func (f *follower) apply(commands ...fsm.Command) []fsm.Outcome {
	f.t.Helper()
	f.index++
	f.now++
	result, err := fsm.Apply(f.store, f.index, fsm.EncodeEntry(fsm.Entry{StampMillis: f.now, Commands: commands}))
	if err != nil {
		f.t.Fatal(err)
	}
	if f.index%8 == 0 {
		if err := fsm.VerifyState(f.store); err != nil {
			f.t.Fatal(err)
		}
	}
	return result.Outcomes
}

// receive brings bodies of a room whose group is looked up.
func (f *follower) receive(h *hubHistory, bodies ...fsm.HubBody) fsm.BodiesReceived {
	f.t.Helper()
	c := fsm.ReceiveBodies{Room: h.room.URI, Hub: h.room.URI.Provider(), Bodies: bodies, Groups: []mls.GroupID{h.room.GroupID}}
	return f.apply(c)[0].(fsm.BodiesReceived)
}

func (f *follower) taken(h *hubHistory, bodies ...fsm.HubBody) {
	f.t.Helper()
	if got := f.receive(h, bodies...); got.Stop != fsm.StopNone || int(got.Taken) != len(bodies) {
		f.t.Fatalf("of %d bodies: %+v", len(bodies), got)
	}
}

// sweepAfter lets hub time pass.
func (f *follower) sweepAfter(millis uint64) {
	f.now += millis
	f.apply(fsm.Sweep{Max: 500})
}

// inbox lists what the local provider was told of a room, message by message.
func (f *follower) inbox(room mimi.RoomURI) (lines []string) {
	f.t.Helper()
	check := func(err error) {
		if err != nil {
			f.t.Fatal(err)
		}
	}
	check(fsm.ReadOutbox(f.store, fsm.SlotOfRoom(room), hub, 0, func(item fsm.OutboxItem) (bool, error) {
		if item.Room != room {
			return true, nil
		}
		for _, n := range item.Notes {
			if noticed, yes := n.(fsm.Noticed); yes {
				lines = append(lines, fmt.Sprintf("notice %T", noticed.Notice))
			}
		}
		if len(item.Body) == 0 {
			return true, nil
		}
		messages, err := mimi.ParseFanout(item.Body)
		for _, m := range messages {
			lines = append(lines, inboxLine(m))
		}
		return true, err
	}))
	return lines
}

func inboxLine(m mimi.FanoutMessage) string {
	switch e := m.Event.(type) {
	case mimi.FanoutApplication:
		return fmt.Sprintf("message %s", e.Message.Ciphertext)
	case mimi.FanoutWelcome:
		return "welcome"
	case mimi.FanoutProposals:
		return fmt.Sprintf("proposals %s", labels(e.Proposals))
	default:
		return fmt.Sprintf("commit %s", labels(e.MLSMessages())[0])
	}
}

func (f *follower) expect(room mimi.RoomURI, want ...string) {
	f.t.Helper()
	if got := f.inbox(room); !slices.Equal(got, want) {
		f.t.Errorf("the inbox has\n %q\nand not\n %q", got, want)
	}
}

// deliver reads "deliver ROOM BODY…"; the messages of a body stand between commas: commit:EPOCH, message:EPOCH/LABEL, welcome:REF. The hub's
// Commits of a room follow from one another, whatever the order in which they are delivered.
func (s *script) deliver(l line) fsm.Command {
	name := l.words[0]
	h := s.hubs[name]
	if h == nil {
		h = &deliveredRoom{hubHistory: newHubHistory(nil, name, 0)}
		s.hubs[name] = h
	}
	c := fsm.ReceiveBodies{Room: h.room.URI, Hub: h.room.URI.Provider(), Groups: []mls.GroupID{h.room.GroupID}}
	for _, word := range l.words[1:] {
		var messages []fsm.HubMessage
		for _, one := range strings.Split(word, ",") {
			messages = append(messages, h.named(one))
		}
		c.Bodies = append(c.Bodies, bodyOf(messages))
	}
	return c
}

// deliveredRoom is a room of another hub in a transcript.
type deliveredRoom struct {
	*hubHistory
	commits []fsm.HubMessage // by epoch
}

func (h *deliveredRoom) named(word string) fsm.HubMessage {
	what, rest, _ := strings.Cut(word, ":")
	number, label, _ := strings.Cut(rest, "/")
	switch h.stamp = 0; what { // the same word is the same message
	case "commit":
		for uint64(len(h.commits)) <= atoi(number) {
			h.commits = append(h.commits, h.commit(fmt.Sprintf("c%d", len(h.commits))))
		}
		return h.commits[atoi(number)]
	case "message":
		return h.applicationOf(label, code64(number))
	default:
		return h.welcome(rest)
	}
}
