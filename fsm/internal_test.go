package fsm_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// Effects happen once, in order and in the end all, whatever is carried twice, late, by a leader that has been deposed and knows an
// old state, or against a destination that is ahead; with source and destination in one shard and in two.
func TestInternalQueue(t *testing.T) {
	for name, apart := range map[string]bool{"one shard": false, "two shards": true} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				h := newCarrying(t, apart)
				for range rapid.IntRange(1, 60).Draw(t, "steps") {
					h.step()
				}
				h.finish()
			})
		})
	}
}

// carrying is a room whose Commits welcome KeyPackages of one user.
type carrying struct {
	t              *rapid.T
	source, target *fsmtest.Store
	index          uint64
	room           *fsmtest.Room
	user           mimi.UserURI
	welcomed       int
	knows          []*fsmtest.Store // the source as leaders know it, the newest last
	sent           []fsm.Command    // carried before, to be carried again
	drops          []fsm.DropInternal
	happened       int // effects, as the target tells
}

func newCarrying(t *rapid.T, apart bool) *carrying {
	h := &carrying{t: t, source: fsmtest.NewStore(), user: user("carol"), room: fsmtest.NewRoom(club, 0, []mimi.UserURI{alice}, []mimi.Provider{hub})}
	h.target = h.source
	if apart {
		h.target = fsmtest.NewStore()
	}
	for _, store := range []*fsmtest.Store{h.source, h.target} {
		h.apply(store, fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1})
		h.apply(store, fsm.EnterSettings{Version: 1, Settings: secondSettings(hub)})
	}
	upload := fsm.UploadKeyPackages{User: h.user, Client: client("carol1")}
	for i := range 60 {
		upload.Packages = append(upload.Packages, fsm.KeyPackageFacts{Ref: refNumber(i), Suite: 1, NotAfter: 5000})
	}
	h.apply(h.target, upload)
	h.apply(h.source, h.room.Create())
	h.room.Incarnation = h.index
	return h
}

func refNumber(i int) mls.KeyPackageRef { return ref(fmt.Sprintf("%02d", i)) }

func (h *carrying) apply(store *fsmtest.Store, c fsm.Command) fsm.Outcome {
	h.index++
	result, err := fsm.Apply(store, h.index, fsm.EncodeEntry(fsm.Entry{StampMillis: 1000 + h.index, Commands: []fsm.Command{c}}))
	if err != nil {
		h.t.Fatal(err)
	}
	return result.Outcomes[0]
}

func (h *carrying) step() {
	switch rapid.IntRange(0, 4).Draw(h.t, "kind") {
	case 0, 1:
		h.welcome()
	case 2:
		h.knows = append(h.knows, h.source.Clone())
		h.carry(rapid.SampledFrom(h.knows).Draw(h.t, "knowledge"))
	case 3:
		if len(h.sent) > 0 {
			h.deliver(rapid.SampledFrom(h.sent).Draw(h.t, "again"))
		}
	case 4:
		if len(h.drops) > 0 {
			h.apply(h.source, rapid.SampledFrom(h.drops).Draw(h.t, "drop"))
		}
	}
}

// welcome posts one effect, with the next reference.
func (h *carrying) welcome() {
	name := refNumber(h.welcomed)
	h.apply(h.source, fsm.RecordKeyPackageRefs{Room: club, Refs: []fsm.KeyPackageRoute{{Ref: name, Provider: hub, User: h.user, NotAfter: 5000}}})
	c := h.room.Commit(fsmtest.Next{Label: string(name), Welcomes: []fsm.WelcomeDelivery{fsmtest.Welcome(hub, name)}})
	if _, ok := h.apply(h.source, c).(fsm.Accepted); !ok {
		h.t.Fatal("the Commit was refused")
	}
	h.room.Advance(c)
	h.welcomed++
}

// carry brings what waits over, as a leader that knows this state of the source.
func (h *carrying) carry(known *fsmtest.Store) {
	c := fsm.ReceiveInternal{At: fsm.SlotOfUser(h.user), From: fsm.SlotOfRoom(club)}
	most := rapid.IntRange(1, 3).Draw(h.t, "most")
	err := fsm.ReadInternal(known, c.From, c.At, func(item fsm.InternalItem) (bool, error) {
		if len(c.Effects) == 0 {
			c.First = item.Sequence
		}
		c.Effects = append(c.Effects, item.Effect)
		return len(c.Effects) < most, nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if len(c.Effects) > 0 {
		h.sent = append(h.sent, c)
		h.deliver(c)
	}
}

func (h *carrying) deliver(c fsm.Command) {
	next := h.apply(h.target, c).(fsm.Received).Next
	h.drops = append(h.drops, fsm.DropInternal{At: fsm.SlotOfRoom(club), To: fsm.SlotOfUser(h.user), Next: next})
	if int(next)-1 < h.happened {
		h.t.Fatalf("after %d effects the slot awaits %d", h.happened, next)
	}
	h.happened = int(next) - 1
	h.check()
}

// check: the effects that have happened are the first ones, each once, and all others still wait.
func (h *carrying) check() {
	inventory, _, err := fsm.ReadInventory(h.target, h.user)
	if err != nil || int(inventory[0].SingleUse) != 60-h.happened {
		h.t.Fatalf("%d KeyPackages are left after %d effects: %v", inventory[0].SingleUse, h.happened, err)
	}
	waits := map[uint64]bool{}
	err = fsm.ReadInternal(h.source, fsm.SlotOfRoom(club), fsm.SlotOfUser(h.user), func(item fsm.InternalItem) (bool, error) {
		waits[item.Sequence] = true
		return true, nil
	})
	for sequence := h.happened + 1; sequence <= h.welcomed; sequence++ {
		if !waits[uint64(sequence)] {
			h.t.Fatalf("effect %d has not happened and does not wait: %v", sequence, err)
		}
	}
}

// finish lets a leader do its work to the end.
func (h *carrying) finish() {
	for range h.welcomed + 1 {
		h.carry(h.source)
		if len(h.drops) > 0 {
			h.apply(h.source, h.drops[len(h.drops)-1])
		}
	}
	if h.happened != h.welcomed {
		h.t.Fatalf("%d of %d effects have happened", h.happened, h.welcomed)
	}
	err := fsm.InternalQueues(h.source, fsm.SlotOfRoom(club), func(q fsm.InternalQueue) (bool, error) {
		if q.Waiting != 0 {
			h.t.Fatalf("%d effects are left", q.Waiting)
		}
		return true, nil
	})
	if err := errors.Join(err, fsm.VerifyState(h.source), fsm.VerifyState(h.target)); err != nil {
		h.t.Fatal(err)
	}
}

// A slot takes no effect that is for another.
func TestEffectsAreForTheirSlot(t *testing.T) {
	store := fsmtest.NewStore()
	applyTo(t, store, 1, 1000, fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1}, fsm.EnterSettings{Version: 1, Settings: secondSettings(hub)})
	c := fsm.ReceiveInternal{At: fsm.SlotOfUser(alice), First: 1, Effects: []fsm.Effect{fsm.KeyPackagesConsumed{User: bob}}}
	if _, refused := applyTo(t, store, 2, 1000, c)[0].(fsm.NotAllowed); !refused {
		t.Error("an effect for another slot was taken")
	}
}

// One Commit may welcome more KeyPackages of a user than one effect holds.
func TestEffectsAreBounded(t *testing.T) {
	store := fsmtest.NewStore()
	applyTo(t, store, 1, 1000, fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1}, fsm.EnterSettings{Version: 1, Settings: secondSettings(hub)})
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice}, []mimi.Provider{hub})
	routes := fsm.RecordKeyPackageRefs{Room: club}
	var refs []mls.KeyPackageRef
	for i := range 2500 {
		refs = append(refs, refNumber(i))
		routes.Refs = append(routes.Refs, fsm.KeyPackageRoute{Ref: refs[i], Provider: hub, User: alice, NotAfter: 5000})
	}
	applyTo(t, store, 2, 1000, r.Create(), routes)
	r.Incarnation = 2
	if _, ok := applyTo(t, store, 3, 1000, r.Commit(fsmtest.Next{Label: "all", Welcomes: []fsm.WelcomeDelivery{fsmtest.Welcome(hub, refs...)}}))[0].(fsm.Accepted); !ok {
		t.Fatal("the Commit was refused")
	}
	told := 0
	check(t, fsm.ReadInternal(store, fsm.SlotOfRoom(club), fsm.SlotOfUser(alice), func(item fsm.InternalItem) (bool, error) {
		e := item.Effect.(fsm.KeyPackagesConsumed)
		if len(e.Refs) > 1000 {
			t.Errorf("one effect has %d references", len(e.Refs))
		}
		told += len(e.Refs)
		return true, nil
	}))
	if told != len(refs) {
		t.Errorf("%d of %d references are on their way", told, len(refs))
	}
}
