package fsm_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// What a hub must never do, held against random histories in which every request may come twice, late or against a state that
// is gone: take two Commits for one epoch, give one KeyPackage twice, lend one lease to two, lose or repeat an accepted message.
func TestPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for range rapid.IntRange(1, 40).Draw(t, "entries") {
			h.step()
		}
		h.finish()
	})
}

type history struct {
	t     *rapid.T
	store *fsmtest.Store
	room  *fsmtest.Room
	index uint64
	now   uint64
	made  int
	old   []fsm.Command // to be sent again

	winners  map[mls.Epoch][32]byte
	taken    map[mls.KeyPackageRef][32]byte // by the replay key of its claim
	accepted map[[32]byte]fsm.Accepted      // messages
	lease    fsm.LeaseGranted
	holder   string
	fresh    bool // KeyPackages are valid from when they are made
}

func newHistory(t *rapid.T) *history {
	h := &history{
		t: t, store: fsmtest.NewStore(), now: 1000_000,
		room:    fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer}),
		winners: map[mls.Epoch][32]byte{}, taken: map[mls.KeyPackageRef][32]byte{}, accepted: map[[32]byte]fsm.Accepted{},
	}
	settings := fsm.DefaultSettings(hub)
	settings.Claims = fsm.ClaimRules{ConsentDefault: fsm.ConsentAllow} // everybody may claim as much as there is
	slots := []fsm.SlotID{fsm.SlotOfRoom(club), fsm.SlotOfUser(bob)}
	h.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: min(slots[0], slots[1]), Last: max(slots[0], slots[1])},
		fsm.EnterSettings{Version: 1, Settings: settings}, h.room.Create())
	h.room.Incarnation = h.index
	return h
}

func (h *history) step() {
	h.now += rapid.Uint64Range(0, 15_000).Draw(h.t, "later")
	var commands []fsm.Command
	for range rapid.IntRange(1, 5).Draw(h.t, "commands") {
		if len(h.old) > 0 && rapid.IntRange(0, 3).Draw(h.t, "again") == 0 {
			commands = append(commands, rapid.SampledFrom(h.old).Draw(h.t, "which"))
			continue
		}
		c := h.command()
		commands, h.old = append(commands, c), append(h.old, c)
	}
	h.apply(commands...)
}

func (h *history) command() fsm.Command {
	h.made++
	label := fmt.Sprint(h.made)
	who := rapid.SampledFrom([]mimi.UserURI{alice, bob, user("mallory")}).Draw(h.t, "who")
	switch rapid.IntRange(0, 7).Draw(h.t, "kind") {
	case 0, 1:
		return h.room.Commit(fsmtest.Next{Label: label})
	case 2:
		return h.room.Propose(h.room.Epoch, who, label)
	case 3:
		return h.room.Message(label, h.room.Epoch, who)
	case 4:
		return fsm.TakeLease{Room: club, Requester: who, Client: "one"}
	case 5:
		until := h.now/1000 + rapid.Uint64Range(0, 100).Draw(h.t, "lifetime")
		made := fsm.KeyPackageFacts{Ref: ref(label), Suite: 1, NotAfter: until}
		if h.fresh {
			made.NotBefore = h.now / 1000
		}
		return fsm.UploadKeyPackages{User: bob, Client: client("bob1@b.example"), Packages: []fsm.KeyPackageFacts{made}}
	case 6:
		return fsm.ClaimKeyPackages{
			User: bob, Requester: who, Provider: hub, Suites: []mls.CipherSuite{1}, ReplayKey: hashOf(label), ReplayMillis: 60_000,
		}
	default:
		return fsm.Sweep{Max: rapid.Uint32Range(0, 5).Draw(h.t, "max")}
	}
}

func (h *history) apply(commands ...fsm.Command) {
	h.index++
	result, err := fsm.Apply(h.store, h.index, fsm.EncodeEntry(fsm.Entry{StampMillis: h.now, Commands: commands}))
	if err != nil {
		h.t.Fatal(err)
	}
	for i, c := range commands {
		h.judge(c, result.Outcomes[i])
	}
	if err := fsm.VerifyState(h.store); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) judge(c fsm.Command, o fsm.Outcome) {
	switch c := c.(type) {
	case fsm.AcceptCommit:
		if _, ok := o.(fsm.Accepted); !ok {
			return
		}
		winner, ended := h.winners[c.Reads.Epoch]
		if ended && winner != c.CommitHash {
			h.t.Fatalf("epoch %d was taken twice", c.Reads.Epoch)
		}
		if !ended {
			h.winners[c.Reads.Epoch], h.holder = c.CommitHash, ""
			h.room.Advance(c)
		}
	case fsm.SubmitMessage:
		accepted, ok := o.(fsm.Accepted)
		if before, known := h.accepted[c.Hash]; ok && known && before != accepted {
			h.t.Fatalf("a message was accepted at %v and again at %v", before, accepted)
		}
		if ok {
			h.accepted[c.Hash] = accepted
		}
	case fsm.TakeLease:
		granted, ok := o.(fsm.LeaseGranted)
		if !ok {
			return
		}
		holder := c.Requester.String() + c.Client
		switch held := h.holder != "" && h.now < h.lease.UntilMillis; {
		case held && (holder != h.holder || granted != h.lease):
			h.t.Fatalf("%v was lent to %s while %s had %v", granted, holder, h.holder, h.lease)
		case !held && granted.Token <= h.lease.Token:
			h.t.Fatalf("token %d came after %d", granted.Token, h.lease.Token)
		}
		h.lease, h.holder = granted, holder
	case fsm.ClaimKeyPackages:
		for _, answer := range o.(fsm.Claimed).Clients {
			if answer.Code != mimi.KeyMaterialClientSuccess {
				continue
			}
			if key, given := h.taken[answer.Ref]; given && key != c.ReplayKey {
				h.t.Fatalf("%s was given twice", answer.Ref)
			}
			h.taken[answer.Ref] = c.ReplayKey
		}
	}
}

// finish reads the outboxes: every accepted message once, every Commit once and in the order of the epochs.
func (h *history) finish() {
	for _, destination := range []mimi.Provider{hub, peer} {
		seen := map[[32]byte]int{}
		next, epoch := uint64(1), mls.Epoch(0)
		err := fsm.ReadOutbox(h.store, fsm.SlotOfRoom(club), destination, 0, func(item fsm.OutboxItem) (bool, error) {
			if item.Sequence != next {
				h.t.Fatalf("item %d comes where %d should", item.Sequence, next)
			}
			next++
			messages, err := mimi.ParseFanout(item.Body)
			for _, m := range messages {
				switch e := m.Event.(type) {
				case mimi.FanoutCommit:
					if at := e.Commit.Body.(*mls.PublicMessage).Content.Epoch; at != epoch {
						h.t.Fatalf("the Commit of epoch %d comes in epoch %d", at, epoch)
					}
					epoch++
				case mimi.FanoutApplication:
					seen[hashOf(string(mls.MLSMessage{Body: e.Message}.Marshal()))]++
				}
			}
			return true, err
		})
		if err != nil {
			h.t.Fatal(err)
		}
		if epoch != h.room.Epoch {
			h.t.Fatalf("the outbox ends in epoch %d and the room is in %d", epoch, h.room.Epoch)
		}
		for hash := range h.accepted {
			if seen[hash] != 1 {
				h.t.Fatalf("an accepted message is there %d times", seen[hash])
			}
		}
		if len(seen) != len(h.accepted) {
			h.t.Fatalf("%d messages are there and %d were accepted", len(seen), len(h.accepted))
		}
	}
}
